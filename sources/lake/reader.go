package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many rows, or so many bytes of the file when it is unpacked.
const (
	maxRows  = 10_000
	maxBytes = 4 << 20
)

// place is where a lane stands: before a row of one of its files, counted from the first row of that file's piece. The
// size of the file, and the row groups that the piece has of it, tell whether it is the one that the lane began with.
type place struct {
	piece int
	row   int64
	size  int64
	first int
}

func (p place) position() record.Position {
	return record.Position(fmt.Sprintf("l:%d:%d:%d:%d", p.piece, p.row, p.size, p.first))
}

func parsePosition(lane string, at record.Position) (p place, err error) {
	if at == "" {
		return p, nil
	}
	parts := strings.Split(string(at), ":")
	var numbers [4]int64
	good := len(parts) == 5 && parts[0] == "l"
	for i := range numbers {
		if good {
			n, err := strconv.ParseInt(parts[i+1], 10, 64)
			numbers[i], good = n, err == nil && n >= 0
		}
	}
	if !good {
		return p, stop(codePosition, "lane "+lane, "it was written by another source: give the pipeline another name, or start it anew",
			fmt.Errorf("%q is no position in a lake", at))
	}
	return place{int(numbers[0]), numbers[1], numbers[2], int(numbers[3])}, nil
}

// opened is a file of a table.
type opened struct {
	File
	file    blob.Object
	parquet *parquet.File
	rows    *parquet.Reader
	table   *table
}

func (o *opened) close() error {
	var err error
	if o.rows != nil {
		err = o.rows.Close()
	}
	return errors.Join(err, o.file.Close())
}

// openFile opens a file and reads its footer.
func (s *Source) openFile(ctx context.Context, f File) (*opened, error) {
	files, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	file, err := files.Open(ctx, f.Name)
	if err != nil {
		return nil, cannotOpen(f.Name, err)
	}
	p, err := parquet.Open(file, file.Size())
	if err != nil {
		return nil, errors.Join(stop(codeDamaged, f.Name, "restore the file from a copy, or remove it to go on without its rows", err), file.Close())
	}
	f.Size = file.Size()
	return &opened{File: f, file: file, parquet: p}, nil
}

// open opens a file to read its rows.
func (s *Source) open(ctx context.Context, t *table, f File) (*opened, error) {
	o, err := s.openFile(ctx, f)
	if err != nil {
		return nil, err
	}
	wanted, err := o.parquet.Bind(fileFields(t))
	if err != nil {
		remedy := "the file is not of this table as it is described now: move it away, or restore the table's description"
		return nil, errors.Join(stop(codeColumns, f.Name, remedy, err), o.close())
	}
	o.table, o.rows = t, parquet.NewReader(o.parquet, wanted)
	return o, nil
}

// Open reads a lane after a position.
func (s *Source) Open(ctx context.Context, l sources.Lane, from record.Position) (sources.Reader, error) {
	at, err := parsePosition(l.ID, from)
	if err != nil {
		return nil, err
	}
	found, err := s.find(ctx, l.ID)
	if err != nil {
		return nil, err
	}
	if at.piece >= len(found.pieces) {
		return nil, stop(codePosition, "lane "+l.ID, "start the pipeline anew", fmt.Errorf("%q is no position of this lane", from))
	}
	r := &reader{source: s, lane: found, at: at, spare: make(chan []record.Column, maxSpare), closed: make(chan struct{})}
	if from != "" {
		if err := r.enter(ctx, &at); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reader reads one lane.
type reader struct {
	source *Source
	lane   *lane
	at     place
	end    int64 // rows of the piece
	before int64 // rows of the file in front of it
	open   *opened

	spare   chan []record.Column
	failed  error
	closed  chan struct{}
	reading sync.Mutex
}

// Read gives the next rows.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	select {
	case <-r.closed:
		return record.Chunk{}, errClosed
	default:
	}
	switch {
	case ctx.Err() != nil:
		return record.Chunk{}, ctx.Err()
	case r.failed != nil:
		return record.Chunk{}, r.failed
	}
	chunk, err := r.chunk(ctx)
	if err != nil {
		r.failed = err
	}
	return chunk, err
}

// enter opens the file of the piece that the reader stands in. resumed is the place that a checkpoint told, if one did.
func (r *reader) enter(ctx context.Context, resumed *place) error {
	tables, err := r.source.describe(ctx)
	if err != nil {
		return err
	}
	p := r.lane.pieces[r.at.piece]
	if r.open, err = r.source.open(ctx, tables[p.Table], p.File); err != nil {
		return err
	}
	groups := r.open.parquet.Groups()
	to := p.to
	if to == 0 {
		to = len(groups)
	}
	if to > len(groups) || resumed != nil && (resumed.size != r.open.Size || resumed.first != p.from) || p.Size != r.open.Size {
		err := stop(codeOpen, p.Name, "files of a lake never change: restore it from a copy, or start the pipeline anew",
			fmt.Errorf("it is not the file that lane %s began with", r.lane.id))
		return errors.Join(err, r.leave())
	}
	r.end, r.before = 0, 0
	for _, g := range groups[:p.from] {
		r.before += g.Rows
	}
	group, row := p.from, r.at.row
	for i, g := range groups[p.from:to] {
		if row > 0 && row >= g.Rows && group == p.from+i {
			group, row = group+1, row-g.Rows
		}
		r.end += g.Rows
	}
	r.at.size, r.at.first = r.open.Size, p.from
	if r.at.row < r.end {
		if err := r.open.rows.Seek(group, row); err != nil {
			return errors.Join(r.damaged(err), r.leave())
		}
	}
	return nil
}

func (r *reader) leave() error {
	o := r.open
	r.open = nil
	if o == nil {
		return nil
	}
	return o.close()
}

func (r *reader) chunk(ctx context.Context) (record.Chunk, error) {
	for r.open == nil || r.at.row >= r.end {
		if r.open != nil {
			if err := r.leave(); err != nil {
				return record.Chunk{}, err
			}
			r.at = place{piece: r.at.piece + 1}
		}
		if r.at.piece >= len(r.lane.pieces) {
			r.at.piece = len(r.lane.pieces)
			return record.Chunk{}, io.EOF
		}
		if err := r.enter(ctx, nil); err != nil {
			return record.Chunk{}, err
		}
	}
	t := r.open.table
	columns := r.columns(len(t.schema.Fields) + systemColumns)
	rows, misfits, err := r.open.rows.Read(columns, int(min(r.end-r.at.row, r.rowsAtOnce())))
	if err != nil {
		return record.Chunk{}, r.damaged(err)
	}
	chunk, err := r.chunkOf(columns, rows, misfits)
	if err != nil {
		return chunk, r.damaged(err)
	}
	r.at.row += int64(rows)
	chunk.To, chunk.ReadAt = r.at.position(), time.Now()
	return chunk, nil
}

// maxSpare bounds the sets of columns that wait to be filled again: as many as batches are on their way.
const maxSpare = 4

// columns gives memory for a chunk: that of a batch which nobody holds any more, or new.
func (r *reader) columns(n int) []record.Column {
	select {
	case c := <-r.spare:
		if len(c) == n {
			return c
		}
	default:
	}
	return make([]record.Column, n)
}

// recycle takes the memory of a batch back.
func (r *reader) recycle(columns []record.Column) {
	select {
	case r.spare <- columns:
	default:
	}
}

// rowsAtOnce bounds a chunk by what the row group says of the size of its rows.
func (r *reader) rowsAtOnce() int64 {
	groups := r.open.parquet.Groups()
	group, row := r.open.rows.Place()
	if row >= groups[group].Rows && group+1 < len(groups) {
		group++
	}
	g := groups[group]
	return max(1, min(r.source.rows, maxBytes/max(1, g.Plain/max(1, g.Rows))))
}

// damaged says in which file, column and row group.
func (r *reader) damaged(err error) error {
	where := r.lane.pieces[min(r.at.piece, len(r.lane.pieces)-1)].Name
	if d, ok := errors.AsType[*parquet.DamagedError](err); ok {
		where = fmt.Sprintf("%s, column %s, row group %d", where, d.Column, d.Group)
		err = fmt.Errorf("a page is damaged: %w", d.Err)
	}
	return stop(codeDamaged, where, "restore the file from a copy; what was read before this place is kept", err)
}

// Settle has nothing to do: files stay.
func (r *reader) Settle(context.Context, record.Position, error) error { return nil }

// Close lets go of the file.
func (r *reader) Close() error {
	close(r.closed)
	r.reading.Lock()
	defer r.reading.Unlock()
	return r.leave()
}

// systemColumns is how many of the system columns are read: all but the time of reading.
const systemColumns = 5

// fileFields are the columns that are read of a file of a table. Versions are read as texts: those of one batch may be of
// several epochs.
func fileFields(t *table) []record.Field {
	fields := append([]record.Field{}, t.Columns...)
	for _, f := range schemas.SystemFields()[:systemColumns] {
		if f.Kind == record.VersionText {
			f.Kind = record.Bytes
		}
		fields = append(fields, f)
	}
	return fields
}
