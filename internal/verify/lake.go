package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// lake is a table of a lake: what <table>_latest shows of it, read from its files.
type lake struct {
	bucket blob.Files
	table  *schemas.LakeTable // nil: the lake has none yet
	ranges *ranges

	key     []record.Field // in key order, under the names of the lake
	columns []record.Field // the others that are compared
	names   []string       // of key and columns, as the stream writes them
	seeds   []uint64       // of key and columns
	leftOut []string       // columns of the lake that the stream does not have now

	keysOnly bool
	most     int // keys with several copies that are held at a time

	mu        sync.Mutex
	truncated bool           // there is a truncation
	cut       record.Version // the newest
	byVersion bool           // rows without a key are told apart by their versions
	seen      filter
	several   repeated
	best      []newest // of the suspects that are being looked at
	visited   map[string]bool
}

// newLake finds the table. Its columns are those of the schema, and texts that stand for what a column cannot hold.
func newLake(ctx context.Context, bucket blob.Files, table string, out *record.Schema, r *ranges) (*lake, error) {
	l := &lake{bucket: bucket, ranges: r}
	path := "_tables/" + table + ".json"
	text, err := bucket.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		l.table, err = schemas.DecodeLakeTable(text)
	}
	if err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: codeLake, Place: path, Err: err, Remedy: "restore the table's description from a copy"}
	}
	byName := map[string]record.Field{}
	for _, f := range l.table.Columns {
		byName[f.Name] = f
	}
	for _, k := range out.Key {
		f := out.Fields[k] // as the stream has it: ranges are compared with its values
		l.names, l.seeds = append(l.names, f.Name), append(l.seeds, seedOf(f.Name, f.Kind))
		f.Name, f.Nullable = schemas.ColumnName(f.Name), true
		l.key = append(l.key, f)
		delete(byName, f.Name)
	}
	compared := map[string]string{}
	for _, f := range out.Fields {
		compared[schemas.ColumnName(f.Name)] = f.Name
	}
	for _, f := range l.table.Columns {
		if _, ok := byName[f.Name]; !ok {
			continue
		}
		name, ok := compared[f.Name]
		if of, raw := strings.CutSuffix(f.Name, rawSuffix); raw && !ok {
			if name, ok = compared[of]; ok {
				name += rawSuffix
			}
		}
		if !ok {
			l.leftOut = append(l.leftOut, f.Name)
			continue
		}
		l.names, l.seeds = append(l.names, name), append(l.seeds, seedOf(name, f.Kind))
		f.Nullable = true
		l.columns = append(l.columns, f)
	}
	return l, nil
}

// rawSuffix ends the name of a text column that holds what the column before it cannot.
const rawSuffix = "__raw"

// piece is a row group of a file.
type piece struct {
	name      string
	group     int
	rows      int64
	newest    record.Version // of its rows, where bounded
	bounded   bool
	truncates bool // there may be a truncation among them
}

// pieceOf tells of a row group what its footer does.
func pieceOf(name string, f *parquet.File, group int) piece {
	p := piece{name: name, group: group, rows: f.Groups()[group].Rows, truncates: true}
	if lo, hi, ok := f.Bounds(group, opField().Name); ok {
		const truncate = string(record.Truncate)
		p.truncates = string(lo) <= truncate && truncate <= string(hi)
	}
	if _, hi, ok := f.Bounds(group, versionField().Name); ok {
		newest, err := record.ParseVersionText(hi)
		p.newest, p.bounded = newest, err == nil
	}
	return p
}

// below says that all rows are gone with a truncation.
func (p *piece) below(cut record.Version) bool { return p.bounded && p.newest.Compare(cut) < 0 }

// pieces gives the row groups of the files that count now, but for those of files to pass over, and those of which no row stands.
func (l *lake) pieces(ctx context.Context, over map[string]bool) (out []piece, err error) {
	if l.table == nil {
		return nil, nil
	}
	names, err := lakefiles.List(ctx, l.bucket, l.table.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if over[name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := l.open(ctx, name, func(f *parquet.File) error {
			for i := range f.Groups() {
				p := pieceOf(name, f, i)
				if l.truncated && p.below(l.cut) {
					continue
				}
				out = append(out, p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// open opens a file for do.
func (l *lake) open(ctx context.Context, name string, do func(*parquet.File) error) (err error) {
	defer func() {
		if err != nil && fault.Code(err) == "" && !errors.Is(err, context.Canceled) {
			err = &fault.Error{
				Class: fault.Fatal, Code: codeLake, Place: name, Err: err,
				Remedy: "restore the file from a copy; acequia tables list shows what the lake has",
			}
		}
	}()
	file, err := l.bucket.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, err := parquet.Open(file, file.Size())
	if err != nil {
		return err
	}
	return do(f)
}

// part reads some columns of a piece, wherever it is asked to.
type part struct {
	group   int
	fields  []record.Field
	reader  *parquet.Reader
	columns []record.Column
}

func newPart(f *parquet.File, group int, fields []record.Field) (*part, error) {
	wanted, err := f.Bind(fields)
	if err != nil {
		return nil, err
	}
	return &part{
		group: group, fields: fields, reader: parquet.NewReader(f, wanted),
		columns: make([]record.Column, len(fields)),
	}, nil
}

// at reads n rows from a row on.
func (p *part) at(row int64, n int) error {
	if err := p.reader.Seek(p.group, row); err != nil {
		return err
	}
	return p.next(n)
}

func (p *part) next(n int) error {
	got, misfits, err := p.reader.Read(p.columns, n)
	if err == nil && len(misfits) > 0 {
		err = fmt.Errorf("column %s: %w", p.fields[misfits[0].Column].Name, misfits[0].Err)
	}
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// versions reads the versions of n rows from a row on. The epoch is of each row: a column has one.
func (p *part) versions(row int64, n int, out []record.Version) error {
	if err := p.reader.Seek(p.group, row); err != nil {
		return err
	}
	for done := 0; done < n; {
		got, _, err := p.reader.Read(p.columns, n-done)
		if err != nil {
			return err
		}
		for i := range got {
			out[done+i] = p.columns[0].Versions.At(i)
		}
		done += got
	}
	return nil
}

// view is what a worker sees of a batch of rows of a piece.
type view struct {
	hashed
	lake     *lake
	piece    piece
	row      int64 // of the piece: the first of the batch
	n        int
	ops      *record.Column
	head     *part // the key, and behind it the operation
	rest     *part
	version  *part
	events   *part
	versions []record.Version
	named    bool // events have ids
	known    bool // versions and events are of this batch
}

// versionField is read for one column: its epoch may change within a batch, which ends a read.
func versionField() record.Field { return schemas.SystemFields()[1] }

// opField and eventField are read as they are.
func opField() record.Field    { return schemas.SystemFields()[0] }
func eventField() record.Field { return schemas.SystemFields()[2] }

// Sizes of a batch that is read.
const (
	rowsOfBatch  = 8192
	bytesOfBatch = 4 << 20
)

// each gives do the rows of pieces in batches, with the hashes of their keys. A worker does one piece at a time.
func (l *lake) each(ctx context.Context, pieces []piece, do func(worker int, v *view) error) error {
	var spare [workers]hashed
	return parallel(ctx, len(pieces), func(ctx context.Context, worker, i int) error {
		at := pieces[i]
		return l.open(ctx, at.name, func(f *parquet.File) (err error) {
			v := &view{lake: l, piece: at, hashed: spare[worker]}
			defer func() { spare[worker] = v.hashed; err = errors.Join(err, v.close()) }()
			if err := v.bind(f); err != nil {
				return err
			}
			g := f.Groups()[at.group]
			most := max(1, min(rowsOfBatch, bytesOfBatch/max(1, g.Plain/max(1, g.Rows))))
			for v.row = 0; v.row < at.rows; v.row += int64(v.n) {
				if err := ctx.Err(); err != nil {
					return err
				}
				v.n, v.known = int(min(most, at.rows-v.row)), false
				if err := v.read(); err != nil {
					return err
				}
				if err := do(worker, v); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (v *view) bind(f *parquet.File) (err error) {
	var errs [2]error
	v.head, errs[0] = newPart(f, v.piece.group, append(append([]record.Field{}, v.lake.key...), opField()))
	v.rest, errs[1] = newPart(f, v.piece.group, v.lake.columns)
	return errors.Join(errs[0], errs[1], v.bindVersions(f))
}

func (v *view) bindVersions(f *parquet.File) (err error) {
	var errs [2]error
	v.version, errs[0] = newPart(f, v.piece.group, []record.Field{versionField()})
	v.events, errs[1] = newPart(f, v.piece.group, []record.Field{eventField()})
	return errors.Join(errs[:]...)
}

func (v *view) close() error {
	var errs []error
	for _, p := range []*part{v.head, v.rest, v.version, v.events} {
		if p != nil {
			errs = append(errs, p.reader.Close())
		}
	}
	return errors.Join(errs...)
}

// read reads the keys and hashes them. A table without a key is told by version.
func (v *view) read() error {
	v.size(v.n)
	if err := v.head.at(v.row, v.n); err != nil {
		return err
	}
	n := len(v.lake.key)
	v.ops = &v.head.columns[n]
	if n > 0 {
		v.hashKey(v.lake.ranges, v.lake.key, v.head.columns[:n])
		return nil
	}
	if !v.lake.byVersion {
		return nil
	}
	if err := v.readVersions(); err != nil {
		return err
	}
	for i, version := range v.versions {
		v.keys[i] = versionHash(version, salt3)
	}
	(&ranges{n: rangesOfVersions}).of(nil, v.keys, v.ranges)
	return nil
}

func (v *view) op(row int) record.Op {
	text := v.ops.Text(row)
	if len(text) != 1 {
		return 0
	}
	return record.Op(text[0])
}

// truncates says whether there is a truncation among the rows.
func (v *view) truncates() bool {
	if v.ops.Const {
		return v.op(0) == record.Truncate
	}
	for row := range v.n {
		if v.op(row) == record.Truncate {
			return true
		}
	}
	return false
}

// readVersions reads the versions and the ids of the events of the batch, once.
func (v *view) readVersions() error {
	if v.known {
		return nil
	}
	v.known = true
	v.versions = zeroed(v.versions, v.n)
	if err := v.version.versions(v.row, v.n, v.versions); err != nil {
		return err
	}
	if err := v.events.at(v.row, v.n); err != nil {
		return err
	}
	ids := &v.events.columns[0]
	v.named = !ids.Const || ids.IsValid(0)
	return nil
}

// copy gives the copy of its key that a row is.
func (v *view) copy(row int) newest {
	out := newest{version: v.versions[row], op: v.op(row), there: true, hash: v.rows[row]}
	if ids := &v.events.columns[0]; v.named && ids.IsValid(row) {
		out.event = string(ids.Text(row))
	}
	return out
}

// hashRows reads the other columns and hashes the rows.
func (v *view) hashRows() error {
	if v.lake.keysOnly {
		copy(v.rows, v.keys)
		return nil
	}
	if err := v.rest.at(v.row, v.n); err != nil {
		return err
	}
	for i := range v.lake.key {
		addColumn(v.rows[:v.n], &v.lake.key[i], &v.head.columns[i], v.lake.seeds[i])
	}
	for i := range v.lake.columns {
		addColumn(v.rows[:v.n], &v.lake.columns[i], &v.rest.columns[i], v.lake.seeds[len(v.lake.key)+i])
	}
	finish(v.rows)
	return nil
}
