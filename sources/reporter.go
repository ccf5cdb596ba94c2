package sources

import (
	"context"
	"time"
)

// Reporter is a source that tells how its streams are read, and what may be missed or lost. It is asked every few seconds, and
// answers from what it keeps or with a quick look upstream.
type Reporter interface {
	Report(ctx context.Context) (Report, error)
}

// Report is how a source stands.
type Report struct {
	Held     int64          `json:"held_bytes,omitempty"` // that the upstream keeps until they were read
	Loss     time.Duration  `json:"loss_ns,omitempty"`    // until it throws away what was not read, at the rate of now; 0: never
	Trimmed  int64          `json:"trimmed,omitempty"`    // how often it had thrown away what was not read, in this process
	Warnings []string       `json:"warnings,omitempty"`   // of the source as a whole
	Streams  []StreamReport `json:"streams,omitempty"`
}

// StreamReport is how one stream is read.
type StreamReport struct {
	Stream   string           `json:"stream"`
	Strategy string           `json:"strategy,omitempty"`   // how its changes are found
	Risks    []string         `json:"risks,omitempty"`      // what may be missed so
	Stopped  string           `json:"stopped,omitempty"`    // why it is not read, while others are
	Anew     string           `json:"anew,omitempty"`       // why it was last read anew
	Unfit    map[string]int64 `json:"unfit,omitempty"`      // values that their columns cannot hold, by the columns that have them as text; in this process
	Held     int64            `json:"held_bytes,omitempty"` // as of Report, for this stream alone
	Loss     time.Duration    `json:"loss_ns,omitempty"`    // as of Report, for this stream alone
}
