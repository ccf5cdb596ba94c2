// Package cast gives columns other types.
package cast

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets: the types, by column.
type Config struct {
	// Columns are the new types. A value that cannot be kept exactly refuses its record; null and absent stay. Required.
	Columns config.Ordered[string] `yaml:",inline" required:"true" doc:"Types by column, such as int32 or decimal(10,2); a value that does not fit exactly refuses its record."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "cast",
		Doc:    "Gives columns other types, where every value stays what it is.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("cast: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler changes types.
type Handler struct {
	fields []record.Field // the columns, with their new types

	mu    sync.Mutex
	plans map[*record.Schema]*plan // so that a schema gives the same schema each time
}

// plan is what is done to the batches of one schema.
type plan struct {
	out   *record.Schema
	steps []step
}

// step converts one column.
type step struct {
	at       int
	isKey    bool
	from, to record.Field
	way      way
	limit    number // of a decimal: the least that has too many digits
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	h := &Handler{plans: map[*record.Schema]*plan{}}
	var errs []error
	if len(c.Columns) == 0 {
		errs = append(errs, &config.FieldError{Err: errors.New("no column is named"), Remedy: "write year: int32 or the like"})
	}
	seen := map[string]bool{}
	for _, column := range c.Columns {
		f, err := record.ParseType(column.Name, column.Value)
		switch {
		case column.Name == "":
			err = errors.New("a column has a name")
		case seen[column.Name]:
			err = errors.New("stands twice")
		}
		seen[column.Name] = true
		errs = append(errs, config.At(err, column.Name))
		h.fields = append(h.fields, f)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// Shape gives the schema with the new types. What does not fit it are config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	p, err := h.plan(in)
	return p.out, err
}

// plan finds the columns and their ways, once a schema. A column that has its type already is left alone.
// Beside an error its schema is what can be told.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	p := &plan{out: in}
	fields := slices.Clone(in.Fields)
	var errs []error
	for _, to := range h.fields {
		s := step{at: in.Index(to.Name), to: to}
		if s.at < 0 {
			e := &config.FieldError{Path: []string{to.Name}, Err: errors.New("no column has this name")}
			if near := in.Nearest(to.Name); near != "" {
				e.Remedy = "did you mean " + near + "?"
			}
			errs = append(errs, e)
			continue
		}
		s.from, s.isKey = in.Fields[s.at], slices.Contains(in.Key, s.at)
		s.to.Nullable = s.from.Nullable
		s.limit = number{lo: 1}
		s.limit.shift(s.to.Precision)
		if s.from.TypeName() == s.to.TypeName() {
			continue
		}
		if s.way = find(s.from, s.to); s.way.same == nil && s.way.value == nil {
			errs = append(errs, &config.FieldError{
				Path: []string{to.Name}, Err: fmt.Errorf("is %s, which never becomes %s", s.from.TypeName(), s.to.TypeName()),
				Remedy: remedy(s.from.Kind, s.to.Kind),
			})
		}
		fields[s.at] = s.to
		p.steps = append(p.steps, s)
	}
	if len(p.steps) > 0 {
		out, err := record.NewSchema(in.Stream, in.KeyNames(), fields...)
		if errs = append(errs, err); err == nil {
			p.out = out
		}
	}
	if err := errors.Join(errs...); err != nil {
		return p, &fault.Error{Class: fault.Fatal, Code: "ACQ-CAST-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

// Handle gives b with the new types. A row with a value that cannot be kept exactly is refused; a delete has null there,
// or zero, unless it is in the key.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	if len(p.steps) == 0 {
		return []*record.Batch{b.Retain()}, nil
	}
	columns := slices.Clone(b.Columns)
	var bad []fault.Row
	for i := range p.steps {
		s := &p.steps[i]
		w := work{step: s, batch: b, in: &b.Columns[s.at], bad: bad}
		columns[s.at] = w.column()
		bad = w.bad
	}
	if len(bad) > 0 {
		slices.SortStableFunc(bad, func(x, y fault.Row) int { return x.Index - y.Index })
		return nil, &fault.Rows{Bad: slices.CompactFunc(bad, func(x, y fault.Row) bool { return x.Index == y.Index })}
	}
	return []*record.Batch{b.With(p.out, columns)}, nil
}
