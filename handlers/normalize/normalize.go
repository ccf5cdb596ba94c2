// Package normalize trims text and brings it to Unicode's NFC, so that equal text has equal bytes.
package normalize

import (
	"context"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets.
type Config struct {
	// Columns are the string columns to normalise. Default: every string column that is not part of the key; a key is
	// normalised only where it is named, because two keys may become one.
	Columns []string `yaml:"columns" doc:"The string columns; default: all that are not part of the key."`
	// Collapse makes one space of each run of white space inside the text. Default: false.
	Collapse bool `yaml:"collapse" doc:"Make one space of each run of white space inside the text."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "normalize",
		Doc:    "Trims text and brings it to Unicode NFC.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("normalize: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler normalises text. Text that is normal already is shared with the batch that was given.
type Handler struct {
	columns []string
	clean   cleaner
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New makes the handler.
func New(c Config) (*Handler, error) {
	for i, name := range c.Columns {
		if name == "" {
			return nil, fmt.Errorf("columns[%d]: a column has a name", i)
		}
		if slices.Contains(c.Columns[:i], name) {
			return nil, fmt.Errorf("columns[%d]: %s stands twice", i, name)
		}
	}
	return &Handler{columns: c.Columns, clean: cleaner{collapse: c.Collapse}}, nil
}

// Shape gives the schema back: only values change. A column that is missing or not text is an error.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	_, err := h.targets(in)
	return in, err
}

// Handle gives b with the text normalised, or b itself where nothing had to change. Null and absent values stay.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	targets, err := h.targets(b.Schema)
	if err != nil {
		return nil, err
	}
	var columns []record.Column
	for _, i := range targets {
		c, changed := h.clean.column(b.Schema.Fields[i], b.Columns[i])
		if !changed {
			continue
		}
		if columns == nil {
			columns = slices.Clone(b.Columns)
		}
		columns[i] = c
	}
	if columns == nil {
		return []*record.Batch{b.Retain()}, nil
	}
	return []*record.Batch{b.With(b.Schema, columns)}, nil
}

// targets gives the indexes of the columns to normalise.
func (h *Handler) targets(s *record.Schema) ([]int, error) {
	if len(h.columns) == 0 {
		out := make([]int, 0, len(s.Fields))
		for i, f := range s.Fields {
			if holdsText(f) && !slices.Contains(s.Key, i) {
				out = append(out, i)
			}
		}
		return out, nil
	}
	out := make([]int, len(h.columns))
	for i, name := range h.columns {
		out[i] = s.Index(name)
		if out[i] < 0 {
			return nil, unfit(s, name, "is not in the schema")
		}
		if f := s.Fields[out[i]]; !holdsText(f) {
			return nil, unfit(s, name, "is "+f.Kind.String()+", not text")
		}
	}
	return out, nil
}

func unfit(s *record.Schema, column, why string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-NORMALIZE-001", Place: s.Stream,
		Err:    fmt.Errorf("normalize: column %q %s", column, why),
		Remedy: "name only string columns under columns",
	}
}

// holdsText says whether a field is text, or a list or struct with text in it.
func holdsText(f record.Field) bool {
	switch f.Kind {
	case record.String:
		return true
	case record.List, record.Struct:
		return slices.ContainsFunc(f.Fields, holdsText)
	default:
		return false
	}
}
