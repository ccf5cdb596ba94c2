// Package parquettest makes columns for tests and measurements: random ones of every kind, and two tables.
package parquettest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// Fields gives between one and six fields of any kinds, some nested.
func Fields(r *rand.Rand) []record.Field {
	fields := make([]record.Field, 1+r.IntN(6))
	for i := range fields {
		fields[i] = field(r, fmt.Sprintf("f%d", i), 3)
	}
	return fields
}

func field(r *rand.Rand, name string, depth int) record.Field {
	f := record.Field{Name: name, Kind: record.Kind(1 + r.IntN(int(record.VersionText))), Nullable: r.IntN(3) > 0} //nolint:gosec // few
	if depth > 0 && r.IntN(4) == 0 {
		f.Kind = record.List + record.Kind(r.IntN(2)) //nolint:gosec // few
	}
	switch f.Kind {
	case record.Decimal:
		f.Precision = 1 + r.IntN(38)
		f.Scale = r.IntN(f.Precision + 1)
	case record.List:
		f.Fields = []record.Field{field(r, "item", depth-1)}
	case record.Struct:
		for i := range 1 + r.IntN(3) {
			f.Fields = append(f.Fields, field(r, fmt.Sprintf("m%d", i), depth-1))
		}
	}
	return f
}

// Columns gives columns of rows that fit fields: constants now and then; nulls none, few, many or all; many or few
// different values. Versions are of one epoch.
func Columns(r *rand.Rand, fields []record.Field, rows int) []record.Column {
	out := make([]record.Column, len(fields))
	for i, f := range fields {
		n, constant := rows, r.IntN(4) == 0
		if constant {
			n = min(1, rows)
		}
		out[i] = column(r, f, n)
		out[i].Const = constant
	}
	return out
}

func column(r *rand.Rand, f record.Field, rows int) record.Column {
	var c record.Column
	percent, span := []int{0, 3, 50, 100}[r.IntN(4)], []int{2, 20, 1 << 30}[r.IntN(3)]
	elements := 0
	if f.Kind == record.VersionText {
		c.Versions = versions(r, rows)
	}
	for i := range rows {
		null := f.Nullable && r.IntN(100) < percent
		if null && r.IntN(4) == 0 {
			c.SetAbsent(i)
		} else if null {
			c.SetNull(i)
		}
		n := appendValue(r, f, &c, r.IntN(span), null)
		elements += n
	}
	if c.Valid != nil {
		for len(c.Valid)*64 < rows {
			c.Valid = append(c.Valid, ^uint64(0))
		}
	}
	if c.Absent != nil {
		for len(c.Absent)*64 < rows {
			c.Absent = append(c.Absent, 0)
		}
	}
	if f.Kind == record.Struct {
		elements = rows
	}
	if f.Kind == record.List && len(c.Offsets) == 0 {
		c.Offsets = []uint32{0}
	}
	if f.Kind == record.String || f.Kind == record.Bytes {
		c.Offsets = append([]uint32{}, c.Offsets...)
	}
	for _, m := range f.Fields {
		c.Children = append(c.Children, column(r, m, elements))
	}
	return c
}

func versions(r *rand.Rand, rows int) record.Versions {
	v := record.Versions{Epoch: 7}
	wide, index := r.IntN(2) == 0, r.IntN(2) == 0
	switch r.IntN(4) {
	case 0:
		rows = 1 // one for all
	case 1: // of a snapshot: only the index tells them apart
		v.Lo = []uint64{r.Uint64() >> r.IntN(64)}
		for range rows {
			v.Index = append(v.Index, r.Uint32()>>r.IntN(32))
		}
		return v
	}
	for range rows {
		v.Lo = append(v.Lo, r.Uint64()>>r.IntN(64))
		if wide {
			v.Hi = append(v.Hi, r.Uint64()>>r.IntN(64))
		}
		if index {
			v.Index = append(v.Index, uint32(r.IntN(3))) //nolint:gosec // few
		}
	}
	return v
}

// appendValue appends a slot and gives the number of elements of a list.
func appendValue(r *rand.Rand, f record.Field, c *record.Column, v int, null bool) int {
	switch {
	case f.Kind == record.Float32:
		c.Floats = append(c.Floats, float64(float32(float(r, v))))
	case f.Kind == record.Float64:
		c.Floats = append(c.Floats, float(r, v))
	case f.Wide():
		c.Wide = append(c.Wide, wide(r, f.Precision, v))
	case f.Kind == record.String || f.Kind == record.Bytes:
		if null {
			c.AppendText(nil)
		} else {
			c.AppendText(text(r, f.Kind, v))
		}
	case f.Kind == record.VersionText, f.Kind == record.Struct:
	case f.Kind == record.List:
		if len(c.Offsets) == 0 {
			c.Offsets = append(c.Offsets, 0)
		}
		n := 0
		if !null {
			n = r.IntN(5)
		}
		c.Offsets = append(c.Offsets, c.Offsets[len(c.Offsets)-1]+uint32(n)) //nolint:gosec // few
		return n
	default:
		c.Ints = append(c.Ints, integer(r, f, v))
	}
	return 0
}

func integer(r *rand.Rand, f record.Field, v int) int64 {
	extreme := r.IntN(50) == 0
	switch f.Kind {
	case record.Bool:
		return int64(v & 1)
	case record.Decimal:
		limit := int64(math.Pow10(f.Precision))
		if extreme {
			return []int64{1 - limit, limit - 1}[r.IntN(2)]
		}
		return (int64(v) - 1) % limit
	case record.Int64:
		if extreme {
			return []int64{math.MinInt64, math.MaxInt64}[r.IntN(2)]
		}
	case record.LocalTimestamp, record.Timestamp: // engines have fewer years than 64 bits
		if extreme {
			return []int64{-1 << 55, 1 << 55}[r.IntN(2)]
		}
	case record.Date:
		if extreme {
			return []int64{-500_000, 1_000_000}[r.IntN(2)]
		}
	default:
		if extreme {
			return []int64{math.MinInt32, math.MaxInt32}[r.IntN(2)]
		}
	}
	return int64(v) - 5
}

func float(r *rand.Rand, v int) float64 {
	switch r.IntN(40) {
	case 0:
		return math.Copysign(0, -1)
	case 1:
		return 0
	case 2:
		return math.Inf(1)
	case 3:
		if r.IntN(20) == 0 {
			return math.NaN()
		}
		return math.Inf(-1)
	}
	return float64(v)/4 - 3
}

func wide(r *rand.Rand, precision, v int) record.Int128 {
	n := int64(v) - 1
	out := record.Int128{Hi: n >> 63, Lo: uint64(n)} //nolint:gosec // its bits
	if precision > 30 && r.IntN(3) == 0 {            // 10^30 is above 2^99
		out.Hi += r.Int64N(1<<34) - 1<<33
	}
	return out
}

func text(r *rand.Rand, k record.Kind, v int) []byte {
	if k == record.Bytes {
		b := fmt.Appendf(nil, "%d", v)
		if r.IntN(3) == 0 {
			b = append([]byte{0xFF, 0xFF, 0, 0xC3}, b...)
		}
		return append(b, strings.Repeat("\xFF", r.IntN(3)*r.IntN(20))...)
	}
	switch v % 7 {
	case 1:
		return nil
	case 2:
		return fmt.Appendf(nil, "%s %d", strings.Repeat("ñandú", r.IntN(30)), v)
	case 3:
		return fmt.Appendf(nil, "%s%d", strings.Repeat("\U0010FFFF", r.IntN(30)), v)
	case 4:
		return fmt.Appendf(nil, "%s%d", strings.Repeat("\uD7FF", r.IntN(30)), v)
	}
	return fmt.Appendf(nil, "text %d", v)
}

// Value renders the value of a row, the same for equal values.
func Value(f record.Field, c *record.Column, row int) string {
	if c.Const {
		row = 0
	}
	if !c.IsValid(row) {
		return "null"
	}
	switch f.Kind {
	case record.Float32, record.Float64:
		return fmt.Sprintf("%v", c.Floats[row])
	case record.String, record.Bytes:
		return fmt.Sprintf("%q", c.Text(row))
	case record.VersionText:
		return fmt.Sprintf("%q", c.Versions.At(row))
	case record.List, record.Struct:
		return inside(f, c, row)
	}
	if f.Wide() {
		return fmt.Sprintf("%016x%016x", uint64(c.Wide[row].Hi), c.Wide[row].Lo) //nolint:gosec // its bits
	}
	return fmt.Sprint(c.Ints[row])
}

func inside(f record.Field, c *record.Column, row int) string {
	var parts []string
	if f.Kind == record.Struct {
		for i, m := range f.Fields {
			parts = append(parts, Value(m, &c.Children[i], row))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
		parts = append(parts, Value(f.Fields[0], &c.Children[0], int(e)))
	}
	return "[" + strings.Join(parts, " ") + "]"
}
