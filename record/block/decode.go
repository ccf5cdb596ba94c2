package block

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/acequia-io/acequia/record"
)

// ErrDamaged means that bytes are no block of the fields.
var ErrDamaged = errors.New("the block is damaged")

// Decoder puts the rows of blocks into columns, one block after the other. It is used by one goroutine.
type Decoder struct {
	fields  []record.Field
	columns []record.Column
	rows    int
	zeros   []int32
}

// NewDecoder makes a decoder that appends to columns, which are empty.
func NewDecoder(fields []record.Field, columns []record.Column) *Decoder {
	return &Decoder{fields: fields, columns: columns}
}

// Rows counts those that the columns hold.
func (d *Decoder) Rows() int { return d.rows }

// Forget takes the columns as empty, which the caller has made them.
func (d *Decoder) Forget() { d.rows = 0 }

// Add appends the rows of a block; versions are of the same epoch as those it has. The block may have no more than slots,
// those of every column, of one that is constant one, and the elements of lists: a few bytes can stand for many equal values. After an error the columns
// are of no use.
func (d *Decoder) Add(p []byte, rows, slots int) error {
	r := &reader{p: p, slots: slots}
	for i, f := range d.fields {
		d.column(r, f, &d.columns[i], d.rows, rows)
	}
	if r.bad || len(r.p) > 0 {
		return ErrDamaged
	}
	d.rows += rows
	return nil
}

// column appends n slots to c, which has before.
func (d *Decoder) column(r *reader, f record.Field, c *record.Column, before, n int) {
	flags := r.take(1)
	if r.bad {
		return
	}
	if flags[0]&isConst == 0 {
		d.vary(f, c, before)
		d.slots(r, f, c, before, n, flags[0])
		return
	}
	one := record.Column{Const: true}
	d.slots(r, f, &one, 0, 1, flags[0])
	switch {
	case r.bad:
	case before == 0:
		*c = one
	case c.Const && Same(f, c, &one, 0, 0):
	default:
		d.vary(f, c, before)
		filled(f, c, before)
		c.Gather(f, &one, d.firsts(n), before)
	}
}

// vary gives a constant its slots.
func (d *Decoder) vary(f record.Field, c *record.Column, rows int) {
	if c.Const {
		var all record.Column
		all.Versions.Epoch = c.Versions.Epoch
		all.Gather(f, c, d.firsts(rows), 0)
		*c = all
	}
}

// firsts refers n times to slot 0.
func (d *Decoder) firsts(n int) []int32 {
	for len(d.zeros) < n {
		d.zeros = append(d.zeros, 0)
	}
	return d.zeros[:n]
}

// filled gives versions an entry a row also where all are zero so far.
func filled(f record.Field, c *record.Column, rows int) {
	if f.Kind == record.VersionText {
		v := &c.Versions
		v.Hi, v.Lo, v.Index = pad(v.Hi, rows), pad(v.Lo, rows), pad(v.Index, rows)
	}
	if f.Kind == record.List && rows > 0 {
		rows = int(c.Offsets[rows])
	}
	for i, m := range f.Fields {
		if i < len(c.Children) {
			filled(m, &c.Children[i], rows)
		}
	}
}

func pad[T any](v []T, n int) []T {
	if len(v) < n {
		v = append(v, make([]T, n-len(v))...)
	}
	return v
}

// slots appends n slots with their bitmaps and values.
func (d *Decoder) slots(r *reader, f record.Field, c *record.Column, before, n int, flags byte) {
	if r.slots -= n; r.slots < 0 {
		r.bad = true
		return
	}
	if flags&hasValid != 0 {
		r.clear(n, func(i int) { c.SetNull(before + i) })
	}
	if flags&hasAbsent != 0 {
		r.set(n, func(i int) { c.SetAbsent(before + i) })
	}
	if c.Valid != nil {
		for len(c.Valid)*64 < before+n {
			c.Valid = append(c.Valid, ^uint64(0))
		}
	}
	if c.Absent != nil {
		c.Absent = pad(c.Absent, (before+n+63)/64)
	}
	if n == 0 {
		return
	}
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		p := r.take(8 * n)
		for i := range len(p) / 8 {
			c.Floats = append(c.Floats, math.Float64frombits(get(p, i, 8)))
		}
	case f.Wide():
		p := r.take(16 * n)
		for i := range len(p) / 16 {
			c.Wide = append(c.Wide, record.Int128{Hi: int64(get(p, 2*i, 8)), Lo: get(p, 2*i+1, 8)}) //nolint:gosec // its bits
		}
	case f.Kind == record.String || f.Kind == record.Bytes:
		size := r.lengths(c, n)
		c.Bytes = append(c.Bytes, r.take(size)...)
	case f.Kind == record.VersionText:
		if p := r.take(2); len(p) == 2 {
			c.Versions.Epoch = binary.LittleEndian.Uint16(p)
		}
		v := &c.Versions
		v.Hi, v.Lo, v.Index = readVersions(r, v.Hi, before, n), readVersions(r, v.Lo, before, n), readVersions(r, v.Index, before, n)
	case f.Kind == record.List:
		if len(c.Offsets) > 0 {
			before = int(c.Offsets[before])
		}
		k := r.lengths(c, n)
		if r.slots -= k; r.slots < 0 { // elements that are all the same take no bytes
			r.bad = true
			return
		}
		d.children(r, f, c, before, k)
	case f.Kind == record.Struct:
		d.children(r, f, c, before, n)
	default:
		var none bool
		c.Ints, none = readWords(r, c.Ints, n)
		r.bad = r.bad || none
	}
}

func (d *Decoder) children(r *reader, f record.Field, c *record.Column, before, n int) {
	for len(c.Children) < len(f.Fields) {
		c.Children = append(c.Children, record.Column{})
	}
	for i, m := range f.Fields {
		if !r.bad {
			d.column(r, m, &c.Children[i], before, n)
		}
	}
}

// reader takes a block apart; bad is set when the block is too short or not possible.
type reader struct {
	p     []byte
	slots int // that it may still have
	bad   bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.p) {
		r.bad = true
		return nil
	}
	out := r.p[:n]
	r.p = r.p[n:]
	return out
}

// clear calls f for each of n bits that is 0, set for each that is 1.
func (r *reader) clear(n int, f func(i int)) {
	p := r.take((n + 7) / 8)
	for i := range min(n, 8*len(p)) {
		if p[i>>3]>>(i&7)&1 == 0 {
			f(i)
		}
	}
}

func (r *reader) set(n int, f func(i int)) {
	p := r.take((n + 7) / 8)
	for i := range min(n, 8*len(p)) {
		if p[i>>3]>>(i&7)&1 == 1 {
			f(i)
		}
	}
}

// size takes the size of differences.
func (r *reader) size() int {
	p := r.take(1)
	if r.bad {
		return 0
	}
	switch p[0] {
	case 0, 1, 2, 4, 8, noWords:
		return int(p[0])
	}
	r.bad = true
	return 0
}

// lengths appends n offsets and gives the sum of the lengths.
func (r *reader) lengths(c *record.Column, n int) int {
	size := r.size()
	p := r.take(size * n)
	if r.bad || size > 4 {
		r.bad = true
		return 0
	}
	if len(c.Offsets) == 0 {
		c.Offsets = append(c.Offsets, 0)
	}
	from := uint64(c.Offsets[len(c.Offsets)-1])
	at := from
	for i := range n {
		if at += get(p, i, size); at > math.MaxUint32 {
			r.bad = true
			return 0
		}
		c.Offsets = append(c.Offsets, uint32(at))
	}
	return int(at - from) //nolint:gosec // 32 bits
}

// readWords appends n words; none says that they are zero and were not written.
func readWords[T word](r *reader, dst []T, n int) (out []T, none bool) {
	size := r.size()
	if size == noWords {
		return dst, true
	}
	head := r.take(8)
	p := r.take(size * n)
	if r.bad {
		return dst, false
	}
	least := binary.LittleEndian.Uint64(head)
	for i := range n {
		dst = append(dst, T(least+get(p, i, size)))
	}
	return dst, false
}

// readVersions appends n entries to those of before rows, where nothing is zero for every row.
func readVersions[T word](r *reader, dst []T, before, n int) []T {
	if len(r.p) > 0 && r.p[0] != noWords {
		dst = pad(dst, before)
	}
	dst, none := readWords(r, dst, n)
	if none && len(dst) > 0 {
		dst = pad(dst, before+n)
	}
	return dst
}

func get(p []byte, i, size int) uint64 {
	switch size {
	case 0:
		return 0
	case 1:
		return uint64(p[i])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p[2*i:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return binary.LittleEndian.Uint64(p[8*i:])
}
