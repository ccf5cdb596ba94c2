// Package sinks is the contract of a sink: what makes records durable and then visible, a commit group at a time.
package sinks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

var (
	// ErrVanished means that a staged part named by an intent is neither staged nor visible.
	ErrVanished = errors.New("a staged part has vanished")
	// ErrConflict means that a final name holds other content than the manifest says.
	ErrConflict = errors.New("the final name holds other content")
	// ErrVisible means that a part of a manifest that should be withdrawn can be seen already.
	ErrVisible = errors.New("a part is visible already")
	// ErrAhead is of a sink that has had groups of a lane that its state does not know of.
	ErrAhead = errors.New("there are groups of the lane that its state does not know")
)

// Lane is one incarnation of a lane of a pipeline: who takes the lane over has a greater epoch.
type Lane struct {
	Pipeline string
	ID       string
	Epoch    int64
}

// Group is a commit group: the consecutive chunks of a lane that become visible together.
type Group struct {
	Ordinal int64 // of the lane, consecutive and durable
	From    record.Position
	To      record.Position
}

// File is one staged file. Name and Staged are relative to the sink's root.
type File struct {
	Name   string `json:"name"`             // final
	Staged string `json:"staged"`           // temporary name
	Upload string `json:"upload,omitempty"` // of an uploaded, uncompleted multipart upload
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest"` // XXH64 of the content, 16 hexadecimal digits
}

// Manifest is what a sink has staged for one group. Without files there is nothing to publish.
type Manifest struct {
	Files []File `json:"files,omitempty"`
}

// Sink opens one writer for each incarnation of a lane. Its methods may be called from several goroutines.
type Sink interface {
	Open(ctx context.Context, lane Lane) (Writer, error)
	Close(ctx context.Context) error
}

// Writer takes the records of one incarnation of a lane. Write and Cut come from the lane's goroutine, in order; Stage
// and Publish of a group run on another while the next group is being written.
type Writer interface {
	// Write takes a batch, all of it or nothing. A fault.Rows error names the rows that can never pass. A writer that
	// keeps the batch after it returns takes a reference.
	Write(ctx context.Context, b *record.Batch) error
	// Cut ends the group without I/O: later writes belong to the next.
	Cut(g Group) Staging
	// Publish makes visible what a manifest names; it may be repeated after a crash, by any owner. ErrVanished and
	// ErrConflict are its own failures.
	Publish(ctx context.Context, m Manifest) error
	// Close lets go of what is open. Staged but unnamed files are left for recovery to remove.
	Close(ctx context.Context) error
}

// Staging is a group that was cut. Stage makes it safe but invisible; a sink whose writes are idempotent by version may
// write here.
type Staging interface {
	Stage(ctx context.Context) (Manifest, error)
}

// Recoverer is a writer that leaves something behind when its process dies. Only recovery calls it.
type Recoverer interface {
	// Sweep removes what lower epochs of the lane have staged and no intent names.
	Sweep(ctx context.Context) error
	// Withdraw unlinks or aborts all that is left of a manifest of which a staged part has vanished, then makes sure
	// that nothing of it is visible: ErrVisible otherwise.
	Withdraw(ctx context.Context, m Manifest) error
}

// Prover is a writer whose sink shows which groups it has had. Recovery asks it when nothing is pending any more.
type Prover interface {
	// Prove fails with ErrAhead when there is, or was, something of a group of the lane that comes after the given one: then the
	// state is not that which the sink was written with, and what was read before would be written again.
	Prove(ctx context.Context, group int64) error
}

// Holder is a writer that holds memory for its open group.
type Holder interface {
	Held() int // bytes
}

// Pacer is a sink that wants its groups to gather: files should not be small.
type Pacer interface {
	Every() time.Duration // age at which a group is closed
	Rows() int            // records that it may have at least, if they come in time
}

// Describer is a sink that wants to know the schemas it will get before any record flows.
type Describer interface {
	Declare(ctx context.Context, schemas []*record.Schema) error
}

// Checker is the configuration of a sink that can tell, before the sink is made, whether its place can be reached and
// written. It leaves nothing behind; found says in a few words what is there.
type Checker interface {
	Check(ctx context.Context) (found string, err error)
}

// Surveyor is the configuration of a sink that can tell, by a look at its place and before the sink is made, what it would make or change
// there for records of some schemas, a line each. It leaves nothing behind.
type Surveyor interface {
	Survey(ctx context.Context, in []*record.Schema) ([]string, error)
}

// Host is what the program lends to a sink.
type Host struct {
	Pipeline string // the pipeline that feeds the sink
	Log      *slog.Logger
	Items    itemstore.Items // the item store of the sink; nil where there is none
	Memory   int64           // bytes that the sink's open writers may hold together
	Dir      string          // a folder of the sink's own below the state directory, which it makes when it needs it
}

// Plugin is a sink as the catalog lists it.
type Plugin struct {
	Type string // as configuration writes it
	Doc  string // one sentence
	// Server is what it stands for, as the API names it: s3, dynamodb. "": it has no name there.
	Server string
	// Config gives a pointer to the plugin's configuration, filled with its defaults.
	Config func() any
	// Check says, without any I/O, what is wrong with the settings for records of these schemas: config.FieldErrors.
	// Nil: nothing that could be told so early.
	Check func(config any, in []*record.Schema) error
	// Plan says, without any I/O, what the sink would make of records of these schemas, a line each. Nil: nothing to say.
	Plan func(config any, in []*record.Schema) []string
	// Refuses gives the fault.Rows that Write would, as far as the records alone tell: for tests of pipelines. Nil: none.
	Refuses func(b *record.Batch) error
	// New makes the sink from what Config gave, after the user's settings were put in.
	New func(ctx context.Context, config any, host Host) (Sink, error)
	// Items says that it needs Host.Items.
	Items bool
}
