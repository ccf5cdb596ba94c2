package parquet

import (
	"errors"
	"io"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// walk puts nested rows together again, leaf after leaf: the first leaf under a list or struct makes its slots, the others
// only bring their values.
type walk struct {
	way   []*record.Column
	slots []int
	has   []byte // of the leaf's slots: 1 where there is a value
}

// shape gives a nested column its children.
func shape(f *record.Field, c *record.Column) {
	if f.Kind == record.List {
		c.Offsets = append(c.Offsets, 0)
	}
	if len(f.Fields) > 0 {
		c.Children = make([]record.Column, len(f.Fields))
	}
	for i := range f.Fields {
		shape(&f.Fields[i], &c.Children[i])
	}
}

// fill makes all bitmaps and values under a column cover its slots.
func fill(f *record.Field, c *record.Column, slots int) {
	pad(c, slots)
	switch f.Kind {
	case record.Struct:
		for i := range f.Fields {
			fill(&f.Fields[i], &c.Children[i], slots)
		}
	case record.List:
		fill(&f.Fields[0], &c.Children[0], int(c.Offsets[len(c.Offsets)-1]))
	}
}

// leaf reads the values of so many rows.
func (w *walk) leaf(c *cursor, f *record.Field, out *record.Column, rows int) error {
	w.way, w.slots, w.has = append(w.way[:0], out), append(w.slots[:0], 0), w.has[:0]
	at := f
	for _, s := range c.steps[1:] {
		at, out = &at.Fields[s.child], &out.Children[s.child]
		w.way, w.slots = append(w.way, out), append(w.slots, 0)
	}
	c.packed.begun = false
	room(at, out, rows)
	values, row := 0, 0
	for {
		err := c.next()
		switch {
		case errors.Is(err, io.EOF) && row == rows:
			return w.end(c, at, out, values)
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		from := c.at
		row = w.entries(c, row, rows)
		n := c.values(from, c.at)
		took, err := c.packed.take(out, n, values, &c.misfits)
		if err != nil {
			return err
		}
		if took < n {
			return errEpochs
		}
		if values += n; c.at < c.entries {
			return w.end(c, at, out, values)
		}
	}
}

// entries takes those of a page, up to the row after the last that is wanted, and counts the rows.
func (w *walk) entries(c *cursor, row, rows int) int {
	for ; c.at < c.entries; c.at++ {
		rep, def := uint8(0), c.maxDef
		if len(c.reps) > 0 {
			rep = c.reps[c.at]
		}
		if rep == 0 {
			if row == rows {
				break
			}
			row++
		}
		if len(c.defs) > 0 {
			def = c.defs[c.at]
		}
		w.entry(c, rep, def)
	}
	return row
}

var errEpochs = errors.New("versions of several epochs, in a nested column or in a second one")

// end moves the values to the slots that have one.
func (w *walk) end(c *cursor, f *record.Field, out *record.Column, values int) error {
	if len(c.misfits) > 0 { // a value in a list has no row of its own to name
		return c.misfits[0].Err
	}
	if len(w.has) > values {
		spread(f, out, 0, w.has, 1, values)
	}
	return nil
}

// entry adds the slots that an entry of the leaf begins.
func (w *walk) entry(c *cursor, rep, def uint8) {
	d := 0
	if rep > 0 {
		for d < len(c.steps) && (c.steps[d].kind != record.List || c.steps[d].rep != rep) {
			d++
		}
		w.element(c, d)
		d++
	}
	for ; d < len(c.steps)-1; d++ {
		s := &c.steps[d]
		if d >= c.known {
			w.slot(s, d, def)
		}
		if s.kind != record.List {
			continue
		}
		if def <= s.def {
			return
		}
		w.element(c, d)
	}
	if def == c.maxDef {
		w.has = append(w.has, 1)
		return
	}
	if c.steps[d].nullable {
		w.way[d].SetNull(len(w.has))
	}
	w.has = append(w.has, 0)
}

// slot begins one of a list or struct.
func (w *walk) slot(s *step, d int, def uint8) {
	col := w.way[d]
	if s.nullable && def < s.def {
		col.SetNull(w.slots[d])
	}
	w.slots[d]++
	if s.kind == record.List {
		col.Offsets = append(col.Offsets, col.Offsets[len(col.Offsets)-1])
	}
}

// element adds one to the list of a step.
func (w *walk) element(c *cursor, d int) {
	if d >= c.known {
		off := w.way[d].Offsets
		off[len(off)-1]++
	}
}

// spread moves the last values of a column, which has done slots in front of them, to the entries that have one.
func spread(f *record.Field, c *record.Column, done int, has []byte, most byte, values int) {
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		c.Floats = spreadOut(c.Floats, done, has, most, values)
	case f.Wide():
		c.Wide = spreadOut(c.Wide, done, has, most, values)
	case f.Kind == record.String || f.Kind == record.Bytes:
		spreadOffsets(c, done, has, most, values)
	case f.Kind == record.VersionText:
		v := &c.Versions
		v.Hi, v.Lo = spreadOut(v.Hi, done, has, most, values), spreadOut(v.Lo, done, has, most, values)
		v.Index = spreadOut(v.Index, done, has, most, values)
	default:
		c.Ints = spreadOut(c.Ints, done, has, most, values)
	}
}

// spreadOut goes from the end, so that no value is written over before it was moved.
func spreadOut[T any](v []T, done int, has []byte, most byte, values int) []T {
	v = slices.Grow(v, len(has)-values)[:done+len(has)]
	out := v[done:]
	var zero T
	for i, h := range slices.Backward(has) {
		if h == most {
			values--
			out[i] = out[values]
		} else {
			out[i] = zero
		}
	}
	return v
}

func spreadOffsets(c *record.Column, done int, has []byte, most byte, values int) {
	c.Offsets = slices.Grow(c.Offsets, len(has)-values)[:done+1+len(has)]
	out := c.Offsets[done:] // the first is where the values begin
	for i, h := range slices.Backward(has) {
		out[i+1] = out[values]
		if h == most {
			values--
		}
	}
}
