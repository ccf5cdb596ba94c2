package handlertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// wellFormed: sinks trust that columns fit their fields.
func wellFormed(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for range 5 {
		for _, s := range styles() {
			out, err := handler.Handle(ctx, m.batch(several, s))
			if err != nil {
				return err
			}
			for _, b := range out {
				if err := wellFormedBatch(b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func wellFormedBatch(b *record.Batch) error {
	if b == nil {
		return errors.New("a batch is nil")
	}
	if _, err := record.NewBatch(b.Schema, b.Rows, b.Columns, b.System, nil); err != nil {
		return err
	}
	s := &b.System
	for _, n := range []int{len(s.Ops), len(s.EventTimes), len(s.Versions.Hi), len(s.Versions.Lo), len(s.Versions.Index), len(s.EventIDs.Offsets) - 1, len(s.Routes.Rows)} {
		if n > 1 && n < b.Rows {
			return fmt.Errorf("system data has %d entries for %d rows", n, b.Rows)
		}
	}
	for i, f := range b.Schema.Fields {
		slots := b.Rows
		if b.Columns[i].Const {
			slots = min(slots, 1)
		}
		if err := wellFormedColumn(f, &b.Columns[i], slots); err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
	}
	return nil
}

func wellFormedColumn(f record.Field, c *record.Column, slots int) error {
	for i := range max(0, len(c.Offsets)-1) {
		if c.Offsets[0] != 0 || c.Offsets[i] > c.Offsets[i+1] || f.Kind != record.List && int(c.Offsets[i+1]) > len(c.Bytes) {
			return fmt.Errorf("slot %d: its offsets are wrong", i)
		}
	}
	for slot := range slots {
		valid := c.IsValid(slot)
		if !valid && !f.Nullable {
			return fmt.Errorf("slot %d is null, and the field is not nullable", slot)
		}
		if err := wellFormedSlot(f, c, slot, valid); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	switch {
	case f.Kind == record.List && len(c.Offsets) > 0:
		return wellFormedColumn(f.Fields[0], &c.Children[0], int(c.Offsets[slots]))
	case f.Kind == record.Struct && slots > 0:
		for i, member := range f.Fields {
			if err := wellFormedColumn(member, &c.Children[i], slots); err != nil {
				return fmt.Errorf("%s: %w", member.Name, err)
			}
		}
	}
	return nil
}

func wellFormedSlot(f record.Field, c *record.Column, slot int, valid bool) error {
	switch f.Kind {
	case record.String, record.Bytes:
		v := c.Text(slot)
		if !valid && len(v) > 0 {
			return errors.New("it is null and has text")
		}
		if f.Kind == record.String && !utf8.Valid(v) {
			return errors.New("it is not UTF-8")
		}
	case record.Bool, record.Int32, record.Int64, record.Date, record.Timestamp, record.LocalTimestamp:
		v := c.Int(slot)
		switch {
		case !valid && v != 0:
			return errors.New("it is null and has a value")
		case f.Kind == record.Bool && v != 0 && v != 1:
			return fmt.Errorf("%d is not a boolean", v)
		case (f.Kind == record.Int32 || f.Kind == record.Date) && (v < math.MinInt32 || v > math.MaxInt32):
			return fmt.Errorf("%d does not fit %s", v, f.Kind)
		}
	default:
	}
	return nil
}
