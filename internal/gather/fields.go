// Package gather makes batches of the rows of a database's table: which fields their stream has, whatever the table was before, and
// the columns that grow row by row, with what they cannot hold beside them.
package gather

import (
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// RawSuffix ends the name of the column that takes, as text, what a column cannot hold.
const RawSuffix = "__raw"

// maxDigits is the greatest precision of a decimal.
const maxDigits = 38

// Options say what the fields of a stream have to keep.
type Options struct {
	Stream              string
	Key                 []string       // the columns of the table's key
	Codes               string         // how the codes of errors begin, such as ACQ-PG
	Kept                *record.Schema // the schema that the stream had, which may have __raw columns; nil: none
	FailUnrepresentable bool           // a value that its column cannot hold is an error instead
}

// Fields are the fields of a stream. Once Seal was called they do not change, and any number of Rows may share them.
type Fields struct {
	Schema *record.Schema // Rows.Schema has the __raw columns that come later

	options Options
	all     []field // of the schema, without __raw columns
	raw     []bool  // the fields that have a __raw column in Schema
	width   int     // bytes that a row takes in the fields of fixed width
	varying []int   // the other fields
}

// field is a field of the schema: a column of the table, or one that it had.
type field struct {
	record.Field
	column int    // of the table; -1: dropped
	raw    string // the name of its __raw column
}

// New begins the fields with those that the stream had. Its __raw columns are no fields; has says whether the table has a column.
func New(o Options, has func(column string) bool) (*Fields, error) {
	f := &Fields{options: o}
	if o.Kept == nil {
		return f, nil
	}
	if before := o.Kept.KeyNames(); !slices.Equal(before, o.Key) {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: o.Codes + "-024", Place: o.Stream,
			Err:    fmt.Errorf("the key was (%s) and is (%s)", strings.Join(before, ", "), strings.Join(o.Key, ", ")),
			Remedy: "give the stream another name with table_name, or read the table anew",
		}
	}
	for _, one := range o.Kept.Fields {
		base, raw := strings.CutSuffix(strings.TrimRight(one.Name, "_"), RawSuffix)
		if raw && one.Kind == record.String && !has(one.Name) && o.Kept.Index(base) >= 0 {
			continue
		}
		f.all = append(f.all, field{Field: one, column: -1})
	}
	return f, nil
}

// Place gives a column of the table its field, and says how the stream holds it: the wider of what it had and what the column is now.
// typeName is the type as the database writes it.
func (f *Fields) Place(column int, now record.Field, typeName string) (at int, held record.Field, err error) {
	at = slices.IndexFunc(f.all, func(one field) bool { return one.Name == now.Name })
	if at < 0 {
		f.all = append(f.all, field{Field: now, column: column})
		return len(f.all) - 1, now, nil
	}
	old := &f.all[at]
	held, fits := widened(old.Field, now)
	if !fits {
		return at, held, f.OtherType(old.Field, now, typeName)
	}
	old.Field, old.column = held, column
	return at, held, nil
}

// OtherType says that a column became what its stream cannot hold.
func (f *Fields) OtherType(was, now record.Field, typeName string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: f.options.Codes + "-023", Place: f.options.Stream + ", column " + was.Name,
		Err:    fmt.Errorf("its type became %s, which is %s, and was %s", typeName, now.TypeName(), was.TypeName()),
		Remedy: "change the type back, or give the stream another name with table_name and read the table anew",
	}
}

// widened gives the wider of two types of a column.
func widened(old, now record.Field) (record.Field, bool) {
	switch {
	case old.Kind == record.Decimal && now.Kind == record.Decimal:
		whole, scale := max(old.Precision-old.Scale, now.Precision-now.Scale), max(old.Scale, now.Scale)
		if whole+scale > maxDigits {
			return old, false
		}
		now.Precision, now.Scale = whole+scale, scale
	case old.Kind == record.Int64 && now.Kind == record.Int32, old.Kind == record.Float64 && now.Kind == record.Float32:
		now = old
	case old.Kind == record.Int32 && now.Kind == record.Int64, old.Kind == record.Float32 && now.Kind == record.Float64:
	case old.Kind != now.Kind || !sameFields(old.Fields, now.Fields):
		return old, false
	}
	now.Name, now.Nullable = old.Name, old.Nullable
	return now, true
}

func sameFields(a, b []record.Field) bool {
	return slices.EqualFunc(a, b, func(a, b record.Field) bool { return a.Name == b.Name && SameType(&a, &b) })
}

// SameType says whether two fields hold the same values.
func SameType(a, b *record.Field) bool {
	return a.Kind == b.Kind && a.Precision == b.Precision && a.Scale == b.Scale && sameFields(a.Fields, b.Fields)
}

// At gives a field, and the name of its __raw column.
func (f *Fields) At(at int) (one *record.Field, raw string) { return &f.all[at].Field, f.all[at].raw }

// Seal makes the schema, once all columns have their places.
func (f *Fields) Seal() (err error) {
	for i := range f.all {
		name := f.all[i].Name + RawSuffix
		for slices.ContainsFunc(f.all, func(one field) bool { return one.Name == name }) {
			name += "_"
		}
		f.all[i].raw = name
	}
	f.raw = make([]bool, len(f.all))
	for i := range f.all {
		one := &f.all[i]
		f.raw[i] = f.options.Kept != nil && f.options.Kept.Index(one.raw) >= 0
		switch {
		case one.column < 0:
		case one.Kind == record.String || one.Kind == record.Bytes || one.Kind == record.List || one.Kind == record.Struct:
			f.varying = append(f.varying, i)
		case one.Wide():
			f.width += 16
		default:
			f.width += 8
		}
	}
	f.Schema, err = f.schema(f.raw)
	return err
}

// schema makes the schema, with the __raw columns of some fields behind the others, in the order of their fields.
func (f *Fields) schema(raw []bool) (*record.Schema, error) {
	fields := make([]record.Field, 0, len(f.all)+len(raw))
	for i := range f.all {
		fields = append(fields, f.all[i].Field)
	}
	for i := range f.all {
		if raw[i] {
			fields = append(fields, record.Field{Name: f.all[i].raw, Kind: record.String, Nullable: true})
		}
	}
	s, err := record.NewSchema(f.options.Stream, f.options.Key, fields...)
	if err != nil {
		return nil, fault.Stop(err)
	}
	return s, nil
}
