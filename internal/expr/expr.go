// Package expr evaluates expressions of CEL (the Common Expression Language) over the columns of a batch.
//
// `row` is the record: row.year, row["year"], row.who.name, has(row.year). CEL's own parser reads the text; types are checked
// by CEL's rules when the expression is compiled for a schema, and each operator and function then works on whole columns.
// What has no such kernel is a mistake that Compile reports; nothing falls back to evaluating a row at a time.
//
// Types: int32 and int64 are int; float32 and float64 are double; decimals keep their digits: they compare and calculate (+ - *)
// exactly with decimals, ints and literals, and are divided only as double(x) or int(x). Dates, timestamps and local timestamps
// compare with each other, a date as its midnight and a local timestamp as if it were UTC. Ints and doubles compare with each
// other by value.
//
// Null, as in SQL: an operator or function with a null operand gives null; && and || follow three-valued logic
// (null && false is false, null || true is true); a null condition of ?: gives null. == null, != null and has() give true or
// false. An absent value counts as null, and a null result that comes of an absent value is absent.
//
// Errors, as in CEL, belong to a row: 10 / row.x fails the rows whose x is 0, but not where row.x != 0 && 10 / row.x > 1 has
// made up its mind, nor in the branch of ?: that is not taken.
package expr

import (
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Error is a mistake in the text of an expression.
type Error struct {
	Offset     int // characters into the text, from 0
	Message    string
	Suggestion string // what to write instead; may be empty
}

// Error gives the message and the suggestion.
func (e *Error) Error() string {
	if e.Suggestion == "" {
		return e.Message
	}
	return e.Message + " (" + e.Suggestion + ")"
}

// Errors takes an error of Compile or As apart.
func Errors(err error) []*Error {
	var all []*Error
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, Errors(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[*Error](err); ok {
		all = append(all, e)
	}
	return all
}

// Program is an expression compiled for a schema. It may be used by many goroutines.
type Program struct {
	text     string
	info     *ast.SourceInfo
	schema   *record.Schema
	root     *node
	result   record.Field
	columns  []string
	failures string // the column that failing rows are reported under
}

// Parse reads an expression without a schema: its errors are those of syntax, as Compile reports them.
func Parse(text string) error {
	c := &compiler{text: text}
	c.parse()
	return c.mistakes()
}

// mistakes gives all that was found, in the order of the text.
func (c *compiler) mistakes() error {
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return a.Offset - b.Offset })
	all := make([]error, len(c.errs))
	for i, e := range c.errs {
		all[i] = e
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// Compile reads an expression and checks it against a schema. All mistakes are reported, as *Error values, joined where there
// are several.
func Compile(text string, in *record.Schema) (*Program, error) {
	c := &compiler{text: text, schema: in}
	root := c.compile()
	if err := c.mistakes(); err != nil {
		return nil, err
	}
	p := &Program{text: text, info: c.info, schema: in, root: root, columns: c.columns}
	p.result = root.typ.result()
	p.result.Nullable = root.nullable
	if len(c.columns) == 1 {
		p.failures = c.columns[0]
	}
	return p, nil
}

// Field is the kind of the result, under a name.
func (p *Program) Field(name string) record.Field {
	f := p.result
	f.Name = name
	return f
}

// Columns are the columns of the schema that the expression reads, in the order in which it names them.
func (p *Program) Columns() []string { return slices.Clone(p.columns) }

// Eval gives the result for each row of a batch of the schema: a slot a row, or a constant. The error is a *fault.Rows of the
// rows that fail; the column then holds all others, and null or zero for those.
func (p *Program) Eval(b *record.Batch) (record.Column, error) {
	c := &call{batch: b, rows: b.Rows}
	if b.Rows == 0 {
		return p.none(), nil
	}
	if err := p.fits(b); err != nil {
		return record.Column{}, err
	}
	v := p.root.eval(c)
	return v.column(c, p.result), p.failed(c, v)
}

// Select gives the rows for which a boolean expression is true, in order; all says that it is true for every row, rows is nil
// then. The error is a *fault.Rows of the rows that fail; rows holds those of the others that are true.
func (p *Program) Select(b *record.Batch) (rows []int32, all bool, err error) {
	if p.root.typ.kind != kBool {
		err := fmt.Errorf("select by %s, not a bool", p.root.typ.name())
		return nil, false, &fault.Error{Class: fault.Fatal, Code: "ACQ-EXPR-002", Err: err}
	}
	if b.Rows == 0 {
		return nil, true, nil
	}
	if err := p.fits(b); err != nil {
		return nil, false, err
	}
	c := &call{batch: b, rows: b.Rows}
	v := p.root.eval(c)
	err = p.failed(c, v)
	if v.col.Const {
		if v.isTrue(0) {
			return nil, true, err
		}
		return nil, false, err
	}
	rows, all = selected(v, b.Rows)
	return rows, all, err
}

// none is the result for no rows.
func (p *Program) none() record.Column {
	if p.result.Kind == record.String || p.result.Kind == record.Bytes {
		return record.Column{Offsets: []uint32{0}}
	}
	return record.Column{}
}

// fits guards against a batch of another schema, whose columns stand elsewhere.
func (p *Program) fits(b *record.Batch) error {
	if b.Schema == p.schema || b.Schema.ID() == p.schema.ID() {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-EXPR-001", Place: b.Schema.Stream,
		Err: errors.New("the expression was compiled for another schema"),
	}
}

// failed reports the rows that could not be evaluated.
func (p *Program) failed(c *call, v *vec) error {
	if len(v.errs) == 0 {
		return nil
	}
	bad := make([]fault.Row, 0, len(v.errs))
	for _, e := range v.errs {
		if v.col.Const {
			for row := range c.rows {
				bad = append(bad, fault.Row{Index: row, Column: p.failures, Err: e.err})
			}
			break
		}
		bad = append(bad, fault.Row{Index: int(e.slot), Column: p.failures, Err: e.err})
	}
	return &fault.Rows{Bad: bad}
}
