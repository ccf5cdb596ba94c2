//go:build cgo

// Package oracle runs seeded writers against a real database while the program carries its tables and is killed, and then wants the
// database, the items, the latest view of the lake and a warehouse to hold the same, by a comparison of its own.
package oracle

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
)

// engine is a kind of database that a trial has one of.
type engine struct {
	name       string
	seeds      int // of CI, a strategy
	strategies []strategy
	subjects   []subject
	keyless    string // a table that nothing follows; "": there is none
	// create gives a new database, and the settings of a source that reads it.
	create func(t *testing.T, s strategy, seed uint64) (d database, source string)
}

// strategy is a way to find changes, and what it promises.
type strategy struct {
	name      string
	installed bool // acequia capture install makes what it needs
	deletes   bool // it sees them by itself; else a sweep does
	still     bool // nothing is written while the tables are read: the backfill alone must be right
}

// engines starts the servers that the trials share beside PostgreSQL.
func engines(t *testing.T) []engine {
	t.Helper()
	maria, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	closes(t, maria)
	mongo, err := mongodbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	closes(t, mongo)
	return []engine{onPostgres(), onMariaDB(maria), onMongoDB(mongo)}
}

func closes(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// database is what a trial needs of its database. Sessions are used side by side, the rest by one goroutine each.
type database interface {
	lay(ctx context.Context) error // makes the tables, with rows in them
	session(ctx context.Context, w *writer) (session, error)
	held(ctx context.Context, s subject) (held, error) // what a table holds
	// changed gives the accounts that say that they were changed after a time, in the order of these times.
	changed(ctx context.Context, after time.Time) ([]sight, error)
}

// sight is an account as it was seen.
type sight struct {
	id, v int64
	at    time.Time
}

// subject is a table of the database as the comparison reads it.
type subject struct {
	name string
	key  []string // none: a snapshot, compared as a multiset
}

// Sizes of the tables: how many keys the writers choose from.
const (
	accountKeys  = 4000
	pairKeys     = 300 // in each of four regions
	counterKeys  = 40
	shiftingKeys = 200
	partedKeys   = 500
)
