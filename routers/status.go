package routers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// State is what a lane, or a pipeline as a whole, is doing.
type State string

// The states. A pipeline has that of the lane that needs most attention.
const (
	Waiting   State = "waiting"  // for a slot, or for the lanes before it
	Starting  State = "starting" // it recovers and opens its source
	Running   State = "running"
	Retrying  State = "retrying"  // after a retryable failure: it waits, then starts again
	Stopped   State = "stopped"   // by Stop
	Failed    State = "failed"    // a person must act; its data is unharmed
	Elsewhere State = "elsewhere" // another process reads it
	Ended     State = "ended"     // the source has no more, and all of it is durable
)

// StreamCounts are rows by stream.
type StreamCounts map[string]int64

// Add gives the sum of both, which may be one of them where the other is empty.
func (c StreamCounts) Add(other StreamCounts) StreamCounts {
	if len(other) == 0 {
		return c
	}
	if len(c) == 0 {
		return other
	}
	sum := maps.Clone(c)
	for stream, rows := range other {
		sum[stream] += rows
	}
	return sum
}

// Progress counts what this process has done for a lane or a pipeline since the run began.
type Progress struct {
	RowsRead      int64         `json:"rows_read"`  // read again after a failure counts again
	BytesRead     int64         `json:"bytes_read"` // of the same, as batches hold them
	RowsCommitted int64         `json:"rows_committed"`
	ByStream      StreamCounts  `json:"rows_by_stream,omitempty"` // of the committed that the source could read, by stream; truncates do not count
	Truncates     int64         `json:"truncates,omitempty"`      // of the committed: they say what is gone, and hold no row
	RowsRefused   int64         `json:"rows_refused"`             // with a dead letter: one a record, however many sinks refuse it
	DeadLetters   int64         `json:"dead_letters"`
	Retries       int64         `json:"retries"` // after failures that may pass
	Commits       int64         `json:"commits"`
	RowsPerSecond float64       `json:"rows_per_second"` // committed, over the last 10 s
	LastCommit    time.Time     `json:"last_commit,omitzero"`
	CommitTime    time.Duration `json:"commit_ns"` // of the last group, from stage to settle
	LastFiles     []string      `json:"last_files,omitempty"`
	Held          int           `json:"held_bytes"`    // batches in flight, open writers, and what steps remember of open groups
	Busy          int           `json:"busy_lanes"`    // that give records to the sinks or commit a group; not those whose group waits for more
	Lag           *sources.Lag  `json:"lag,omitempty"` // nil: not known
}

// LaneStatus is one lane as seen now.
type LaneStatus struct {
	ID       string          `json:"id"`
	Streams  []string        `json:"streams,omitempty"`
	Endless  bool            `json:"endless,omitempty"` // it follows what happens
	State    State           `json:"state"`
	Holder   string          `json:"holder,omitempty"` // of Elsewhere: the process
	Reason   string          `json:"reason,omitempty"` // of Retrying and Failed
	Code     string          `json:"code,omitempty"`
	Since    time.Time       `json:"since"`           // of the state
	Began    time.Time       `json:"began,omitzero"`  // when this process first read it
	Others   Others          `json:"others,omitzero"` // what other processes brought of it since the run began
	Epoch    int64           `json:"epoch"`
	Group    int64           `json:"group"`    // last durable
	Position record.Position `json:"position"` // last durable
	Progress
}

// Status is a pipeline as seen now.
type Status struct {
	Pipeline string `json:"pipeline"`
	State    State  `json:"state"`
	Holder   string `json:"holder,omitempty"` // of Elsewhere: the process that has all of it
	Reason   string `json:"reason,omitempty"`
	Code     string `json:"code,omitempty"`
	Progress
	Others   Others          `json:"others,omitzero"` // what other processes brought of its lanes since the run began
	Unrouted int64           `json:"unrouted"`        // records that a route sent to no sink; read again after a failure they count again
	Lanes    []LaneStatus    `json:"lanes"`
	Source   *sources.Report `json:"source,omitempty"` // nil: not known
}

// Loss is the time until the first of what was not read is lost upstream, as far as the source can tell; 0: never.
func (s Status) Loss() time.Duration {
	var least time.Duration
	take := func(d time.Duration) {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	if s.Lag != nil {
		take(s.Lag.Loss)
	}
	if s.Source != nil {
		take(s.Source.Loss)
		for _, stream := range s.Source.Streams {
			take(stream.Loss)
		}
	}
	return least
}

// Fault names the pipeline and the lane that keep it from being ready, with the reason: a failed or retrying one. It
// is "" when the pipeline is ready.
func (s Status) Fault() string {
	if s.State != Failed && s.State != Retrying {
		return ""
	}
	for _, l := range s.Lanes {
		if l.State == s.State {
			return fmt.Sprintf("pipeline %s, lane %s is %s: %s", s.Pipeline, l.ID, l.State, l.Reason)
		}
	}
	return fmt.Sprintf("pipeline %s is %s: %s", s.Pipeline, s.State, s.Reason)
}

// Status tells what the run is doing, also after it has ended. It reads memory only.
func (r *Run) Status() Status {
	s := r.board.snapshot(time.Now(), r.share.holder)
	s.Pipeline = r.pipeline.Name
	for _, step := range r.pipeline.Steps {
		if router, ok := step.Handler.(handlers.Router); ok {
			s.Unrouted += router.Unrouted()
		}
	}
	return s
}

// attention orders the states: the greater one names the pipeline.
func attention(s State) int {
	return slices.Index([]State{"", Ended, Stopped, Elsewhere, Waiting, Running, Starting, Retrying, Failed}, s)
}

// board holds the status of all lanes of a run.
type board struct {
	mu     sync.Mutex
	state  State // of the listing of lanes
	reason error
	lag    *sources.Lag
	source *sources.Report
	lanes  map[string]*laneBoard
}

func newBoard() *board { return &board{state: Starting, lanes: map[string]*laneBoard{}} }

func (b *board) set(s State, reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.reason = s, reason
}

func (b *board) setLag(lag sources.Lag) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lag = &lag
}

func (b *board) setSource(report sources.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.source = &report
}

func (b *board) lane(lane sources.Lane) *laneBoard {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.lanes[lane.ID]
	if !ok {
		l = &laneBoard{status: LaneStatus{ID: lane.ID, Streams: lane.Streams, Endless: lane.Endless, State: Waiting, Since: time.Now().UTC()}}
		b.lanes[lane.ID] = l
	}
	return l
}

func (b *board) snapshot(now time.Time, holder func(lane string) string) Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{State: b.state}
	if b.reason != nil {
		s.Reason, s.Code = b.reason.Error(), fault.Code(b.reason)
	}
	for _, lane := range b.lanes {
		one := lane.snapshot(now)
		if one.State == Waiting || one.State == Stopped {
			if one.Holder = holder(one.ID); one.Holder != "" {
				one.State = Elsewhere
			}
		}
		s.Lanes = append(s.Lanes, one)
	}
	slices.SortFunc(s.Lanes, func(x, y LaneStatus) int { return strings.Compare(x.ID, y.ID) })
	if b.state == Running && len(s.Lanes) > 0 {
		s.State = "" // that of the lanes
	}
	for _, l := range s.Lanes {
		if attention(l.State) > attention(s.State) {
			s.State, s.Reason, s.Code = l.State, l.Reason, l.Code
		}
		s.add(l.Progress)
		s.Others.add(l.Others)
	}
	s.Source = b.source // nobody changes it
	if b.lag != nil {
		lag := *b.lag
		s.Lag = &lag
	}
	return s
}

func (p *Progress) add(lane Progress) {
	p.RowsRead += lane.RowsRead
	p.BytesRead += lane.BytesRead
	p.RowsCommitted += lane.RowsCommitted
	p.ByStream = p.ByStream.Add(lane.ByStream)
	p.Truncates += lane.Truncates
	p.RowsRefused += lane.RowsRefused
	p.DeadLetters += lane.DeadLetters
	p.Retries += lane.Retries
	p.Commits += lane.Commits
	p.RowsPerSecond += lane.RowsPerSecond
	p.Held += lane.Held
	p.Busy += lane.Busy
	p.Lag = behind(p.Lag, lane.Lag)
	if lane.LastCommit.After(p.LastCommit) {
		p.LastCommit, p.CommitTime = lane.LastCommit, lane.CommitTime
		if len(lane.LastFiles) > 0 {
			p.LastFiles = lane.LastFiles
		}
	}
}

// behind puts the lags of two lanes together: a source may know those of its lanes, and not its own.
func behind(a, b *sources.Lag) *sources.Lag {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := sources.Lag{Records: a.Records + b.Records, Age: max(a.Age, b.Age), Loss: min(a.Loss, b.Loss)}
	if a.Records < 0 || b.Records < 0 {
		sum.Records = -1
	}
	if a.Loss == 0 || b.Loss == 0 { // never, for one of them
		sum.Loss = max(a.Loss, b.Loss)
	}
	return &sum
}

// window is the time over which the rate is measured, in seconds.
const window = 10

// laneBoard is the status of one lane, written by the lane and read by anyone.
type laneBoard struct {
	mu      sync.Mutex
	status  LaneStatus
	account *account
	all     *checkpoint.Counts               // since the run began, over all processes; nil: none but this reads the lane
	seconds [window]struct{ at, rows int64 } // rows committed in each of the last seconds
}

func (l *laneBoard) set(s State, reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.State, l.status.Reason, l.status.Code, l.status.Since = s, "", "", time.Now().UTC()
	if reason != nil {
		l.status.Reason, l.status.Code = reason.Error(), fault.Code(reason)
	}
	switch {
	case s == Retrying:
		l.status.Retries++
	case s == Running && l.status.Began.IsZero():
		l.status.Began = l.status.Since
	}
	l.account = nil
	if s == Ended {
		l.status.Lag = nil
	}
}

// runs tells that the lane reads now, and where its memory is charged.
func (l *laneBoard) runs(a *account) {
	l.set(Running, nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account = a
}

func (l *laneBoard) acquired(st checkpoint.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Epoch, l.status.Group, l.status.Position = st.Epoch, st.Group, st.Position
}

// accepted counts a chunk and gives the sums.
func (l *laneBoard) accepted(rows, bytes, refused, letters int) (read, allRefused int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.RowsRead += int64(rows)
	l.status.BytesRead += int64(bytes)
	l.status.RowsRefused += int64(refused)
	l.status.DeadLetters += int64(letters)
	return l.status.RowsRead, l.status.RowsRefused
}

func (l *laneBoard) commits() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Commits
}

func (l *laneBoard) commitTime() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.CommitTime
}

func (l *laneBoard) setLag(lag sources.Lag) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Lag = &lag
}

func (l *laneBoard) committed(g *group, took time.Duration) {
	now := time.Now()
	files := filesOf(g)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Commits++
	if !g.still() {
		l.status.Group, l.status.Position = g.ordinal, g.to
	}
	l.status.RowsCommitted += int64(g.rows)
	if len(g.streams) > 0 { // those who look keep the map that they were given
		counts := maps.Clone(l.status.ByStream)
		if counts == nil {
			counts = StreamCounts{}
		}
		for _, s := range g.streams {
			counts[s.stream] += s.rows
		}
		l.status.ByStream = counts
	}
	l.status.Truncates += int64(g.truncates)
	l.status.LastCommit, l.status.CommitTime = now.UTC(), took
	if len(files) > 0 {
		l.status.LastFiles = files
	}
	second := &l.seconds[now.Unix()%window]
	if second.at != now.Unix() {
		second.at, second.rows = now.Unix(), 0
	}
	second.rows += int64(g.rows)
}

// shownFiles is how many files of a group and sink the status names.
const shownFiles = 4

func filesOf(g *group) []string {
	var names []string
	for _, m := range g.manifests {
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
	if l.all != nil {
		out.Others = othersOf(*l.all, out.Progress)
	}
	if l.account != nil {
		out.Held = l.account.held()
		if l.account.busy() {
			out.Busy = 1
		}
	}
	if l.status.Lag != nil {
		lag := *l.status.Lag
		out.Lag = &lag
	}
	return out
}

// counted tells what all processes brought of the lane since the run began.
func (l *laneBoard) counted(all checkpoint.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = &all
}
