package record

// Builder makes a batch row by row: set each column once, then call Next. A column that was not set is null, or zero
// where its field is not nullable. The builder owns its columns until Batch hands them on.
type Builder struct {
	schema  *Schema
	rows    int
	columns []Column
	set     []int // 1 + the row that each column was last set for
	sys     System
}

// NewBuilder makes a builder with room for rows.
func NewBuilder(s *Schema, rows int) *Builder {
	b := &Builder{schema: s, columns: make([]Column, len(s.Fields)), set: make([]int, len(s.Fields))}
	for i, f := range s.Fields {
		c := &b.columns[i]
		switch {
		case f.Kind == Float32 || f.Kind == Float64:
			c.Floats = make([]float64, 0, rows)
		case f.Wide():
			c.Wide = make([]Int128, 0, rows)
		case f.Kind == String || f.Kind == Bytes || f.Kind == List:
			c.Offsets = append(make([]uint32, 0, rows+1), 0)
		case f.Kind == VersionText || f.Kind == Struct:
		default:
			c.Ints = make([]int64, 0, rows)
		}
		c.Prepare(&b.schema.Fields[i])
	}
	return b
}

// Schema is the schema of the batch being made.
func (b *Builder) Schema() *Schema { return b.schema }

// Rows counts the rows ended with Next.
func (b *Builder) Rows() int { return b.rows }

// System is what is known of the records beside their fields; the caller sets it before Batch.
func (b *Builder) System() *System { return &b.sys }

// Int sets a value held in Ints.
func (b *Builder) Int(column int, v int64) {
	b.columns[column].Ints = append(b.columns[column].Ints, v)
	b.set[column] = b.rows + 1
}

// Bool sets a boolean.
func (b *Builder) Bool(column int, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	b.Int(column, n)
}

// Float sets a value held in Floats.
func (b *Builder) Float(column int, v float64) {
	b.columns[column].Floats = append(b.columns[column].Floats, v)
	b.set[column] = b.rows + 1
}

// Wide sets a decimal of more than 18 digits.
func (b *Builder) Wide(column int, v Int128) {
	b.columns[column].Wide = append(b.columns[column].Wide, v)
	b.set[column] = b.rows + 1
}

// Text sets a string or bytes; v is copied.
func (b *Builder) Text(column int, v []byte) {
	b.columns[column].AppendText(v)
	b.set[column] = b.rows + 1
}

// String sets a string.
func (b *Builder) String(column int, v string) {
	c := &b.columns[column]
	c.Bytes = append(c.Bytes, v...)
	c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // a batch is far below 4 GiB
	b.set[column] = b.rows + 1
}

// Null sets null.
func (b *Builder) Null(column int) {
	b.zero(column)
	b.columns[column].SetNull(b.rows)
}

// Absent says that the source did not send the value.
func (b *Builder) Absent(column int) {
	b.zero(column)
	b.columns[column].SetAbsent(b.rows)
}

// Nested gives the column itself, for a list or struct; the caller appends exactly one slot.
func (b *Builder) Nested(column int) *Column {
	b.set[column] = b.rows + 1
	return &b.columns[column]
}

// Next ends the row.
func (b *Builder) Next() {
	for i, at := range b.set {
		if at <= b.rows {
			if b.schema.Fields[i].Nullable {
				b.Null(i)
			} else {
				b.zero(i)
			}
		}
	}
	b.rows++
}

// Drop takes back what was set for the row that Next has not ended.
func (b *Builder) Drop() {
	for i, at := range b.set {
		if at <= b.rows {
			continue
		}
		b.columns[i].Truncate(&b.schema.Fields[i], b.rows)
		b.set[i] = b.rows
	}
}

func (b *Builder) zero(column int) {
	b.columns[column].AppendZero(&b.schema.Fields[column])
	b.set[column] = b.rows + 1
}

// Batch hands the rows on as a batch and leaves the builder empty, with no memory: the batch owns the columns.
// done is as in NewBatch.
func (b *Builder) Batch(done func()) *Batch {
	for i := range b.columns {
		b.columns[i].Pad(&b.schema.Fields[i], b.rows)
	}
	out := newBatch(b.schema, b.rows, b.columns, b.sys, done)
	*b = *NewBuilder(b.schema, b.rows)
	return out
}
