package handlertest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

// lengths is a right handler, small but whole: it adds the length of "note" as "length" and refuses the note "bad".
// Its wrong switch breaks one promise.
type lengths struct {
	wrong string
	shape *record.Schema
	calls atomic.Int32
}

type settings struct {
	Unit string `yaml:"unit"`
}

func schema(name string, fields ...record.Field) *record.Schema {
	s, err := record.NewSchema(name, []string{fields[0].Name}, fields...)
	if err != nil {
		panic(err)
	}
	return s
}

func notes() *record.Schema {
	return schema("suite.notes",
		record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "note", Kind: record.String, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 38, Scale: 2},
		record.Field{Name: "at", Kind: record.Struct, Nullable: true, Fields: []record.Field{
			{Name: "x", Kind: record.Float64}, {Name: "seen", Kind: record.VersionText},
		}},
	)
}

func harness(wrong string) handlertest.Harness {
	shared := &settings{}
	in := notes()
	shape := schema(in.Stream, append(slices.Clone(in.Fields), record.Field{Name: "length", Kind: record.Int32})...)
	return handlertest.Harness{
		Plugin: handlers.Plugin{
			Type: map[bool]string{true: "Bad Name", false: "lengths"}[wrong == "bad type"],
			Doc:  map[bool]string{true: "no sentence", false: "Adds a length."}[wrong == "no doc"],
			Config: func() any {
				if wrong == "shares its settings" {
					return shared
				}
				return &settings{Unit: "byte"}
			},
			New: func(config any) (handlers.Handler, error) {
				c, ok := config.(*settings)
				if !ok && wrong != "takes any settings" {
					return nil, fmt.Errorf("settings are a %T", config)
				}
				if ok && c.Unit != "byte" && wrong != "takes wrong settings" {
					return nil, fmt.Errorf("unit: %q is not byte", c.Unit)
				}
				return &lengths{wrong: wrong, shape: shape}, nil
			},
		},
		Config: "unit: byte",
		Wrong:  map[string]string{"unit": "unit: mile"},
		Schema: in,
		Unfit:  []*record.Schema{schema("suite.other", record.Field{Name: "id", Kind: record.Int64})},
		Good: func(b *record.Builder, column, row int) bool {
			if column != 1 {
				return false
			}
			b.String(column, fmt.Sprintf("note %d", row))
			return true
		},
		Bad: func(b *record.Builder, column, _ int) bool {
			if column != 1 {
				return false
			}
			b.String(column, "bad")
			return true
		},
		Writes: []string{"length"},
	}
}

func (h *lengths) Shape(in *record.Schema) (*record.Schema, error) {
	switch {
	case in.Index("note") < 0 && h.wrong != "shapes anything":
		return nil, errors.New("no notes")
	case h.wrong == "wrong shape":
		return in, nil
	}
	return h.shape, nil
}

func (h *lengths) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := h.before(ctx, b); err != nil {
		return nil, err
	}
	note := b.Schema.Index("note")
	if note < 0 {
		if h.wrong == "poisons schemas" {
			return nil, fault.Poisoned(errors.New("no notes"))
		}
		return nil, errors.New("no notes")
	}
	in := &b.Columns[note]
	if bad := h.bad(b, in); len(bad) > 0 {
		switch h.wrong {
		case "gives batches with an error":
			return []*record.Batch{b.Retain()}, &fault.Rows{Bad: bad}
		case "bad rows are fatal":
			return nil, errors.New("bad rows")
		case "drops bad rows":
		case "leaks when it refuses":
			b.Retain()
			return nil, &fault.Rows{Bad: bad}
		default:
			return nil, &fault.Rows{Bad: bad}
		}
	}
	out := record.Column{Ints: make([]int64, b.Rows)}
	if in.Const {
		out.Const, out.Ints = true, out.Ints[:min(b.Rows, 1)]
	}
	for row := range out.Ints {
		out.Ints[row] = int64(len(in.Text(row)))
	}
	return h.after(b, append(slices.Clone(b.Columns), out))
}

// before breaks promises before the work is done.
func (h *lengths) before(ctx context.Context, b *record.Batch) error {
	text := b.Columns[min(1, len(b.Columns)-1)].Bytes
	switch {
	case h.wrong == "refuses the empty" && b.Rows == 0:
		return errors.New("no rows")
	case h.wrong == "writes into its input" && len(text) > 0:
		copy(text, bytes.ToUpper(text[:1]))
	case h.wrong == "is for one lane":
		defer h.calls.Add(-1)
		h.calls.Add(1)
		for range 20 {
			if h.calls.Load() > 1 {
				return errors.New("two lanes at once")
			}
			<-time.After(time.Millisecond)
		}
	case h.wrong == "hides the context's error" && ctx.Err() != nil:
		return errors.New("something went wrong")
	case h.wrong == "waits for ever" && ctx.Err() != nil:
		select {}
	}
	return nil
}

func (h *lengths) bad(b *record.Batch, in *record.Column) []fault.Row {
	var bad []fault.Row
	for row := range b.Rows {
		refuse := in.IsValid(row) && string(in.Text(row)) == "bad"
		if op := b.System.Op(row); h.wrong == "refuses deletes" && op == record.Delete {
			refuse = true
		}
		if refuse {
			bad = append(bad, fault.Row{Index: row, Column: "note", Err: errors.New("bad")})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	switch h.wrong {
	case "index off by one":
		for i := range bad {
			bad[i].Index++
		}
	case "first bad row only":
		return bad[:1]
	case "out of order":
		slices.Reverse(bad)
	case "no reason":
		bad[0].Err = nil
	case "the whole value in the error":
		bad[0].Err = errors.New(strings.Repeat("bad", 200))
	case "a column of its own in the error":
		bad[0].Column = "length"
	case "one row of a constant":
		if in.Const {
			return bad[:1]
		}
	}
	return bad
}

// after breaks promises about what comes out.
func (h *lengths) after(b *record.Batch, columns []record.Column) ([]*record.Batch, error) {
	last := len(columns) - 1
	switch h.wrong {
	case "new schema each time":
		s := *h.shape
		return []*record.Batch{b.With(&s, columns)}, nil
	case "leaks a reference":
		b.Retain()
	case "releases its input":
		defer b.Release()
	case "shares memory without a reference":
		out, err := record.NewBatch(h.shape, b.Rows, columns, b.System, nil)
		return []*record.Batch{out}, err
	case "loses a row":
		out := b.With(h.shape, columns)
		defer out.Release()
		return []*record.Batch{out.Without([]int{b.Rows - 1}[:min(1, b.Rows)])}, nil
	case "loses operations", "loses versions", "loses event ids", "loses routes":
		sys := b.System
		switch h.wrong {
		case "loses operations":
			sys.Ops = nil
		case "loses routes":
			sys.Routes = record.Routes{}
		case "loses versions":
			sys.Versions.Epoch++
		default:
			sys.EventIDs = record.Column{}
		}
		out, err := record.NewBatch(h.shape, b.Rows, columns, sys, b.Retain().Release)
		return []*record.Batch{out}, err
	case "changes another column":
		columns[1].Valid, columns[1].Absent = nil, nil
	case "null where none may be":
		columns[last].Valid = make([]uint64, (b.Rows+63)/64)
	case "too few slots":
		columns[last].Ints = columns[last].Ints[:len(columns[last].Ints)/2]
	case "too large for its kind":
		for i := range columns[last].Ints {
			columns[last].Ints[i] += 1 << 40
		}
	case "counts in the batch":
		for i := range columns[last].Ints {
			columns[last].Ints[i] += int64(i)
		}
	case "constant is another value":
		if columns[last].Const && b.Rows > 0 {
			columns[last].Ints[0]++
		}
	}
	return []*record.Batch{b.With(h.shape, columns)}, nil
}
