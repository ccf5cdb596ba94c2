package schemas

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// Shape is how the value of a field came.
type Shape uint8

// The shapes. Written is text that a person wrote into a form: it is read as the field's type, and empty means missing.
// The others are JSON's, and must be the field's own.
const (
	Missing Shape = iota
	Null
	Written
	Characters
	Number
	Truth // a boolean; its text is true or false
	Array
	Object
)

// Input is the value of one field as it came. Its text is not changed and not kept.
type Input struct {
	Shape Shape
	Text  []byte
	Twice bool // it was sent more than once
}

// Value is a checked value. Text shares the memory of the Input.
type Value struct {
	Set  bool // false: null
	Text []byte
	Int  int64
	Wide record.Int128 // of a Decimal
}

// Code says what is wrong with a value; it is stable.
type Code string

// The codes.
const (
	Required      Code = "required"
	WrongType     Code = "wrong_type"
	TooShort      Code = "too_short"
	TooLong       Code = "too_long"
	TooSmall      Code = "too_small"
	TooLarge      Code = "too_large"
	NotAnOption   Code = "not_an_option"
	NotANumber    Code = "not_a_number"
	TooPrecise    Code = "too_precise"
	TooManyDigits Code = "too_many_digits"
	NotADate      Code = "not_a_date"
	BadText       Code = "bad_text"
	UnknownField  Code = "unknown_field"
	SentTwice     Code = "sent_twice"
)

// Problem is what is wrong with one field.
type Problem struct {
	Field int    // -1: there is no such field
	Name  string // as it was sent, or as it is declared
	Code  Code
	Limit string // what the code is about: the greatest length, the expected type
}

// Check reads and checks one record. in and out have one entry a field. It gives every problem at once, one a field at
// most, in the order of the fields; with none, out holds the values. White space around a value is not part of it, so
// what is nothing but white space is missing; lengths count Unicode code points. NUL and what is not UTF-8 is refused.
func (t *Table) Check(in []Input, out []Value, now time.Time) []Problem {
	var problems []Problem
	for i := range t.Fields {
		f := &t.Fields[i]
		out[i] = Value{}
		if code, limit := f.check(in[i], &out[i], now); code != "" {
			problems = append(problems, Problem{Field: i, Name: f.Name, Code: code, Limit: limit})
		}
	}
	return problems
}

func (f *Field) check(in Input, out *Value, now time.Time) (code Code, limit string) {
	switch {
	case in.Twice:
		return SentTwice, ""
	case f.Generated && in.Shape != Missing:
		return UnknownField, ""
	case f.Generated:
		return "", ""
	}
	empty := in.Shape <= Null
	if in.Shape == Written || in.Shape == Characters {
		if !utf8.Valid(in.Text) || bytes.IndexByte(in.Text, 0) >= 0 {
			return BadText, ""
		}
		in.Text = bytes.TrimSpace(in.Text)
		empty = len(in.Text) == 0 && (in.Shape == Written || f.Type == String || f.Type == Enum)
	}
	switch {
	case empty && f.Required:
		return Required, ""
	case empty:
		return "", ""
	case !f.takes(in.Shape):
		return WrongType, f.Type.String()
	}
	out.Set = true
	return f.read(in.Text, in.Shape == Written, out, now)
}

// takes says whether a value of this shape can be the field's.
func (f *Field) takes(s Shape) bool {
	switch s {
	case Written:
		return true
	case Characters:
		return f.Type == String || f.Type == Enum || f.Type == Date || f.Type == Decimal
	case Number:
		return f.Type == Int32 || f.Type == Int64 || f.Type == Decimal
	case Truth:
		return f.Type == Boolean
	case Missing, Null, Array, Object:
	}
	return false
}

func (f *Field) read(text []byte, written bool, out *Value, now time.Time) (code Code, limit string) {
	out.Text = text
	switch f.Type {
	case String:
		return f.measure(text)
	case Enum:
		return f.option(text)
	case Boolean:
		if code, limit = f.option(text); code == "" && string(text) == "true" {
			out.Int = 1
		}
		return code, limit
	case Int32, Int64:
		return f.whole(text, out, now)
	case Decimal:
		return f.decimal(text, written, out, now)
	case Date:
		at, err := time.Parse(time.DateOnly, string(text))
		if err != nil {
			return NotADate, ""
		}
		out.Int = at.Unix() / (24 * 60 * 60)
	case UUID:
	}
	return "", ""
}

func (f *Field) measure(text []byte) (code Code, limit string) {
	n := utf8.RuneCount(text)
	switch {
	case n < f.MinLength:
		return TooShort, strconv.Itoa(f.MinLength)
	case f.MaxLength > 0 && n > f.MaxLength:
		return TooLong, strconv.Itoa(f.MaxLength)
	}
	return "", ""
}

func (f *Field) option(text []byte) (code Code, limit string) {
	for i := range f.Options {
		if f.Options[i].Value == string(text) {
			return "", ""
		}
	}
	return NotAnOption, ""
}

func (f *Field) whole(text []byte, out *Value, now time.Time) (code Code, limit string) {
	if number := bytes.TrimPrefix(text, []byte{'-'}); len(number) == 0 || !digits(number) {
		return NotANumber, ""
	}
	bits, low, high := 64, int64(math.MinInt64), int64(math.MaxInt64)
	if f.Type == Int32 {
		bits, low, high = 32, math.MinInt32, math.MaxInt32
	}
	if f.Min.Set {
		low = max(low, f.Min.At(now))
	}
	if f.Max.Set {
		high = min(high, f.Max.At(now))
	}
	v, err := strconv.ParseInt(string(text), 10, bits) // out of range it gives the nearest number that there is
	switch out.Int = v; {
	case v < low, err != nil && v < 0:
		return TooSmall, strconv.FormatInt(low, 10)
	case v > high, err != nil:
		return TooLarge, strconv.FormatInt(high, 10)
	}
	return "", ""
}

// decimal reads a decimal number exactly; in a form the comma may stand for the point.
func (f *Field) decimal(text []byte, written bool, out *Value, now time.Time) (code Code, limit string) {
	if written {
		text = bytes.Replace(text, []byte{','}, []byte{'.'}, 1)
	}
	whole, fraction, _ := bytes.Cut(bytes.TrimPrefix(text, []byte{'-'}), []byte{'.'})
	if len(whole) == 0 || !digits(whole) || !digits(fraction) {
		return NotANumber, ""
	}
	if len(fraction) > f.Scale {
		return TooPrecise, strconv.Itoa(f.Scale)
	}
	v, err := record.ParseDecimal(string(text), f.Precision, f.Scale)
	if err != nil {
		return TooManyDigits, strconv.Itoa(f.Precision - f.Scale)
	}
	out.Wide, out.Int = v, int64(v.Lo) //nolint:gosec // two's complement; up to 18 digits it is the whole value
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(f.Scale)), nil)
	bound := func(b Bound) *big.Int { return new(big.Int).Mul(big.NewInt(b.At(now)), unit) }
	switch n := v.Big(); {
	case f.Min.Set && n.Cmp(bound(f.Min)) < 0:
		return TooSmall, strconv.FormatInt(f.Min.At(now), 10)
	case f.Max.Set && n.Cmp(bound(f.Max)) > 0:
		return TooLarge, strconv.FormatInt(f.Max.At(now), 10)
	}
	return "", ""
}

func digits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Append adds checked values as a row. Generated fields are set by the caller as values of their own.
func (t *Table) Append(b *record.Builder, values []Value) {
	for i := range values {
		v := &values[i]
		if !v.Set {
			continue
		}
		switch f := &b.Schema().Fields[i]; {
		case f.Kind == record.String:
			b.Text(i, v.Text)
		case f.Wide():
			b.Wide(i, v.Wide)
		default:
			b.Int(i, v.Int)
		}
	}
	b.Next()
}
