package dedupe

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/acequia-io/acequia/record"
)

// key is the first half of the SHA-256 of a stream's name and a record's key: nobody can make two records that are taken for
// copies of each other.
type key struct{ hi, lo uint64 }

// keyLen is the length of a key in a block.
const keyLen = 16

func keyOf(b []byte) key { return key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])} }

func (k key) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, k.hi), k.lo)
}

func (k key) less(other key) bool { return k.hi < other.hi || k.hi == other.hi && k.lo < other.lo }

// part is the number of the table's part that holds the key.
func (k key) part() byte { return byte(k.hi >> 56) }

// digest is the key of a row; none where a part of it is null.
type digest struct {
	key  key
	none bool
}

// digests appends the keys of a batch's rows. text is scratch memory.
func (p *plan) digests(b *record.Batch, out []digest, text []byte) (digests []digest, scratch []byte) {
	text = appendText(text[:0], []byte(p.schema.Stream))
	prefix := len(text)
	for row := range b.Rows {
		d := digest{}
		text = text[:prefix]
		for _, at := range p.key {
			c := &b.Columns[at]
			if !c.IsValid(row) {
				d.none = true
				break
			}
			text = appendValue(text, b.Schema.Fields[at], c, row)
		}
		if !d.none {
			sum := sha256.Sum256(text)
			d.key = keyOf(sum[:])
		}
		out = append(out, d)
	}
	return out, text
}

// appendText writes a text with its length, so that what follows cannot be taken for a part of it.
func appendText(dst, v []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(v))), v...) //nolint:gosec // below a batch's size
}

func appendValue(dst []byte, f record.Field, c *record.Column, row int) []byte {
	slot := row
	if c.Const {
		slot = 0
	}
	switch {
	case f.Kind == record.String || f.Kind == record.Bytes:
		return appendText(dst, c.Text(row))
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		v := c.Float(row)
		if v == 0 {
			v = 0 // of minus zero too
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	case f.Kind == record.VersionText:
		return c.Versions.At(slot).AppendText(dst, 0)
	case f.Wide():
		v := c.Wide[slot]
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, uint64(v.Hi)), v.Lo) //nolint:gosec // its bits
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(c.Int(row))) //nolint:gosec // its bits
}
