package query

import (
	"database/sql"
	"strings"
	"time"
)

// Kind is how a column's values are written in JSON and aligned in tables.
type Kind uint8

// The kinds.
const (
	Text   Kind = iota // also dates and times
	Number             // the text is a JSON number, or nan, inf, -inf
	Bool               // true or false
	JSON               // a list, struct or map: the text is JSON
)

// Column is a column of a result or a table.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // as DuckDB names it
	Kind Kind   `json:"-"`
}

// Value is one value as DuckDB writes it; of a NULL the text is empty.
type Value struct {
	Text string
	Null bool
}

// Feed gives the rows of an engine, in order.
type Feed interface {
	Next() bool               // goes to the next row; false at the end and after an error
	Values(row []Value) error // writes the values of the row
	Err() error               // what ended the rows too early
	Close() error             // may come at any row
}

// Rows are the rows of a query, read once, in order, from one goroutine.
type Rows struct {
	columns []Column
	found   Feed
	row     []Value
	count   int
	limit   int
	more    bool
	began   time.Time
	took    time.Duration
	err     error
	ended   bool
	finish  func() error      // gives connection, slot and database back
	explain func(error) error // makes an error one for the user
}

// Foreign gives the rows that another engine than DuckDB has found, no more than limit; 0: as many as Config.MaxRows is without a setting.
func Foreign(columns []Column, found Feed, limit int) *Rows {
	return &Rows{
		columns: columns, found: found, row: make([]Value, len(columns)), limit: orDefault(limit, maxRows), began: time.Now(),
		finish: func() error { return nil }, explain: func(err error) error { return err },
	}
}

// duckRows are the rows of a statement whose values are all text.
type duckRows struct {
	*sql.Rows
	cells []sql.NullString
	scan  []any
}

func newRows(columns []Column, found *sql.Rows) *Rows {
	d := &duckRows{Rows: found, cells: make([]sql.NullString, len(columns)), scan: make([]any, len(columns))}
	for i := range d.cells {
		d.scan[i] = &d.cells[i]
	}
	return &Rows{columns: columns, found: d, row: make([]Value, len(columns))}
}

// Values writes the values of the row.
func (d *duckRows) Values(row []Value) error {
	if err := d.Scan(d.scan...); err != nil {
		return err
	}
	for i, c := range d.cells {
		row[i] = Value{Text: c.String, Null: !c.Valid}
	}
	return nil
}

// Columns gives the columns of the result.
func (r *Rows) Columns() []Column { return r.columns }

// Next goes to the next row; false at the end, at the row cap, and after an error.
func (r *Rows) Next() bool {
	if r.ended {
		return false
	}
	if !r.found.Next() {
		r.stop(r.found.Err())
		return false
	}
	if r.count == r.limit {
		r.more = true
		r.stop(nil)
		return false
	}
	if err := r.found.Values(r.row); err != nil {
		r.stop(err)
		return false
	}
	r.count++
	return true
}

// Row gives the values of the row that Next went to; they are overwritten by the next call of Next.
func (r *Rows) Row() []Value { return r.row }

// Err gives what ended the rows too early, or nil.
func (r *Rows) Err() error { return r.err }

// Count gives the number of rows so far.
func (r *Rows) Count() int { return r.count }

// Truncated says that the result has more rows than the row cap let through. Known once Next has given false.
func (r *Rows) Truncated() bool { return r.more }

// Limit gives the row cap that the query ran under.
func (r *Rows) Limit() int { return r.limit }

// Elapsed gives the time from the call of Query to the end of the rows.
func (r *Rows) Elapsed() time.Duration {
	if r.ended {
		return r.took
	}
	return time.Since(r.began)
}

// Close ends the query, wherever it stands. It may be called twice.
func (r *Rows) Close() error {
	r.stop(nil)
	return r.err
}

func (r *Rows) stop(err error) {
	if r.ended {
		return
	}
	r.ended, r.took = true, time.Since(r.began)
	if closeErr := r.found.Close(); err == nil {
		err = closeErr
	}
	r.err = r.explain(err)
	if err := r.finish(); r.err == nil {
		r.err = err
	}
}

// kindOf gives the kind of a DuckDB type.
func kindOf(typeName string) Kind {
	base, _, _ := strings.Cut(typeName, "(")
	switch {
	case strings.HasSuffix(typeName, "]"), base == "STRUCT", base == "MAP", base == "UNION":
		return JSON
	case base == "BOOLEAN":
		return Bool
	}
	switch base {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
		"UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BIGNUM":
		return Number
	}
	return Text
}
