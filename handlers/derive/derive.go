// Package derive adds columns that are computed from others.
package derive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets: the columns, by name.
type Config struct {
	// Columns are made in their order: a later expression may read an earlier column. A name that the record has already is
	// replaced where it stands; a column of the key is not. Required.
	Columns config.Ordered[Column] `yaml:",inline" required:"true" doc:"Columns by name; a later one may read an earlier one."`
}

// Column is one column.
type Column struct {
	// Expr is a CEL expression. Required.
	Expr string `yaml:"expr,scalar" required:"true" doc:"A CEL expression such as row.year / 10 * 10."`
	// Type is the column's, such as int32 or decimal(10,2); a value that does not fit it refuses its record. Default: int64,
	// float64 or what else the expression gives.
	Type string `yaml:"type" doc:"Type of the column, such as int32 or decimal(10,2); by default what the expression gives."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "derive",
		Doc:    "Adds columns that are computed from others.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("derive: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler adds columns.
type Handler struct {
	columns config.Ordered[Column]
	types   []*record.Field // of the columns that have one

	mu    sync.Mutex
	plans map[*record.Schema]*plan // so that a schema gives the same schema each time
}

// plan is what is done to the batches of one schema.
type plan struct {
	out   *record.Schema
	steps []step
}

// step makes one column of what the steps before have made.
type step struct {
	program *expr.Program
	in      *record.Schema // which has the columns made so far
	at      int            // the column's place; that of a new one is behind all
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler. The expressions are read when a schema is known.
func New(c Config) (*Handler, error) {
	h := &Handler{columns: c.Columns, types: make([]*record.Field, len(c.Columns)), plans: map[*record.Schema]*plan{}}
	var errs []error
	if len(c.Columns) == 0 {
		errs = append(errs, &config.FieldError{Err: errors.New("no column is named"), Remedy: "such as decade: row.year / 10 * 10"})
	}
	seen := map[string]bool{}
	for i, column := range c.Columns {
		var problem error
		switch {
		case column.Name == "":
			problem = errors.New("a column has no name")
		case seen[column.Name]:
			problem = errors.New("stands twice")
		case column.Value.Expr == "":
			problem = config.Wrong("expr", "must be set")
		case expr.Parse(column.Value.Expr) != nil:
			problem = fieldErrors(expr.Parse(column.Value.Expr), "expr")
		case column.Value.Type != "":
			f, err := record.ParseType(column.Name, column.Value.Type)
			if err != nil {
				problem = config.At(err, "type")
			}
			h.types[i] = &f
		}
		seen[column.Name] = true
		errs = append(errs, config.At(problem, column.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// Shape gives the schema with the columns, new ones at its end. The mistakes of the expressions are config.FieldErrors; the
// schema beside them has the columns without one.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	p, err := h.plan(in)
	return p.out, err
}

// plan compiles the expressions, once a schema. Beside an error it holds the columns that could be made.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	p := &plan{out: in}
	var errs []error
	var lost []string // columns that could not be made: what reads them may not be at fault
	for i, column := range h.columns {
		if slices.ContainsFunc(lost, func(name string) bool { return strings.Contains(column.Value.Expr, name) }) {
			continue
		}
		if err := p.add(column, h.types[i]); err != nil {
			errs = append(errs, config.At(err, column.Name))
			lost = append(lost, column.Name)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return p, &fault.Error{Class: fault.Fatal, Code: "ACQ-DERIVE-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

// add compiles one column.
func (p *plan) add(column config.Entry[Column], as *record.Field) error {
	at := p.out.Index(column.Name)
	if at >= 0 && slices.Contains(p.out.Key, at) {
		return &config.FieldError{Err: errors.New("is a column of the key"), Remedy: "a record keeps its key: choose another name"}
	}
	program, err := expr.Compile(column.Value.Expr, p.out)
	if err != nil {
		return fieldErrors(err, "expr")
	}
	if as != nil {
		if program, err = program.As(*as); err != nil {
			return fieldErrors(err, "type")
		}
	}
	fields := slices.Clone(p.out.Fields)
	if at < 0 {
		at = len(fields)
		fields = append(fields, record.Field{})
	}
	fields[at] = program.Field(column.Name)
	out, err := record.NewSchema(p.out.Stream, p.out.KeyNames(), fields...)
	if err != nil {
		return &config.FieldError{Err: err}
	}
	p.steps = append(p.steps, step{program: program, in: p.out, at: at})
	p.out = out
	return nil
}

// fieldErrors gives the mistakes of an expression their place in the configuration.
func fieldErrors(err error, key string) error {
	var all []error
	for _, e := range expr.Errors(err) {
		offset := e.Offset
		if key != "expr" { // the place is one in the expression
			offset = 0
		}
		all = append(all, &config.FieldError{Path: []string{key}, Offset: offset, Err: errors.New(e.Message), Remedy: e.Suggestion})
	}
	return errors.Join(all...)
}

// Handle gives b with the columns. A row for which one cannot be computed is refused; a delete has null there, or zero.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	columns := append(make([]record.Column, 0, len(p.out.Fields)), b.Columns...)
	var bad []fault.Row
	for _, s := range p.steps {
		column, err := s.eval(b, columns)
		if rows, ok := errors.AsType[*fault.Rows](err); ok {
			bad = append(bad, rows.Bad...)
		} else if err != nil {
			return nil, err
		}
		if s.at == len(columns) {
			columns = append(columns, column)
		} else {
			columns[s.at] = column
		}
	}
	if len(bad) > 0 {
		return nil, refused(b, bad)
	}
	return []*record.Batch{b.With(p.out, columns)}, nil
}

// eval computes the column from b and the columns made so far.
func (s *step) eval(b *record.Batch, columns []record.Column) (record.Column, error) {
	view := b.With(s.in, columns)
	defer view.Release()
	column, err := s.program.Eval(view)
	return column, expr.Spare(b, err)
}

// refused names each row once, with the first reason, and only columns that came in.
func refused(b *record.Batch, bad []fault.Row) error {
	slices.SortStableFunc(bad, func(x, y fault.Row) int { return x.Index - y.Index })
	bad = slices.CompactFunc(bad, func(x, y fault.Row) bool { return x.Index == y.Index })
	for i := range bad {
		if b.Schema.Index(bad[i].Column) < 0 {
			bad[i].Column = ""
		}
	}
	return &fault.Rows{Bad: bad}
}
