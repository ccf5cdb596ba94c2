// Package project keeps, drops, renames and orders columns.
package project

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

// Config is what the user sets: one of the four at least, and not Keep with Drop.
type Config struct {
	// Keep are the columns that stay; all others go.
	Keep []string `yaml:"keep" doc:"Columns that stay; all others go. The key's must be among them."`
	// Drop are the columns that go.
	Drop []string `yaml:"drop" doc:"Columns that go; the key's cannot."`
	// Rename gives columns new names. The key of the stream follows.
	Rename config.Ordered[string] `yaml:"rename" doc:"New names by old ones; the key follows."`
	// Order are the columns that come first, by their new names; the others follow as they stand.
	Order []string `yaml:"order" doc:"Columns that come first, by their new names; the others follow as they stand."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "project",
		Doc:    "Keeps, drops, renames and orders columns.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("project: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler gives batches with other columns. No value is copied.
type Handler struct {
	config Config

	mu    sync.Mutex
	plans map[*record.Schema]*plan // so that a schema gives the same schema each time
}

// plan is what is done to the batches of one schema.
type plan struct {
	out  *record.Schema
	from []int // of each column that comes out, the one that went in
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	var errs []error
	switch {
	case len(c.Keep) > 0 && len(c.Drop) > 0:
		errs = append(errs, &config.FieldError{
			Path: []string{"drop"}, Err: errors.New("does not go with keep"), Remedy: "what keep does not name is dropped",
		})
	case len(c.Keep)+len(c.Drop)+len(c.Rename)+len(c.Order) == 0:
		errs = append(errs, &config.FieldError{Err: errors.New("nothing to do"), Remedy: "write keep, drop, rename or order"})
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"keep", c.Keep}, {"drop", c.Drop}, {"order", c.Order}} {
		seen := map[string]bool{}
		for i, name := range list.names {
			errs = append(errs, config.At(named(name, seen), list.key, strconv.Itoa(i)))
		}
	}
	before, after := map[string]bool{}, map[string]bool{}
	for _, e := range c.Rename {
		errs = append(errs, config.At(errors.Join(named(e.Name, before), named(e.Value, after)), "rename", e.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Handler{config: c, plans: map[*record.Schema]*plan{}}, nil
}

// named says what is wrong with a name in a list of names.
func named(name string, seen map[string]bool) error {
	switch {
	case name == "":
		return errors.New("a column has a name")
	case seen[name]:
		return fmt.Errorf("%s stands twice", name)
	}
	seen[name] = true
	return nil
}

// Shape gives the schema with the columns that are left. What does not fit it are config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	p, err := h.plan(in)
	if err != nil {
		return nil, err
	}
	return p.out, nil
}

// Handle gives b with the columns that are left.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	columns := make([]record.Column, len(p.from))
	for i, from := range p.from {
		columns[i] = b.Columns[from]
	}
	return []*record.Batch{b.With(p.out, columns)}, nil
}
