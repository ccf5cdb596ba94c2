package record

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// ColumnError says what is wrong with the value of one column.
type ColumnError struct {
	Column string
	Err    error
}

// Error names the column.
func (e *ColumnError) Error() string { return e.Column + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *ColumnError) Unwrap() error { return e.Err }

// AppendJSON adds the row that a JSON object holds, as Batch.AppendJSON writes it. It is strict: an unknown or double
// name, a value of another type or out of range, and a missing value of a column that is not nullable are errors, all of
// them at once as joined ColumnErrors. On an error the row is not added.
func (b *Builder) AppendJSON(obj []byte) error { return b.AppendPartJSON(obj, nil) }

// AppendPartJSON does the same with an object of which the source did not send some columns: those that it lacks of them are absent.
func (b *Builder) AppendPartJSON(obj []byte, absent []string) error {
	d := decoder{scanner: scanner{data: obj}}
	var bad []error
	err := d.object(func(name []byte) error {
		i := b.find(name, d.member)
		d.member = i + 1
		if i < 0 {
			bad = append(bad, &ColumnError{string(name), errors.New("unknown column")})
			return d.skip()
		}
		f := &b.schema.Fields[i]
		if b.set[i] > b.rows {
			bad = append(bad, &ColumnError{f.Name, errors.New("stands twice")})
			return d.skip()
		}
		start := d.pos
		if err := d.value(f, &b.columns[i], b.rows); err != nil {
			b.columns[i].Truncate(f, b.rows)
			bad = append(bad, &ColumnError{f.Name, err})
			d.pos = start
			return d.skip()
		}
		b.set[i] = b.rows + 1
		return nil
	})
	if err == nil {
		err = d.end()
	}
	if err != nil {
		b.Drop()
		return err
	}
	for _, name := range absent {
		if i := b.schema.Index(name); i >= 0 && b.set[i] <= b.rows && !named(bad, name) {
			b.Absent(i)
		}
	}
	for i, f := range b.schema.Fields {
		if b.set[i] <= b.rows && !f.Nullable && !named(bad, f.Name) {
			bad = append(bad, &ColumnError{f.Name, errors.New("missing")})
		}
	}
	if len(bad) > 0 {
		b.Drop()
		return errors.Join(bad...)
	}
	b.Next()
	return nil
}

func named(bad []error, column string) bool {
	for _, err := range bad {
		if e, ok := errors.AsType[*ColumnError](err); ok && e.Column == column {
			return true
		}
	}
	return false
}

// find looks for a field, first where the columns' order says that it is.
func (b *Builder) find(name []byte, hint int) int {
	fields := b.schema.Fields
	if hint < len(fields) && fields[hint].Name == string(name) {
		return hint
	}
	for i := range fields {
		if fields[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// decoder puts JSON values into columns.
type decoder struct {
	scanner
	member int
}

// value appends one slot to a column of rows slots.
func (d *decoder) value(f *Field, c *Column, rows int) error {
	next, err := d.peek()
	if err != nil {
		return err
	}
	if next == 'n' {
		if err := d.literal("null"); err != nil {
			return err
		}
		if !f.Nullable {
			return errors.New("must not be null")
		}
		c.AppendZero(f)
		c.SetNull(rows)
		return nil
	}
	if err := d.present(f, c, next); err != nil {
		return err
	}
	if c.Valid != nil {
		c.pad(rows + 1)
	}
	return nil
}

func (d *decoder) present(f *Field, c *Column, next byte) error {
	switch f.Kind {
	case Bool:
		return d.bool(c, next)
	case Int32, Int64:
		return d.int(f, c)
	case Float32, Float64:
		return d.float(f, c, next)
	case List:
		return d.list(f, c)
	case Struct:
		return d.members(f, c)
	case String:
		if next == '{' {
			return d.escapedBytes(c)
		}
	case Decimal, Date, Timestamp, LocalTimestamp, Bytes, VersionText:
	}
	if next != '"' {
		return fmt.Errorf("want %s, got %s", wanted(f), kindOf(next))
	}
	text, err := d.string()
	if err != nil {
		return err
	}
	return appendParsed(f, c, text)
}

func wanted(f *Field) string {
	if f.Kind == String {
		return "a string"
	}
	return "a " + f.Kind.String() + " in a string"
}

func kindOf(next byte) string {
	switch next {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

func (d *decoder) bool(c *Column, next byte) error {
	switch next {
	case 't':
		c.Ints = append(c.Ints, 1)
		return d.literal("true")
	case 'f':
		c.Ints = append(c.Ints, 0)
		return d.literal("false")
	}
	return errors.New("want a boolean, got " + kindOf(next))
}

func (d *decoder) int(f *Field, c *Column) error {
	text, err := d.number()
	if err != nil {
		return err
	}
	bits := 64
	if f.Kind == Int32 {
		bits = 32
	}
	v, err := strconv.ParseInt(string(text), 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of the range of %s", text, f.Kind)
	}
	if err != nil {
		return fmt.Errorf("want a whole number, got %s", text)
	}
	c.Ints = append(c.Ints, v)
	return nil
}

func (d *decoder) float(f *Field, c *Column, next byte) error {
	var text []byte
	var err error
	if next == '"' {
		if text, err = d.string(); err == nil && string(text) != "NaN" && string(text) != "+Inf" && string(text) != "-Inf" {
			err = errors.New(`want a number, "NaN", "+Inf" or "-Inf"`)
		}
	} else {
		text, err = d.number()
	}
	if err != nil {
		return err
	}
	bits := 64
	if f.Kind == Float32 {
		bits = 32
	}
	v, err := strconv.ParseFloat(string(text), bits)
	if err != nil {
		return fmt.Errorf("%s is out of the range of %s", text, f.Kind)
	}
	c.Floats = append(c.Floats, v)
	return nil
}

func (d *decoder) escapedBytes(c *Column) error {
	start := len(c.Bytes)
	err := d.object(func(name []byte) error {
		if string(name) != "$base64" || len(c.Bytes) > start {
			return errors.New("want a string, got an object")
		}
		text, err := d.string()
		if err != nil {
			return err
		}
		c.Bytes, err = base64.StdEncoding.AppendDecode(c.Bytes, text)
		return err
	})
	if err != nil {
		c.Bytes = c.Bytes[:start]
		return err
	}
	c.AppendText(nil)
	return nil
}

func (d *decoder) list(f *Field, c *Column) error {
	at := int(c.Offsets[len(c.Offsets)-1])
	err := d.array(func() error {
		err := d.value(&f.Fields[0], &c.Children[0], at)
		at++
		return err
	})
	if err != nil {
		c.Children[0].Truncate(&f.Fields[0], int(c.Offsets[len(c.Offsets)-1]))
		return err
	}
	c.Offsets = append(c.Offsets, uint32(at)) //nolint:gosec // below the object's length
	return nil
}

func (d *decoder) members(f *Field, c *Column) error {
	rows := c.Children[0].Slots(&f.Fields[0])
	seen := make([]bool, len(f.Fields))
	err := d.object(func(name []byte) error {
		for i := range f.Fields {
			if f.Fields[i].Name != string(name) || seen[i] {
				continue
			}
			seen[i] = true
			if err := d.value(&f.Fields[i], &c.Children[i], rows); err != nil {
				return fmt.Errorf("%s: %w", f.Fields[i].Name, err)
			}
			return nil
		}
		return fmt.Errorf("%s: unknown or double member", name)
	})
	for i, m := range f.Fields {
		switch {
		case err != nil:
			c.Children[i].Truncate(&m, min(rows, c.Children[i].Slots(&f.Fields[i])))
		case seen[i]:
		case m.Nullable:
			c.Children[i].AppendZero(&m)
			c.Children[i].SetNull(rows)
		default:
			err = fmt.Errorf("%s: missing", m.Name)
		}
	}
	return err
}

func appendParsed(f *Field, c *Column, text []byte) error {
	switch f.Kind {
	case String:
		c.AppendText(text)
	case Bytes:
		start := len(c.Bytes)
		var err error
		if c.Bytes, err = base64.StdEncoding.AppendDecode(c.Bytes, text); err != nil {
			c.Bytes = c.Bytes[:start]
			return fmt.Errorf("want base64: %w", err)
		}
		c.AppendText(nil)
	case VersionText:
		v, err := ParseVersion(string(text))
		if err != nil {
			return err
		}
		c.Versions.append(v)
	case Decimal:
		v, err := ParseDecimal(string(text), f.Precision, f.Scale)
		if err != nil {
			return err
		}
		if f.Wide() {
			c.Wide = append(c.Wide, v)
		} else {
			c.Ints = append(c.Ints, int64(v.Lo)) //nolint:gosec // two's complement
		}
	default:
		v, err := parseTime(f.Kind, string(text))
		if err != nil {
			return err
		}
		c.Ints = append(c.Ints, v)
	}
	return nil
}

func parseTime(k Kind, text string) (int64, error) {
	layout := time.RFC3339Nano
	switch k {
	case Date:
		layout = dateLayout
	case LocalTimestamp:
		layout = "2006-01-02T15:04:05.999999999"
	}
	t, err := time.Parse(layout, text)
	if err != nil {
		return 0, fmt.Errorf("%q is no %s", text, k)
	}
	if k == Date {
		return t.Unix() / secondsADay, nil
	}
	if t.Nanosecond()%1000 != 0 {
		return 0, fmt.Errorf("%q is finer than a microsecond", text)
	}
	return t.UnixMicro(), nil
}

// ParseDecimal reads a decimal number exactly: more digits than the type holds are an error, never rounded.
func ParseDecimal(text string, precision, scale int) (Int128, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := strings.TrimPrefix(whole, "-") + fraction
	if digits == "" || len(fraction) > scale || strings.Trim(digits, "0123456789") != "" {
		return Int128{}, fmt.Errorf("%q does not fit decimal(%d,%d)", text, precision, scale)
	}
	n, ok := new(big.Int).SetString(digits+strings.Repeat("0", scale-len(fraction)), 10)
	if !ok || len(strings.TrimLeft(digits, "0"))+scale-len(fraction) > precision {
		return Int128{}, fmt.Errorf("%q does not fit decimal(%d,%d)", text, precision, scale)
	}
	if whole != "" && whole[0] == '-' {
		n.Neg(n)
	}
	low := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64))
	return Int128{Hi: new(big.Int).Rsh(n, 64).Int64(), Lo: low.Uint64()}, nil
}
