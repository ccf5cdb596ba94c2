// Package itemstore keeps items: key-value tables with versions, secondary indexes and an ordered change log. A Store is one
// SQLite file, the embedded stand-in for DynamoDB and its Streams; Dynamo is DynamoDB itself.
package itemstore

import (
	"context"
	"time"

	"github.com/acequia-io/acequia/record"
)

// Items is where a sink writes items: a Store or a Dynamo.
type Items interface {
	// Define makes a table known, and makes it where the store makes its own. It may be repeated.
	Define(ctx context.Context, t Table) error
	// Fit says why the store can never hold what a put makes of a row: a *record.ColumnError where a column is at fault.
	Fit(p *Put, b *record.Batch, row int) error
	// Get finds an item as it stands now; a tombstone is found too.
	Get(ctx context.Context, table, key string) (Item, bool, error)
	// Write does the puts, in order for each key, and tells what became of each. An error means that none of them is known to be
	// done; to write them again is safe.
	Write(ctx context.Context, puts []Put) ([]Outcome, error)
}

var (
	_ Items = (*Store)(nil)
	_ Items = (*Dynamo)(nil)
)

// Table declares a table of items.
type Table struct {
	Name      string
	Schema    *record.Schema // of the documents, for who looks a table up; not stored
	Indexes   []Index
	NoChanges bool // its writes do not enter the change log
}

// Put is one write. It takes effect when the table holds no copy of the key, or an older one, and was not truncated at a newer
// version. A Truncate has no key: it deletes every item with a smaller version.
type Put struct {
	Table    string
	Key      string
	Version  record.Version
	Op       record.Op // Delete leaves a tombstone with the version
	Doc      []byte    // the record as a JSON object; of a Delete it is ignored
	Expires  int64     // unix seconds after which the item goes away by itself, without a change; 0: never
	IfAbsent bool      // only when the table holds no copy of the key, not even a tombstone
	Kept     []string  // members that Doc lacks and that the stored document keeps
	// Together is the same, and not 0, in puts of one Write that are one transaction. One that finds a copy of the same or a newer version is
	// left out alone; but where the first has IfAbsent, and a copy of its key is there, none is done, and all get Exists.
	Together uint32
	// Schema is that of Doc, for a store with types of its own; nil: that of the table.
	Schema *record.Schema
}

// MaxItem and MaxKey are DynamoDB's limits, in bytes: what fits into a Store fits there.
const (
	MaxItem = 400 << 10
	MaxKey  = 2048
)

// Outcome is what became of a Put.
type Outcome uint8

// The outcomes. Superseded is success: a copy of the same or a newer version is there.
const (
	Written Outcome = iota + 1
	Superseded
	Exists  // of a Put with IfAbsent, and those together with it: a copy of the key is there
	Missing // of a Put with Kept: there is no document to keep them of, and nothing was written
)

// Item is one stored item. A deleted one is a tombstone without a document.
type Item struct {
	Key     string
	Version record.Version
	Doc     []byte
	Deleted bool
	After   string // what List or Query, whichever gave the item, goes on after
}

// Change is one entry of a table's change log.
type Change struct {
	Seq     int64 // from 1, ascending in the order of the commits, without gaps, never used twice
	Table   string
	Key     string
	Op      record.Op // Insert, Update or Delete, by what the table held
	Version record.Version
	Old     []byte // document before; nil of an Insert
	New     []byte // document after; nil of a Delete
	At      time.Time
}
