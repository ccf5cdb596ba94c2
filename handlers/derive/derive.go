// Package derive adds a column that is computed from another.
package derive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets.
type Config struct {
	// Name is the new column, of the same type as From. Required.
	Name string `yaml:"name"`
	// From is the integer column that it is computed from. Where it is null or absent, so is the new one. Required.
	From string `yaml:"from"`
	// Floor rounds down to a multiple of itself, 1 or more, in From's unit: 10 makes 1998 into 1990. Required.
	Floor int64 `yaml:"floor"`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "derive",
		Doc:    "Adds a column that is computed from another.",
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

// Handler adds the column.
type Handler struct {
	cfg Config

	mu     sync.Mutex
	shapes map[*record.Schema]*record.Schema // so that a schema gives the same schema each time
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name: must be set"))
	}
	if c.From == "" {
		errs = append(errs, errors.New("from: must be set"))
	}
	if c.Floor < 1 {
		errs = append(errs, errors.New("floor: must be 1 or more"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Handler{cfg: c, shapes: map[*record.Schema]*record.Schema{}}, nil
}

// Shape gives the schema with the new column at its end.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if out, ok := h.shapes[in]; ok {
		return out, nil
	}
	out, err := h.shape(in)
	if err != nil {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-DERIVE-001", Place: in.Stream, Err: fmt.Errorf("derive: %w", err),
			Remedy: "from: names an int32 or int64 column, name: a new one",
		}
	}
	h.shapes[in] = out
	return out, nil
}

func (h *Handler) shape(in *record.Schema) (*record.Schema, error) {
	i := in.Index(h.cfg.From)
	if i < 0 {
		return nil, fmt.Errorf("column %q is not in the schema", h.cfg.From)
	}
	f := in.Fields[i]
	if f.Kind != record.Int32 && f.Kind != record.Int64 {
		return nil, fmt.Errorf("column %q is %s, not an integer", f.Name, f.Kind)
	}
	f.Name = h.cfg.Name
	return record.NewSchema(in.Stream, in.KeyNames(), append(slices.Clone(in.Fields), f)...)
}

// Handle gives b with the new column. A value whose multiple does not fit the column's type refuses its row.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := h.Shape(b.Schema)
	if err != nil {
		return nil, err
	}
	i := b.Schema.Index(h.cfg.From)
	least := int64(math.MinInt64)
	if b.Schema.Fields[i].Kind == record.Int32 {
		least = math.MinInt32
	}
	c, err := h.floor(&b.Columns[i], least, b.Rows)
	if err != nil {
		return nil, err
	}
	return []*record.Batch{b.With(s, append(slices.Clone(b.Columns), c))}, nil
}

// floor gives the new column; least is the smallest value it can hold.
func (h *Handler) floor(in *record.Column, least int64, rows int) (record.Column, error) {
	out := record.Column{Ints: make([]int64, len(in.Ints)), Valid: in.Valid, Absent: in.Absent, Const: in.Const}
	by := h.cfg.Floor
	var bad fault.Rows
	for i, v := range in.Ints {
		over := v % by
		if over < 0 {
			over += by
		}
		if v < least+over { // over is positive and below 2^63: no overflow
			bad.Bad = append(bad.Bad, h.refuse(in, i, rows)...)
			continue
		}
		out.Ints[i] = v - over
	}
	return out, bad.Or()
}

func (h *Handler) refuse(in *record.Column, slot, rows int) []fault.Row {
	end := slot + 1
	if in.Const {
		end = rows
	}
	err := fault.Poisoned(fmt.Errorf("%d rounded down to a multiple of %d is too small for %s", in.Ints[slot], h.cfg.Floor, h.cfg.Name))
	var bad []fault.Row
	for row := slot; row < min(end, rows); row++ {
		if in.IsValid(row) {
			bad = append(bad, fault.Row{Index: row, Column: h.cfg.From, Err: err})
		}
	}
	return bad
}
