package gather

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

const (
	// spares is how many sets of columns wait to be used again.
	spares = 4
	// maxSpare is the memory that such a set may have.
	maxSpare = 32 << 20
	// maxRaw is how much of a refused row is kept.
	maxRaw = 64 << 10
)

// ErrOdd says that a value is sound, and that its column cannot hold it.
var ErrOdd = errors.New("the column cannot hold the value")

// Rows gathers rows in columns. It is for one goroutine; its batches are for any.
type Rows struct {
	Columns []record.Column // of the fields, one slot a row; what is being decoded may have more
	Count   int             // the rows that were gathered

	fields *Fields
	schema *record.Schema
	raw    []bool           // the fields that have a __raw column in schema
	odds   []oddValue       // ascending by row within a field
	kept   int              // bytes of odds
	unfit  map[string]int64 // see Unfit
	spare  *spareColumns
}

// oddValue is a value that its column cannot hold.
type oddValue struct {
	field, row int
	text       []byte
}

// RowError is a row that cannot be held: it says why and what.
type RowError struct {
	Column string
	Key    []string // as texts, without what cannot be read
	Raw    []byte   // the values as the server prints them, as JSON, or the beginning of it
	Err    error
}

// Error says why.
func (r *RowError) Error() string { return r.Err.Error() }

// Unwrap gives the reason.
func (r *RowError) Unwrap() error { return r.Err }

// ColumnError is an error of one field.
type ColumnError struct {
	Field int
	Err   error
}

// Error says why.
func (e *ColumnError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *ColumnError) Unwrap() error { return e.Err }

// spareColumns are columns whose batches were released.
type spareColumns struct {
	mu   sync.Mutex
	sets [][]record.Column
}

func (s *spareColumns) take() []record.Column {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) == 0 {
		return nil
	}
	set := s.sets[len(s.sets)-1]
	s.sets = s.sets[:len(s.sets)-1]
	return set
}

func (s *spareColumns) give(set []record.Column) {
	size := 0
	for i := range set {
		size += set[i].Size()
	}
	if size > maxSpare {
		return
	}
	for i := range set {
		set[i].Clear()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) < spares {
		s.sets = append(s.sets, set)
	}
}

// Rows begins to gather rows of the fields.
func (f *Fields) Rows() *Rows {
	r := &Rows{fields: f, schema: f.Schema, raw: slices.Clone(f.raw), spare: &spareColumns{}}
	r.start()
	return r
}

// start takes memory for the next rows.
func (r *Rows) start() {
	r.Count, r.odds, r.kept = 0, nil, 0
	if r.Columns = r.spare.take(); r.Columns == nil {
		r.Columns = make([]record.Column, len(r.fields.all))
	}
	for i := range r.Columns {
		if f := &r.fields.all[i]; f.column >= 0 {
			r.Columns[i].Prepare(&f.Field)
		}
	}
}

// Schema is that of the batches to come: that of the fields, and a <column>__raw column for each column that has met a value that
// it cannot hold.
func (r *Rows) Schema() *record.Schema { return r.schema }

// Bytes is the memory of what was gathered.
func (r *Rows) Bytes() int {
	n := r.Count*r.fields.width + r.kept
	for _, f := range r.fields.varying {
		n += held(&r.Columns[f])
	}
	return n
}

// held is the memory of the values of a column.
func held(c *record.Column) int {
	n := 8*(len(c.Ints)+len(c.Floats)) + 16*len(c.Wide) + 4*len(c.Offsets) + len(c.Bytes)
	for i := range c.Children {
		n += held(&c.Children[i])
	}
	return n
}

// Null appends a slot without a value to a field.
func (r *Rows) Null(f, row int) {
	r.Columns[f].AppendZero(&r.fields.all[f].Field)
	r.Columns[f].SetNull(row)
}

// Cut takes back what was decoded of rows that are not counted.
func (r *Rows) Cut() {
	for i := range r.Columns {
		if f := &r.fields.all[i]; f.column >= 0 && r.Columns[i].Slots(&f.Field) > r.Count {
			r.Columns[i].Truncate(&f.Field, r.Count)
		}
	}
	r.odds = slices.DeleteFunc(r.odds, func(o oddValue) bool { return o.row >= r.Count })
}

// Beside keeps the text of a value that its column cannot hold; text that is no UTF-8 as \x and hexadecimal digits. The slot of the
// row is the caller's.
func (r *Rows) Beside(f, row int, text []byte) error {
	if !r.fields.all[f].Nullable {
		return &ColumnError{f, fmt.Errorf("%w, and it is of the key: %.100q", ErrOdd, text)}
	}
	if r.fields.options.FailUnrepresentable {
		return &ColumnError{f, fmt.Errorf("%w: %.100q", ErrOdd, text)}
	}
	if !utf8.Valid(text) {
		text = fmt.Appendf(nil, `\x%x`, text)
	}
	if !r.raw[f] {
		raw := slices.Clone(r.raw)
		raw[f] = true
		schema, err := r.fields.schema(raw)
		if err != nil {
			return &ColumnError{f, err}
		}
		r.schema, r.raw = schema, raw
	}
	r.odds = append(r.odds, oddValue{field: f, row: row, text: slices.Clone(text)})
	r.kept += len(text)
	return nil
}

// Batches gives what was gathered, as one batch or none, with what set says of the rows, and begins anew.
func (r *Rows) Batches(set func(rows int, s *record.System)) ([]*record.Batch, error) {
	if r.Count == 0 {
		return nil, nil
	}
	for _, o := range r.odds {
		if r.unfit == nil {
			r.unfit = map[string]int64{}
		}
		r.unfit[r.fields.all[o.field].raw]++
	}
	own := r.Columns
	columns := make([]record.Column, 0, len(r.schema.Fields))
	for i := range own {
		f := &r.fields.all[i]
		if f.column < 0 { // the table has it no more
			columns = append(columns, nothing(&f.Field))
			continue
		}
		own[i].Pad(&f.Field, r.Count)
		columns = append(columns, own[i])
	}
	for f, has := range r.raw {
		if has {
			columns = append(columns, r.rawColumn(f))
		}
	}
	var sys record.System
	set(r.Count, &sys)
	spare := r.spare
	b, err := record.NewBatch(r.schema, r.Count, columns, sys, func() { spare.give(own) })
	r.start()
	if err != nil {
		return nil, fault.Stop(err)
	}
	return []*record.Batch{b}, nil
}

// Unfit counts the values that their columns could not hold, by the columns that have them as text, since it was last asked. It is nil
// when there were none.
func (r *Rows) Unfit() map[string]int64 {
	out := r.unfit
	r.unfit = nil
	return out
}

// nothing is a column that is null in every row.
func nothing(f *record.Field) record.Column {
	var c record.Column
	c.Prepare(f)
	c.AppendZero(f)
	c.Valid, c.Const = []uint64{0}, true
	return c
}

// rawColumn makes the __raw column of a field.
func (r *Rows) rawColumn(f int) record.Column {
	field := record.Field{Kind: record.String}
	var c record.Column
	c.Prepare(&field)
	row := 0
	for _, o := range r.odds {
		if o.field != f {
			continue
		}
		for ; row < o.row; row++ {
			c.AppendText(nil)
			c.SetNull(row)
		}
		c.AppendText(o.text)
		row++
	}
	if row == 0 {
		return nothing(&field)
	}
	for ; row < r.Count; row++ {
		c.AppendText(nil)
		c.SetNull(row)
	}
	c.Pad(&field, r.Count)
	return c
}

// Refusal describes a row that failed, of a table with these columns; text gives its values as the server prints them.
func (r *Rows) Refusal(err error, columns []string, text func(column int) ([]byte, bool)) *RowError {
	out := &RowError{Err: err}
	if e, ok := errors.AsType[*ColumnError](err); ok {
		out.Column, out.Err = r.fields.all[e.Field].Name, e.Err
	}
	for _, name := range r.fields.options.Key {
		if v, ok := text(slices.Index(columns, name)); ok {
			out.Key = append(out.Key, fmt.Sprintf("%.100s", v))
		}
	}
	out.Raw = append(out.Raw, '{')
	for i, name := range columns {
		if len(out.Raw) > maxRaw {
			break
		}
		if i > 0 {
			out.Raw = append(out.Raw, ',')
		}
		out.Raw = append(record.AppendJSONString(out.Raw, name), ':')
		v, ok := text(i)
		if !ok {
			out.Raw = append(out.Raw, "null"...)
			continue
		}
		out.Raw = record.AppendJSONString(out.Raw, strings.ToValidUTF8(string(v[:min(len(v), maxRaw)]), "\uFFFD"))
	}
	if out.Raw = append(out.Raw, '}'); len(out.Raw) > maxRaw {
		out.Raw = out.Raw[:maxRaw]
	}
	return out
}

// Poison makes an error of a refusal, which names stream, key and column.
func (r *Rows) Poison(e *RowError) *fault.Error {
	place := r.schema.Stream
	if len(e.Key) > 0 {
		place += ", key " + strings.Join(e.Key, ", ")
	}
	if e.Column != "" {
		place += ", column " + e.Column
	}
	out := &fault.Error{Class: fault.Poison, Code: r.fields.options.Codes + "-021", Place: place, Err: e}
	if errors.Is(e.Err, ErrOdd) && r.fields.options.FailUnrepresentable {
		out.Remedy = "on_unrepresentable: text keeps such values as text beside the column"
	}
	return out
}
