package sources

import (
	"context"
	"errors"
	"time"

	"github.com/acequia-io/acequia/record"
)

// ErrNoTables is of a database that has no table of those that were chosen.
var ErrNoTables = errors.New("no table of it is chosen")

// Snapshotter is a database that can be shown whole as it stood at one moment: what a backup is made of.
type Snapshotter interface {
	// Snapshot opens the tables that the settings choose and, where there are patterns, these choose too. A table that may not be
	// read is an error, for what is left out silently would be missed when it is needed. ErrNoTables: none is chosen.
	Snapshot(ctx context.Context, tables []string) (Snapshot, error)
}

// Snapshot is a database at a moment. Scan may be called from several goroutines.
type Snapshot interface {
	About() SnapshotInfo
	// Scan reads a part of a table, all parts at the moment of the snapshot. A batch is the callee's during the call. Its schema
	// has the fields of SnapshotTable.Schema and may have more behind them, from one batch to the next.
	Scan(ctx context.Context, stream string, part int, each func(*record.Batch) error) error
	// Close lets the moment go.
	Close(ctx context.Context) error
}

// SnapshotInfo is what a database was, and what makes it again.
type SnapshotInfo struct {
	Engine     string // postgresql, mysql or mongodb
	Database   string
	Server     string // its version
	At         time.Time
	Consistent bool              // all of it is of one moment; else of the time that reading took
	Position   map[string]string // in the log and among the transactions of the server, as it writes them
	Prepare    []string          // statements before those of any table, such as CREATE TYPE
	Tables     []SnapshotTable
	NotKept    []string // what the database has and a restore does not make again, a line each
}

// SnapshotTable is a table or collection.
type SnapshotTable struct {
	Schema     *record.Schema // without a key, so that any column may be null or unfit
	Rows       int64          // estimated; -1: not known
	Parts      int            // that Scan reads
	Definition Definition
}

// Definition makes a table again. Statements are those of its database.
type Definition struct {
	Name    string             `json:"name"` // as the statements write it
	Columns []ColumnDefinition `json:"columns"`
	Key     []string           `json:"key,omitempty"`
	Create  []string           `json:"create"`           // before its rows are there
	Finish  []string           `json:"finish,omitempty"` // after, such as keys and indexes
	Links   []Link             `json:"links,omitempty"`  // when the tables that they name are there too
}

// ColumnDefinition is a column as the server has it.
type ColumnDefinition struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // as the server names it
	Nullable bool   `json:"nullable"`
	Default  string `json:"default,omitempty"`
	Computed bool   `json:"computed,omitempty"` // the server makes its values from others: they are not given
}

// Link is a statement that needs another table, such as a foreign key.
type Link struct {
	To        string `json:"to"` // the stream
	Statement string `json:"statement"`
}

// Restorer is a database that can be made again from what a Snapshotter gave.
type Restorer interface {
	// Restore makes the tables, empty and seen by nobody. Where one of them is there already nothing is done, and it is an error.
	Restore(ctx context.Context, info SnapshotInfo) (Restoration, error)
}

// Restoration is a database that is being made again. It is for one goroutine. Of what is not finished nobody sees anything, whatever ends
// it; what a process leaves that is killed stands apart, and the next restore removes it.
type Restoration interface {
	// Load puts the batches that next gives into a table, until it gives io.EOF.
	Load(ctx context.Context, stream string, next func() (*record.Batch, error)) error
	// Scan reads a table back as it will be.
	Scan(ctx context.Context, stream string, each func(*record.Batch) error) error
	// Finish makes keys, indexes and links, and then all of it visible at once.
	Finish(ctx context.Context) error
	// Close ends it; what was not finished is gone.
	Close(ctx context.Context) error
}
