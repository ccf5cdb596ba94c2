package mongodb

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

const (
	// RawSuffix ends the name of the column that takes, as canonical Extended JSON, what a column cannot hold.
	RawSuffix = "__raw"
	// RestColumn takes, as a document in canonical Extended JSON, the fields that have no column.
	RestColumn = "_rest"
)

// LayoutOptions say what a layout has to keep.
type LayoutOptions struct {
	Stream              string
	Columns             []Column
	Kept                *record.Schema // the schema that the stream had, with its __raw columns; nil: none
	FailUnrepresentable bool           // a value that its column cannot hold is an error instead
}

// Layout says how documents become records of a stream. It does not change, and any number of decoders may share it.
type Layout struct {
	Schema *record.Schema // Decoder.Schema has the __raw columns that come later

	options LayoutOptions
	fields  []fieldLayout // of the schema, without __raw columns
	root    *node
	key     int    // the field of the _id
	rest    string // the name of its column
	raw     []bool // the fields that have a __raw column in Schema; the last entry is that of rest
}

// fieldLayout is a field of the schema: one of documents, or one that the stream had.
type fieldLayout struct {
	record.Field
	format format
	gone   bool
	raw    string // the name of its __raw column
}

// node is a document whose fields have columns.
type node struct {
	names    []string
	children []child // by names
	index    map[string]int
}

// find gives where a field is among the children, which mostly is the next place.
func (n *node) find(name []byte, next int) (at int, ok bool) {
	if next < len(n.names) && n.names[next] == string(name) {
		return next, true
	}
	at, ok = n.index[string(name)]
	return at, ok
}

// child is a field of the schema, or a document whose fields have columns.
type child struct {
	field int
	node  *node // nil: a field
}

// NewLayout makes a layout of columns, which has one for the _id, the key. With a kept schema its columns come first, in its order: those
// that are not among the columns any more are null. A wider type widens, another one is an error.
func NewLayout(o LayoutOptions) (*Layout, error) {
	l := &Layout{options: o, root: newNode(), key: -1}
	if err := l.place(Column{Name: KeyColumn, Path: []string{KeyColumn}, Type: KeyType}, true); err != nil {
		return nil, err
	}
	for _, c := range o.Columns {
		if err := l.place(c, false); err != nil {
			return nil, err
		}
	}
	if err := l.keep(o.Kept); err != nil {
		return nil, err
	}
	l.name()
	l.raw = make([]bool, len(l.fields)+1)
	for i := range l.fields {
		l.raw[i] = o.Kept != nil && o.Kept.Index(l.fields[i].raw) >= 0
	}
	l.raw[len(l.fields)] = o.Kept != nil && o.Kept.Index(l.rest) >= 0
	var err error
	l.Schema, err = l.schema(l.raw)
	return l, err
}

func newNode() *node { return &node{index: map[string]int{}} }

func (l *Layout) wrong(column, format string, args ...any) error {
	return &fault.Error{
		Class: fault.Fatal, Code: codeColumn, Place: l.options.Stream + ", column " + column, Err: fmt.Errorf(format, args...),
		Remedy: "look at schemas in the settings of the source",
	}
}

// place gives a column its field, and its place in documents. The first column is that of the _id, whose type may be declared.
func (l *Layout) place(c Column, first bool) error {
	f, err := parseFormat(c.Type)
	if err != nil {
		return l.wrong(c.Name, "%w", err)
	}
	if !first && len(c.Path) == 1 && c.Path[0] == KeyColumn {
		if f.op == opList || f.op == opJSON || f.op == opFloat || f.op == opDecimal || f.op == opNumberText {
			return l.wrong(c.Name, "an _id can be key (of any type, and tells which), objectid, string, int32, int64, uuid, bytes, bool or timestamp")
		}
		l.fields[l.key].format = f
		l.fields[l.key].Field = named(f.field, KeyColumn, false)
		return nil
	}
	if slices.ContainsFunc(l.fields, func(other fieldLayout) bool { return other.Name == c.Name }) {
		return l.wrong(c.Name, "there are two columns of this name")
	}
	at := len(l.fields)
	if first {
		l.key = at
	}
	l.fields = append(l.fields, fieldLayout{Field: named(f.field, c.Name, !first), format: f})
	n := l.root
	for i, name := range c.Path {
		known, ok := n.index[name]
		last := i == len(c.Path)-1
		switch {
		case name == "":
			return l.wrong(c.Name, "a field has no name")
		case ok && (last || n.children[known].node == nil):
			return l.wrong(c.Name, "the field %s has a column already", strings.Join(c.Path[:i+1], "."))
		case ok:
			n = n.children[known].node
			continue
		}
		next := child{field: at}
		if !last {
			next.node = newNode()
		}
		n.index[name] = len(n.children)
		n.names, n.children = append(n.names, name), append(n.children, next)
		n = next.node
	}
	return nil
}

func named(f record.Field, name string, nullable bool) record.Field {
	f.Name, f.Nullable = name, nullable
	return f
}

// keep puts the fields in the order that the stream had, and adds those that it has no more.
func (l *Layout) keep(kept *record.Schema) error {
	if kept == nil {
		return nil
	}
	for _, old := range kept.Fields {
		at := slices.IndexFunc(l.fields, func(f fieldLayout) bool { return f.Name == old.Name })
		switch {
		case at >= 0:
			if err := l.widen(&l.fields[at], old); err != nil {
				return err
			}
		case !isBeside(kept, old.Name):
			l.fields = append(l.fields, fieldLayout{Field: old, gone: true})
		}
	}
	return nil
}

// isBeside says whether a column is one of those that take what others cannot hold.
func isBeside(s *record.Schema, name string) bool {
	base, raw := strings.CutSuffix(strings.TrimRight(name, "_"), RawSuffix)
	return raw && s.Index(base) >= 0 || strings.TrimRight(name, "_") == RestColumn
}

// widen fits a field to the one that the stream had: the wider of both types is taken.
func (l *Layout) widen(f *fieldLayout, old record.Field) error {
	now := f.Field
	switch {
	case old.Kind == record.Int64 && now.Kind == record.Int32:
		f.Kind = record.Int64
	case old.Kind == record.Int32 && now.Kind == record.Int64:
	case old.Kind == now.Kind && old.Precision == now.Precision && old.Scale == now.Scale && slices.EqualFunc(old.Fields, now.Fields, func(a, b record.Field) bool {
		return a.Kind == b.Kind && a.Precision == b.Precision && a.Scale == b.Scale
	}):
	default:
		return &fault.Error{
			Class: fault.Fatal, Code: codeType, Place: l.options.Stream + ", column " + old.Name,
			Err:    fmt.Errorf("its type became %s, and was %s", now.TypeName(), old.TypeName()),
			Remedy: "change the type back, or give the column another name",
		}
	}
	return nil
}

// name names the columns for what others cannot hold, none of which may be a column.
func (l *Layout) name() {
	free := func(name string) string {
		for slices.ContainsFunc(l.fields, func(f fieldLayout) bool { return f.Name == name }) {
			name += "_"
		}
		return name
	}
	for i := range l.fields {
		l.fields[i].raw = free(l.fields[i].Name + RawSuffix)
	}
	l.rest = free(RestColumn)
}

// beside is the name of the column for what a field cannot hold; behind the last field: for fields without a column.
func (l *Layout) beside(field int) string {
	if field == len(l.fields) {
		return l.rest
	}
	return l.fields[field].raw
}

// schema makes the schema, with some of the columns for what others cannot hold behind the others.
func (l *Layout) schema(raw []bool) (*record.Schema, error) {
	fields := make([]record.Field, 0, len(l.fields)+len(raw))
	for i := range l.fields {
		fields = append(fields, l.fields[i].Field)
	}
	for i, has := range raw {
		if has {
			fields = append(fields, record.Field{Name: l.beside(i), Kind: record.String, Nullable: true})
		}
	}
	s, err := record.NewSchema(l.options.Stream, []string{KeyColumn}, fields...)
	if err != nil {
		return nil, fault.Stop(err)
	}
	return s, nil
}

// Typed says whether the column of the key holds keys as AppendKey writes them.
func (l *Layout) Typed() bool { return l.fields[l.key].format.op == opKey }

// KeyOf gives an _id that the server takes for equal to the one that a row has in the column of the key.
func (l *Layout) KeyOf(b *record.Batch, row int) (any, error) {
	at := b.Schema.Index(KeyColumn)
	if at < 0 {
		return nil, fault.Stop(fmt.Errorf("mongodb: keys of %s have no column %s", l.options.Stream, KeyColumn))
	}
	c := &b.Columns[at]
	switch l.fields[l.key].format.op {
	case opKey:
		return ParseKey(string(c.Text(row)))
	case opObjectID:
		return ParseKey("oid:" + string(c.Text(row)))
	case opString:
		return string(c.Text(row)), nil
	case opInt32, opInt64:
		return c.Int(row), nil
	case opBool:
		return c.Int(row) != 0, nil
	case opTimestamp:
		return bson.DateTime(c.Int(row) / 1000), nil
	case opUUID:
		id, err := uuid.ParseBytes(c.Text(row))
		return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: id[:]}, err
	case opBytes:
		return bson.Binary{Data: slices.Clone(c.Text(row))}, nil
	default:
		return nil, l.wrong(KeyColumn, "an _id of this type cannot be looked up")
	}
}

// errKey is of a document whose _id is not of the declared type.
var errKey = errors.New("the _id is not of the type that is declared for it")
