// Package dedupe drops records whose key was seen a short time before.
package dedupe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// eventTime stands for the time that acequia knows of each record.
const eventTime = "event_time"

// Config is what the user sets.
type Config struct {
	// Key are the columns that two copies of a record have in common. A record in which one is null passes. Required.
	Key []string `yaml:"key" required:"true" doc:"Columns that copies of a record have in common, such as an event's id; where one is null the record passes."`
	// Window is how far apart the times of two copies may be, either way. Required.
	Window time.Duration `yaml:"window" required:"true" doc:"How far apart the times of two copies may be."`
	// By is event_time, or a column that holds a time. The wall clock is never looked at. Default event_time.
	By string `yaml:"by" doc:"What the window is measured by: event_time, or a timestamp or date column; never the wall clock."`
	// MaxKeys bounds the memory: more keys in the window stop the pipeline. Some 50 bytes a key. Default 1,000,000.
	MaxKeys int `yaml:"max_keys" doc:"Keys in the window that stop the pipeline; each takes some 50 bytes of memory and 24 of the state file."`
}

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "dedupe",
		Doc:    "Drops inserts and snapshots whose key was seen within a window; updates and deletes are no copies, and pass.",
		Config: func() any { return &Config{By: eventTime, MaxKeys: 1_000_000} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("dedupe: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler drops copies. Its trackers share what has been seen, so that lanes of a pipeline see each other's records.
type Handler struct {
	config Config
	window int64 // microseconds

	mu    sync.Mutex
	plans map[*record.Schema]*plan
	seen  *seen
	ready bool // what is durable was read
}

var (
	_ handlers.Stateful = (*Handler)(nil)
	_ handlers.Shaper   = (*Handler)(nil)
	_ handlers.Holder   = (*Handler)(nil)
	_ handlers.Holder   = (*tracker)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	var errs []error
	if len(c.Key) == 0 {
		errs = append(errs, config.Wrong("key", "must be set"))
	}
	for i, name := range c.Key {
		if slices.Contains(c.Key[:i], name) {
			errs = append(errs, config.At(errors.New("stands twice"), "key", strconv.Itoa(i)))
		}
	}
	if c.Window < time.Microsecond {
		errs = append(errs, config.Wrong("window", "must be positive, such as 24h"))
	}
	if c.MaxKeys < 1 {
		errs = append(errs, config.Wrong("max_keys", "must be positive"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	h := &Handler{config: c, window: c.Window.Microseconds(), plans: map[*record.Schema]*plan{}}
	h.seen = newSeen(h.window, c.MaxKeys)
	return h, nil
}

// Shape gives the schema back: records go, columns stay.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	_, err := h.plan(in)
	return in, err
}

// Handle drops the copies that are in the batch itself.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	alone := &tracker{handler: h, seen: newSeen(h.window, h.config.MaxKeys)}
	return alone.Handle(ctx, b)
}

// Held is the memory of the keys in the window, in bytes.
func (h *Handler) Held() int {
	h.seen.mu.Lock()
	defer h.seen.mu.Unlock()
	return h.seen.table.slots * slotLen
}

// Track begins an incarnation of a lane. The first one of all reads what every lane has seen.
func (h *Handler) Track(_ context.Context, lane string, blocks handlers.Blocks) (handlers.Tracker, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.mu.Lock()
	defer h.seen.mu.Unlock()
	own := h.seen.number(lane)
	from := ""
	if h.ready {
		from = lane
	}
	h.seen.lanes[own].live = true // from here on it keeps the window of its own time
	if !h.ready || h.seen.lanes[own].known {
		h.seen.forget(own)
		if err := load(h.seen, blocks(from)); err != nil {
			h.seen.lanes[own].live = false
			return nil, err
		}
		h.seen.table.keep(h.seen.fresh)
	}
	h.ready, h.seen.lanes[own].known = true, true
	return &tracker{handler: h, seen: h.seen, lane: own, newest: h.seen.lanes[own].newest}, nil
}

func load(s *seen, blocks iter.Seq2[handlers.Block, error]) error {
	for b, err := range blocks {
		if err == nil {
			err = s.load(s.number(b.Lane), b.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tracker is the handler at work on one incarnation of a lane.
type tracker struct {
	handler *Handler
	seen    *seen
	lane    int32
	added   []byte // since the last Cut
	newest  int64  // of added
	digests []digest
	text    []byte
	warm    uint64 // means nothing
}

// warmed is how many keys are fetched before they are looked up.
const warmed = 64

// Handle gives the records of which no copy was seen, or b itself when all pass.
func (t *tracker) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := t.handler.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	t.digests, t.text = p.digests(b, t.digests[:0], t.text)
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	t.added = slices.Grow(t.added, entryLen*b.Rows)
	var kept []int32 // valid from the first copy on
	copies := 0
	for row := range b.Rows {
		if row%warmed == 0 {
			t.warm += t.seen.table.warm(t.digests[row:min(row+warmed, b.Rows)])
		}
		if !t.pass(p, b, row) {
			if copies++; copies == 1 {
				kept = upTo(row, b.Rows)
			}
		} else if copies > 0 {
			kept = append(kept, int32(row))
		}
	}
	if err := t.seen.bound(); err != nil {
		return nil, err
	}
	switch copies {
	case 0:
		return []*record.Batch{b.Retain()}, nil
	case b.Rows:
		return nil, nil
	}
	return []*record.Batch{b.Select(kept)}, nil
}

func upTo(n, room int) []int32 {
	out := make([]int32, n, room)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// pass says whether a row is no copy, and remembers it.
func (t *tracker) pass(p *plan, b *record.Batch, row int) bool {
	op := b.System.Op(row)
	d := t.digests[row]
	if op == record.Truncate { // what is inserted again after it is no copy
		t.add(key{}, gone)
		t.seen.removeAll()
		return true
	}
	if d.none || op == record.Update {
		return true
	}
	if op == record.Delete { // what is inserted again after it is no copy
		t.add(d.key, gone)
		t.seen.table.remove(d.key)
		return true
	}
	at, ok := p.time(b, row)
	if !ok {
		return true
	}
	fresh, newer := t.seen.look(d.key, at, t.lane)
	if newer {
		t.add(d.key, at)
	}
	return fresh
}

// add notes what the group adds.
func (t *tracker) add(key key, at int64) {
	if at != gone && (len(t.added) == 0 || at > t.newest) {
		t.newest = at
	}
	t.added = appendEntry(t.added, key, at)
}

// Cut gives what was seen since the last one.
func (t *tracker) Cut() handlers.Memory {
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	m := handlers.Memory{Block: t.added, Newest: t.newest, Before: t.seen.horizon(t.lane)}
	t.added, t.newest = nil, t.seen.lanes[t.lane].newest
	return m
}

// Held is the memory of what the open group adds, in bytes.
func (t *tracker) Held() int { return cap(t.added) }

// Close ends the incarnation: what it has seen stays until the lane begins again.
func (t *tracker) Close() {
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	t.seen.lanes[t.lane].live = false
}

// plan is how the records of one schema are read.
type plan struct {
	schema *record.Schema
	key    []int
	by     int // -1: the event time
	perDay bool
}

// plan finds the columns, once a schema.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	p := &plan{schema: in, by: -1}
	var errs []error
	for i, name := range h.config.Key {
		at := in.Index(name)
		p.key = append(p.key, at)
		switch {
		case at < 0:
			errs = append(errs, missing(in, name, "key", strconv.Itoa(i)))
		case in.Fields[at].Kind == record.List || in.Fields[at].Kind == record.Struct:
			errs = append(errs, config.At(fmt.Errorf("%s is a %s: no key", name, in.Fields[at].TypeName()), "key", strconv.Itoa(i)))
		}
	}
	if h.config.By != eventTime {
		switch p.by = in.Index(h.config.By); {
		case p.by < 0:
			errs = append(errs, missing(in, h.config.By, "by"))
		case in.Fields[p.by].Kind == record.Date:
			p.perDay = true
		case in.Fields[p.by].Kind != record.Timestamp && in.Fields[p.by].Kind != record.LocalTimestamp:
			errs = append(errs, config.Wrong("by", "%s is %s, no time", h.config.By, in.Fields[p.by].TypeName()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-DEDUPE-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

func missing(in *record.Schema, name string, path ...string) error {
	e := &config.FieldError{Path: path, Err: fmt.Errorf("there is no column %s", name)}
	if near := in.Nearest(name); near != "" {
		e.Remedy = "did you mean " + near + "?"
	}
	return e
}

// time gives the time of a row, in microseconds; false where there is none.
func (p *plan) time(b *record.Batch, row int) (int64, bool) {
	if p.by < 0 {
		return b.System.EventTime(row), true
	}
	c := &b.Columns[p.by]
	if !c.IsValid(row) {
		return 0, false
	}
	if p.perDay {
		const most = 100_000_000 // days: what is beyond has no microseconds
		return min(max(c.Int(row), -most), most) * (24 * time.Hour).Microseconds(), true
	}
	return max(c.Int(row), gone+1), true
}
