package postgres_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources/postgres"
)

// A run that ends when nothing is left reads a table without a key anew if, and only if, it holds other rows than the last time.
//
//nolint:paralleltest // transactions of other tests that are under way would make what was written look new
func TestTableWithoutAKeyIsReadAnewWhenItHasChanged(t *testing.T) {
	dsn := server.Database(t, `create table readings (a int, b text)`, `insert into readings values (1, 'x'), (1, 'x'), (2, null)`)
	notes := newNotes()
	run := func() *reads {
		s := open(t, postgres.Config{DSN: config.Secret(dsn)}, notes)
		s.Drain()
		r := newReads(s)
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lanes { // what earlier runs have ended is not read
			r.ended[l.ID] = notes.ended[l.ID]
		}
		r.all(t)
		for id := range r.ended {
			notes.ended[id] = true
		}
		return r
	}
	if r := run(); len(r.rows["readings"]) != 3 || r.truncated["readings"].Epoch != 1 {
		t.Fatalf("first run: %q, %v", r.rows["readings"], r.truncated["readings"])
	}
	if r := run(); len(r.rows["readings"]) != 0 {
		t.Errorf("nothing has changed, and it was read anew: %q", r.rows["readings"])
	}
	for i, change := range []string{
		`insert into readings values (3, 'y')`, `update readings set b = 'z' where a = 2`, `delete from readings where a = 1`, `truncate readings`,
		`begin; insert into readings values (4, 'four'); delete from readings where a = 9; commit`,
		`alter table readings add c int default 7`, `alter table readings rename b to d`,
	} {
		server.Exec(t, dsn, strings.Split(change, "; ")...)
		if r := run(); int(r.truncated["readings"].Epoch) != i+2 {
			t.Errorf("after %s: %q, %v", change, r.rows["readings"], r.truncated["readings"])
		}
		if r := run(); len(r.rows["readings"]) != 0 {
			t.Errorf("nothing has changed since %s, and it was read anew: %q", change, r.rows["readings"])
		}
	}
}

// The process dies when the end of a table is durable, and before it has heard of that: the table is read again all the same when it
// has changed.
//
//nolint:paralleltest // as above
func TestTableWithoutAKeyAfterACrashAtItsEnd(t *testing.T) {
	w := newWorld(t, "auto", `create table readings (a int, b text)`, `insert into readings values (1, 'x')`)
	w.unsettled = true
	w.equal("readings", true)
	w.unsettled = false
	w.exec(`insert into readings values (2, 'y')`)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if n := w.epoch("readings"); n != 2 {
		t.Errorf("the table has changed, and is in incarnation %d", n)
	}
}

// Rows that can be no records are rows of the table too.
//
//nolint:paralleltest // as above
func TestTableWithoutAKeyAndRowsThatAreRefused(t *testing.T) {
	w := newWorld(t, "auto", `create table readings (a numeric(5,2))`, `insert into readings values (1), ('NaN')`)
	w.config.Unfit = "error"
	for range 2 {
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.epoch("readings"); n != 1 {
		t.Errorf("nothing has changed, and the table is in incarnation %d", n)
	}
}
