package sourcetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/record"
)

// style is what kind of values a made row holds.
type style int

const (
	plain   style = iota // ordinary values, no nulls
	extreme              // the ends of each type, odd texts, nulls
	big                  // texts as long as they may be
)

// change is a row to make: what happens to which key.
type change struct {
	op    record.Op
	key   int
	style style
}

func (s *scene) inserts(from, rows int, st style) []change {
	out := make([]change, rows)
	for i := range out {
		out[i] = change{record.Insert, from + i, st}
	}
	return out
}

// batch makes the rows of some changes. version is that of the first; the others follow.
func (s *scene) batch(changes []change, version int) *record.Batch {
	b := record.NewBuilder(s.h.Schema, len(changes))
	now := time.Now().UnixMicro()
	for row, c := range changes {
		for i := range s.h.Schema.Fields {
			if s.h.Good != nil && s.h.Good(b, i, c.key) {
				continue
			}
			s.set(b, i, row, c)
		}
		b.Next()
		sys := b.System()
		sys.Ops = append(sys.Ops, c.op)
		sys.Versions.Hi = append(sys.Versions.Hi, 0)
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(version+row))
		sys.Versions.Index = append(sys.Versions.Index, 0)
		sys.EventTimes = append(sys.EventTimes, now)
	}
	b.System().Source, b.System().IngestTime = "sourcetest", now
	return b.Batch(nil)
}

// set appends the value of one column.
func (s *scene) set(b *record.Builder, column, row int, c change) {
	f := s.h.Schema.Fields[column]
	if slices.Contains(s.h.Schema.Key, column) {
		s.setKey(f, b.Nested(column), c)
		return
	}
	s.value(f, b.Nested(column), row, c)
}

// setKey appends the value that makes the key what it is: the same for the same number.
func (s *scene) setKey(f record.Field, c *record.Column, ch change) {
	switch f.Kind {
	case record.String:
		c.AppendText(fmt.Appendf(nil, "llave-ñ %06d", ch.key))
	case record.Bytes:
		c.AppendText(fmt.Appendf(nil, "\xff%06d", ch.key))
	case record.Float32, record.Float64:
		c.Floats = append(c.Floats, float64(ch.key))
	case record.Bool:
		c.Ints = append(c.Ints, int64(ch.key&1))
	case record.VersionText:
		appendVersion(c, record.Version{Lo: uint64(ch.key)})
	case record.Decimal:
		if f.Wide() {
			c.Wide = append(c.Wide, record.Int128{Lo: uint64(ch.key)})
			return
		}
		c.Ints = append(c.Ints, int64(ch.key))
	default:
		c.Ints = append(c.Ints, int64(ch.key))
	}
}

// value appends one slot, the slot-th, to a column of a field.
func (s *scene) value(f record.Field, c *record.Column, slot int, ch change) {
	if f.Nullable && ch.style == extreme && s.rng.IntN(4) == 0 {
		ch.style = plain
		s.present(f, c, slot, ch)
		c.SetNull(slot)
		return
	}
	s.present(f, c, slot, ch)
	for c.Valid != nil && len(c.Valid)*64 <= slot {
		c.Valid = append(c.Valid, ^uint64(0))
	}
}

func (s *scene) present(f record.Field, c *record.Column, slot int, ch change) {
	switch f.Kind {
	case record.Float32, record.Float64:
		c.Floats = append(c.Floats, s.float(f, ch.style))
	case record.String, record.Bytes:
		c.AppendText(s.text(f, ch))
	case record.VersionText:
		appendVersion(c, record.Version{Epoch: 7, Hi: s.rng.Uint64(), Lo: s.rng.Uint64(), Index: s.rng.Uint32()})
	case record.List:
		s.list(f, c, ch)
	case record.Struct:
		for len(c.Children) < len(f.Fields) {
			c.Children = append(c.Children, record.Column{})
		}
		for i, m := range f.Fields {
			s.value(m, &c.Children[i], slot, ch)
		}
	default:
		if f.Wide() {
			c.Wide = append(c.Wide, s.wide(f, ch.style))
			return
		}
		c.Ints = append(c.Ints, s.int(f, ch.style))
	}
}

func appendVersion(c *record.Column, v record.Version) {
	c.Versions.Epoch = v.Epoch
	c.Versions.Hi, c.Versions.Lo = append(c.Versions.Hi, v.Hi), append(c.Versions.Lo, v.Lo)
	c.Versions.Index = append(c.Versions.Index, v.Index)
}

func (s *scene) list(f record.Field, c *record.Column, ch change) {
	if len(c.Children) == 0 {
		c.Children = make([]record.Column, 1)
	}
	if len(c.Offsets) == 0 {
		c.Offsets = []uint32{0}
	}
	at := int(c.Offsets[len(c.Offsets)-1])
	n := s.rng.IntN(4)
	if ch.style == big {
		ch.style = plain
	}
	for range n {
		s.value(f.Fields[0], &c.Children[0], at, ch)
		at++
	}
	c.Offsets = append(c.Offsets, uint32(at))
}

func (s *scene) float(f record.Field, st style) float64 {
	v := math.Trunc(s.rng.Float64()*1e6) / 8
	if st == extreme {
		v = pickOne(s, []float64{0, math.Copysign(0, -1), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 0.1})
		if f.Kind == record.Float64 && s.rng.IntN(2) == 0 {
			v = pickOne(s, []float64{math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-300, 0.1})
		}
	}
	if f.Kind == record.Float32 {
		return float64(float32(v))
	}
	return v
}

func (s *scene) int(f record.Field, st style) int64 {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	switch f.Kind {
	case record.Bool:
		low, high = 0, 1
	case record.Int32:
		low, high = math.MinInt32, math.MaxInt32
	case record.Decimal:
		high = int64(math.Pow10(f.Precision)) - 1
		low = -high
	case record.Date:
		low, high = day(1, 1, 1), day(9999, 12, 31)
	case record.Timestamp, record.LocalTimestamp:
		low, high = day(1, 1, 1)*86_400_000_000, day(9999, 12, 31)*86_400_000_000+86_399_999_999
	}
	if st == extreme {
		return pickOne(s, []int64{low, high, max(low, min(high, 0)), max(low, min(high, 1)), max(low, -1)})
	}
	return min(high, s.rng.Int64N(20_000)) // a day of this century, as a date
}

func day(year, month, of int) int64 {
	return time.Date(year, time.Month(month), of, 0, 0, 0, 0, time.UTC).Unix() / 86_400
}

// wide gives a decimal of more than 18 digits; its ends are plus and minus 10^precision-1.
func (s *scene) wide(f record.Field, st style) record.Int128 {
	if st != extreme {
		return record.Int128{Lo: s.rng.Uint64() >> 8}
	}
	v, err := record.ParseDecimal(strings.Repeat("9", f.Precision), f.Precision, 0)
	if err != nil || s.rng.IntN(3) == 0 {
		return record.Int128{}
	}
	if s.rng.IntN(2) == 0 {
		return v
	}
	lo, borrow := -v.Lo, int64(0)
	if v.Lo != 0 {
		borrow = 1
	}
	return record.Int128{Hi: -v.Hi - borrow, Lo: lo}
}

// text is UTF-8 without NUL, which not every place can hold.
func (s *scene) text(f record.Field, ch change) []byte {
	switch {
	case ch.style == big:
		longest := s.h.MaxText
		if longest == 0 {
			longest = 256 << 10
		}
		return []byte(strings.Repeat("á", longest/2))
	case ch.style == plain:
		return fmt.Appendf(nil, "value %d of %d", s.rng.IntN(1000), ch.key)
	case f.Kind == record.Bytes:
		return pickOne(s, [][]byte{{}, {0}, []byte("a\x00b"), {0xff, 0xfe, 0}, []byte("plain")})
	}
	return []byte(pickOne(s, []string{
		"", " ", "ñandú €uro 𝄞 clef", "N/A", "null", `"quoted" \back\ 'single'`, "line\nbreak\ttab\r", "e\u0301 combining",
		"שלום", "👩‍👩‍👧", "%s %d ${HOME} ; drop table x", "\u2028\ufeff", "0", "true", "{}",
	}))
}

func pickOne[T any](s *scene, of []T) T { return of[s.rng.IntN(len(of))] }
