package sinktest_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

const refused = "no fits"

// store is where memory writes: parts by their staged or final names.
type store struct {
	mu      sync.Mutex
	staged  map[string]part
	visible map[string]part
}

type part struct {
	lane   sinks.Lane
	rows   []sinktest.Row
	digest string
}

// memory is a right sink, small but whole. Its wrong switch breaks one promise.
type memory struct {
	wrong string
	store *store

	mu     sync.Mutex
	shared *writer // of "lanes share a group"
}

func harness(wrong string) sinktest.Harness {
	return sinktest.Harness{Refused: refused, New: func(*testing.T) sinktest.Place {
		s := &store{staged: map[string]part{}, visible: map[string]part{}}
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) { return &memory{wrong: wrong, store: s}, nil },
			Rows: func() (out []sinktest.Row, err error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, p := range s.visible {
					out = append(out, p.rows...)
				}
				return out, nil
			},
			Staged: func() (int, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.staged), nil
			},
			Lose: func(f sinks.File) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if _, ok := s.staged[f.Staged]; !ok {
					return fmt.Errorf("%s is not staged", f.Staged)
				}
				delete(s.staged, f.Staged)
				return nil
			},
			Take: func(f sinks.File) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.visible[f.Name] = part{digest: "other"}
				return nil
			},
		}
	}}
}

func (m *memory) Open(_ context.Context, lane sinks.Lane) (sinks.Writer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := &writer{memory: m, lane: lane, mine: map[string]bool{}}
	switch m.wrong {
	case "lanes share a group":
		if m.shared == nil {
			m.shared = w
		}
		return m.shared, nil
	case "hides that it recovers":
		return struct{ sinks.Writer }{w}, nil
	}
	return w, nil
}

func (m *memory) Close(context.Context) error { return nil }

// writer keeps the batches of the open group.
type writer struct {
	memory  *memory
	lane    sinks.Lane
	mu      sync.Mutex // lanes run side by side in "lanes share a group" only
	batches []*record.Batch
	copies  []sinktest.Row // of what stays without its batch
	held    int
	serial  int
	mine    map[string]bool // what this writer staged
}

func (w *writer) Write(_ context.Context, b *record.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wrong := w.memory.wrong
	if b.Rows == 0 && wrong == "refuses an empty batch" {
		return errors.New("no rows")
	}
	if err := w.refuse(b); err != nil {
		return err
	}
	if wrong == "visible after write" {
		w.memory.store.put(fmt.Sprintf("early-%d", w.serial), part{rows: w.rowsOf(b)})
	}
	switch wrong {
	case "keeps a batch without a reference":
		w.batches = append(w.batches, b)
	case "releases what is not its own":
		w.copies = append(w.copies, w.rowsOf(b)...)
		b.Release()
	default:
		w.batches = append(w.batches, b.Retain())
	}
	w.held += 100 * b.Rows
	return nil
}

// refuse finds the bad rows.
func (w *writer) refuse(b *record.Batch) error {
	var bad fault.Rows
	for row := range b.Rows {
		if string(b.Columns[1].Text(row)) == refused {
			bad.Bad = append(bad.Bad, fault.Row{Index: row, Column: "text", Err: errors.New("it does not fit")})
		}
	}
	if len(bad.Bad) == 0 {
		return nil
	}
	switch w.memory.wrong {
	case "index off by one":
		bad.Bad[0].Index++
	case "first bad row only":
		bad.Bad = bad.Bad[:1]
	case "names a good row too":
		bad.Bad = append(bad.Bad, fault.Row{Index: b.Rows, Err: errors.New("it too")})
	case "out of order":
		slices.Reverse(bad.Bad)
	case "no reason":
		bad.Bad[0].Err = nil
	case "the value in the reason":
		bad.Bad[0].Err = fmt.Errorf("%q does not fit", refused)
	case "bad rows are fatal":
		return errors.New("bad rows")
	case "takes the good rows":
		w.copies = append(w.copies, w.rowsOf(b)[0])
	case "forgets the group":
		w.drop()
	case "holds what it refused":
		w.held++
	case "drops bad rows":
		var indexes []int
		for _, r := range bad.Bad {
			indexes = append(indexes, r.Index)
		}
		w.batches = append(w.batches, b.Without(indexes))
		return nil
	}
	return &bad
}

// rowsOf copies the rows of a batch.
func (w *writer) rowsOf(b *record.Batch) []sinktest.Row {
	out := make([]sinktest.Row, b.Rows)
	for row := range out {
		r := sinktest.Row{ID: b.Columns[0].Int(row), Op: b.System.Op(row), Version: b.System.Versions.At(row).String()}
		if r.Null = !b.Columns[1].IsValid(row); !r.Null {
			r.Text = string(b.Columns[1].Text(row))
		}
		switch w.memory.wrong {
		case "loses nulls":
			r.Null = false
		case "empty becomes null":
			r.Null = r.Text == ""
		case "integers pass through floats":
			r.ID = int64(float64(r.ID))
		case "texts end at a zero byte":
			r.Text, _, _ = strings.Cut(r.Text, "\x00")
		case "cuts long texts":
			r.Text = r.Text[:min(len(r.Text), 1<<16)]
		case "one row of a constant":
			if b.Columns[1].Const && row > 0 {
				r.Text, r.Null = "", true
			}
		case "loses operations":
			r.Op = record.Insert
		case "loses versions":
			r.Version = record.Version{}.String()
		case "loses half of a version":
			r.Version = record.Version{Lo: b.System.Versions.At(row).Lo}.String()
		}
		out[row] = r
	}
	if w.memory.wrong == "loses a row" && len(out) > 0 {
		out = out[1:]
	}
	return out
}

func (w *writer) drop() {
	for _, b := range w.batches {
		if w.memory.wrong != "keeps a batch without a reference" {
			b.Release()
		}
	}
	w.batches, w.copies, w.held = nil, nil, 0
}

func (w *writer) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.memory.wrong {
	case "holds nothing":
		return 0
	case "holds more than nothing":
		return w.held + 1
	}
	return w.held
}

func (w *writer) Close(ctx context.Context) error {
	switch w.memory.wrong {
	case "closing publishes":
		m, err := w.Cut(sinks.Group{Ordinal: 9}).Stage(ctx)
		return errors.Join(err, w.Publish(ctx, m))
	case "closing removes what is staged":
		return w.remove(func(p part) bool { return p.lane == w.lane })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.memory.wrong {
	case "closing keeps batches":
		w.batches, w.held = nil, 0
	case "holds after the end":
		held := w.held
		w.drop()
		w.held = held
	default:
		w.drop()
	}
	return nil
}

func (w *writer) Cut(g sinks.Group) sinks.Staging {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &staging{writer: w, group: g, batches: w.batches, copies: w.copies}
	w.serial++
	s.serial = w.serial
	switch w.memory.wrong {
	case "cuts late":
		return &late{s}
	case "cut rows stay":
		for _, b := range w.batches {
			b.Retain()
		}
		w.batches = slices.Clone(w.batches)
	case "holds after a cut":
		w.batches, w.copies = nil, nil
	default:
		w.batches, w.copies, w.held = nil, nil, 0
	}
	return s
}

// late is a group that takes what was written until it is staged.
type late struct{ *staging }

func (l *late) Stage(ctx context.Context) (sinks.Manifest, error) {
	l.writer.mu.Lock()
	l.batches = l.writer.batches
	l.writer.batches, l.writer.held = nil, 0
	l.writer.mu.Unlock()
	return l.staging.Stage(ctx)
}

func digestOf(rows []sinktest.Row) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, rows)
	return fmt.Sprintf("%016x", h.Sum64())
}
