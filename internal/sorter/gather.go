package sorter

import (
	"math"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// gatherer makes sorted columns. A reference is the batch in the high 32 bits and the slot in the low ones.
type gatherer struct {
	masks []uint32 // by batch: 0 for a constant, so that every slot is the first
}

func (g *gatherer) held() int { return 4 * cap(g.masks) }

// column appends the referred slots of the columns, one a batch, to the empty column d.
func (g *gatherer) column(f record.Field, d *record.Column, src []*record.Column, refs []uint64) {
	g.mask(src)
	g.bitmaps(d, src, refs)
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		d.Floats = pick(d.Floats, each(src, func(c *record.Column) []float64 { return c.Floats }), g.masks, refs)
	case f.Wide():
		d.Wide = pick(d.Wide, each(src, func(c *record.Column) []record.Int128 { return c.Wide }), g.masks, refs)
	case f.Kind == record.String || f.Kind == record.Bytes:
		g.texts(d, src, refs)
	case f.Kind == record.VersionText:
		g.versions(d, src, refs)
	case f.Kind == record.List:
		g.lists(f, d, src, refs)
	case f.Kind == record.Struct:
		g.structs(f, d, src, refs)
	default:
		d.Ints = pick(d.Ints, each(src, func(c *record.Column) []int64 { return c.Ints }), g.masks, refs)
	}
}

func (g *gatherer) mask(src []*record.Column) {
	g.masks = g.masks[:0]
	for _, c := range src {
		m := uint32(math.MaxUint32)
		if c.Const {
			m = 0
		}
		g.masks = append(g.masks, m)
	}
}

func each[T any](src []*record.Column, of func(*record.Column) []T) [][]T {
	out := make([][]T, len(src))
	for i, c := range src {
		out[i] = of(c)
	}
	return out
}

func pick[T any](d []T, src [][]T, masks []uint32, refs []uint64) []T {
	if cap(d) < len(refs) {
		d = make([]T, len(refs))
	}
	d = d[:len(refs)]
	for i, r := range refs {
		d[i] = src[r>>32][uint32(r)&masks[r>>32]] //nolint:gosec // the low half
	}
	return d
}

func (g *gatherer) bitmaps(d *record.Column, src []*record.Column, refs []uint64) {
	nulls, absent := false, false
	for _, c := range src {
		nulls, absent = nulls || c.Valid != nil, absent || c.Absent != nil
	}
	if nulls {
		d.Valid = make([]uint64, (len(refs)+63)/64)
		for i, r := range refs {
			if src[r>>32].IsValid(int(uint32(r))) { //nolint:gosec // the low half
				d.Valid[i>>6] |= 1 << (i & 63)
			}
		}
	}
	if absent {
		d.Absent = make([]uint64, (len(refs)+63)/64)
		for i, r := range refs {
			if src[r>>32].IsAbsent(int(uint32(r))) { //nolint:gosec // the low half
				d.Absent[i>>6] |= 1 << (i & 63)
			}
		}
	}
}

func (g *gatherer) texts(d *record.Column, src []*record.Column, refs []uint64) {
	size := 0
	for _, c := range src {
		size += len(c.Bytes)
	}
	if cap(d.Bytes) < size {
		d.Bytes = make([]byte, 0, size)
	}
	if cap(d.Offsets) < len(refs)+1 {
		d.Offsets = make([]uint32, 0, len(refs)+1)
	}
	d.Offsets = append(d.Offsets[:0], 0)
	for _, r := range refs {
		c, slot := src[r>>32], uint32(r)&g.masks[r>>32] //nolint:gosec // the low half
		d.Bytes = append(d.Bytes, c.Bytes[c.Offsets[slot]:c.Offsets[slot+1]]...)
		d.Offsets = append(d.Offsets, uint32(len(d.Bytes))) //nolint:gosec // limited by the memory
	}
}

// versions gives slices of one entry a row, or nil where all are zero.
func (g *gatherer) versions(d *record.Column, src []*record.Column, refs []uint64) {
	d.Versions.Epoch = src[0].Versions.Epoch
	d.Versions.Hi = words(g, d.Versions.Hi, src, refs, func(c *record.Column) []uint64 { return c.Versions.Hi })
	d.Versions.Lo = words(g, d.Versions.Lo, src, refs, func(c *record.Column) []uint64 { return c.Versions.Lo })
	d.Versions.Index = words(g, d.Versions.Index, src, refs, func(c *record.Column) []uint32 { return c.Versions.Index })
}

func words[T any](g *gatherer, d []T, src []*record.Column, refs []uint64, of func(*record.Column) []T) []T {
	g.mask(src)
	all, none := each(src, of), true
	for i, s := range all {
		none = none && len(s) == 0
		if len(s) == 0 {
			all[i] = make([]T, 1)
		}
		if len(s) <= 1 {
			g.masks[i] = 0
		}
	}
	if none {
		return nil
	}
	return pick(d, all, g.masks, refs)
}

func (g *gatherer) lists(f record.Field, d *record.Column, src []*record.Column, refs []uint64) {
	children := make([]*record.Column, len(src))
	for i, c := range src {
		children[i] = child(c, 0)
	}
	d.Offsets = append(d.Offsets[:0], 0)
	var elements []uint64
	for _, r := range refs {
		c, slot := src[r>>32], uint32(r)&g.masks[r>>32] //nolint:gosec // the low half
		for e := c.Offsets[slot]; e < c.Offsets[slot+1]; e++ {
			elements = append(elements, r&^math.MaxUint32|uint64(e))
		}
		d.Offsets = append(d.Offsets, uint32(len(elements))) //nolint:gosec // limited by the memory
	}
	d.Children = grown(d.Children, 1)
	g.column(f.Fields[0], &d.Children[0], children, elements)
}

func (g *gatherer) structs(f record.Field, d *record.Column, src []*record.Column, refs []uint64) {
	if slices.Contains(g.masks, 0) { // members of a constant have one slot
		refs = slices.Clone(refs)
		for i, r := range refs {
			refs[i] = r & (^uint64(math.MaxUint32) | uint64(g.masks[r>>32]))
		}
	}
	d.Children = grown(d.Children, len(f.Fields))
	children := make([]*record.Column, len(src))
	for i, m := range f.Fields {
		for k, c := range src {
			children[k] = child(c, i)
		}
		g.column(m, &d.Children[i], children, refs)
	}
}

// child gives a child, which may be missing where a list has no elements at all.
func child(c *record.Column, i int) *record.Column {
	if i < len(c.Children) {
		return &c.Children[i]
	}
	return &record.Column{}
}

func grown(children []record.Column, n int) []record.Column {
	for len(children) < n {
		children = append(children, record.Column{})
	}
	return children
}

// empty empties a column and keeps its memory.
func empty(c *record.Column) {
	c.Ints, c.Floats, c.Wide, c.Bytes, c.Offsets = c.Ints[:0], c.Floats[:0], c.Wide[:0], c.Bytes[:0], c.Offsets[:0]
	c.Versions = record.Versions{Hi: c.Versions.Hi[:0], Lo: c.Versions.Lo[:0], Index: c.Versions.Index[:0]}
	c.Valid, c.Absent, c.Const = nil, nil, false
	for i := range c.Children {
		empty(&c.Children[i])
	}
}

// constant says whether one slot stands for all rows.
func constant(f record.Field, c *record.Column) bool {
	return c.Const || f.Kind == record.VersionText && c.Valid == nil && c.Absent == nil && c.Versions.Constant()
}

// appendEpochs appends the epochs of all versions.
func appendEpochs(dst []uint16, fields []record.Field, column func(i int) *record.Column) []uint16 {
	for i, f := range fields {
		c := column(i)
		if f.Kind == record.VersionText {
			dst = append(dst, c.Versions.Epoch)
		}
		dst = appendEpochs(dst, f.Fields, func(k int) *record.Column { return child(c, k) })
	}
	return dst
}

// spread is the memory that rows of a column take once a constant is no more kept as one.
func spread(f record.Field, c *record.Column, rows int) int {
	if rows == 0 {
		return 0
	}
	slots, times := rows, 1
	if c.Const {
		slots, times = 1, rows
	}
	n := 0
	if c.Valid != nil || c.Absent != nil {
		n += rows / 4
	}
	switch {
	case f.Wide():
		n += 16 * rows
	case f.Kind == record.String || f.Kind == record.Bytes:
		n += 4*rows + times*int(c.Offsets[slots]-c.Offsets[0])
	case f.Kind == record.VersionText:
		n += 20 * rows
	case f.Kind == record.List:
		n += 12*rows + times*spread(f.Fields[0], child(c, 0), int(c.Offsets[slots]))
	case f.Kind == record.Struct:
		for i, m := range f.Fields {
			n += times * spread(m, child(c, i), slots)
		}
	default:
		n += 8 * rows
	}
	return n
}
