package postgres

import (
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Kind is what a table is.
type Kind byte

// The kinds, as pg_class.relkind has them.
const (
	Ordinary     Kind = 'r'
	Partitioned  Kind = 'p'
	View         Kind = 'v'
	Materialized Kind = 'm'
	Foreign      Kind = 'f'
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Ordinary:
		return "table"
	case Partitioned:
		return "partitioned table"
	case View:
		return "view"
	case Materialized:
		return "materialized view"
	case Foreign:
		return "foreign table"
	}
	return "relation of kind " + string(rune(k))
}

// Table is a relation whose rows can be read.
type Table struct {
	OID      uint32
	Schema   string
	Name     string
	Kind     Kind
	Columns  []Column // in the table's order, without dropped ones
	Key      []string // the primary key, else a unique index over columns that are not null; empty: none
	KeyIndex uint32   // the index of the key
	Rows     int64    // estimated; -1: not known
	Bytes    int64    // of the table and its TOAST, without indexes
	Identity byte     // pg_class.relreplident
	Filenode uint32   // changes when the table is rewritten
	Children int      // tables that inherit from it and are no partitions

	anyBytes bool // the database is SQL_ASCII: its texts may be no UTF-8
}

// Column is a column of a table.
type Column struct {
	Name      string
	Num       int16 // pg_attribute.attnum
	TypeOID   uint32
	Modifier  int32
	TypeName  string // as format_type writes it
	NotNull   bool
	Generated bool
	Type      Type
}

// Type is a type as far as reading needs it: a domain is the type that it stands on.
type Type struct {
	OID      uint32
	Schema   string
	Name     string
	Class    byte // pg_type.typtype: b base, c composite, e enum, r range, m multirange, p pseudo
	Modifier int32
	Output   string   // the output function, where a cast to text is something else
	Element  *Type    // of an array
	Length   int16    // pg_type.typlen; below 0: it varies
	Members  []Member // of a composite
	Labels   []string // of an enum
}

// Member is a field of a composite type.
type Member struct {
	Name string
	Type Type
}

// width guesses the bytes of a value, as the planner does.
func (t *Type) width() int {
	const varying = 32
	if t.Length > 0 {
		return int(t.Length)
	}
	return varying
}

// Quoted is the name as SQL takes it.
func (t *Table) Quoted() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// LogValue is the name as people write it.
func (t *Table) LogValue() slog.Value { return slog.StringValue(t.Schema + "." + t.Name) }

// Stream is the name of the stream: that of the table, after its schema when that is not public.
func (t *Table) Stream() string {
	if t.Schema == "public" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// Column finds a column by its name, or gives nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// quote makes an identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
