// Package handlers is the contract of a handler: what changes, drops or adds records on their way.
package handlers

import (
	"context"

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
	Shape(in *record.Schema) (*record.Schema, error)
}

// Router is a handler that says which sinks records are for, in record.System.Routes.
type Router interface {
	Routes() []Route
}

// Route is a sink that a Router names.
type Route struct {
	Sink string
	Path []string // of the name, in the handler's settings
	Text string   // what it gets, in a few words
}

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
