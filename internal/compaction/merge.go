package compaction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

const (
	pieceRows  = 32_768   // taken from a reader at a time
	pieceSize  = 16 << 20 // bytes of their rows, about
	sliceRows  = 16_384   // given to a writer at a time
	columnSize = 64 << 20 // bytes of a column that are held at a time
)

// errOutput tells a merged file that cannot be written from an input that cannot be read.
var errOutput = errors.New("write the merged file")

// errWide is of inputs whose keys together need more memory than may be.
var errWide = errors.New("the keys of the files need too much memory")

// input is a file that is merged.
type input struct {
	name    string // below the lake's root
	file    blob.Object
	parquet *parquet.File
	wanted  []parquet.Wanted
	pieces  []int // rows that are read at a time, none across row groups
}

// merge writes the rows of files as one, sorted by key, then version. It never holds rows: the keys give the order, and then
// one column after the other is read from all files, put in that order, and written. A column that does not fit into the
// memory is read several times, each time for a part of the order.
type merge struct {
	fields  []record.Field
	keys    []int // indexes of the key's fields
	version int   // index of the version's field
	inputs  []input
	rows    int
	limit   int // bytes of a column that are held at a time

	order   []int32  // the kept row, counted through all inputs, that comes at each place
	local   []int32  // the row of its piece that is kept at each place of the piece: see settle
	inOrder bool     // the rows stand in order already
	places  []uint32 // order, once it is settled, as slots
	rank    []int32  // the place of each kept row; made when a column does not fit
	column  loaded
	ahead   loading
	writer  *parquet.Writer
}

func newMerge(t *schemas.LakeTable, limit int) *merge {
	m := &merge{fields: append(append([]record.Field{}, t.Columns...), schemas.SystemFields()...), limit: limit}
	at := map[string]int{}
	for i, f := range m.fields {
		at[f.Name] = i
	}
	for _, name := range t.Key {
		m.keys = append(m.keys, at[name])
	}
	m.version = at[schemas.VersionColumn]
	return m
}

// open opens the inputs. On an error those that are open are closed.
func (m *merge) open(ctx context.Context, bucket blob.Files, names []string) (err error) {
	m.rows = 0
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	for _, name := range names {
		in := input{name: name}
		if in.file, err = blob.Whole(ctx, bucket, name); err != nil {
			return err
		}
		m.inputs = append(m.inputs, in)
		if err := m.bind(&m.inputs[len(m.inputs)-1]); err != nil {
			return damaged(name, err)
		}
	}
	return nil
}

func (m *merge) close() {
	for _, in := range m.inputs {
		_ = in.file.Close() // it was only read
	}
	m.inputs = nil
}

// bind finds the fields in the file. A column of the file that the table does not know would be lost: it is an error.
func (m *merge) bind(in *input) (err error) {
	if in.parquet, err = parquet.Open(in.file, in.file.Size()); err != nil {
		return err
	}
	if in.wanted, err = in.parquet.Bind(m.fields); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, f := range m.fields {
		known[f.Name] = true
	}
	for _, c := range in.parquet.Columns() {
		if !known[c.Field.Name] {
			return fmt.Errorf("column %s is not in the description of the table", c.Field.Name)
		}
	}
	for _, g := range in.parquet.Groups() {
		most := int(min(pieceRows, max(1024, pieceSize*g.Rows/max(1, g.Plain))))
		for left := int(g.Rows); left > 0; left -= most {
			in.pieces = append(in.pieces, min(left, most))
		}
	}
	m.rows += int(in.parquet.Rows())
	return nil
}

// damaged names a file that cannot be merged.
func damaged(name string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-LAKE-024", Place: name, Err: fmt.Errorf("it cannot be compacted: %w", err),
		Remedy: "restore the file from a copy, or move it out of the lake; nothing was changed",
	}
}

// write writes the merged file.
func (m *merge) write(ctx context.Context, to io.Writer, plan *parquet.Plan, meta ...parquet.KeyValue) error {
	if err := m.sort(ctx); err != nil {
		return err
	}
	if m.inOrder = slices.IsSorted(m.order); !m.inOrder {
		m.settle()
	}
	defer m.ahead.stop()
	w := m.writer
	if w == nil {
		w = parquet.NewWriter(to, m.fields, plan, parquet.Options{Checked: true})
		m.writer = w
	} else {
		w.Reset(to)
	}
	err := w.WriteGroup(m.rows, func(field int, put parquet.Put) error { return m.field(ctx, field, put) })
	if err != nil {
		return err
	}
	return w.Close(append(meta, parquet.KeyValue{Key: "acequia.rows", Value: strconv.Itoa(m.rows)})...)
}

// sample reads the first rows of the largest input, to choose encodings by.
func (m *merge) sample() (*parquet.Plan, error) {
	best := &m.inputs[0]
	for i := range m.inputs {
		if m.inputs[i].parquet.Rows() > best.parquet.Rows() {
			best = &m.inputs[i]
		}
	}
	r := parquet.NewReader(best.parquet, best.wanted)
	defer func() { _ = r.Close() }() // it was only read
	columns := make([]record.Column, len(m.fields))
	n, _, err := r.Read(columns, parquet.SampleRows)
	if errors.Is(err, io.EOF) {
		return parquet.Sample(m.fields, nil, 0), nil
	}
	if err != nil {
		return nil, damaged(best.name, err)
	}
	return parquet.Sample(m.fields, columns, n), nil
}

// field puts one column, in order.
func (m *merge) field(ctx context.Context, field int, put parquet.Put) error {
	if m.inOrder {
		return m.pass(ctx, field, put)
	}
	if c := m.ahead.take(field); c != nil { // it was read while the one before it was written
		m.column, m.ahead.column = *c, m.column
		m.lookAhead(ctx, field+1)
		return m.put(&m.column, 0, m.rows, put)
	}
	for lo, window := 0, m.rows; lo < m.rows; {
		hi := min(lo+window, m.rows)
		seen, err := m.load(ctx, &m.column, field, lo, hi, m.limit)
		if errors.Is(err, errFull) && window > 1 {
			window = max(1, int(float64(window)*0.8*float64(seen)/float64(m.rows)))
			continue
		}
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		if hi == m.rows {
			m.lookAhead(ctx, field+1)
		}
		if err := m.put(&m.column, lo, hi, put); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}

// pass puts one column as it is read.
func (m *merge) pass(ctx context.Context, field int, put parquet.Put) error {
	return m.each(ctx, field, func(r *parquet.Reader, rows int) error {
		return readPiece(r, &m.column.read, rows, func(n int) error {
			if err := put(&m.column.read, parquet.Rows{Hi: n}); err != nil {
				return fmt.Errorf("%w: %w", errOutput, err)
			}
			return nil
		})
	})
}

// put gives the loaded rows of places [lo,hi) in their order.
func (m *merge) put(c *loaded, lo, hi int, put parquet.Put) error {
	if c.rows == 0 { // every row has the one value
		return put(&c.constant, parquet.Rows{Hi: hi - lo})
	}
	for lo < hi {
		n := min(hi-lo, sliceRows)
		if err := c.put(m.order[lo:lo+n], m.places[lo:lo+n], put); err != nil {
			return err
		}
		lo += n
	}
	return nil
}

// put gives kept rows; places are the same rows, as slots of a column that has all.
func (c *loaded) put(rows []int32, places []uint32, put parquet.Put) error {
	slots := places
	switch {
	case c.lexicon.on:
		c.pick = c.pick[:0]
		for _, row := range rows {
			c.pick = append(c.pick, uint32(c.lexicon.ids[row])) //nolint:gosec // never negative
		}
		return put(&c.lexicon.texts, parquet.Rows{Pick: c.pick})
	case c.slots != nil:
		c.pick = c.pick[:0]
		for _, row := range rows {
			c.pick = append(c.pick, uint32(c.slots[row])) //nolint:gosec // never negative
		}
		slots = c.pick
	}
	if c.field.Kind == record.VersionText {
		return c.versions.put(slots, put)
	}
	return put(&c.column, parquet.Rows{Pick: slots})
}
