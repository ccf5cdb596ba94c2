package parquet

import (
	"errors"
	"slices"

	"github.com/acequia-io/acequia/record"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// form is how a column holds the values of an open page.
type form uint8

const (
	words4   form = iota // words, 4 bytes in the file
	words8               // words, 8 bytes in the file
	bits1                // words, one bit in the file
	texts                // BYTE_ARRAY
	wides                // FIXED_LEN_BYTE_ARRAY(16), big endian
	versions             // BYTE_ARRAY made from numbers
)

const wideLen = 16

// leaf is a column of the file. A field of a flat kind is one leaf; a list or struct has one for each flat kind in it.
type leaf struct {
	field  record.Field // of the values
	top    int          // index of the field that it belongs to
	path   []string
	steps  []step // from the field down to the values
	maxDef int
	maxRep int
	form   form
}

// step is one field on the way from a row to its values.
type step struct {
	kind     record.Kind
	nullable bool
	child    int   // index among the children of the step before
	def      uint8 // definition level when it has a value; one less when it is null
	rep      uint8 // of a list: repetition level of its elements after the first
}

func (l *leaf) nested() bool { return len(l.steps) > 1 }

func (l *leaf) float() bool {
	return l.field.Kind == record.Float32 || l.field.Kind == record.Float64
}

// The levels of a page are kept as bytes.
const maxLevel = 255

var errDeep = errors.New("the schema is nested too deeply")

// leaves gives the columns of the file, in the order of the fields.
func leaves(fields []record.Field) ([]leaf, error) {
	var out []leaf
	for i, f := range fields {
		out = appendLeaves(out, leaf{top: i}, f, 0, f.Name)
	}
	for i := range out {
		if out[i].maxDef > maxLevel || out[i].maxRep > maxLevel {
			return nil, errDeep
		}
	}
	return out, nil
}

// appendLeaves appends the leaves under f; at is the way to it.
func appendLeaves(out []leaf, at leaf, f record.Field, child int, name string) []leaf {
	at.path = append(slices.Clip(at.path), name)
	if f.Nullable {
		at.maxDef++
	}
	s := step{kind: f.Kind, nullable: f.Nullable, child: child, def: uint8(min(at.maxDef, maxLevel))} //nolint:gosec // cut
	if f.Kind == record.List {
		at.maxDef++
		at.maxRep++
		s.rep = uint8(min(at.maxRep, maxLevel)) //nolint:gosec // cut
	}
	at.steps = append(slices.Clip(at.steps), s)
	switch f.Kind {
	case record.List:
		at.path = append(slices.Clip(at.path), "list")
		return appendLeaves(out, at, f.Fields[0], 0, "element")
	case record.Struct:
		for i, m := range f.Fields {
			out = appendLeaves(out, at, m, i, m.Name)
		}
		return out
	}
	at.field, at.form = f, formOf(f)
	return append(out, at)
}

func formOf(f record.Field) form {
	switch f.Kind {
	case record.Bool:
		return bits1
	case record.Int32, record.Date, record.Float32:
		return words4
	case record.String, record.Bytes:
		return texts
	case record.VersionText:
		return versions
	}
	if f.Wide() {
		return wides
	}
	return words8
}

// physical is the type of a leaf in the file. A decimal is INT64 up to 18 digits, also where INT32 would do: it is
// held as such, the encodings make small values small, and a column may grow without a change of type.
func (l *leaf) physical() format.Type {
	switch l.form {
	case bits1:
		return format.Boolean
	case words4:
		if l.float() {
			return format.Float
		}
		return format.Int32
	case words8:
		if l.float() {
			return format.Double
		}
		return format.Int64
	case wides:
		return format.FixedLenByteArray
	default:
		return format.ByteArray
	}
}

// schemaOf gives the elements of the file's schema, depth first, the root in front.
func schemaOf(fields []record.Field, columns []column) []format.SchemaElement {
	out := []format.SchemaElement{{Name: "acequia", NumChildren: thrift.New(int32(len(fields)))}} //nolint:gosec // few
	next := 0
	for _, f := range fields {
		out = appendElements(out, f, f.Name, columns, &next)
	}
	return out
}

// appendElements appends the elements of a field: a list has three, as the LIST annotation wants it. next is the
// index of the next leaf.
func appendElements(out []format.SchemaElement, f record.Field, name string, columns []column, next *int) []format.SchemaElement {
	e := format.SchemaElement{Name: name, RepetitionType: thrift.New(format.Required)}
	if f.Nullable {
		e.RepetitionType = thrift.New(format.Optional)
	}
	switch f.Kind {
	case record.List:
		e.NumChildren, e.ConvertedType = thrift.New(int32(1)), thrift.New(deprecated.List)
		e.LogicalType.Value = &format.ListType{}
		out = append(out, e, format.SchemaElement{Name: "list", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(int32(1))})
		return appendElements(out, f.Fields[0], "element", columns, next)
	case record.Struct:
		e.NumChildren = thrift.New(int32(len(f.Fields))) //nolint:gosec // few
		out = append(out, e)
		for _, m := range f.Fields {
			out = appendElements(out, m, m.Name, columns, next)
		}
		return out
	}
	e.Type = thrift.New(columns[*next].physical())
	*next++
	annotate(&e, f)
	return append(out, e)
}

// annotate adds the logical type. JSON is kept as plain text: DuckDB refuses a whole file for one empty document.
func annotate(e *format.SchemaElement, f record.Field) {
	micros := format.TimeUnit{Value: &format.MicroSeconds{}}
	switch f.Kind {
	case record.String, record.VersionText:
		e.ConvertedType = thrift.New(deprecated.UTF8)
		e.LogicalType.Value = &format.StringType{}
	case record.Date:
		e.ConvertedType = thrift.New(deprecated.Date)
		e.LogicalType.Value = &format.DateType{}
	case record.Timestamp:
		e.ConvertedType = thrift.New(deprecated.TimestampMicros)
		e.LogicalType.Value = &format.TimestampType{IsAdjustedToUTC: true, Unit: micros}
	case record.LocalTimestamp: // the old annotation has no such type
		e.LogicalType.Value = &format.TimestampType{Unit: micros}
	case record.Decimal:
		if f.Wide() {
			e.TypeLength = thrift.New(int32(wideLen))
		}
		p, s := int32(f.Precision), int32(f.Scale) //nolint:gosec // at most 38
		e.ConvertedType = thrift.New(deprecated.Decimal)
		e.Scale, e.Precision = thrift.New(s), thrift.New(p)
		e.LogicalType.Value = &format.DecimalType{Scale: s, Precision: p}
	}
}
