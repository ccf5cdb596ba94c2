package schemas

import (
	"fmt"
	"slices"
	"time"

	"github.com/acequia-io/acequia/record"
)

// Table is a table as it is declared in YAML: its columns, how people fill them in, and where they go. From it come the
// schema of its records, its form, the check of what is sent, the indexes of its items and the partition of its files.
// It is immutable.
type Table struct {
	Name      string
	Title     Text // heading of the form: "Register a video game"
	Noun      Text // what one record is: "Video game"
	Key       []string
	Fields    []Field
	Indexes   []Index
	Partition []string // of the lake; none: the date of the event

	schema *record.Schema
}

// Index finds items by the values of some of their columns.
type Index struct {
	Name    string
	Columns []string
}

// Type is what a field holds.
type Type uint8

// The types of fields. The comment says how JSON writes the value; an HTML form sends text for all of them.
const (
	UUID    Type = iota + 1 // never sent: it is generated
	String                  // string
	Enum                    // string, one of the options
	Boolean                 // true or false
	Int32                   // number without fraction
	Int64                   // number without fraction
	Decimal                 // string or number, of exactly these digits
	Date                    // string, 2006-01-02
)

//nolint:gochecknoglobals // a constant table
var types = []struct {
	name    string
	kind    record.Kind
	widgets []Widget // the first is the default
}{
	UUID:    {"uuid", record.String, nil},
	String:  {"string", record.String, []Widget{TextInput, TextArea}},
	Enum:    {"enum", record.String, []Widget{Select, Radio}},
	Boolean: {"bool", record.Bool, []Widget{Radio, Select}},
	Int32:   {"int32", record.Int32, []Widget{NumberInput}},
	Int64:   {"int64", record.Int64, []Widget{NumberInput}},
	Decimal: {"decimal", record.Decimal, []Widget{NumberInput}},
	Date:    {"date", record.Date, []Widget{DateInput}},
}

// String gives the name of the type as declarations write it.
func (t Type) String() string {
	if t == 0 || int(t) >= len(types) {
		return fmt.Sprintf("type(%d)", uint8(t))
	}
	return types[t].name
}

// Widget is how a form shows a field.
type Widget string

// The widgets.
const (
	TextInput   Widget = "text"
	TextArea    Widget = "textarea"
	NumberInput Widget = "number"
	DateInput   Widget = "date"
	Select      Widget = "select"
	Radio       Widget = "radio"
)

// Field is one declared column.
type Field struct {
	Name      string
	Type      Type
	Generated bool // filled in by acequia; nobody may send it
	Required  bool
	MinLength int // in characters (Unicode code points); 0: no limit
	MaxLength int
	Min, Max  Bound
	Precision int // of a Decimal
	Scale     int
	Options   []Option // of an Enum; of a Boolean the two labels, true first
	Label     Text
	Help      Text
	Widget    Widget
}

// Option is one value of an enum and what people read for it.
type Option struct {
	Value string
	Label Text
}

// Bound is the least or greatest value of a number.
type Bound struct {
	Set     bool
	FromNow bool // Value counts from the current year (UTC)
	Value   int64
}

// At gives the bound as it stands at a moment.
func (b Bound) At(now time.Time) int64 {
	if b.FromNow {
		return int64(now.UTC().Year()) + b.Value
	}
	return b.Value
}

// Text is what people read, in each language.
type Text struct{ EN, ES string }

// In gives the text in a language, "es" or "en"; when it is missing there, in the other.
func (t Text) In(lang string) string {
	if lang == "es" && t.ES != "" || t.EN == "" {
		return t.ES
	}
	return t.EN
}

// Schema is the schema of the table's records; its stream has the name of the table.
func (t *Table) Schema() *record.Schema { return t.schema }

// Index finds a field by name, or gives -1.
func (t *Table) Index(name string) int {
	return slices.IndexFunc(t.Fields, func(f Field) bool { return f.Name == name })
}

// OptionLabel gives what people read for a value of an enum or boolean field.
func (f *Field) OptionLabel(value, lang string) string {
	for _, o := range f.Options {
		if o.Value == value {
			return o.Label.In(lang)
		}
	}
	return value
}

// build makes the schema of the records.
func (t *Table) build() error {
	fields := make([]record.Field, len(t.Fields))
	for i, f := range t.Fields {
		fields[i] = record.Field{
			Name: f.Name, Kind: types[f.Type].kind, Nullable: !f.Required && !f.Generated, Precision: f.Precision, Scale: f.Scale,
		}
	}
	s, err := record.NewSchema(t.Name, t.Key, fields...)
	t.schema = s
	return err
}
