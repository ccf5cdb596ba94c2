package mask

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"unicode/utf8"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

const (
	redacted = "***"
	digits   = 32 // of a hash: 128 bits, so that 10^16 values have two of one hash with a chance of 10^-7
	shown    = 4  // characters that last4 leaves
)

// masked gives a column of rows masked.
func (s *step) masked(in *record.Column, rows int) record.Column {
	if s.how == Redact && s.field.Kind != record.String {
		return s.nulls(in, rows)
	}
	if s.how == Redact && in.Valid == nil {
		return record.Constant(redacted)
	}
	slots := rows
	if in.Const {
		slots = min(rows, 1)
	}
	size := digits * slots
	if s.how != Hash {
		size = max(len(redacted)*slots, len(in.Bytes))
	}
	out := record.Column{
		Bytes: make([]byte, 0, size), Offsets: append(make([]uint32, 0, slots+1), 0),
		Valid: in.Valid, Absent: in.Absent, Const: in.Const,
	}
	switch s.how {
	case Hash:
		newHasher(s.start, &s.field, in).column(&out, slots)
	case Last4:
		s.last4(in, &out, slots)
	default:
		for slot := range slots {
			if in.IsValid(slot) {
				out.Bytes = append(out.Bytes, redacted...)
			}
			end(&out)
		}
	}
	return out
}

// end ends a value of a text column.
func end(c *record.Column) {
	c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // a batch is far below 4 GiB
}

// nulls gives a column of nulls that is absent where the column was.
func (s *step) nulls(in *record.Column, rows int) record.Column {
	out := s.null
	switch {
	case in.Absent == nil:
	case in.Const:
		out.Absent = in.Absent
	default:
		var wide record.Column
		f := s.field
		f.Nullable = true
		wide.Gather(f, &s.null, make([]int32, rows), 0)
		wide.Absent = in.Absent
		out = wide
	}
	return out
}

func (s *step) last4(in, out *record.Column, slots int) {
	var room []byte
	for slot := range slots {
		if in.IsValid(slot) {
			v := room[:0]
			if s.field.Kind == record.String {
				v = in.Text(slot)
			} else {
				v = record.AppendText(v, &s.field, in, slot)
				room = v
			}
			out.Bytes = appendLast4(out.Bytes, v)
		}
		end(out)
	}
}

func appendLast4(dst, v []byte) []byte {
	left := v
	for range shown {
		_, n := utf8.DecodeLastRune(left)
		left = left[:len(left)-n]
	}
	if len(left) == 0 {
		left, v = v, nil
	}
	for range utf8.RuneCount(left) {
		dst = append(dst, '*')
	}
	if len(v) == 0 {
		return dst
	}
	return append(dst, v[len(left):]...)
}

// hasher hashes the values of one column: SHA-256 of a block of 64 bytes that the key makes and the value, cut to half of
// its state. Cut, nobody can go on from a hash to that of a longer value, and it is a pseudorandom function (Bellare,
// Bernstein, Tessaro: AMAC, Eurocrypt 2016) as HMAC-SHA-256 is, which takes a second pass to guard a whole hash.
//
// It remembers where values stood, because most columns that are worth a mask have the same values again and again: a
// value that is where it is looked for takes its hash from the first.
type hasher struct {
	field *record.Field
	in    *record.Column
	sha   hash.Hash
	start []byte // the state of sha behind the key's block
	reset encoding.BinaryUnmarshaler
	sum   []byte
	text  []byte
	seen  [4096]int32 // by a value's bits: one more than the slot that had it last
}

func newHasher(start []byte, f *record.Field, in *record.Column) *hasher {
	h := &hasher{field: f, in: in, sha: sha256.New(), start: start, sum: make([]byte, 0, sha256.Size)}
	h.reset, _ = h.sha.(encoding.BinaryUnmarshaler)
	return h
}

// begin gives the state of a hash behind the block that a key makes.
func begin(key config.Secret) ([]byte, error) {
	block := sha512.Sum512([]byte(key))
	sha := sha256.New()
	_, _ = sha.Write(block[:]) // a hash never fails
	state, ok := sha.(interface {
		encoding.BinaryMarshaler
		encoding.BinaryUnmarshaler
	})
	if !ok {
		return nil, errors.New("this build's SHA-256 does not give its state")
	}
	return state.MarshalBinary()
}

// column appends the hashes of all slots.
func (h *hasher) column(out *record.Column, slots int) {
	for slot := range slots {
		if !h.in.IsValid(slot) {
			end(out)
			continue
		}
		place := &h.seen[h.place(slot)]
		if before := int(*place) - 1; before >= 0 && h.same(before, slot) {
			at := out.Offsets[before]
			out.Bytes = append(out.Bytes, out.Bytes[at:at+digits]...)
		} else {
			out.Bytes = h.append(out.Bytes, slot)
			*place = int32(slot) + 1
		}
		end(out)
	}
}

// append appends the hash of a value.
func (h *hasher) append(dst []byte, slot int) []byte {
	var v []byte
	if h.isText() {
		v = h.in.Text(slot)
	} else {
		h.text = record.AppendText(h.text[:0], h.field, h.in, slot)
		v = h.text
	}
	_ = h.reset.UnmarshalBinary(h.start) // it was made by begin
	_, _ = h.sha.Write(v)
	h.sum = h.sha.Sum(h.sum[:0])
	return hex.AppendEncode(dst, h.sum[:digits/2])
}

func (h *hasher) isText() bool { return h.field.Kind == record.String || h.field.Kind == record.Bytes }

// place says where a value is looked for.
func (h *hasher) place(slot int) uint64 {
	var bits uint64
	switch {
	case h.isText():
		v := h.in.Text(slot)
		a, b := record.Leading(v)
		bits = a ^ b*0xC2B2AE3D27D4EB4F + uint64(len(v))
		if n := len(v); n > 16 {
			bits += binary.LittleEndian.Uint64(v[n-8:]) * 0x165667B19E3779F9
		}
	case len(h.in.Ints) > 0:
		bits = uint64(h.in.Ints[slot]) //nolint:gosec // its bits
	}
	return bits * 0x9E3779B97F4A7C15 >> 52
}

// same says whether two slots have one value, as far as that is told quickly.
func (h *hasher) same(a, b int) bool {
	switch {
	case h.isText():
		return bytes.Equal(h.in.Text(a), h.in.Text(b))
	case len(h.in.Ints) > 0:
		return h.in.Ints[a] == h.in.Ints[b]
	}
	return false
}
