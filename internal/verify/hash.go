package verify

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/acequia-io/acequia/record"
)

// A row is compared by a hash of its canonical encoding: each value by its name and class, so that neither the order of
// columns nor a type that grew matters, with null apart from all values. A column that a side does not have is null there.

// class tells values of different meaning apart. Types that may widen into each other are of one class.
type class uint64

const (
	classBool class = iota + 1
	classWhole
	classFloat
	classDecimal
	classDate
	classTimestamp
	classLocal
	classText
	classBytes
	classVersion
	classList
	classStruct
)

func classOf(k record.Kind) class {
	switch k {
	case record.Bool:
		return classBool
	case record.Int32, record.Int64:
		return classWhole
	case record.Float32, record.Float64:
		return classFloat
	case record.Decimal:
		return classDecimal
	case record.Date:
		return classDate
	case record.Timestamp:
		return classTimestamp
	case record.LocalTimestamp:
		return classLocal
	case record.String:
		return classText
	case record.Bytes:
		return classBytes
	case record.VersionText:
		return classVersion
	case record.List:
		return classList
	case record.Struct:
	}
	return classStruct
}

// Odd numbers without a pattern, as wyhash uses them.
const (
	salt0 = 0xa0761d6478bd642f
	salt1 = 0xe7037ed1a0b428db
	salt2 = 0x8ebc6af09c88c6e3
	salt3 = 0x589965cc75374cc3
)

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// word hashes one word.
func word(v, seed uint64) uint64 { return fold(fold(v^seed, salt0)^salt1, seed^salt2) }

// text hashes bytes.
func text(v []byte, seed uint64) uint64 {
	n := len(v)
	for len(v) > 16 {
		seed = fold(binary.LittleEndian.Uint64(v)^salt1, binary.LittleEndian.Uint64(v[8:])^seed)
		v = v[16:]
	}
	a, b := record.Leading(v)
	return fold(fold(a^salt1, b^seed)^uint64(n), salt2^seed)
}

// seedOf gives the seed of a column's values.
func seedOf(name string, k record.Kind) uint64 {
	return word(uint64(classOf(k)), text([]byte(name), salt3))
}

// finish makes the hash of a row of the sum of its values' hashes: without it, values that change places between rows would
// not be seen in a sum over rows.
func finish(sums []uint64) {
	for i, s := range sums {
		sums[i] = word(s, salt3)
	}
}

// addColumn adds the hash of each value to its row's sum. Null adds nothing.
func addColumn(sums []uint64, f *record.Field, c *record.Column, seed uint64) {
	if c.Const {
		h := valueHash(f, c, 0, seed)
		for i := range sums {
			sums[i] += h
		}
		return
	}
	if c.Absent != nil || f.Kind == record.List || f.Kind == record.Struct || f.Kind == record.VersionText {
		for i := range sums {
			sums[i] += valueHash(f, c, i, seed)
		}
		return
	}
	switch classOf(f.Kind) {
	case classFloat:
		for i := range sums {
			sums[i] += floatHash(c.Floats[i], seed) & present(c, i)
		}
	case classText, classBytes:
		for i := range sums {
			sums[i] += text(c.Bytes[c.Offsets[i]:c.Offsets[i+1]], seed) & present(c, i)
		}
	case classDecimal:
		addDecimals(sums, f, c, seed)
	default:
		addWords(sums, c, seed)
	}
}

func addDecimals(sums []uint64, f *record.Field, c *record.Column, seed uint64) {
	for i := range sums {
		if f.Wide() {
			sums[i] += wideHash(c.Wide[i], f.Scale, seed) & present(c, i)
		} else {
			sums[i] += decimalHash(c.Ints[i], f.Scale, seed) & present(c, i)
		}
	}
}

func addWords(sums []uint64, c *record.Column, seed uint64) {
	values := c.Ints[:len(sums)]
	if c.Valid == nil {
		for i := range sums {
			sums[i] += word(uint64(values[i]), seed) //nolint:gosec // its bits
		}
		return
	}
	for i := range sums {
		sums[i] += word(uint64(values[i]), seed) & present(c, i) //nolint:gosec // its bits
	}
}

// present is a mask of all bits where a row has a value, else of none.
func present(c *record.Column, row int) uint64 {
	if c.Valid == nil {
		return ^uint64(0)
	}
	return -(c.Valid[row>>6] >> (row & 63) & 1)
}

// valueHash hashes one value; null is 0, and what the source did not send is something else.
func valueHash(f *record.Field, c *record.Column, row int, seed uint64) uint64 {
	if c.IsAbsent(row) {
		return word(1, ^seed)
	}
	if !c.IsValid(row) {
		return 0
	}
	if c.Const {
		row = 0
	}
	switch classOf(f.Kind) {
	case classFloat:
		return floatHash(c.Floats[row], seed)
	case classText, classBytes:
		return text(c.Text(row), seed)
	case classDecimal:
		return wideHash(c.Unscaled(f, row), f.Scale, seed)
	case classVersion:
		v := c.Versions.At(row)
		return versionHash(v, seed)
	case classList:
		h := seed
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			h = word(valueHash(&f.Fields[0], &c.Children[0], int(e), seed^salt1), h)
		}
		return word(uint64(c.Offsets[row+1]-c.Offsets[row]), h)
	case classStruct:
		h := seed
		for i := range f.Fields {
			h += valueHash(&f.Fields[i], &c.Children[i], row, seedOf(f.Fields[i].Name, f.Fields[i].Kind)^seed)
		}
		return word(h, seed)
	default:
		return word(uint64(c.Ints[row]), seed) //nolint:gosec // its bits
	}
}

func versionHash(v record.Version, seed uint64) uint64 {
	return word(v.Lo, word(v.Hi, word(uint64(v.Epoch)<<32|uint64(v.Index), seed)))
}

// floatHash takes all NaNs for one, as texts do; the two zeros stay apart.
func floatHash(v float64, seed uint64) uint64 {
	if v != v {
		v = math.NaN()
	}
	return word(math.Float64bits(v), seed)
}

// decimalHash is of the number, whatever the scale that it is written in.
func decimalHash(v int64, scale int, seed uint64) uint64 {
	for scale > 0 && v%10 == 0 {
		v, scale = v/10, scale-1
	}
	return word(uint64(v), seed+uint64(scale)*salt0) //nolint:gosec // its bits
}

func wideHash(v record.Int128, scale int, seed uint64) uint64 {
	if v.Hi == int64(v.Lo)>>63 { //nolint:gosec // the sign
		return decimalHash(int64(v.Lo), scale, seed) //nolint:gosec // it is all there is
	}
	hi, lo := uint64(v.Hi), v.Lo //nolint:gosec // its bits
	negative := v.Hi < 0
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	for scale > 0 {
		qhi, r := hi/10, hi%10
		qlo, r := bits.Div64(r, lo, 10)
		if r != 0 {
			break
		}
		hi, lo, scale = qhi, qlo, scale-1
	}
	if hi == 0 && (lo <= math.MaxInt64 || negative && lo == 1<<63) { // what the narrow form would give
		n := int64(lo) //nolint:gosec // the least number is its own negative
		if negative {
			n = -n
		}
		return decimalHash(n, scale, seed)
	}
	if negative {
		seed = ^seed
	}
	return word(lo, word(hi, seed+uint64(scale)*salt0)) //nolint:gosec // at most 38
}
