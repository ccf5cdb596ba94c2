package web

import (
	"time"

	"github.com/acequia-io/acequia/sources"
)

// State is what a pipeline is doing: the worst of what its lanes do.
type State string

// The states.
const (
	Waiting   State = "waiting" // a lane, for its turn or for those before it
	Starting  State = "starting"
	Running   State = "running"
	Retrying  State = "retrying" // it waits after a failure that will pass
	Stopped   State = "stopped"
	Failed    State = "failed"    // a person must act; its data is unharmed
	Ended     State = "ended"     // its source has no more
	Elsewhere State = "elsewhere" // another process that shares the state reads it
	Resting   State = "resting"   // it reads a database when a job or the schedule asks for it
)

// Ready says whether a pipeline in this state is well.
func (s State) Ready() bool { return s == Running || s == Ended || s == Resting || s == Elsewhere }

// tone gives the class of the style sheet that colours the state.
func (s State) tone() string {
	switch s {
	case Running, Ended, Resting, Elsewhere:
		return "good"
	case Failed:
		return "bad"
	case Retrying, Stopped:
		return "warn"
	case Starting, Waiting:
	}
	return ""
}

// Pipeline is one pipeline as the status page and /v1/status show it.
type Pipeline struct {
	Name          string         `json:"name"`
	State         State          `json:"state"`
	Holder        string         `json:"holder,omitempty"` // of elsewhere: the process
	Reason        string         `json:"reason,omitempty"` // of a state that is not well
	Lag           *time.Duration `json:"lag_ns"`           // behind its source; null when the source cannot tell
	LagRows       *int64         `json:"lag_rows"`         // not yet in the sinks; null, or -1, when the source cannot tell
	Rows          int64          `json:"rows"`             // that became visible, by this process
	RowsPerSecond float64        `json:"rows_per_second"`  // over the last seconds
	LastFile      string         `json:"last_file,omitempty"`
	LastCommit    time.Time      `json:"last_commit,omitzero"`
	DeadLetters   int64          `json:"dead_letters"` // kept, not yet repaired
	Unrouted      int64          `json:"unrouted"`     // that a route sent to no sink, by this process
	Lanes         []Lane         `json:"lanes,omitempty"`
	// Source is how the source reads its streams; null when it cannot tell.
	Source *sources.Report `json:"source,omitempty"`
	Loss   *time.Duration  `json:"loss_ns,omitempty"` // until the first of what was not read is lost upstream; null: never
}

// Lane is an ordered part of a pipeline's source.
type Lane struct {
	ID            string         `json:"id"`
	State         State          `json:"state"`
	Holder        string         `json:"holder,omitempty"` // of elsewhere: the process
	Reason        string         `json:"reason,omitempty"` // of a state that is not well
	Code          string         `json:"code,omitempty"`   // of the reason
	Since         time.Time      `json:"since,omitzero"`   // of the state
	Lag           *time.Duration `json:"lag_ns,omitempty"`
	LagRows       *int64         `json:"lag_rows,omitempty"`
	Rows          int64          `json:"rows"`
	RowsPerSecond float64        `json:"rows_per_second"`
	LastCommit    time.Time      `json:"last_commit,omitzero"`
}

// Report is what /v1/status answers.
type Report struct {
	Time      time.Time  `json:"time"`
	Ready     bool       `json:"ready"`
	Pipelines []Pipeline `json:"pipelines"`
}

func report(now time.Time, pipelines []Pipeline) Report {
	r := Report{Time: now.UTC(), Ready: true, Pipelines: pipelines}
	if pipelines == nil {
		r.Pipelines = []Pipeline{}
	}
	for _, p := range pipelines {
		r.Ready = r.Ready && p.State.Ready()
	}
	return r
}
