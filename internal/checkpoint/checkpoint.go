// Package checkpoint keeps, for each lane of a pipeline, its epoch, its checkpoint and its pending intent; the dead
// letters that became durable with them; and, of sources, the counters that number the reads of their streams and the
// notes that they keep beside the lanes.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/acequia-io/acequia/record"
)

// ErrFenced means that another owner has taken the lane, or that the group is not the lane's next: nothing was saved.
var ErrFenced = errors.New("another owner has taken the lane")

// Lane names a lane of a pipeline.
type Lane struct {
	Pipeline string
	ID       string
}

// Intent is a commit group that can only be rolled forward. It carries the end position, because recovery writes the
// checkpoint without reading the source.
type Intent struct {
	Group       int64 // ordinal of the lane: the checkpoint's plus one
	To          record.Position
	Ended       bool // the lane ends with this group
	Rows        int64
	Manifests   map[string]json.RawMessage // by the name of the sink
	DeadLetters []DeadLetter
	Memory      map[string]Memory // by step; saved with the intent, or with the checkpoint where there is none
	Undone      bool              // of a checkpoint: the group was taken back, and what it remembers is forgotten
}

// Memory is what a group adds to what a step remembers, and what the step no longer needs.
type Memory struct {
	Block  []byte
	Newest int64 // with which Before is compared
	Before int64 // blocks of the lane, and of lanes that have ended, that are not newer go with the checkpoint
}

// State is what an owner finds when it takes a lane.
type State struct {
	Epoch    int64 // the new owner's
	Group    int64 // the last one that is visible
	Position record.Position
	Ended    bool
	Rows     int64   // visible since the lane began
	Pending  *Intent // nil: none
}

// LaneState is the state of a lane as status shows it.
type LaneState struct {
	Lane
	State
	SavedAt time.Time // of the last checkpoint; zero: none yet
}

// DeadLetter is a record that cannot pass, with what is needed to repair it and send it again. Pipeline, Stream,
// Position, Index, Step and Group together name a first refusal: the same one saved twice is there once. A letter that is
// sent again and refused again stays the same letter: it keeps its ID and its place, and what refused it last is told.
type DeadLetter struct {
	ID       int64           `json:"id"` // given by the store, ascending
	Pipeline string          `json:"pipeline"`
	Lane     string          `json:"lane"`
	Stream   string          `json:"stream"`
	Position record.Position `json:"position"`        // end of the chunk that carried it
	Index    int64           `json:"index"`           // among the rows that the step was given at that position
	Step     string          `json:"step"`            // the handler or the sink that refused it
	Group    int64           `json:"group,omitempty"` // only where the position does not move and so names nothing
	Column   string          `json:"column,omitempty"`
	Code     string          `json:"code,omitempty"`
	Reason   string          `json:"reason"`
	Op       string          `json:"op,omitempty"`
	Version  string          `json:"version,omitempty"` // the record's own, kept when it is sent again
	EventID  string          `json:"event_id,omitempty"`
	Event    time.Time       `json:"event_time,omitzero"` // of the record
	Source   string          `json:"source,omitempty"`
	Sinks    []string        `json:"sinks,omitempty"`  // that it is for, where a step had said so; nil: all
	Row      json.RawMessage `json:"row,omitempty"`    // the record
	Absent   []string        `json:"absent,omitempty"` // columns that the source did not send, which are no nulls; where Row has one it was mended
	Raw      []byte          `json:"raw,omitempty"`    // its bytes as they were read, when no record could be made of them
	At       time.Time       `json:"at"`               // of the last refusal
	Attempts int64           `json:"attempts"`         // how often it was tried, given by the store: 1 is the first refusal
	First    time.Time       `json:"first_at"`         // of the first refusal, given by the store
	Retry    int64           `json:"-"`                // its number among those to be sent again, given by the store; 0: it is not
	Again    int64           `json:"-"`                // of one that is saved: the letter that was sent again and makes this refusal; 0: none
}

// Identity is the ID of the record's event, or one made of its place where it has none.
func (d *DeadLetter) Identity() string {
	if d.EventID != "" {
		return d.EventID
	}
	return fmt.Sprintf("%s/%s/%d", d.Lane, d.Position, d.Index)
}

// The stored forms keep positions as bytes: a position need not be UTF-8, and JSON strings must be.
type storedIntent struct {
	Group       int64                      `json:"group"`
	To          []byte                     `json:"to"`
	Ended       bool                       `json:"ended,omitempty"`
	Rows        int64                      `json:"rows"`
	Manifests   map[string]json.RawMessage `json:"manifests,omitempty"`
	DeadLetters []storedLetter             `json:"dead_letters,omitempty"`
}

type storedLetter struct {
	DeadLetter
	Position []byte `json:"position"`
}

func encodeIntent(in Intent) ([]byte, error) {
	stored := storedIntent{Group: in.Group, To: []byte(in.To), Ended: in.Ended, Rows: in.Rows, Manifests: in.Manifests}
	for _, d := range in.DeadLetters {
		stored.DeadLetters = append(stored.DeadLetters, storedLetter{d, []byte(d.Position)})
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode intent of group %d: %w", in.Group, err)
	}
	return text, nil
}

func decodeIntent(text []byte) (*Intent, error) {
	var stored storedIntent
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("decode intent: %w", err)
	}
	in := &Intent{
		Group: stored.Group, To: record.Position(stored.To), Ended: stored.Ended, Rows: stored.Rows, Manifests: stored.Manifests,
	}
	for _, d := range stored.DeadLetters {
		d.DeadLetter.Position = record.Position(d.Position)
		in.DeadLetters = append(in.DeadLetters, d.DeadLetter)
	}
	return in, nil
}
