// Package sources is the contract of a source: what reads records from one place, in lanes.
package sources

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// Lane is an ordered part of a source that is read by one reader.
type Lane struct {
	ID         string   // stable: the same part has the same ID in every process
	After      []string // lanes that must have durably ended, on any replica, before this one starts
	Streams    []string // the streams it carries
	Replayable bool     // what was read and not settled can be read again
	Each       bool     // every process that shares the pipeline reads one of its own: a queue or a server shares out what comes
	Endless    bool     // it follows what happens and ends only when the source is drained: it takes no slot from lanes that end
	Apart      bool     // of a source whose Plugin is Assisted: a process may read it that has not the pipeline
}

// Source gives lanes and opens a reader on one of them. Its methods may be called from several goroutines. One that holds
// connections is an io.Closer, closed when its readers are.
type Source interface {
	// Lanes gives the lanes there are now. It is asked at the start, at intervals, and when a lane ends.
	Lanes(ctx context.Context) ([]Lane, error)
	// Open starts reading after a position; "" is the start of the lane.
	Open(ctx context.Context, lane Lane, from record.Position) (Reader, error)
}

// ErrStopped is in the error with which chunks are settled that a stop leaves behind: nothing is wrong with them.
var ErrStopped = errors.New("the pipeline is stopping")

// ErrElsewhere is what a reader of an Assistant gives when only the process that has the pipeline can go on with the lane: something
// is to be noted, or is not as that one noted it.
var ErrElsewhere = fault.Retry(errors.New("only the process that has the pipeline can go on with it"))

// Reader reads one lane in order. Read is called by one goroutine at a time; Settle and Close may come from another.
type Reader interface {
	// Read blocks until there is something to give, ctx ends (it gives ctx's error, at once), or the lane has ended
	// (io.EOF, for ever after). The caller owns one reference on each batch.
	Read(ctx context.Context) (record.Chunk, error)
	// Settle tells that a chunk is durable in every sink (err is nil), or that it was refused and will not be (err says
	// why: answer 503, make visible again). It is called once for each chunk, in the order of the reads, with the
	// chunk's end position; and once before the first Read with the position that recovery rolled forward to. Chunks of
	// a group whose intent may have been saved when it failed are left to that: Close lets their clients go.
	Settle(ctx context.Context, upTo record.Position, err error) error
	// Close ends the reader; a Read under way returns. It is called once.
	Close() error
}

// Checker is a source that can tell whether it can connect and has the rights it needs.
type Checker interface {
	Check(ctx context.Context) error
}

// Describer is a source that knows the schemas of its streams before it reads.
type Describer interface {
	Describe(ctx context.Context) ([]*record.Schema, error)
}

// Resumer is a source whose lanes may get more after they have ended, such as files to which lines are appended.
type Resumer interface {
	// More says whether a lane that ended at a position has more after it now. It is asked at the start of a run, and when
	// the lane has ended: if so, the lane is opened again.
	More(ctx context.Context, lane Lane, at record.Position) (bool, error)
}

// Waiter is a source whose upstream waits for an answer: what is not settled in time is sent again.
type Waiter interface {
	Patience() time.Duration // at most as long a group may gather
}

// Served is a source whose records come in HTTP requests, as those of a form do: who runs it puts it behind a web server.
type Served interface {
	http.Handler
	Path() string             // where it is served; what is below that is the source's too
	Title(lang string) string // for links that lead to it; "es" or "en"
}

// Lag is how far a source is behind what has happened.
type Lag struct {
	Records int64         // not yet read; -1: not known
	Age     time.Duration // of the oldest record not yet settled
	Loss    time.Duration // until the oldest of them is lost upstream; 0: never
}

// Lagger is a source that knows how far it is behind.
type Lagger interface {
	Lag(ctx context.Context) (Lag, error)
}

// Limiter is a source that says how many of its lanes that end may be read at the same time.
type Limiter interface {
	Limit() int
}

// Drainer is a source with endless lanes.
type Drainer interface {
	// Drain is called before the run starts: an endless lane gives io.EOF once it has given all that was there after the
	// last of its lanes that end had ended. Its Resumer says in the next run that there may be more.
	Drain()
}

// Excluder is a source of which one lane may carry several streams.
type Excluder interface {
	// Exclude tells it that a lane has failed for good: for a reason that concerns that stream of it alone, or, where it carries
	// no other, for any. goesOn: from its checkpoint on the lane gives nothing of the stream, which was noted durably. Else it fails.
	Exclude(ctx context.Context, lane Lane, stream string, why error) (goesOn bool, err error)
}

// State is what a source remembers beside the positions of its lanes. It is durable when a method returns, and the
// pipeline's alone.
type State interface {
	// Next gives the next number of a stream, from 1, and never the same again. A read that shows the stream as it stood takes its
	// number before its snapshot; a read of changes takes it after (docs/ARCHITECTURE.md).
	Next(ctx context.Context, stream string) (uint64, error)
	Load(ctx context.Context, key string) ([]byte, error) // nil: nothing is kept under the key
	Save(ctx context.Context, key string, value []byte) error
}

// Swapper is a State that several processes may share.
type Swapper interface {
	// Swap saves a value in the place of the one that was loaded (nil: none was), if that is still there.
	Swap(ctx context.Context, key string, old, value []byte) (swapped bool, err error)
}

// Role is what a source does where several processes share the work of its pipeline.
type Role uint8

// The roles.
const (
	Alone     Role = iota // no other process reads its lanes
	Leader                // others may read those that it marks Apart
	Assistant             // it opens lanes of a Leader that are Apart, and is asked for none; its State keeps nothing (ErrElsewhere)
)

// Host is what the program lends to a source.
type Host struct {
	Pipeline string // the pipeline that the source feeds
	Role     Role
	Log      *slog.Logger
	Items    itemstore.Items // the item store that the source reads, or whose sink it feeds; nil where there is none
	State    State           // nil where the source is only asked, and reads no lane
	// Claim is asked before the first record of a stream that is the source's alone, so that what is gone from it goes from the sinks:
	// another pipeline may bring a stream of its own to the same table. Nil: none can.
	Claim func(ctx context.Context, stream string) error
}

// Plugin is a source as the catalog lists it.
type Plugin struct {
	Type string // as configuration writes it
	Doc  string // one sentence
	// Server is the kind of database that it reads, as the API and backups name it: mysql, postgresql, mongodb. "": it reads none.
	Server string
	// Config gives a pointer to the plugin's configuration, filled with its defaults.
	Config func() any
	// Schemas gives those of the streams, as far as settings and local files tell before anything connects. Nil, or none:
	// only the running source knows.
	Schemas func(ctx context.Context, config any) ([]*record.Schema, error)
	// Plan says, from settings and local files alone, what the source would read, a line each. Nil: nothing to say.
	Plan func(ctx context.Context, config any) []string
	// New makes the source from what Config gave, after the user's settings were put in.
	New func(ctx context.Context, config any, host Host) (Source, error)
	// Shared says that several processes may read its lanes at the same time, each lane by one: beside positions it remembers nothing, or
	// what it looks up each time. Of another source one process reads all lanes.
	Shared bool
	// Assisted says that it knows the roles of a Leader and of an Assistant: one process reads all lanes but some, which others may read.
	Assisted bool
	// Items says that it needs Host.Items.
	Items bool
}
