// Package itemstore keeps items: key-value tables with versions, secondary indexes and an ordered change log.
package itemstore

import (
	"time"

	"github.com/acequia-io/acequia/record"
)

// Table declares a table of items.
type Table struct {
	Name      string
	Indexes   []Index
	NoChanges bool // its writes do not enter the change log
}

// Index finds items by the values of some of their columns.
type Index struct {
	Name    string
	Columns []string
}

// Put is one write. It takes effect when the table holds no copy of the key, or an older one.
type Put struct {
	Table   string
	Key     string
	Version record.Version
	Op      record.Op // Delete leaves a tombstone with the version
	Doc     []byte    // the record as a JSON object; of a Delete it is ignored
	Expires time.Time // when the item goes away by itself; zero: never
}

// Outcome is what became of a Put.
type Outcome uint8

// The outcomes. Superseded is success: a copy of the same or a newer version is there.
const (
	Written Outcome = iota + 1
	Superseded
)

// Item is one stored item. A deleted one is a tombstone without a document.
type Item struct {
	Key     string
	Version record.Version
	Doc     []byte
	Deleted bool
}

// Change is one entry of the change log.
type Change struct {
	Seq     int64 // ascending, in the order of the commits, never used twice
	Key     string
	Op      record.Op
	Version record.Version
	Old     []byte // document before; nil when there was none
	New     []byte // document after; nil of a delete
	At      time.Time
}
