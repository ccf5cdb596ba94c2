// Package route says which sinks each record is for.
//
// Deletes go to every sink of the route. An update of a record with a key is the delete of that key for the sinks that it is
// not for: an earlier version may be there, and would else stay as if it were the newest.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// The words that stand in place of a sink in else.
const (
	drop       = "drop"
	deadLetter = "dead_letter"
)

// Config is what the user sets.
type Config struct {
	// Sinks are those that get records, each with a CEL expression that is true for what it gets. Deletes and truncates go to
	// all of them: a record may be in any. Required.
	Sinks config.Ordered[string] `yaml:",inline" required:"true" doc:"Sinks of the pipeline, each with a CEL expression such as row.year >= 2000, true for what it gets. A record may go to several. Deletes go to all, and an update is the delete of its key for those that it is not for. Sinks that no route names get nothing."`
	// Else is for the records for which no expression is true: sinks, drop or dead_letter. Default drop.
	Else []string `yaml:"else" doc:"What gets the records for which no expression is true: sinks, or drop (the default), or dead_letter."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "route",
		Doc:    "Sends each record to the sinks whose expression is true for it.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("route: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler routes records.
type Handler struct {
	config  Config
	sinks   []string // those of the expressions, then those of else alone
	rest    uint64   // bits of the sinks of else
	refuses bool     // what no expression takes

	unrouted atomic.Int64

	mu       sync.Mutex
	programs map[*record.Schema][]*expr.Program // one an expression
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
	_ handlers.Router  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler. The expressions are read when a schema is known.
func New(c Config) (*Handler, error) {
	h := &Handler{config: c, programs: map[*record.Schema][]*expr.Program{}}
	var errs []error
	if len(c.Sinks) == 0 {
		errs = append(errs, &config.FieldError{Err: errors.New("no sink is named"), Remedy: "such as lake: row.year >= 2000"})
	}
	for _, s := range c.Sinks {
		h.sinks = append(h.sinks, s.Name)
		if s.Value == "" {
			errs = append(errs, config.At(errors.New("has no expression"), s.Name))
		} else if err := expr.Parse(s.Value); err != nil {
			errs = append(errs, fieldErrors(err, s.Name))
		}
	}
	for i, name := range c.Else {
		switch at := slices.Index(h.sinks, name); {
		case (name == drop || name == deadLetter) && len(c.Else) > 1:
			errs = append(errs, config.At(fmt.Errorf("%s stands alone, without sinks", name), "else", strconv.Itoa(i)))
		case name == drop:
		case name == deadLetter:
			h.refuses = true
		default:
			if at < 0 {
				at = len(h.sinks)
				h.sinks = append(h.sinks, name)
			}
			h.rest |= 1 << at
		}
	}
	if len(h.sinks) > record.MaxRoutes {
		errs = append(errs, &config.FieldError{Err: fmt.Errorf("%d sinks are named, at most %d can be", len(h.sinks), record.MaxRoutes)})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// Routes gives the sinks, and what each gets.
func (h *Handler) Routes() []handlers.Route {
	var out []handlers.Route
	for _, s := range h.config.Sinks {
		out = append(out, handlers.Route{Sink: s.Name, Path: []string{s.Name}, Text: s.Value})
	}
	for i, name := range h.config.Else {
		if name != drop && name != deadLetter {
			out = append(out, handlers.Route{Sink: name, Path: []string{"else", strconv.Itoa(i)}, Text: "what no other sink gets"})
		}
	}
	return out
}

// Shape gives the schema back. The mistakes of the expressions are config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	_, err := h.compiled(in)
	return in, err
}

// compiled compiles the expressions, once a schema.
func (h *Handler) compiled(in *record.Schema) ([]*expr.Program, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all, ok := h.programs[in]; ok {
		return all, nil
	}
	var all []*expr.Program
	var errs []error
	for _, s := range h.config.Sinks {
		p, err := expr.Compile(s.Value, in)
		if err == nil && p.Field("").Kind != record.Bool {
			err = &expr.Error{Message: "the expression is " + p.Field("").TypeName() + ", a route wants a bool", Suggestion: "write a comparison"}
		}
		if err != nil {
			errs = append(errs, fieldErrors(err, s.Name))
		}
		all = append(all, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-ROUTE-001", Place: in.Stream, Err: err}
	}
	h.programs[in] = all
	return all, nil
}

// fieldErrors gives the mistakes of an expression their place in the configuration.
func fieldErrors(err error, sink string) error {
	var all []error
	for _, e := range expr.Errors(err) {
		all = append(all, &config.FieldError{Path: []string{sink}, Offset: e.Offset, Err: errors.New(e.Message), Remedy: e.Suggestion})
	}
	return errors.Join(all...)
}

// Handle gives the records that are for some sink, marked with their sinks.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	programs, err := h.compiled(b.Schema)
	if err != nil || b.Rows == 0 {
		return nil, err
	}
	masks := make([]uint64, b.Rows)
	var bad []fault.Row
	for i, p := range programs {
		rows, all, err := p.Select(b)
		mark(masks, rows, all, 1<<i)
		err = expr.Spare(b, err)
		if failed, ok := errors.AsType[*fault.Rows](err); ok {
			bad = append(bad, failed.Bad...)
		} else if err != nil {
			return nil, err
		}
	}
	if bad = append(bad, h.leftOver(b, masks)...); len(bad) > 0 {
		slices.SortStableFunc(bad, func(x, y fault.Row) int { return cmp.Compare(x.Index, y.Index) })
		return nil, &fault.Rows{Bad: slices.CompactFunc(bad, func(x, y fault.Row) bool { return x.Index == y.Index })}
	}
	gone := h.gone(b, masks)
	b.System.Routes.Limit(h.sinks, masks)
	if gone == nil {
		h.count(masks, masks)
		return marked(b, h.sinks, masks), nil
	}
	b.System.Routes.Limit(h.sinks, gone)
	h.count(masks, gone)
	return h.withGone(b, masks, gone), nil
}

// Unrouted counts the records for which no expression was true and that else dropped, and those of whose sinks an earlier
// route left none.
func (h *Handler) Unrouted() int64 { return h.unrouted.Load() }

// count counts the rows that are for no sink, neither as they are nor as deletes.
func (h *Handler) count(masks, gone []uint64) {
	n := int64(0)
	for row, mask := range masks {
		if mask|gone[row] == 0 {
			n++
		}
	}
	if n > 0 {
		h.unrouted.Add(n)
	}
}

// gone gives the sinks for which an update is the delete of its key; nil when there are none.
func (h *Handler) gone(b *record.Batch, masks []uint64) []uint64 {
	if len(b.Schema.Key) == 0 || !slices.Contains(b.System.Ops, record.Update) {
		return nil
	}
	everywhere := uint64(1)<<len(h.sinks) - 1
	var gone []uint64
	for row, mask := range masks {
		if mask == everywhere || b.System.Op(row) != record.Update {
			continue
		}
		if gone == nil {
			gone = make([]uint64, len(masks))
		}
		gone[row] = everywhere &^ mask
	}
	return gone
}

// withGone gives the rows that have a sink, and behind each the delete that it is for others: order holds for every sink.
func (h *Handler) withGone(b *record.Batch, masks, gone []uint64) []*record.Batch {
	var rows []int32
	var to []uint64
	var ops []record.Op
	for row := range masks {
		if masks[row] != 0 {
			rows, to, ops = append(rows, int32(row)), append(to, masks[row]), append(ops, b.System.Op(row))
		}
		if gone[row] != 0 {
			rows, to, ops = append(rows, int32(row)), append(to, gone[row]), append(ops, record.Delete)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	out := b.Select(rows)
	out.System.Ops, out.System.Routes = ops, record.Routes{Sinks: h.sinks, Rows: to}
	return []*record.Batch{out}
}

// mark sets a bit of the chosen rows.
func mark(masks []uint64, rows []int32, all bool, bit uint64) {
	if all {
		for row := range masks {
			masks[row] |= bit
		}
		return
	}
	for _, row := range rows {
		masks[row] |= bit
	}
}

// leftOver gives what no expression takes to else, and deletes and truncates to every sink. It names the rows that else
// refuses.
func (h *Handler) leftOver(b *record.Batch, masks []uint64) []fault.Row {
	everywhere := uint64(1)<<len(h.sinks) - 1
	var bad []fault.Row
	removes := slices.ContainsFunc(b.System.Ops, expr.Removes)
	for row := range masks {
		switch {
		case removes && expr.Removes(b.System.Op(row)):
			masks[row] = everywhere
		case masks[row] != 0:
		case h.refuses:
			bad = append(bad, fault.Row{Index: row, Err: errUnmatched})
		default:
			masks[row] = h.rest
		}
	}
	return bad
}

var errUnmatched = &fault.Error{
	Class: fault.Poison, Code: "ACQ-ROUTE-002", Err: errors.New("no expression of the route is true for it"), Remedy: "mend the record, or name a sink under else",
}

// marked gives the rows that have a sink.
func marked(b *record.Batch, sinks []string, masks []uint64) []*record.Batch {
	same, none := true, 0
	for _, m := range masks {
		same = same && m == masks[0]
		if m == 0 {
			none++
		}
	}
	switch {
	case none == len(masks):
		return nil
	case same:
		return []*record.Batch{b.Routed(record.Routes{Sinks: sinks, Rows: masks[:1:1]})}
	case none == 0:
		return []*record.Batch{b.Routed(record.Routes{Sinks: sinks, Rows: masks})}
	}
	rows := make([]int32, 0, len(masks)-none)
	for row, m := range masks {
		if m != 0 {
			rows = append(rows, int32(row))
		}
	}
	whole := b.Routed(record.Routes{Sinks: sinks, Rows: masks})
	defer whole.Release()
	return []*record.Batch{whole.Select(rows)}
}
