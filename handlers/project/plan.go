package project

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// plan finds the columns, once a schema.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	stays, errs := h.stays(in)
	names, err := h.names(in, stays)
	errs = append(errs, err)
	p := &plan{}
	if err := errors.Join(errs...); err == nil {
		p, err = h.ordered(in, stays, names)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-PROJECT-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

// stays says of each column whether it stays.
func (h *Handler) stays(in *record.Schema) (stays []bool, errs []error) {
	key, list, chosen := "drop", h.config.Drop, false
	if len(h.config.Keep) > 0 {
		key, list, chosen = "keep", h.config.Keep, true
	}
	stays = make([]bool, len(in.Fields))
	for i := range stays {
		stays[i] = !chosen
	}
	for n, name := range list {
		switch i := in.Index(name); {
		case i < 0:
			errs = append(errs, unknown(in, name, key, strconv.Itoa(n)))
		case !chosen && slices.Contains(in.Key, i):
			errs = append(errs, &config.FieldError{
				Path: []string{key, strconv.Itoa(n)}, Err: fmt.Errorf("%s is a column of the key, which cannot be dropped", name),
				Remedy: "mask can make it unreadable",
			})
		default:
			stays[i] = chosen
		}
	}
	for _, i := range in.Key {
		if chosen && !stays[i] {
			errs = append(errs, &config.FieldError{
				Path: []string{key}, Err: fmt.Errorf("%s is a column of the key and is not among them", in.Fields[i].Name), Remedy: "add it",
			})
		}
	}
	return stays, errs
}

// names gives the new name of each column.
func (h *Handler) names(in *record.Schema, stays []bool) ([]string, error) {
	var errs []error
	names := make([]string, len(in.Fields))
	for i, f := range in.Fields {
		names[i] = f.Name
	}
	for _, e := range h.config.Rename {
		switch i := in.Index(e.Name); {
		case i < 0:
			errs = append(errs, unknown(in, e.Name, "rename", e.Name))
		case !stays[i]:
			errs = append(errs, config.At(fmt.Errorf("%s is dropped", e.Name), "rename", e.Name))
		default:
			names[i] = e.Value
		}
	}
	for _, e := range h.config.Rename {
		for i, f := range in.Fields {
			if stays[i] && f.Name != e.Name && names[i] == e.Value {
				errs = append(errs, config.At(fmt.Errorf("another column is named %s", e.Value), "rename", e.Name))
			}
		}
	}
	return names, errors.Join(errs...)
}

// ordered makes the plan of the columns that stay.
func (h *Handler) ordered(in *record.Schema, stays []bool, names []string) (*plan, error) {
	left := &record.Schema{Stream: in.Stream}
	var from []int
	for i, f := range in.Fields {
		if stays[i] {
			f.Name = names[i]
			left.Fields, from = append(left.Fields, f), append(from, i)
		}
	}
	var errs []error
	var order []int
	for n, name := range h.config.Order {
		i := left.Index(name)
		if i < 0 {
			errs = append(errs, unknown(left, name, "order", strconv.Itoa(n)))
		}
		order = append(order, i)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range left.Fields {
		if !slices.Contains(order, i) {
			order = append(order, i)
		}
	}
	p := &plan{}
	var fields []record.Field
	for _, i := range order {
		fields, p.from = append(fields, left.Fields[i]), append(p.from, from[i])
	}
	var key []string
	for _, i := range in.Key {
		key = append(key, names[i])
	}
	var err error
	if p.out, err = record.NewSchema(in.Stream, key, fields...); err != nil {
		return nil, &config.FieldError{Err: err}
	}
	return p, nil
}

// unknown is the mistake of a name that no column has.
func unknown(s *record.Schema, name string, path ...string) error {
	e := &config.FieldError{Path: path, Err: fmt.Errorf("no column is named %s", name)}
	if near := s.Nearest(name); near != "" {
		e.Remedy = "did you mean " + near + "?"
	}
	return e
}
