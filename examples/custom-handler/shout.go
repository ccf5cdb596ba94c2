package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// Config is what the user sets.
type Config struct {
	// Columns are the text columns to write in capitals. Required.
	Columns []string `yaml:"columns,scalar" required:"true" doc:"The text columns to write in capitals."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "shout",
		Doc:    "Writes text in capitals.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("shout: the configuration is a %T", config)
			}
			if len(c.Columns) == 0 {
				return nil, errors.New("columns: must be set")
			}
			return &Handler{columns: c.Columns}, nil
		},
	}
}

// Handler writes text in capitals. It keeps nothing of the records, so that lanes can share it.
type Handler struct{ columns []string }

// Shape says what comes out of a schema, so that acequia check finds a mistake before a record flows.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	for _, name := range h.columns {
		switch i := in.Index(name); {
		case i < 0:
			return nil, fmt.Errorf("%s has no column %s", in.Stream, name)
		case in.Fields[i].Kind != record.String:
			return nil, fmt.Errorf("column %s is %s, no text", name, in.Fields[i].TypeName())
		case slices.Contains(in.Key, i):
			return nil, fmt.Errorf("column %s is of the key, which a record keeps", name)
		}
	}
	return in, nil
}

// Handle gives the batch with other columns; those that stay are shared.
func (h *Handler) Handle(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
	if _, err := h.Shape(b.Schema); err != nil {
		return nil, err
	}
	columns := slices.Clone(b.Columns)
	for _, name := range h.columns {
		i := b.Schema.Index(name)
		columns[i] = capitals(b.Columns[i])
	}
	return []*record.Batch{b.With(b.Schema, columns)}, nil
}

// capitals makes one new column in one pass. What is null or absent stays so: the bitmaps are shared.
func capitals(c record.Column) record.Column {
	out := c
	out.Bytes = make([]byte, 0, len(c.Bytes))
	out.Offsets = append(make([]uint32, 0, len(c.Offsets)+1), 0)
	for slot := range len(c.Offsets) - 1 {
		for text := c.Text(slot); len(text) > 0; {
			r, n := utf8.DecodeRune(text)
			if r == utf8.RuneError && n == 1 {
				out.Bytes = append(out.Bytes, text[0]) // no UTF-8: the sink refuses it, with its bytes
			} else {
				out.Bytes = utf8.AppendRune(out.Bytes, unicode.ToUpper(r))
			}
			text = text[n:]
		}
		out.Offsets = append(out.Offsets, uint32(len(out.Bytes))) //nolint:gosec // a batch is far below 4 GiB
	}
	return out
}
