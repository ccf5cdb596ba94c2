// Package filter keeps the records for which an expression is true.
//
// Deletes always pass. An update of a record with a key for which the expression is not true becomes its delete: an earlier
// version may have passed, and would else stay in every sink as if it were the newest.
package filter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets.
type Config struct {
	// Where is a CEL expression; what it is false or null for is dropped. Required.
	Where string `yaml:"where,scalar" required:"true" doc:"A CEL expression such as row.year >= 1980, true for what to keep. Deletes always pass, and an update that does not is the delete of its key."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "filter",
		Doc:    "Keeps the records for which an expression is true.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("filter: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler drops records.
type Handler struct {
	where string

	mu       sync.Mutex
	programs map[*record.Schema]*expr.Program
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New makes the handler. The expression is read when a schema is known.
func New(c Config) (*Handler, error) {
	if c.Where == "" {
		return nil, config.Wrong("where", "must be set")
	}
	if err := expr.Parse(c.Where); err != nil {
		return nil, fieldErrors(err)
	}
	return &Handler{where: c.Where, programs: map[*record.Schema]*expr.Program{}}, nil
}

// Shape gives the schema back: records go, columns stay. The mistakes of the expression are config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	_, err := h.program(in)
	return in, err
}

// program compiles the expression, once a schema.
func (h *Handler) program(in *record.Schema) (*expr.Program, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.programs[in]; ok {
		return p, nil
	}
	p, err := expr.Compile(h.where, in)
	if err == nil && p.Field("").Kind != record.Bool {
		err = &expr.Error{
			Message:    "the expression is " + p.Field("").TypeName() + ", a filter wants a bool",
			Suggestion: "write a comparison",
		}
	}
	if err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-FILTER-001", Place: in.Stream, Err: fieldErrors(err)}
	}
	h.programs[in] = p
	return p, nil
}

// fieldErrors gives the mistakes their place in the configuration.
func fieldErrors(err error) error {
	var all []error
	for _, e := range expr.Errors(err) {
		all = append(all, &config.FieldError{Path: []string{"where"}, Offset: e.Offset, Err: errors.New(e.Message), Remedy: e.Suggestion})
	}
	return errors.Join(all...)
}

// Handle gives the records that pass, or b itself when all do.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.program(b.Schema)
	if err != nil {
		return nil, err
	}
	rows, all, err := p.Select(b)
	if err = expr.Spare(b, err); err != nil {
		return nil, err
	}
	if all {
		return []*record.Batch{b.Retain()}, nil
	}
	passing, gone := withRemovals(b, rows)
	switch {
	case len(passing) == b.Rows && len(gone) == 0:
		return []*record.Batch{b.Retain()}, nil
	case len(passing) == 0:
		return nil, nil
	}
	out := b.Select(passing)
	if len(gone) > 0 {
		ops := make([]record.Op, len(passing))
		for i := range ops {
			ops[i] = out.System.Op(i)
		}
		for _, i := range gone {
			ops[i] = record.Delete
		}
		out.System.Ops = ops
	}
	return []*record.Batch{out}, nil
}

// withRemovals adds the deletes and truncates: their row may hold the key alone, so that the expression says nothing, and a
// delete that is dropped would leave its record in the lake for good. It adds the updates that do not pass, if the stream
// has a key, and tells which of the passing rows they are.
func withRemovals(b *record.Batch, rows []int32) (passing []int32, gone []int) {
	ops := b.System.Ops
	keyed := len(b.Schema.Key) > 0
	if !slices.ContainsFunc(ops, func(op record.Op) bool { return expr.Removes(op) || keyed && op == record.Update }) {
		return rows, nil
	}
	passing = make([]int32, 0, b.Rows)
	for row := range int32(b.Rows) { //nolint:gosec // a batch is far below 2^31 rows
		op := b.System.Op(int(row))
		switch {
		case len(rows) > 0 && rows[0] == row:
			rows = rows[1:]
		case keyed && op == record.Update:
			gone = append(gone, len(passing))
		case !expr.Removes(op):
			continue
		}
		passing = append(passing, row)
	}
	return passing, gone
}
