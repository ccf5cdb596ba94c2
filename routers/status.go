package routers

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// State is what a lane is doing.
type State string

// The states of a lane.
const (
	Starting State = "starting"
	Running  State = "running"
	Retrying State = "retrying" // a retryable failure: it waits, then recovers
	Stopped  State = "stopped"  // by Stop
	Failed   State = "failed"   // a person must act; its data is unharmed
	Ended    State = "ended"    // the source has no more, and all of it is durable
)

// LaneStatus is one lane as seen now.
type LaneStatus struct {
	ID            string          `json:"id"`
	State         State           `json:"state"`
	Reason        string          `json:"reason,omitempty"` // of Retrying and Failed
	Epoch         int64           `json:"epoch"`
	Group         int64           `json:"group"` // last durable
	Position      record.Position `json:"position"`
	RowsRead      int64           `json:"rows_read"`       // by this process
	RowsCommitted int64           `json:"rows_committed"`  // by this process
	DeadLetters   int64           `json:"dead_letters"`    // by this process
	RowsPerSecond float64         `json:"rows_per_second"` // committed, over the last 10 s
	LastCommit    time.Time       `json:"last_commit,omitzero"`
	CommitTime    time.Duration   `json:"commit_ns"` // of the last group, from stage to settle
	LastFiles     []string        `json:"last_files,omitempty"`
}

// Status is a pipeline as seen now.
type Status struct {
	Pipeline string       `json:"pipeline"`
	Lag      *sources.Lag `json:"lag,omitempty"` // nil when the source cannot tell
	Lanes    []LaneStatus `json:"lanes"`
}

// Fault names the first lane that is failed or retrying, with its reason; "" when the pipeline is ready.
func (s Status) Fault() string {
	for _, l := range s.Lanes {
		if l.State == Failed || l.State == Retrying {
			return "lane " + l.ID + " is " + string(l.State) + ": " + l.Reason
		}
	}
	return ""
}

// Status tells what the run is doing. It asks the source for its lag.
func (r *Run) Status(ctx context.Context) Status {
	s := Status{Pipeline: r.pipeline.Name, Lanes: r.status.snapshot()}
	if l, ok := r.pipeline.Source.(sources.Lagger); ok {
		if lag, err := l.Lag(ctx); err == nil {
			s.Lag = &lag
		}
	}
	return s
}

// board holds the status of all lanes of a run.
type board struct {
	mu    sync.Mutex
	lanes map[string]*laneBoard
}

func (b *board) lane(id string) *laneBoard {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.lanes[id]
	if !ok {
		l = &laneBoard{status: LaneStatus{ID: id, State: Starting}}
		b.lanes[id] = l
	}
	return l
}

func (b *board) snapshot() []LaneStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]LaneStatus, 0, len(b.lanes))
	for _, id := range slices.Sorted(maps.Keys(b.lanes)) {
		out = append(out, b.lanes[id].snapshot(time.Now()))
	}
	return out
}

// window is the time over which the rate is measured, in seconds.
const window = 10

// laneBoard is the status of one lane, written by the lane and read by anyone.
type laneBoard struct {
	mu      sync.Mutex
	status  LaneStatus
	groups  int64
	seconds [window]struct { // rows committed in each of the last seconds
		at   int64 // unix
		rows int64
	}
}

func (l *laneBoard) set(s State, reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.State, l.status.Reason = s, ""
	if reason != nil {
		l.status.Reason = reason.Error()
	}
}

func (l *laneBoard) acquired(st checkpoint.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Epoch, l.status.Group, l.status.Position = st.Epoch, st.Group, st.Position
}

func (l *laneBoard) read(rows int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.RowsRead += int64(rows)
}

func (l *laneBoard) refused(rows int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.DeadLetters += int64(rows)
}

func (l *laneBoard) badShare() (share float64, read int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	read = l.status.RowsRead
	if read == 0 {
		return 0, 0
	}
	return float64(l.status.DeadLetters) / float64(read), read
}

func (l *laneBoard) commits() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.groups
}

func (l *laneBoard) committed(g *group, took time.Duration) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups++
	l.status.Group, l.status.Position = g.ordinal, g.to
	l.status.RowsCommitted += int64(g.rows)
	l.status.LastCommit, l.status.CommitTime = now.UTC(), took
	if files := filesOf(g.parts); len(files) > 0 {
		l.status.LastFiles = files
	}
	second := &l.seconds[now.Unix()%window]
	if second.at != now.Unix() {
		second.at, second.rows = now.Unix(), 0
	}
	second.rows += int64(g.rows)
}

// shownFiles is how many of a group's files the status names.
const shownFiles = 4

func filesOf(parts []sinks.Manifest) []string {
	var names []string
	for _, m := range parts {
		for _, f := range m.Files[:min(len(m.Files), shownFiles)] {
			names = append(names, f.Name)
		}
	}
	return names
}

func (l *laneBoard) snapshot(now time.Time) LaneStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.status
	var rows int64
	for _, s := range l.seconds {
		if s.at > now.Unix()-window {
			rows += s.rows
		}
	}
	out.RowsPerSecond = float64(rows) / window
	out.LastFiles = slices.Clone(out.LastFiles)
	return out
}
