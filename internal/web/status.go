package web

import "time"

// State is what a pipeline is doing: the worst of what its lanes do.
type State string

// The states.
const (
	Starting State = "starting"
	Running  State = "running"
	Retrying State = "retrying" // it waits after a failure that will pass
	Stopped  State = "stopped"
	Failed   State = "failed" // a person must act; its data is unharmed
	Ended    State = "ended"  // its source has no more
)

// Ready says whether a pipeline in this state is well.
func (s State) Ready() bool { return s == Running || s == Ended }

// tone gives the class of the style sheet that colours the state.
func (s State) tone() string {
	switch s {
	case Running, Ended:
		return "good"
	case Failed:
		return "bad"
	case Retrying, Stopped:
		return "warn"
	case Starting:
	}
	return ""
}

// Pipeline is one pipeline as the status page, /v1/status and /readyz show it.
type Pipeline struct {
	Name          string         `json:"name"`
	State         State          `json:"state"`
	Reason        string         `json:"reason,omitempty"` // of a state that is not well
	Lag           *time.Duration `json:"lag_ns"`           // behind its source; null when the source cannot tell
	LagRows       *int64         `json:"lag_rows"`         // not yet in the sinks; null, or -1, when the source cannot tell
	Rows          int64          `json:"rows"`             // that became visible, by this process
	RowsPerSecond float64        `json:"rows_per_second"`  // over the last seconds
	LastFile      string         `json:"last_file,omitempty"`
	LastCommit    time.Time      `json:"last_commit,omitzero"`
	DeadLetters   int64          `json:"dead_letters"` // kept, not yet repaired
	Unrouted      int64          `json:"unrouted"`     // that a route sent to no sink, by this process
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
