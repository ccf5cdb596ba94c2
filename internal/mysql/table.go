package mysql

import (
	"log/slog"
	"strings"
)

// Table is a table or view whose rows can be read.
type Table struct {
	Database string
	Name     string
	View     bool
	Engine   string   // such as InnoDB; "" of a view
	Columns  []Column // in the table's order
	Key      []string // the primary key, else a unique index over whole columns that are not null; empty: none
	KeyIndex string   // the index of the key
	Rows     int64    // estimated; -1: not known
	Bytes    int64    // without secondary indexes

	home bool // it is in the database of the dsn
}

// Column is a column of a table.
type Column struct {
	Name      string
	NotNull   bool
	Generated bool
	Virtual   bool // and computed when it is read
	Filled    bool // it has a value in rows that were there before it was added
	Type      Type
}

// Type is a type as far as reading needs it.
type Type struct {
	Name      string // as the catalog writes it, such as int(10) unsigned
	Data      string // without its settings, such as int
	Unsigned  bool
	Precision int      // of a decimal, or the bits of a BIT
	Scale     int      // of a decimal
	Fraction  int      // digits of a second
	Length    int      // of a BINARY
	Charset   string   // of a text; "": it has none
	Collation string   // of a text
	Labels    []string // of an ENUM or a SET, in their order
}

// Transactional says whether readers see only what is committed, in one moment.
func (t *Table) Transactional() bool { return strings.EqualFold(t.Engine, "InnoDB") }

// Quoted is the name as SQL takes it.
func (t *Table) Quoted() string { return Quote(t.Database) + "." + Quote(t.Name) }

// LogValue is the name as people write it.
func (t *Table) LogValue() slog.Value { return slog.StringValue(t.Database + "." + t.Name) }

// Stream is the name of the stream: that of the table, after its database when that is not the dsn's.
func (t *Table) Stream() string {
	if t.home {
		return t.Name
	}
	return t.Database + "." + t.Name
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

// Mark is the columns and the key as a text: another one after each change that a reader must know of.
func (t *Table) Mark() string {
	var out strings.Builder
	for i := range t.Columns {
		c := &t.Columns[i]
		out.WriteString(c.Name + "\t" + c.Type.Name + "\t" + c.Type.Charset + "\n")
	}
	out.WriteString("key " + strings.Join(t.Key, ", "))
	return out.String()
}
