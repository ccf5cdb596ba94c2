// Package flatten gives the members of nested documents columns of their own.
package flatten

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets.
type Config struct {
	// Columns are the struct columns to flatten. Default: all.
	Columns []string `yaml:"columns" doc:"Nested columns to flatten; by default all."`
	// Separator stands between the names of a column and its member. Default: _.
	Separator string `yaml:"separator" doc:"What stands between the names of a column and its member."`
	// Depth is how many levels are flattened; 0: all.
	Depth int `yaml:"depth" doc:"How many levels are flattened; 0: all."`
}

const separator = "_"

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "flatten",
		Doc:    "Gives the members of nested documents columns of their own.",
		Config: func() any { return &Config{Separator: separator} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("flatten: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler flattens structs. Values are shared with the batch that was given.
type Handler struct {
	columns   []string
	separator string
	depth     int

	mu    sync.Mutex
	plans map[*record.Schema]*plan // so that a schema gives the same schema each time
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	h := &Handler{columns: c.Columns, separator: c.Separator, depth: c.Depth, plans: map[*record.Schema]*plan{}}
	if h.separator == "" {
		h.separator = separator
	}
	var errs []error
	seen := map[string]bool{}
	for i, name := range c.Columns {
		switch {
		case name == "":
			errs = append(errs, config.At(errors.New("a column has a name"), "columns", strconv.Itoa(i)))
		case seen[name]:
			errs = append(errs, config.At(fmt.Errorf("%s stands twice", name), "columns", strconv.Itoa(i)))
		}
		seen[name] = true
	}
	if c.Depth < 0 {
		errs = append(errs, config.Wrong("depth", "%d is no number of levels: want 0 for all, or more", c.Depth))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// Shape gives the schema with the members in the place of their struct. What does not fit it are config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	p, err := h.plan(in)
	if err != nil {
		return nil, err
	}
	return p.out, nil
}

// Handle gives b with the members as columns, or b itself when it has no structs. A member of a null struct is null.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	if p.out == b.Schema {
		return []*record.Batch{b.Retain()}, nil
	}
	columns := make([]record.Column, len(p.paths))
	for i, path := range p.paths {
		f, c := &b.Schema.Fields[path[0]], b.Columns[path[0]]
		for _, m := range path[1:] {
			c = member(&f.Fields[m], &c, m, b.Rows)
			f = &f.Fields[m]
		}
		columns[i] = c
	}
	return []*record.Batch{b.With(p.out, columns)}, nil
}

// member gives a member of a struct as a column of its own: it is null and absent where the struct is.
func member(f *record.Field, of *record.Column, m, rows int) record.Column {
	slots := rows
	if of.Const {
		slots = min(rows, 1)
	}
	if slots == 0 || m >= len(of.Children) {
		return record.Column{Const: true}
	}
	c := of.Children[m]
	if c.Const && !of.Const && (of.Valid != nil || of.Absent != nil) {
		c = spread(*f, &c, of, rows)
	}
	c.Const = c.Const || of.Const
	words := (slots + 63) / 64
	c.Valid = combined(of.Valid, c.Valid, words, func(a, b uint64) uint64 { return a & b })
	c.Absent = combined(of.Absent, c.Absent, words, func(a, b uint64) uint64 { return a | b })
	return c
}

// spread gives a constant member a slot a row, an empty one where its struct is null.
func spread(f record.Field, c, of *record.Column, rows int) record.Column {
	f.Nullable = true
	b := record.NewBuilder(&record.Schema{Fields: []record.Field{f}}, 1)
	b.Null(0)
	b.Next()
	both := b.Batch(nil).Columns[0]
	both.Gather(f, c, []int32{0}, 1)
	from := make([]int32, rows)
	for row := range from {
		if of.IsValid(row) {
			from[row] = 1
		}
	}
	var out record.Column
	out.Gather(f, &both, from, 0)
	return out
}

// combined combines two bitmaps, either of which may be nil.
func combined(a, b []uint64, words int, combine func(a, b uint64) uint64) []uint64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := make([]uint64, words)
	for i := range out {
		out[i] = combine(a[i], b[i])
	}
	return out
}
