// Package handlers is the contract of a handler: what changes, drops or adds records on their way.
package handlers

import (
	"context"
	"iter"

	"github.com/acequia-io/acequia/record"
)

// Handler turns a batch into batches. It is called by many goroutines, one a lane; batches of a lane come in order.
type Handler interface {
	// Handle gives the batches that take the place of b, with a reference on each for the caller; b itself may be among
	// them (with Retain). b is not changed. A fault.Rows error names the rows that can never pass: nothing was done, and
	// the router calls again without them.
	Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error)
}

// Shaper is a handler that can tell what it makes of a schema, before any record flows.
type Shaper interface {
	// Shape gives the schema behind the step; beside an error what can be told of it, so that mistakes of later steps are found,
	// or nil.
	Shape(in *record.Schema) (*record.Schema, error)
}

// Router is a handler that says which sinks records are for, in record.System.Routes.
type Router interface {
	Routes() []Route
	// Unrouted counts the records that were for none of the sinks, and so went nowhere.
	Unrouted() int64
}

// Route is a sink that a Router names.
type Route struct {
	Sink string
	Path []string // of the name, in the handler's settings
	Text string   // what it gets, in a few words
}

// Stateful is a handler that remembers records beyond their batch. What it remembers becomes durable together with the commit
// group that the records are of: neither without the other. Its own Handle is that of a tracker that knows nothing yet.
type Stateful interface {
	Handler
	// Track begins an incarnation of a lane, after its recovery. What earlier incarnations of the lane have not made durable
	// is forgotten: their records are read again.
	Track(ctx context.Context, lane string, blocks Blocks) (Tracker, error)
}

// Tracker is a stateful handler at work on one incarnation of a lane. Handle and Cut are called in turn, never at the same
// time; lanes have trackers of their own, which may share what the handler knows.
type Tracker interface {
	Handler
	// Cut gives what is to be remembered of the records since the last Cut: they are a commit group now.
	Cut() Memory
	// Close ends the incarnation.
	Close()
}

// Holder is a Stateful that holds memory for what its trackers share, or a Tracker that holds some for the open group.
type Holder interface {
	Held() int // bytes
}

// Memory is what a commit group adds to what a stateful handler remembers.
type Memory struct {
	Block  []byte // nil: nothing
	Newest int64  // with which Before is compared
	Before int64  // blocks of the lane, and of lanes that have ended, that are not newer can be forgotten
}

// Block is what a commit group of a lane has added.
type Block struct {
	Lane string
	Data []byte
}

// Blocks gives what is durable, in the order of the groups: of one lane, or of all lanes of the pipeline with "".
type Blocks func(lane string) iter.Seq2[Block, error]

// Func makes a handler of a function.
type Func func(ctx context.Context, b *record.Batch) ([]*record.Batch, error)

// Handle calls the function.
func (f Func) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) { return f(ctx, b) }

// Plugin is a handler as the catalog lists it.
type Plugin struct {
	Type   string     // as configuration writes it
	Doc    string     // one sentence
	Config func() any // a pointer to the plugin's configuration, filled with its defaults
	New    func(config any) (Handler, error)
}
