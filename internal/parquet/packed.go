package parquet

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
	enc "github.com/parquet-go/parquet-go/encoding"
)

// packed gives the values of a page, without the nulls between them.
type packed struct {
	from *stored
	to   *record.Field
	at   int // the next value

	data  enc.Values
	ids   []int32 // of the dictionary's entries; nil: the values stand in data
	dict  *record.Column
	of    pq.Dictionary
	bad   map[int32]error // entries that do not fit
	same  bool            // all ids of the page are one
	begun bool            // the epoch of the versions being read is known
}

// open takes the values of a page.
func (p *packed) open(page pq.Page, from *stored, to *record.Field) error {
	p.from, p.to, p.at, p.ids, p.same = from, to, 0, nil, false
	dict := page.Dictionary()
	p.data = page.Data()
	if dict == nil {
		return nil
	}
	p.ids = p.data.Int32()
	p.same = len(p.ids) > 0 && same(p.ids)
	if dict == p.of && p.dict != nil {
		return nil
	}
	p.of, p.dict, p.bad = dict, &record.Column{}, nil
	q := packed{from: from, to: to}
	if to.Kind == record.VersionText { // they may be of several epochs, and so stay texts
		q.to = &record.Field{Kind: record.Bytes}
	}
	room(q.to, p.dict, dict.Len())
	data := dict.Page().Data()
	var misfits []Misfit
	if _, err := q.decode(p.dict, &data, 0, dict.Len(), 0, &misfits); err != nil {
		return err
	}
	for _, m := range misfits {
		if p.bad == nil {
			p.bad = map[int32]error{}
		}
		p.bad[int32(m.Row)] = m.Err //nolint:gosec // an entry of a dictionary
	}
	return nil
}

func same(ids []int32) bool {
	first := ids[0]
	for _, id := range ids {
		if id != first {
			return false
		}
	}
	return true
}

// repeats says whether the next n values are one.
func (p *packed) repeats(n int) bool {
	if n == 0 || p.ids == nil || len(p.bad) > 0 {
		return false
	}
	return p.same || p.ids[p.at] == p.ids[p.at+n-1] && same(p.ids[p.at:p.at+n])
}

// one appends the next value, which is of a dictionary.
func (p *packed) one(out *record.Column) error {
	if p.to.Kind != record.VersionText {
		gather(p.to, out, p.dict, p.ids[p.at:p.at+1])
		return nil
	}
	v, err := record.ParseVersionText(p.dict.Text(int(p.ids[p.at])))
	out.Versions = record.One(v)
	return err
}

// take appends the next n values to a column which has so many slots. Of versions it takes those of one epoch, and says how
// many.
func (p *packed) take(out *record.Column, n, slots int, misfits *[]Misfit) (int, error) {
	from := p.at
	took := n
	var err error
	switch {
	case p.ids == nil:
		took, err = p.decode(out, &p.data, from, from+n, slots, misfits)
	case p.to.Kind == record.VersionText:
		took, err = p.versions(out, n, func(i int) []byte { return p.dict.Text(int(p.ids[from+i])) })
	default:
		ids := p.ids[from : from+n]
		gather(p.to, out, p.dict, ids)
		if len(p.bad) > 0 {
			for i, id := range ids {
				if err := p.bad[id]; err != nil {
					*misfits = append(*misfits, Misfit{Row: slots + i, Err: err})
				}
			}
		}
	}
	p.at += took
	return took, err
}

// room gives an empty column memory for rows: what it has, where that is enough.
func room(f *record.Field, c *record.Column, rows int) {
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		c.Floats = slices.Grow(c.Floats[:0], rows)
	case f.Wide():
		c.Wide = slices.Grow(c.Wide[:0], rows)
	case f.Kind == record.String || f.Kind == record.Bytes:
		c.Offsets = append(slices.Grow(c.Offsets[:0], rows+1), 0)
	case f.Kind == record.VersionText:
		v := &c.Versions
		c.Versions = record.Versions{Hi: slices.Grow(v.Hi[:0], rows), Lo: slices.Grow(v.Lo[:0], rows), Index: slices.Grow(v.Index[:0], rows)}
	case f.Kind == record.List || f.Kind == record.Struct:
	default:
		c.Ints = slices.Grow(c.Ints[:0], rows)
	}
}

// gather appends entries of a dictionary.
func gather(f *record.Field, out, dict *record.Column, ids []int32) {
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		out.Floats = chosen(out.Floats, dict.Floats, ids)
	case f.Wide():
		out.Wide = chosen(out.Wide, dict.Wide, ids)
	case f.Kind == record.String || f.Kind == record.Bytes:
		gatherTexts(out, dict, ids)
	default:
		out.Ints = chosen(out.Ints, dict.Ints, ids)
	}
}

func chosen[T any](dst, src []T, ids []int32) []T {
	at := len(dst)
	dst = slices.Grow(dst, len(ids))[:at+len(ids)]
	for i, id := range ids {
		dst[at+i] = src[id]
	}
	return dst
}

func gatherTexts(out, dict *record.Column, ids []int32) {
	off := dict.Offsets
	size := 0
	for _, id := range ids {
		size += int(off[id+1] - off[id])
	}
	at := len(out.Offsets)
	out.Offsets = slices.Grow(out.Offsets, len(ids))[:at+len(ids)]
	out.Bytes = slices.Grow(out.Bytes, size)
	buf := out.Bytes
	for i, id := range ids {
		buf = append(buf, dict.Bytes[off[id]:off[id+1]]...)
		out.Offsets[at+i] = uint32(len(buf)) //nolint:gosec // a batch is far below 4 GiB
	}
	out.Bytes = buf
}

// decode appends the values [lo,hi) of data, and says how many it took.
func (p *packed) decode(out *record.Column, data *enc.Values, lo, hi, slots int, misfits *[]Misfit) (int, error) {
	bad := func(i int, err error) { *misfits = append(*misfits, Misfit{Row: slots + i, Err: err}) }
	n := hi - lo
	switch data.Kind() {
	case enc.Boolean:
		b := data.Boolean()
		for i := lo; i < hi; i++ {
			out.Ints = append(out.Ints, int64(b[i>>3]>>(i&7)&1))
		}
		return n, nil
	case enc.Float:
		for _, v := range data.Float()[lo:hi] {
			out.Floats = append(out.Floats, float64(v))
		}
		return n, nil
	case enc.Double:
		out.Floats = append(out.Floats, data.Double()[lo:hi]...)
		return n, nil
	case enc.Int96:
		for i, v := range data.Int96()[lo:hi] {
			of := int64(uint64(v[1])<<32 | uint64(v[0])) //nolint:gosec // nanoseconds of a day
			day := int64(int32(v[2])) - julianEpoch      //nolint:gosec // of 32 bits with a sign
			if of%1000 != 0 {
				bad(i, errFine)
			}
			out.Ints = append(out.Ints, day*microsADay+of/1000)
		}
		return n, nil
	case enc.Int32, enc.Int64:
		p.words(out, data, lo, hi, bad)
		return n, nil
	case enc.FixedLenByteArray:
		b, size := data.FixedLenByteArray()
		return p.bytes(out, n, func(i int) []byte { return b[(lo+i)*size : (lo+i+1)*size : (lo+i+1)*size] }, bad)
	case enc.ByteArray:
		b, off := data.ByteArray()
		if p.from.as == asItIs && p.to.Kind != record.VersionText {
			appendTexts(out, p.to, b, off[lo:hi+1], bad)
			return n, nil
		}
		return p.bytes(out, n, func(i int) []byte { return b[off[lo+i]:off[lo+i+1]] }, bad)
	default:
		return 0, fmt.Errorf("values of type %s", data.Kind())
	}
}

// appendTexts appends texts that stand one behind the other.
func appendTexts(out *record.Column, to *record.Field, b []byte, off []uint32, bad func(int, error)) {
	first, last := off[0], off[len(off)-1]
	span := b[first:last]
	if to.Kind == record.String && !wellFormed(span, b, off) {
		for i := range len(off) - 1 {
			v := b[off[i]:off[i+1]]
			if !utf8.Valid(v) {
				bad(i, errUTF8)
				v = nil
			}
			out.AppendText(v)
		}
		return
	}
	base := uint32(len(out.Bytes)) - first //nolint:gosec // may wrap: it is added again
	out.Bytes = append(out.Bytes, span...)
	for _, o := range off[1:] {
		out.Offsets = append(out.Offsets, o+base)
	}
}

// wellFormed says whether every text is UTF-8: all of them together are, and none starts inside a character.
func wellFormed(span, b []byte, off []uint32) bool {
	if !utf8.Valid(span) {
		return false
	}
	for _, o := range off[:len(off)-1] {
		if int(o) < len(b) && !utf8.RuneStart(b[o]) {
			return false
		}
	}
	return true
}

// bytes appends values that are made from bytes one by one.
func (p *packed) bytes(out *record.Column, n int, at func(int) []byte, bad func(int, error)) (int, error) {
	switch {
	case p.to.Kind == record.VersionText:
		return p.versions(out, n, at)
	case p.from.as == uuid:
		var text [36]byte
		for i := range n {
			out.AppendText(appendUUID(text[:0], at(i)))
		}
	case p.from.as == bigEnd:
		for i := range n {
			v := at(i)
			w, ok := bigEndian(v)
			if !ok {
				bad(i, fmt.Errorf("a decimal of %d bytes is no %s", len(v), p.to.TypeName()))
			}
			p.decimal(out, w, i, bad)
		}
	default:
		for i := range n {
			out.AppendText(at(i))
		}
	}
	return n, nil
}

// versions appends versions until their epoch changes.
func (p *packed) versions(out *record.Column, n int, at func(int) []byte) (int, error) {
	v := &out.Versions
	for i := range n {
		x, err := record.ParseVersionText(at(i))
		if err != nil {
			return 0, err
		}
		if !p.begun {
			p.begun = true
			v.Epoch = x.Epoch
		} else if v.Epoch != x.Epoch {
			return i, nil
		}
		v.Hi, v.Lo, v.Index = append(v.Hi, x.Hi), append(v.Lo, x.Lo), append(v.Index, x.Index)
	}
	return n, nil
}

var errFine = errors.New("the time cannot be kept to the microsecond")

const (
	microsADay = 86_400_000_000
	// julianEpoch is 1970-01-01 as astronomers count days.
	julianEpoch = 2_440_588
)

func appendUUID(dst, v []byte) []byte {
	for i, b := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{b})
	}
	return dst
}
