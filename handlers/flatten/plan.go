package flatten

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// plan is what is done to the batches of one schema.
type plan struct {
	out   *record.Schema
	paths [][]int // of each column that comes out, the column that went in and the members on the way down
}

// leaf is a column that comes out.
type leaf struct {
	field record.Field
	path  []int
}

// plan finds the structs, once a schema.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	p, err := h.flat(in)
	if err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-FLATTEN-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

// flat makes the plan of a schema. Where a column of the key is flattened, its members become the key.
func (h *Handler) flat(in *record.Schema) (*plan, error) {
	chosen, err := h.chosen(in)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(chosen, func(c int) bool { return c >= 0 }) {
		return &plan{out: in}, nil
	}
	p := &plan{}
	var errs []error
	var fields []record.Field
	whose := map[string]string{}
	first := make([]int, len(in.Fields)+1)
	for i, f := range in.Fields {
		leaves := []leaf{{field: f, path: []int{i}}}
		if chosen[i] >= 0 {
			leaves = h.leaves(leaves[0], nil, 1)
		}
		for _, l := range leaves {
			if other, taken := whose[l.field.Name]; taken {
				place := chosen[i]
				if place < 0 {
					place = chosen[in.Index(other)]
				}
				errs = append(errs, h.collision(place, l.field.Name, other, f.Name))
			}
			whose[l.field.Name] = f.Name
			fields, p.paths = append(fields, l.field), append(p.paths, l.path)
		}
		first[i+1] = len(fields)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var key []string
	for _, k := range in.Key {
		for _, f := range fields[first[k]:first[k+1]] {
			key = append(key, f.Name)
		}
	}
	if p.out, err = record.NewSchema(in.Stream, key, fields...); err != nil {
		return nil, &config.FieldError{Err: err}
	}
	return p, nil
}

// every is the place of a column that is flattened because none is named.
const every = 1 << 30

// chosen gives the place in the configuration of each column that is flattened; -1: it stays.
func (h *Handler) chosen(in *record.Schema) ([]int, error) {
	chosen := make([]int, len(in.Fields))
	for i, f := range in.Fields {
		chosen[i] = -1
		if len(h.columns) == 0 && f.Kind == record.Struct {
			chosen[i] = every
		}
	}
	var errs []error
	for n, name := range h.columns {
		e := &config.FieldError{Path: []string{"columns", strconv.Itoa(n)}}
		i := in.Index(name)
		switch {
		case i < 0:
			e.Err = fmt.Errorf("no column is named %s", name)
			if near := in.Nearest(name); near != "" {
				e.Remedy = "did you mean " + near + "?"
			}
		case in.Fields[i].Kind == record.List:
			e.Err = fmt.Errorf("%s is a list: its elements have no columns of their own", name)
		case in.Fields[i].Kind != record.Struct:
			e.Err = fmt.Errorf("%s is %s, which has no members", name, in.Fields[i].TypeName())
		default:
			chosen[i] = n
			continue
		}
		errs = append(errs, e)
	}
	return chosen, errors.Join(errs...)
}

// leaves appends the columns that a struct becomes.
func (h *Handler) leaves(l leaf, to []leaf, level int) []leaf {
	for i, m := range l.field.Fields {
		m.Name = l.field.Name + h.separator + m.Name
		m.Nullable = m.Nullable || l.field.Nullable
		inner := leaf{field: m, path: append(slices.Clone(l.path), i)}
		if m.Kind == record.Struct && (h.depth == 0 || level < h.depth) {
			to = h.leaves(inner, to, level+1)
		} else {
			to = append(to, inner)
		}
	}
	return to
}

// collision is the mistake of two columns that would have one name.
func (h *Handler) collision(place int, name, one, other string) error {
	e := &config.FieldError{
		Err:    fmt.Errorf("%s and %s both give a column named %s", one, other, name),
		Remedy: "choose another separator, or rename a column before",
	}
	if one == other {
		e.Err = fmt.Errorf("two members of %s give a column named %s", one, name)
	}
	if place >= 0 && place < len(h.columns) {
		e.Path = []string{"columns", strconv.Itoa(place)}
	}
	return e
}
