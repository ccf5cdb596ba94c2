// Package itemstore keeps items: key-value tables with versions, secondary indexes and an ordered change log, in one
// SQLite file. It is the embedded stand-in for DynamoDB and its Streams.
package itemstore

import (
	"time"

	"github.com/acequia-io/acequia/record"
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
}

// Outcome is what became of a Put.
type Outcome uint8

// The outcomes. Superseded is success: a copy of the same or a newer version is there.
const (
	Written Outcome = iota + 1
	Superseded
	Exists  // of a Put with IfAbsent: a copy of the key is there
	Missing // of a Put with Kept: there is no document to keep them of, and nothing was written
)

// Item is one stored item. A deleted one is a tombstone without a document.
type Item struct {
	Key     string
	Version record.Version
	Doc     []byte
	Deleted bool
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
