package compaction

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// errFull says that a column needs more memory than may be.
var errFull = errors.New("the column needs too much memory")

// loaded is a column of all inputs, or those of its rows that come at some places of the order.
type loaded struct {
	field    record.Field
	rows     int           // in column or versions; 0: every row has the value of constant
	constant record.Column // as long as every row has one value
	alike    int           // rows that have it
	most     int           // rows that there will be
	column   record.Column
	versions versions
	part     versions // of one piece, as they are read
	slots    []int32  // of the rows that were chosen; nil: all were
	some     []int32  // rows of a piece, in the order that they are kept in
}

// slot says where a kept row is in the column.
func (c *loaded) slot(row int32) int32 {
	if c.slots == nil {
		return row
	}
	return c.slots[row]
}

// load reads those rows of a field that come at places [lo,hi) of the order. When they need more memory than may be it
// gives errFull and how many rows it had looked at; what is loaded is whole if that is all of them.
func (m *merge) load(ctx context.Context, field, lo, hi int) (seen int, err error) {
	c := &m.column
	c.reset(m.fields[field])
	if lo > 0 || hi < m.rows {
		m.ranks()
		c.slots = make([]int32, m.rows)
	}
	err = m.each(ctx, field, func(r *parquet.Reader, rows int) error {
		if err := m.piece(r, seen, rows, lo, hi); err != nil {
			return err
		}
		seen += rows
		return nil
	})
	return seen, err
}

// each gives do the pieces of all inputs, with a reader of a field that stands before them. An error of it that is not
// errFull names the input.
func (m *merge) each(ctx context.Context, field int, do func(r *parquet.Reader, rows int) error) error {
	for i := range m.inputs {
		in := &m.inputs[i]
		r := parquet.NewReader(in.parquet, in.wanted[field:field+1])
		var err error
		for _, rows := range in.pieces {
			if err = ctx.Err(); err != nil {
				break
			}
			if err = do(r, rows); err != nil {
				break
			}
		}
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		switch {
		case err == nil:
		case errors.Is(err, errFull), errors.Is(err, errOutput), ctx.Err() != nil:
			return err
		default:
			return damaged(in.name, err)
		}
	}
	return nil
}

// readPiece reads rows of one field; it takes more than one read where versions are of several epochs.
func readPiece(r *parquet.Reader, rows int, do func(c *record.Column, n int) error) error {
	var read [1]record.Column
	for rows > 0 {
		n, misfits, err := r.Read(read[:], rows)
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(misfits) > 0:
			return misfits[0].Err
		}
		if err := do(&read[0], n); err != nil {
			return err
		}
		rows -= n
	}
	return nil
}

// piece reads rows of one input, the first of which has the number seen, and keeps those that are wanted.
func (m *merge) piece(r *parquet.Reader, seen, rows, lo, hi int) error {
	c := &m.column
	c.some = c.some[:0]
	for i := range rows {
		if c.slots != nil {
			if place := int(m.rank[seen+i]); place < lo || place >= hi {
				continue
			}
			c.slots[seen+i] = int32(c.rows + c.alike + len(c.some)) //nolint:gosec // rows of a file
		}
		row := int32(i)
		if m.local != nil {
			row = m.local[seen+i]
		}
		c.some = append(c.some, row)
	}
	c.part.reset()
	var last *record.Column
	err := readPiece(r, rows, func(read *record.Column, n int) error {
		if last = read; n < rows {
			c.part.add(&read.Versions, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.add(last, hi-lo)
	if c.size() > m.limit {
		return errFull
	}
	return nil
}

// ranks turns the order round.
func (m *merge) ranks() {
	if m.rank != nil {
		return
	}
	m.rank = make([]int32, m.rows)
	for place, row := range m.order {
		m.rank[row] = int32(place)
	}
}

func (c *loaded) reset(field record.Field) {
	empty(&c.column)
	c.versions.reset()
	c.field, c.rows, c.alike, c.slots = field, 0, 0, nil
}

// empty keeps the memory of a column.
func empty(c *record.Column) {
	*c = record.Column{Ints: c.Ints[:0], Floats: c.Floats[:0], Wide: c.Wide[:0], Offsets: c.Offsets[:0], Bytes: c.Bytes[:0]}
}

// size is the memory in use; what earlier columns left is not counted.
func (c *loaded) size() int {
	x, v := &c.column, &c.versions
	n := 8*(len(x.Ints)+len(x.Floats)+len(x.Valid)) + 16*len(x.Wide) + 4*len(x.Offsets) + len(x.Bytes) + 22*len(v.lo)
	for i := range x.Children {
		n += x.Children[i].Size()
	}
	return n
}

// add appends the chosen rows of a piece to what will have so many. As long as all have one value they are only counted.
func (c *loaded) add(piece *record.Column, most int) {
	if len(c.some) == 0 {
		return
	}
	whole := len(c.part.lo) == 0
	if c.rows == 0 && whole && piece.Const && (c.alike == 0 || equal(&c.field, &c.constant, piece)) {
		c.constant = *piece
		c.alike += len(c.some)
		return
	}
	if c.rows == 0 {
		c.reserve(most)
	}
	for zeros := make([]int32, min(c.alike, pieceRows)); c.alike > 0; {
		n := min(c.alike, pieceRows)
		c.append(&c.constant, zeros[:n])
		c.alike -= n
	}
	if whole {
		c.append(piece, c.some)
		return
	}
	c.versions.gather(&c.part, c.some)
	c.rows += len(c.some)
}

func (c *loaded) append(from *record.Column, rows []int32) {
	if c.field.Kind == record.VersionText {
		c.part.reset()
		c.part.add(&from.Versions, int(slices.Max(rows))+1)
		c.versions.gather(&c.part, rows)
	} else {
		first := c.rows == 0
		c.column.Gather(c.field, from, rows, c.rows)
		if n := len(c.column.Bytes); first && n > 0 { // the others will be about as long
			c.column.Bytes = slices.Grow(c.column.Bytes, min(n/len(rows)*c.most*9/8, columnSize))
		}
	}
	c.rows += len(rows)
}

// reserve makes room, so that a column of numbers is never moved.
func (c *loaded) reserve(rows int) {
	x := &c.column
	c.most = rows
	switch k := c.field.Kind; {
	case k == record.Float32 || k == record.Float64:
		x.Floats = slices.Grow(x.Floats, rows)
	case c.field.Wide():
		x.Wide = slices.Grow(x.Wide, rows)
	case k == record.String || k == record.Bytes || k == record.List:
		x.Offsets = slices.Grow(x.Offsets, rows+1)
	case k == record.Struct:
	case k == record.VersionText:
		c.versions.grow(rows)
	default:
		x.Ints = slices.Grow(x.Ints, rows)
	}
}

// equal says whether two constants are the same; of nested values only nulls are.
func equal(f *record.Field, a, b *record.Column) bool {
	valid := a.IsValid(0)
	switch {
	case valid != b.IsValid(0):
		return false
	case !valid:
		return true
	}
	switch f.Kind {
	case record.List, record.Struct:
		return false
	case record.Float32, record.Float64:
		return math.Float64bits(a.Floats[0]) == math.Float64bits(b.Floats[0])
	case record.String, record.Bytes:
		return bytes.Equal(a.Text(0), b.Text(0))
	case record.VersionText:
		return a.Versions.At(0) == b.Versions.At(0)
	}
	if f.Wide() {
		return a.Wide[0] == b.Wide[0]
	}
	return a.Ints[0] == b.Ints[0]
}

// versions are versions of any epochs.
type versions struct {
	epochs     []uint16
	hi, lo     []uint64
	index      []uint32
	one, oneHi bool // all epochs, or all high words, are one
	some       record.Versions
}

func (v *versions) reset() {
	v.epochs, v.hi, v.lo, v.index, v.one, v.oneHi = v.epochs[:0], v.hi[:0], v.lo[:0], v.index[:0], true, true
}

func (v *versions) grow(rows int) {
	v.epochs, v.hi = slices.Grow(v.epochs, rows), slices.Grow(v.hi, rows)
	v.lo, v.index = slices.Grow(v.lo, rows), slices.Grow(v.index, rows)
}

// add appends the first rows of versions.
func (v *versions) add(from *record.Versions, rows int) {
	for row := range rows {
		x := from.At(row)
		v.one = v.one && (len(v.epochs) == 0 || v.epochs[0] == x.Epoch)
		v.oneHi = v.oneHi && (len(v.hi) == 0 || v.hi[0] == x.Hi)
		v.epochs, v.hi, v.lo, v.index = append(v.epochs, x.Epoch), append(v.hi, x.Hi), append(v.lo, x.Lo), append(v.index, x.Index)
	}
}

// gather appends some rows of others.
func (v *versions) gather(from *versions, rows []int32) {
	v.one = v.one && from.one && (len(v.epochs) == 0 || v.epochs[0] == from.epochs[0])
	v.oneHi = v.oneHi && from.oneHi && (len(v.hi) == 0 || v.hi[0] == from.hi[0])
	for _, row := range rows {
		v.epochs, v.hi = append(v.epochs, from.epochs[row]), append(v.hi, from.hi[row])
		v.lo, v.index = append(v.lo, from.lo[row]), append(v.index, from.index[row])
	}
}

// compare orders two rows by their versions, or as they stand.
func (v *versions) compare(a, b int32) int {
	one := record.Version{Epoch: v.epochs[a], Hi: v.hi[a], Lo: v.lo[a], Index: v.index[a]}
	return cmp.Or(one.Compare(record.Version{Epoch: v.epochs[b], Hi: v.hi[b], Lo: v.lo[b], Index: v.index[b]}), cmp.Compare(a, b))
}

// put gives the versions of rows; those of one column are of one epoch.
func (v *versions) put(out *record.Column, rows []int32, put parquet.Put) error {
	for len(rows) > 0 {
		epoch, n := v.epochs[rows[0]], len(rows)
		if !v.one {
			n = 1
			for n < len(rows) && v.epochs[rows[n]] == epoch {
				n++
			}
		}
		x := &v.some
		x.Epoch, x.Hi, x.Lo, x.Index = epoch, x.Hi[:0], x.Lo[:0], x.Index[:0]
		for _, row := range rows[:n] {
			x.Lo, x.Index = append(x.Lo, v.lo[row]), append(x.Index, v.index[row])
		}
		if v.oneHi {
			x.Hi = append(x.Hi, v.hi[0])
		} else {
			for _, row := range rows[:n] {
				x.Hi = append(x.Hi, v.hi[row])
			}
		}
		out.Versions = *x
		if err := put(out, 0, n); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
