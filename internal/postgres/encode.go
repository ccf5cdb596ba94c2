package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// MaxRow is the size of a row, in bytes, that is neither read nor written: a tuple of the server has less than 1 GiB.
const MaxRow = maxRow

// The moments that the server has (src/include/datatype/timestamp.h), from 4713 BC to 5874897 for days and to 294276 for microseconds,
// counted from 2000-01-01. What lies outside would be an infinity, or an error.
const (
	leastDay    = -2451545
	endDay      = 2147483494 - 2451545
	leastMicros = -211813488000000000
	endMicros   = 9223371331200000000
)

var (
	errNUL  = errors.New("the text has a NUL character, which PostgreSQL cannot hold")
	errDay  = errors.New("PostgreSQL has dates from 4713 BC to 5874897 only")
	errTime = errors.New("PostgreSQL has times from 4713 BC to 294276 only")
)

// TypeOf gives the type of a column that holds the values of a field without loss. Lists of plain values are arrays; structs, and
// lists of lists or structs, are json as record.Batch.AppendJSON writes them: json keeps the text, where jsonb would not keep -0 or NUL.
// Texts of a key have the order of their bytes.
func TypeOf(f *record.Field, key bool) string {
	switch f.Kind {
	case record.Bool:
		return "boolean"
	case record.Int32:
		return "integer"
	case record.Int64:
		return "bigint"
	case record.Float32:
		return "real"
	case record.Float64:
		return "double precision"
	case record.Decimal:
		return fmt.Sprintf("numeric(%d,%d)", f.Precision, f.Scale)
	case record.Date:
		return "date"
	case record.Timestamp:
		return "timestamp with time zone"
	case record.LocalTimestamp:
		return "timestamp without time zone"
	case record.String, record.VersionText:
		if key || f.Kind == record.VersionText {
			return `text COLLATE "C"`
		}
		return "text"
	case record.Bytes:
		return "bytea"
	case record.List:
		if !InJSON(f) {
			return strings.TrimSuffix(TypeOf(&f.Fields[0], false), ` COLLATE "C"`) + "[]"
		}
	case record.Struct:
	}
	return "json"
}

// InJSON says whether the values of a field are JSON documents in a table.
func InJSON(f *record.Field) bool {
	return f.Kind == record.Struct || f.Kind == record.List && (f.Fields[0].Kind == record.List || f.Fields[0].Kind == record.Struct)
}

// elementOIDs are the types of the elements of arrays (src/include/catalog/pg_type.dat).
var elementOIDs = map[record.Kind]uint32{ //nolint:gochecknoglobals // a constant table
	record.Bool: 16, record.Bytes: 17, record.Int64: 20, record.Int32: 23, record.String: 25, record.VersionText: 25, record.Float32: 700,
	record.Float64: 701, record.Date: 1082, record.LocalTimestamp: 1114, record.Timestamp: 1184, record.Decimal: 1700,
}

// Misfit says why the server cannot hold the value of a row, as far as internal/parquet.Check does not: NUL in texts, times that it
// does not have. A null fits.
func Misfit(f *record.Field, c *record.Column, row int) error {
	if !c.IsValid(row) || c.IsAbsent(row) {
		return nil
	}
	if c.Const {
		row = 0
	}
	switch f.Kind {
	case record.String:
		if bytes.IndexByte(c.Text(row), 0) >= 0 {
			return errNUL
		}
	case record.Date:
		if day := c.Ints[row] - epochDays; day < leastDay || day >= endDay {
			return errDay
		}
	case record.Timestamp, record.LocalTimestamp:
		if !timeFits(c.Ints[row]) {
			return errTime
		}
	case record.List:
		if InJSON(f) {
			return nil
		}
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			if err := Misfit(&f.Fields[0], &c.Children[0], int(e)); err != nil {
				return err
			}
		}
	default: // a document escapes what texts cannot have
	}
	return nil
}

func timeFits(micros int64) bool {
	return micros >= leastMicros+epochMicros && micros-epochMicros < endMicros
}

// AppendCopyHeader appends what begins a COPY in binary (https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format").
func AppendCopyHeader(dst []byte) []byte {
	return append(dst, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// AppendCopyTrailer appends what ends it.
func AppendCopyTrailer(dst []byte) []byte { return append(dst, 0xff, 0xff) }

// AppendCopyRow begins a row of so many values.
func AppendCopyRow(dst []byte, values int) []byte {
	return binary.BigEndian.AppendUint16(dst, uint16(values)) //nolint:gosec // a table has at most 1,600 columns
}

// AppendCopyNull appends a null.
func AppendCopyNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// AppendCopyText appends a text.
func AppendCopyText[T string | []byte](dst []byte, text T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text))) //nolint:gosec // below 1 GiB
	return append(dst, text...)
}

// AppendCopy appends the value of a row with its length, as COPY takes it for a column of TypeOf. Values must fit: see Misfit. An
// absent value is null.
func AppendCopy(dst []byte, f *record.Field, c *record.Column, row int) []byte {
	if !c.IsValid(row) {
		return AppendCopyNull(dst)
	}
	if c.Const {
		row = 0
	}
	be := binary.BigEndian
	switch f.Kind {
	case record.Int64:
		return be.AppendUint64(append(dst, 0, 0, 0, 8), uint64(c.Ints[row])) //nolint:gosec // its bits
	case record.Int32:
		return be.AppendUint32(append(dst, 0, 0, 0, 4), uint32(c.Ints[row])) //nolint:gosec // it fits
	case record.String, record.Bytes:
		return AppendCopyText(dst, c.Bytes[c.Offsets[row]:c.Offsets[row+1]])
	case record.Timestamp, record.LocalTimestamp:
		return be.AppendUint64(append(dst, 0, 0, 0, 8), uint64(c.Ints[row]-epochMicros)) //nolint:gosec // its bits
	case record.Date:
		return be.AppendUint32(append(dst, 0, 0, 0, 4), uint32(c.Ints[row]-epochDays)) //nolint:gosec // it fits
	case record.Decimal:
		return appendNumeric(dst, c.Unscaled(f, row), f.Scale)
	case record.Bool:
		return append(dst, 0, 0, 0, 1, byte(c.Ints[row])) //nolint:gosec // 0 or 1
	case record.Float64:
		return be.AppendUint64(append(dst, 0, 0, 0, 8), math.Float64bits(c.Floats[row]))
	case record.Float32:
		return be.AppendUint32(append(dst, 0, 0, 0, 4), math.Float32bits(float32(c.Floats[row])))
	case record.VersionText:
		return c.Versions.At(row).AppendText(be.AppendUint32(dst, record.VersionLen), 0)
	case record.List:
		if !InJSON(f) {
			return sized(dst, func(dst []byte) []byte { return appendArray(dst, &f.Fields[0], c, row) })
		}
	case record.Struct:
	}
	return sized(dst, func(dst []byte) []byte { return record.AppendValue(dst, f, c, row) })
}

// sized puts the length of what a function appends before it.
func sized(dst []byte, what func([]byte) []byte) []byte {
	at := len(dst)
	dst = what(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // below 1 GiB
	return dst
}

// appendArray appends a list as array_recv takes it: dimensions, whether there are nulls, the type of the elements; length and lower
// bound; the elements.
func appendArray(dst []byte, f *record.Field, c *record.Column, row int) []byte {
	from, to := int(c.Offsets[row]), int(c.Offsets[row+1])
	be, oid := binary.BigEndian, elementOIDs[f.Kind]
	if from == to {
		return be.AppendUint32(append(dst, 0, 0, 0, 0, 0, 0, 0, 0), oid)
	}
	var nulls uint32
	if c.Children[0].Nulls(from, to) > 0 {
		nulls = 1
	}
	dst = be.AppendUint32(be.AppendUint32(append(dst, 0, 0, 0, 1), nulls), oid)
	dst = be.AppendUint32(be.AppendUint32(dst, uint32(to-from)), 1) //nolint:gosec // below the batch's size
	for e := from; e < to; e++ {
		dst = AppendCopy(dst, f, &c.Children[0], e)
	}
	return dst
}

// appendNumeric appends an unscaled value with its length, as numeric_recv takes it: digits of base 10,000 without zeros at either end.
func appendNumeric(dst []byte, v record.Int128, scale int) []byte {
	sign := uint16(0)
	u := magnitude{uint64(v.Hi), v.Lo} //nolint:gosec // its bits
	if v.Hi < 0 {
		var borrow uint64
		sign = numericNegative
		u.lo, borrow = bits.Sub64(0, u.lo, 0)
		u.hi, _ = bits.Sub64(0, u.hi, borrow)
	}
	after := (scale + 3) / 4 // digits behind the point
	first := uint64(10000)   // the last digit holds as many decimal ones as the scale has beyond whole digits
	shift := uint64(1)
	if r := scale % 4; r > 0 {
		first, shift = tens[r], tens[4-r]
	}
	var digits [12]uint16 // the last comes first
	n := 0
	if u.hi|u.lo != 0 {
		var rest uint64
		u, rest = u.over(first)
		digits[0], n = uint16(rest*shift), 1 //nolint:gosec // below 10,000
	}
	for u.hi != 0 {
		var rest uint64
		u, rest = u.over(10000)
		digits[n] = uint16(rest) //nolint:gosec // below 10,000
		n++
	}
	for lo := u.lo; lo != 0; lo /= 10000 {
		digits[n] = uint16(lo % 10000)
		n++
	}
	weight := n - 1 - after
	low := 0
	for low < n && digits[low] == 0 {
		low++
	}
	be := binary.BigEndian
	if low == n {
		n, low, weight = 0, 0, 0
	}
	dst = be.AppendUint32(dst, uint32(numericHead+2*(n-low)))                  //nolint:gosec // at most 11 digits
	dst = be.AppendUint16(be.AppendUint16(dst, uint16(n-low)), uint16(weight)) //nolint:gosec // signed
	dst = be.AppendUint16(be.AppendUint16(dst, sign), uint16(scale))           //nolint:gosec // at most 38
	for n--; n >= low; n-- {
		dst = be.AppendUint16(dst, digits[n])
	}
	return dst
}

// over divides by a small number.
func (u magnitude) over(by uint64) (_ magnitude, rest uint64) {
	if u.hi == 0 { // as most are
		return magnitude{0, u.lo / by}, u.lo % by
	}
	hi, rest := u.hi/by, u.hi%by
	lo, rest := bits.Div64(rest, u.lo, by)
	return magnitude{hi, lo}, rest
}

// AppendCopyTime appends a timestamp, in microseconds since 1970.
func AppendCopyTime(dst []byte, micros int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(micros-epochMicros)) //nolint:gosec // its bits
}

// AppendCopyTexts appends an array of texts.
func AppendCopyTexts(dst []byte, texts []string) []byte {
	c := record.Column{Offsets: []uint32{0, uint32(len(texts))}, Children: []record.Column{{Offsets: []uint32{0}}}} //nolint:gosec // few
	for _, t := range texts {
		c.Children[0].AppendText([]byte(t))
	}
	return sized(dst, func(dst []byte) []byte { return appendArray(dst, &record.Field{Kind: record.String}, &c, 0) })
}

// Fits says whether the server can hold the values of all rows, as far as a look at a whole column tells: false wants a look at each.
func Fits(f *record.Field, c *record.Column, rows int) bool {
	if c.Const {
		rows = min(rows, 1)
	}
	switch f.Kind {
	case record.String:
		return bytes.IndexByte(c.Bytes[c.Offsets[0]:c.Offsets[rows]], 0) < 0
	case record.Timestamp, record.LocalTimestamp:
		for _, v := range c.Ints[:rows] {
			if !timeFits(v) {
				return false
			}
		}
		return true
	case record.Date, record.List:
		return false
	}
	return true
}

// ReadCopyRow takes the values of a row off what AppendCopyRow and its kin have made; nil is null.
func ReadCopyRow(from *[]byte) (values [][]byte, err error) {
	v := *from
	if len(v) < 2 {
		return nil, errMalformed
	}
	n := int(binary.BigEndian.Uint16(v))
	v = v[2:]
	for range n {
		var value []byte
		if value, v, err = next(v); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	*from = v
	return values, nil
}
