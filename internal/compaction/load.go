package compaction

import (
	"bytes"
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
	rows     int           // in column, versions or lexicon; 0: every row has the value of constant
	constant record.Column // as long as every row has one value
	alike    int           // rows that have it
	most     int           // rows that there will be
	column   record.Column
	versions versions
	lexicon  lexicon
	read     record.Column // a piece, in memory that is used again
	part     versions      // of one piece, when they are of several epochs
	slots    []int32       // of the rows that were chosen; nil: all were
	some     []int32       // rows of a piece, in the order that they are kept in
	chosen   []int32       // memory for some
	pick     []uint32      // slots that are put
}

// load reads those rows of a field that come at places [lo,hi) of the order. When they need more memory than may be it
// gives errFull and how many rows it had looked at; what is loaded is whole if that is all of them.
func (m *merge) load(ctx context.Context, c *loaded, field, lo, hi, limit int) (seen int, err error) {
	c.reset(m.fields[field])
	c.most = hi - lo
	if lo > 0 || hi < m.rows {
		m.ranks()
		c.slots = make([]int32, m.rows)
		c.lexicon.on = false // it would hold the texts of other rows too
	}
	err = m.each(ctx, field, func(r *parquet.Reader, rows int) error {
		m.choose(c, seen, rows, lo, hi)
		if err := c.piece(r, rows); err != nil {
			return err
		}
		seen += rows
		if c.size() > limit {
			return errFull
		}
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

// readPiece reads rows of one field; it takes more than one read where versions are of several epochs. The memory of what it
// read last is used again.
func readPiece(r *parquet.Reader, read *record.Column, rows int, do func(n int) error) error {
	one := [1]record.Column{*read}
	for rows > 0 {
		n, misfits, err := r.Read(one[:], rows)
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(misfits) > 0:
			return misfits[0].Err
		}
		*read = one[0]
		if err := do(n); err != nil {
			return err
		}
		rows -= n
	}
	return nil
}

// choose says which rows of a piece, the first of which has the number seen, are kept, and in which order.
func (m *merge) choose(c *loaded, seen, rows, lo, hi int) {
	if c.slots == nil && m.local != nil {
		c.some = m.local[seen : seen+rows]
		return
	}
	chosen := c.chosen[:0]
	for i := range rows {
		if c.slots != nil {
			if place := int(m.rank[seen+i]); place < lo || place >= hi {
				continue
			}
			c.slots[seen+i] = int32(c.rows + c.alike + len(chosen)) //nolint:gosec // rows of a file
		}
		row := int32(i)
		if m.local != nil {
			row = m.local[seen+i]
		}
		chosen = append(chosen, row)
	}
	c.some, c.chosen = chosen, chosen
}

// piece reads a piece and keeps the chosen rows.
func (c *loaded) piece(r *parquet.Reader, rows int) error {
	known := 0
	if c.lexicon.on {
		n, err := c.lexicon.take(r, rows)
		if err != nil {
			return err
		}
		if n == rows {
			c.addNumbers()
			if c.lexicon.full() {
				c.spell()
			}
			return nil
		}
		c.spell()
		known = n
	}
	c.part.reset()
	err := readPiece(r, &c.read, rows-known, func(n int) error {
		if c.field.Kind == record.VersionText && n < rows {
			c.part.add(&c.read.Versions, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if known > 0 {
		c.join(known, rows)
	}
	c.add()
	return nil
}

// join puts the texts of a lexicon in front of those that were read.
func (c *loaded) join(known, rows int) {
	both, rest := record.Column{}, make([]int32, rows-known)
	for i := range rest {
		rest[i] = int32(i)
	}
	both.Gather(c.field, &c.lexicon.texts, c.lexicon.piece[:known], 0)
	both.Gather(c.field, &c.read, rest, known)
	c.read = both
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
	c.lexicon.reset(&field)
	c.field, c.rows, c.alike, c.slots = field, 0, 0, nil
}

// empty keeps the memory of a column.
func empty(c *record.Column) {
	*c = record.Column{Ints: c.Ints[:0], Floats: c.Floats[:0], Wide: c.Wide[:0], Offsets: c.Offsets[:0], Bytes: c.Bytes[:0]}
}

// size is the memory in use; what earlier columns left is not counted.
func (c *loaded) size() int {
	x, v := &c.column, &c.versions
	n := 8*(len(x.Ints)+len(x.Floats)+len(x.Valid)) + 16*len(x.Wide) + 4*len(x.Offsets) + len(x.Bytes) + 22*len(v.lo) + c.lexicon.size()
	for i := range x.Children {
		n += x.Children[i].Size()
	}
	return n
}

// add keeps the chosen rows of the piece. As long as all have one value they are only counted.
func (c *loaded) add() {
	if len(c.some) == 0 {
		return
	}
	whole := len(c.part.lo) == 0
	if c.rows == 0 && whole && c.read.Const && (c.alike == 0 || equal(&c.field, &c.constant, &c.read)) {
		if c.alike == 0 {
			c.constant = first(c.field, &c.read, 0)
		}
		c.alike += len(c.some)
		return
	}
	c.vary()
	if whole {
		c.append(&c.read, c.some)
		return
	}
	c.versions.gather(&c.part, c.some)
	c.rows += len(c.some)
}

// addNumbers does the same with a piece of the lexicon.
func (c *loaded) addNumbers() {
	x := &c.lexicon
	if len(c.some) == 0 {
		return
	}
	if c.rows == 0 && x.one() {
		one := first(c.field, &x.texts, x.piece[0])
		if c.alike == 0 || equal(&c.field, &c.constant, &one) {
			c.constant = one
			c.alike += len(c.some)
			return
		}
	}
	if c.rows == 0 && c.alike > 0 {
		id := int32(0)
		if c.constant.IsValid(0) {
			id = x.number(c.constant.Text(0))
		}
		for ; c.alike > 0; c.alike-- {
			x.ids = append(x.ids, id)
			c.rows++
		}
	}
	x.ids = slices.Grow(x.ids, max(len(c.some), c.most-len(x.ids)))
	for _, row := range c.some {
		x.ids = append(x.ids, x.piece[row])
	}
	c.rows += len(c.some)
}

// first is a constant with the value of a row.
func first(f record.Field, c *record.Column, row int32) record.Column {
	var one record.Column
	one.Gather(f, c, []int32{row}, 0)
	one.Const = true
	return one
}

// spell leaves the lexicon: from here on the column holds its texts.
func (c *loaded) spell() {
	x := &c.lexicon
	if !x.on {
		return
	}
	x.on = false
	if len(x.ids) > 0 {
		c.reserve()
		c.column.Gather(c.field, &x.texts, x.ids, 0)
		x.ids = x.ids[:0]
	}
}

// vary turns the rows that were only counted into slots.
func (c *loaded) vary() {
	if c.rows == 0 {
		c.reserve()
	}
	for zeros := make([]int32, min(c.alike, pieceRows)); c.alike > 0; {
		n := min(c.alike, pieceRows)
		c.append(&c.constant, zeros[:n])
		c.alike -= n
	}
}

func (c *loaded) append(from *record.Column, rows []int32) {
	if c.field.Kind == record.VersionText {
		c.versions.take(&from.Versions, rows)
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
func (c *loaded) reserve() {
	x, rows := &c.column, c.most
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
