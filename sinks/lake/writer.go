package lake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/sorter"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// maxOpen is how many partitions of a table a group writes side by side; more go through the sorter.
const maxOpen = 32

// writer takes the records of one incarnation of a lane.
type writer struct {
	lake   *Lake
	lane   sinks.Lane
	lane8  string
	serial int   // of the last staged file
	files  int   // of the open group
	group  int64 // the ordinal that the open group will have, as far as it is known
	again  time.Time
	tables map[*table]*openTable
	order  []*openTable // of the open group, in the order of their first record
	parts  []int32
	given  []record.Column
}

// openTable is a table in the open group.
type openTable struct {
	table  *table
	router *router
	parts  map[int32]*part
	full   []*part // rolled, still to be sealed
	sorter *sorter.Sorter
	rows   [][]int32       // by partition, of the current batch
	chosen []record.Column // the rows of one partition: their memory is used again
}

// part is one file being written.
type part struct {
	folder string
	number int // in the group
	file   *blob.File
	out    *parquet.Writer
	rows   int64
}

// Write routes every row to the file of its partition.
func (w *writer) Write(ctx context.Context, b *record.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	if err := refuses(b); err != nil {
		return err
	}
	t, err := w.lake.table(ctx, b.Schema)
	if err != nil {
		return err
	}
	columns, own := fileColumns(b), len(b.Columns)
	if err := parquet.Check(t.fields[own:], columns[own:], b.Rows); err != nil {
		return err
	}
	o := w.tables[t]
	if o == nil {
		o = &openTable{table: t, router: newRouter(t), parts: map[int32]*part{}}
		w.tables[t] = o
		w.order = append(w.order, o)
	}
	var same bool
	w.parts, same = o.router.assign(o.router.unplaced(b, columns), b.Rows, w.parts[:0])
	switch {
	case o.sorter != nil || t.wide.Load() || len(o.router.folders) > maxOpen:
		return w.sort(o, b, columns)
	case same:
		return w.append(ctx, o, w.parts[0], columns, 0, b.Rows)
	}
	return w.scatter(ctx, o, columns)
}

// refuses names the rows that no file can hold without loss. A value that the source did not send would become a null; in a
// row that only takes others away nobody reads it.
func refuses(b *record.Batch) error {
	err := parquet.Check(b.Schema.Fields, b.Columns, b.Rows)
	var absent []fault.Row
	for i := range b.Columns {
		for row := range b.Rows {
			if b.Columns[i].Absent == nil {
				break
			}
			if op := b.System.Op(row); b.Columns[i].IsAbsent(row) && op != record.Delete && op != record.Truncate {
				absent = append(absent, fault.Row{Index: row, Column: b.Schema.Fields[i].Name, Err: errAbsent})
			}
		}
	}
	if len(absent) == 0 {
		return err
	}
	bad, ok := errors.AsType[*fault.Rows](err)
	if err != nil && !ok {
		return err
	}
	if ok {
		absent = append(absent, bad.Bad...)
	}
	slices.SortStableFunc(absent, func(a, b fault.Row) int { return a.Index - b.Index })
	return &fault.Rows{Bad: slices.CompactFunc(absent, func(a, b fault.Row) bool { return a.Index == b.Index })}
}

var errAbsent = &fault.Error{
	Class: fault.Poison, Code: "ACQ-LAKE-014", Err: errors.New("the source did not send the value, and a file cannot keep the one before"),
	Remedy: "let the source read the row again, or send the record again with all of its columns",
}

// sort hands the batch to the sorter, which keeps it until its rows are on their way to their files.
func (w *writer) sort(o *openTable, b *record.Batch, columns []record.Column) error {
	if o.sorter == nil {
		o.table.wide.Store(true)
		o.sorter = sorter.New(os.TempDir(), o.table.fields, int(w.lake.memory/2), scratchLimit)
	}
	b.Retain()
	part := append([]int32(nil), w.parts...)
	if err := o.sorter.Add(columns, b.Rows, part, b.Release); err != nil {
		return fmt.Errorf("sort by partition: %w", err)
	}
	return nil
}

// scratchLimit is how many bytes a sorter may put on the disk of temporary files.
const scratchLimit = 64 << 30

// scatter gathers the rows of each partition and writes them.
func (w *writer) scatter(ctx context.Context, o *openTable, columns []record.Column) error {
	for len(o.rows) < len(o.router.folders) {
		o.rows = append(o.rows, nil)
	}
	if len(o.chosen) < len(columns) {
		o.chosen = make([]record.Column, len(columns))
	}
	for i, p := range w.parts {
		o.rows[p] = append(o.rows[p], int32(i))
	}
	for p, rows := range o.rows {
		if len(rows) == 0 {
			continue
		}
		given := append(w.given[:0], columns...)
		for i := range columns {
			if !columns[i].Const {
				o.chosen[i].Clear()
				o.chosen[i].Gather(o.table.fields[i], &columns[i], rows, 0)
				given[i] = o.chosen[i]
			}
		}
		w.given = given
		if err := w.append(ctx, o, int32(p), given, 0, len(rows)); err != nil {
			return err
		}
		o.rows[p] = rows[:0]
	}
	return nil
}

// append writes rows of one partition, and rolls its file when it is full.
func (w *writer) append(ctx context.Context, o *openTable, number int32, columns []record.Column, lo, hi int) error {
	for lo < hi {
		p := o.parts[number]
		if p == nil {
			var err error
			if p, err = w.create(ctx, o.table, o.router.folders[number], columns, hi); err != nil {
				return err
			}
			o.parts[number] = p
		}
		next, err := w.fill(p, columns, lo, hi)
		if err != nil {
			return err
		}
		if lo = next; w.full(p) {
			o.full = append(o.full, p)
			delete(o.parts, number)
		}
	}
	return nil
}

// stride is how many rows a file may take before its size is looked at.
const stride = 8192

// fill writes rows until the file has as many as it may, or its size has to be looked at, and says where it stopped.
func (w *writer) fill(p *part, columns []record.Column, lo, hi int) (next int, err error) {
	n := min(int64(hi-lo), stride, w.lake.config.Roll.Rows-p.rows)
	if err := p.out.Write(columns, lo, lo+int(n)); err != nil {
		return lo, fmt.Errorf("write %s: %w", p.file.Name, err)
	}
	p.rows += n
	return lo + int(n), nil
}

func (w *writer) full(p *part) bool {
	return p.rows >= w.lake.config.Roll.Rows || p.out.Written() >= int64(w.lake.config.Roll.Size)
}

// staging is a folder of the lane alone: lanes of other pipelines may have the same name.
func (w *writer) staging() string { return stagingFolder + "/" + w.lane.Pipeline + "-" + w.lane8 }

// create opens a staged file. Its names say the epoch, so that a later owner knows what to sweep.
func (w *writer) create(ctx context.Context, t *table, folder string, sample []record.Column, rows int) (*part, error) {
	w.lake.unseen(ctx, t, folder)
	number := w.files
	w.serial, w.files = w.serial+1, w.files+1
	f, err := w.lake.bucket.Stage(ctx, fmt.Sprintf("%s/e%d-%d.tmp", w.staging(), w.lane.Epoch, w.serial), fileName(w, t, folder, w.group, number))
	if err != nil {
		return nil, err
	}
	return &part{folder: folder, number: number, file: f, out: w.lake.take(t, f, sample, rows)}, nil
}

// Held is the memory of the open files and sorters.
func (w *writer) Held() int {
	held := 0
	for _, o := range w.order {
		for _, p := range o.parts {
			held += p.out.Held() + p.file.Held()
		}
		for _, p := range o.full {
			held += p.out.Held() + p.file.Held()
		}
		if o.sorter != nil {
			held += o.sorter.Held()
		}
	}
	return held
}

// Cut hands the open files over and starts with none. A group that moved nothing leaves its ordinal to the next.
func (w *writer) Cut(g sinks.Group) sinks.Staging {
	s := &staging{writer: w, group: g, tables: w.order, files: w.files}
	if w.group, w.files = g.Ordinal, 0; len(s.tables) > 0 || g.To != g.From {
		w.group++
	}
	w.tables, w.order = map[*table]*openTable{}, nil
	s.serial = w.serial
	w.serial += reserved
	return s
}

// reserved is how many numbers of staged files a cut group may still use, while the next one counts on.
const reserved = 1 << 24

// Publish makes the files of a manifest visible.
func (w *writer) Publish(ctx context.Context, m sinks.Manifest) error {
	err := w.lake.bucket.Publish(ctx, publications(m))
	switch {
	case err == nil:
		w.sweepAgain(ctx)
	case errors.Is(err, blob.ErrGone):
		return fmt.Errorf("%w: %w", sinks.ErrVanished, err)
	case errors.Is(err, blob.ErrTaken):
		return fmt.Errorf("%w: %w", sinks.ErrConflict, err)
	}
	return err
}

// Close lets go of the files of a group that was never cut.
func (w *writer) Close(context.Context) error {
	var err error
	for _, o := range w.order {
		err = errors.Join(err, o.drop())
	}
	w.tables, w.order = map[*table]*openTable{}, nil
	return err
}

func (o *openTable) drop() error {
	var err error
	for _, p := range o.parts {
		err = errors.Join(err, p.file.Close())
	}
	for _, p := range o.full {
		err = errors.Join(err, p.file.Close())
	}
	if o.sorter != nil {
		err = errors.Join(err, o.sorter.Close())
	}
	return err
}
