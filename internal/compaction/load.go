package compaction

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"

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
	column   record.Column
	versions versions
	slots    []int32 // of the rows that were chosen, by row; nil: all were
	some     []int32 // rows of a piece
}

// slot says where a row is in the column.
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
	for i := range m.inputs {
		in := &m.inputs[i]
		r := parquet.NewReader(in.parquet, in.wanted[field:field+1])
		before := seen
		seen, err = m.loadFrom(ctx, r, seen, lo, hi)
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err == nil && seen-before != int(in.parquet.Rows()) {
			err = io.ErrUnexpectedEOF
		}
		switch {
		case errors.Is(err, errFull) || err != nil && ctx.Err() != nil:
			return seen, err
		case err != nil:
			return seen, damaged(in.name, err)
		}
	}
	return seen, nil
}

// loadFrom reads one input, whose first row has the number seen.
func (m *merge) loadFrom(ctx context.Context, r *parquet.Reader, seen, lo, hi int) (int, error) {
	c := &m.column
	var piece [1]record.Column
	for {
		if ctx.Err() != nil {
			return seen, ctx.Err()
		}
		n, misfits, err := r.Read(piece[:], pieceRows)
		switch {
		case errors.Is(err, io.EOF):
			return seen, nil
		case err != nil:
			return seen, err
		case len(misfits) > 0:
			return seen, misfits[0].Err
		}
		c.some = c.some[:0]
		for i := range n {
			if c.slots != nil {
				place := int(m.rank[seen+i])
				if place < lo || place >= hi {
					continue
				}
				c.slots[seen+i] = int32(c.rows + c.alike + len(c.some)) //nolint:gosec // rows of a file
			}
			c.some = append(c.some, int32(i))
		}
		c.add(&piece[0])
		seen += n
		if c.size() > m.limit {
			return seen, errFull
		}
	}
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

// add appends the chosen rows of a piece. As long as all have one value they are only counted.
func (c *loaded) add(piece *record.Column) {
	if len(c.some) == 0 {
		return
	}
	if c.rows == 0 && piece.Const && (c.alike == 0 || equal(&c.field, &c.constant, piece)) {
		c.constant = *piece
		c.alike += len(c.some)
		return
	}
	for zeros := make([]int32, min(c.alike, pieceRows)); c.alike > 0; {
		n := min(c.alike, pieceRows)
		c.append(&c.constant, zeros[:n])
		c.alike -= n
	}
	c.append(piece, c.some)
}

func (c *loaded) append(from *record.Column, rows []int32) {
	if c.field.Kind == record.VersionText {
		c.versions.add(&from.Versions, rows)
	} else {
		c.column.Gather(c.field, from, rows, c.rows)
	}
	c.rows += len(rows)
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
	epochs []uint16
	hi, lo []uint64
	index  []uint32
	same   bool // all epochs are one
	some   record.Versions
}

func (v *versions) reset() {
	v.epochs, v.hi, v.lo, v.index, v.same = v.epochs[:0], v.hi[:0], v.lo[:0], v.index[:0], true
}

func (v *versions) add(from *record.Versions, rows []int32) {
	if len(v.epochs) > 0 && v.epochs[0] != from.Epoch {
		v.same = false
	}
	for _, row := range rows {
		x := from.At(int(row))
		v.epochs, v.hi, v.lo, v.index = append(v.epochs, x.Epoch), append(v.hi, x.Hi), append(v.lo, x.Lo), append(v.index, x.Index)
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
		epoch := v.epochs[rows[0]]
		n := 0
		x := &v.some
		x.Epoch, x.Hi, x.Lo, x.Index = epoch, x.Hi[:0], x.Lo[:0], x.Index[:0]
		for ; n < len(rows) && (v.same || v.epochs[rows[n]] == epoch); n++ {
			row := rows[n]
			x.Hi, x.Lo, x.Index = append(x.Hi, v.hi[row]), append(x.Lo, v.lo[row]), append(x.Index, v.index[row])
		}
		out.Versions = *x
		if err := put(out, 0, n); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
