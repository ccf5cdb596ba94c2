package parquet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// maxText is the greatest length of a text: pages must stay below 2 GiB.
const maxText = 1 << 30

var (
	errNull  = errors.New("null, but the column is not nullable")
	errText  = errors.New("longer than 1 GiB")
	errUTF8  = errors.New("the text is not UTF-8")
	errFloat = errors.New("not a 32-bit float")
	errBool  = errors.New("neither 0 nor 1")
	errShort = errors.New("has fewer slots than rows")
)

// Check finds the rows that can not be stored without loss: a null where the field is not nullable, an integer or date
// beyond 32 bits, a decimal beyond its precision, a text that is not UTF-8 or has more than 1 GiB. They come as *fault.Rows. Write checks as
// well; a sink that must refuse a batch as a whole asks first.
func Check(fields []record.Field, columns []record.Column, rows int) error {
	return check(fields, columns, 0, rows)
}

func check(fields []record.Field, columns []record.Column, lo, hi int) error {
	if len(columns) != len(fields) {
		return fmt.Errorf("check rows: %d columns for %d fields", len(columns), len(fields))
	}
	var bad []fault.Row
	for i, f := range fields {
		c := &columns[i]
		if err := fits(f, c, hi); err != nil {
			return fmt.Errorf("check rows: column %s: %w", f.Name, err)
		}
		if lo >= hi || clean(f, c, lo, hi) {
			continue
		}
		for r := lo; r < hi; r++ {
			if err := problem(f, c, r); err != nil {
				bad = append(bad, fault.Row{Index: r, Column: f.Name, Err: err})
			}
		}
	}
	slices.SortStableFunc(bad, func(a, b fault.Row) int { return a.Index - b.Index })
	bad = slices.CompactFunc(bad, func(a, b fault.Row) bool { return a.Index == b.Index })
	return (&fault.Rows{Bad: bad}).Or()
}

// fits says whether a column has a slot for each row, so that nothing below reads beyond it.
func fits(f record.Field, c *record.Column, rows int) error {
	if c.Const {
		rows = min(rows, 1)
	}
	if c.Valid != nil && len(c.Valid)*64 < rows {
		return errShort
	}
	have := len(c.Ints)
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		have = len(c.Floats)
	case f.Wide():
		have = len(c.Wide)
	case f.Kind == record.String || f.Kind == record.Bytes || f.Kind == record.List:
		have = max(0, len(c.Offsets)-1)
	case f.Kind == record.VersionText:
		have = rows
		for _, n := range []int{len(c.Versions.Hi), len(c.Versions.Lo), len(c.Versions.Index)} {
			if n > 1 {
				have = min(have, n)
			}
		}
	case f.Kind == record.Struct:
		have = rows
	}
	if have < rows {
		return errShort
	}
	if rows == 0 { // then there may be no children
		return nil
	}
	switch f.Kind {
	case record.List:
		rows = int(c.Offsets[rows])
	case record.Struct:
	case record.String, record.Bytes:
		if int(c.Offsets[rows]) > len(c.Bytes) {
			return errShort
		}
		return nil
	default:
		return nil
	}
	if len(c.Children) < len(f.Fields) {
		return errShort
	}
	for i, m := range f.Fields {
		if err := fits(m, &c.Children[i], rows); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// clean says whether no slot of [lo,hi) has a problem, looking also at those that a null above hides.
func clean(f record.Field, c *record.Column, lo, hi int) bool {
	if lo >= hi {
		return true
	}
	if c.Const {
		lo, hi = 0, 1
	}
	if !f.Nullable && c.Nulls(lo, hi) > 0 {
		return false
	}
	switch f.Kind {
	case record.Bool:
		return magnitude(c.Ints[lo:hi]) <= 1 && slices.Min(c.Ints[lo:hi]) >= 0
	case record.Int32, record.Date:
		return magnitude(c.Ints[lo:hi]) <= math.MaxInt32
	case record.Decimal:
		return cleanDecimal(f, c, lo, hi)
	case record.String, record.Bytes:
		return c.Offsets[hi]-c.Offsets[lo] <= maxText && (f.Kind == record.Bytes || cleanTexts(c, lo, hi))
	case record.Float32:
		return !slices.ContainsFunc(c.Floats[lo:hi], rounds)
	case record.List:
		return clean(f.Fields[0], &c.Children[0], int(c.Offsets[lo]), int(c.Offsets[hi]))
	case record.Struct:
		for i, m := range f.Fields {
			if !clean(m, &c.Children[i], lo, hi) {
				return false
			}
		}
	}
	return true
}

func cleanDecimal(f record.Field, c *record.Column, lo, hi int) bool {
	limit := powers[f.Precision]
	if f.Wide() {
		return !slices.ContainsFunc(c.Wide[lo:hi], func(v record.Int128) bool { return beyond(v, limit) })
	}
	return magnitude(c.Ints[lo:hi])+1 < limit.Lo ||
		!slices.ContainsFunc(c.Ints[lo:hi], func(v int64) bool { return beyond(widened(v), limit) })
}

// cleanTexts says whether every text is UTF-8: all of them together are, and none starts inside a character.
func cleanTexts(c *record.Column, lo, hi int) bool {
	if !utf8.Valid(c.Bytes[c.Offsets[lo]:c.Offsets[hi]]) {
		return false
	}
	for _, at := range c.Offsets[lo:hi] {
		if int(at) < len(c.Bytes) && !utf8.RuneStart(c.Bytes[at]) {
			return false
		}
	}
	return true
}

// magnitude is at least the greatest absolute value, and less than twice that; a negative value counts one less.
func magnitude(v []int64) uint64 {
	var m uint64
	for _, x := range v {
		m |= uint64(x ^ x>>63) //nolint:gosec // not negative
	}
	return m
}

// rounds says whether a float is not kept by 32 bits.
func rounds(v float64) bool { return float64(float32(v)) != v && !math.IsNaN(v) }

func widened(v int64) record.Int128 { return record.Int128{Hi: v >> 63, Lo: uint64(v)} } //nolint:gosec // its bits

// beyond says whether v <= -limit or limit <= v.
func beyond(v, limit record.Int128) bool {
	if v.Hi < 0 { // negate
		v.Hi, v.Lo = ^v.Hi, ^v.Lo+1
		if v.Lo == 0 {
			v.Hi++
		}
		if v.Hi < 0 { // the least of all
			return true
		}
	}
	return compareWide(v, limit) >= 0
}

// powers are those of ten, by the number of zeros.
var powers = powersOfTen() //nolint:gochecknoglobals // a constant table

func powersOfTen() (p [39]record.Int128) {
	p[0].Lo = 1
	for i := 1; i < len(p); i++ {
		for range 10 {
			lo := p[i].Lo + p[i-1].Lo
			p[i].Hi += p[i-1].Hi
			if lo < p[i].Lo {
				p[i].Hi++
			}
			p[i].Lo = lo
		}
	}
	return p
}

// problem gives what is wrong with a slot or with something under it; what a null hides is of no matter.
func problem(f record.Field, c *record.Column, slot int) error {
	if c.Const {
		slot = 0
	}
	if !c.IsValid(slot) {
		if f.Nullable {
			return nil
		}
		return errNull
	}
	switch f.Kind {
	case record.Bool:
		if v := c.Ints[slot]; v != 0 && v != 1 {
			return errBool
		}
	case record.Int32, record.Date:
		if v := c.Ints[slot]; int64(int32(v)) != v { //nolint:gosec // the question
			return fmt.Errorf("%d does not fit 32 bits", v)
		}
	case record.Decimal:
		if beyond(decimal(f, c, slot), powers[f.Precision]) {
			return fmt.Errorf("more than %d digits", f.Precision)
		}
	case record.String, record.Bytes:
		if c.Offsets[slot+1]-c.Offsets[slot] > maxText {
			return errText
		}
		if f.Kind == record.String && !utf8.Valid(c.Text(slot)) {
			return errUTF8
		}
	case record.Float32:
		if rounds(c.Floats[slot]) {
			return errFloat
		}
	case record.List, record.Struct:
		return inside(f, c, slot)
	}
	return nil
}

func decimal(f record.Field, c *record.Column, slot int) record.Int128 {
	if f.Wide() {
		return c.Wide[slot]
	}
	return widened(c.Ints[slot])
}

// inside looks for a problem in a list or struct.
func inside(f record.Field, c *record.Column, slot int) error {
	lo, hi := slot, slot+1
	if f.Kind == record.List {
		lo, hi = int(c.Offsets[slot]), int(c.Offsets[slot+1])
	}
	for i, m := range f.Fields {
		for s := lo; s < hi; s++ {
			if err := problem(m, &c.Children[i], s); err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
		}
	}
	return nil
}
