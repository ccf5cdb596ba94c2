// Package parquet writes columns of records as Parquet files, and reads them. It makes the pages itself: a value goes from its column to
// the page with nothing made for it on the way. parquet-go gives the integer encodings and the thrift structs.
//
// The format is that of https://github.com/apache/parquet-format: data pages v1 with CRC, chunk statistics, page index.
package parquet

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/acequia-io/acequia/record"

	"github.com/parquet-go/parquet-go/format"
)

// Options of a writer. The zero value is good.
type Options struct {
	PageRows      int  // rows of a page; 20,000
	PageBytes     int  // bytes of a page before compression; 256 KiB
	DictBytes     int  // bytes of a dictionary before the column leaves it; 1 MiB
	RowGroupBytes int  // bytes of encoded pages in a row group, which are held until it ends; 32 MiB
	RowGroupRows  int  // 1,000,000
	Workers       int  // goroutines that encode columns; 1
	Checked       bool // whoever writes has asked Check for every row: Write does not look again
	Plain         bool // PLAIN and zstd for every column: for readers that know no other encoding
}

func (o Options) withDefaults() Options {
	set := func(p *int, usual, most int) {
		if *p <= 0 {
			*p = usual
		}
		*p = min(*p, most)
	}
	set(&o.PageRows, 20_000, math.MaxInt32/8)
	set(&o.PageBytes, 256<<10, maxText/2)
	set(&o.DictBytes, 1<<20, maxText/2)
	set(&o.RowGroupBytes, 32<<20, math.MaxInt32)
	set(&o.RowGroupRows, 1_000_000, math.MaxInt32/8)
	set(&o.Workers, 1, math.MaxInt16)
	return o
}

// KeyValue is an entry of the file's own metadata.
type KeyValue struct{ Key, Value string }

var (
	errClosed = errors.New("the file is closed")
	errPlan   = errors.New("the plan is of another schema")
	errGroups = errors.New("a file has at most 32,767 row groups")
)

// Writer writes one file. It is used by one goroutine. An error of the output stays: every later call gives it.
type Writer struct {
	o       Options
	out     io.Writer
	fields  []record.Field
	plan    *Plan
	leaves  []leaf
	columns []column // by leaf
	offset  int64    // in the file
	rows    int      // of the open row group
	total   int64
	groups  []format.RowGroup
	pages   [][]page   // of every chunk written
	work    []*scratch // one a worker; the first is the writer's own
	spare   blocks     // of chunks that were written by column
	broken  error      // the schema cannot be written
	err     error
}

// NewWriter makes a writer of columns that fit fields. The plan comes from Sample with the same fields; nil tries a
// dictionary for each column.
func NewWriter(out io.Writer, fields []record.Field, plan *Plan, o Options) *Writer {
	if plan == nil {
		plan = Sample(fields, nil, 0)
	}
	w := &Writer{o: o.withDefaults(), fields: fields, plan: plan}
	w.leaves, w.broken = leaves(fields)
	if w.broken == nil && len(plan.choices) != len(w.leaves) {
		w.broken = errPlan
	}
	w.columns = make([]column, len(w.leaves))
	for range w.o.Workers {
		w.work = append(w.work, newScratch(w.o, &plan.codec))
	}
	w.Reset(out)
	return w
}

// Reset makes the writer ready for another file of the same fields; memory is kept.
func (w *Writer) Reset(out io.Writer) {
	w.out, w.offset, w.rows, w.total, w.err = out, 0, 0, 0, w.broken
	w.groups, w.pages = w.groups[:0], w.pages[:0]
	for _, s := range w.work {
		s.err = nil
	}
	if w.err != nil {
		return
	}
	for i := range w.columns {
		c := &w.columns[i]
		c.leaf, c.choice, c.left, c.stride = &w.leaves[i], w.plan.choice(&w.leaves[i], i), &w.plan.left[i], firstStride
		if w.o.Plain {
			c.choice = choice{encoding: asPlain, zstd: true, without: asPlain}
		}
		c.resetPage()
		c.resetChunk()
	}
	w.write([]byte(magic))
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *Writer) write(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.out.Write(p)
	w.offset += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(fmt.Errorf("write Parquet file: %w", err))
	}
}

// Write takes rows [lo,hi) of the columns; absent values are written as null. When a row cannot be stored without loss
// nothing of the call is written, and the error names row and column. It is not *fault.Rows: rows of other calls may be
// in the file, so it is too late to leave some out. Who wants to asks Check before.
func (w *Writer) Write(columns []record.Column, lo, hi int) error {
	if w.err != nil {
		return w.err
	}
	if w.o.Checked {
		if len(columns) != len(w.fields) {
			return fmt.Errorf("write rows: %d columns for %d fields", len(columns), len(w.fields))
		}
	} else if err := check(w.fields, columns, lo, hi); err != nil {
		return fmt.Errorf("write rows: %s", err) //nolint:errorlint // on purpose, see above
	}
	for lo < hi && w.err == nil {
		n := min(hi-lo, w.o.RowGroupRows-w.rows, w.o.PageRows)
		w.each(func(s *scratch, c *column) { c.write(s, &columns[c.top], span{lo: lo, hi: lo + n}) })
		lo += n
		w.rows += n
		w.total += int64(n)
		size := 0
		for i := range w.columns {
			size += w.columns[i].chunk.size
		}
		if w.rows >= w.o.RowGroupRows || size >= w.o.RowGroupBytes {
			w.endGroup()
		}
	}
	return w.err
}

// each does f for every column; columns share nothing, so workers take them in turn.
func (w *Writer) each(f func(s *scratch, c *column)) {
	var next atomic.Int32
	take := func(s *scratch) {
		for i := int(next.Add(1)) - 1; i < len(w.columns); i = int(next.Add(1)) - 1 {
			f(s, &w.columns[i])
			runtime.Gosched() // who waits for a millisecond of CPU, such as an answer of the API, need not wait for the end of its ten
		}
	}
	var wg sync.WaitGroup
	for _, s := range w.work[1:] {
		wg.Go(func() { take(s) })
	}
	take(w.work[0])
	wg.Wait()
	for _, s := range w.work {
		w.fail(s.err)
	}
}

// Rows counts the rows taken since the start of the file.
func (w *Writer) Rows() int64 { return w.total }

// Written is the size of the file so far: the bytes given to the output and an estimate of those still held.
func (w *Writer) Written() int64 {
	n := w.offset
	for i := range w.columns {
		n += int64(w.columns[i].expected())
	}
	return n
}

// Held is the memory that the writer holds, in bytes.
func (w *Writer) Held() int {
	n := w.spare.held
	for _, s := range w.work {
		n += s.held()
	}
	for i := range w.columns {
		n += w.columns[i].held()
	}
	for _, p := range w.pages {
		n += pageSize * cap(p)
	}
	return n
}

// Close ends the file; it does not close the output. The writer takes rows again after Reset.
func (w *Writer) Close(meta ...KeyValue) error {
	w.endGroup()
	w.writeIndexes()
	w.writeFooter(meta)
	err := w.err
	w.fail(errClosed)
	return err
}
