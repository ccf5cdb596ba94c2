// Package checkpoint keeps, for each lane of a pipeline, its epoch, its checkpoint and its pending intent, and the dead
// letters that became durable with them.
package checkpoint

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/acequia-io/acequia/record"
)

// ErrFenced means that another owner has taken the lane: nothing was saved.
var ErrFenced = errors.New("fenced: the lane has a newer epoch")

// Lane names a lane of a pipeline.
type Lane struct {
	Pipeline string
	ID       string
}

// Intent is a commit group that can only be rolled forward. It carries the end position, because recovery writes the
// checkpoint without reading the source.
type Intent struct {
	Group       int64                      `json:"group"`
	To          record.Position            `json:"-"`
	Token       []byte                     `json:"to"` // To as bytes: a position need not be UTF-8
	Ended       bool                       `json:"ended,omitempty"`
	Rows        int64                      `json:"rows"`
	Manifests   map[string]json.RawMessage `json:"manifests,omitempty"` // by the name of the sink
	DeadLetters []DeadLetter               `json:"dead_letters,omitempty"`
}

// State is what an owner finds when it takes a lane.
type State struct {
	Epoch    int64
	Group    int64 // last visible group
	Position record.Position
	Ended    bool
	Rows     int64 // committed since the lane began
	Pending  *Intent
}

// DeadLetter is a record that cannot pass, with what is needed to repair it and send it again. Lane, Group and Index
// identify it in its pipeline.
type DeadLetter struct {
	Lane     string    `json:"lane"`
	Group    int64     `json:"group"` // the commit group that would have carried it
	Index    int       `json:"index"` // among the dead letters of that group
	Stream   string    `json:"stream"`
	Position []byte    `json:"position"` // end of the chunk that carried it
	Step     string    `json:"step"`     // the handler or sink that refused it
	Column   string    `json:"column,omitempty"`
	Code     string    `json:"code,omitempty"`
	Reason   string    `json:"reason"`
	Version  string    `json:"version"` // the record's own
	Op       string    `json:"op"`
	Row      []byte    `json:"row"` // the record as JSON
	At       time.Time `json:"at"`
}

// LaneState is the state of a lane as status shows it.
type LaneState struct {
	Lane
	State
}
