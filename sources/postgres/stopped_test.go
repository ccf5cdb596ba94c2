package postgres_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// followed opens what follows the only table, changes it, and reads on until the reader ends.
func (w *world) followed(sql string) (*postgres.Source, []sources.Lane) {
	w.Helper()
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
	s := open(w.T, w.config, w.notes)
	lanes, err := s.Lanes(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	follow := lanes[slices.IndexFunc(lanes, func(l sources.Lane) bool { return l.Endless })]
	r, err := s.Open(w.Context(), follow, w.at[follow.ID])
	if err != nil {
		w.Fatal(err)
	}
	w.exec(sql)
	for err == nil {
		_, err = r.Read(w.Context())
	}
	if !errors.Is(err, io.EOF) {
		w.Error(err)
	}
	if err := r.Close(); err != nil {
		w.Error(err)
	}
	return s, lanes
}

// again asks for the lanes as the tables are now.
func (w *world) again(s *postgres.Source) (ids string) {
	w.Helper()
	postgres.Stale(s)
	lanes, err := s.Lanes(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range lanes {
		ids += " " + l.ID
	}
	return ids
}

// A table that must be read anew, and cannot be, keeps its incarnation: lanes of one that is not known would end as if all were read.
func TestATableThatCannotBeReadAnewKeepsItsLanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "xmin", "CREATE TABLE orders (id int PRIMARY KEY, v int)", "INSERT INTO orders SELECT n, n FROM generate_series(1, 10) n")
	s, lanes := w.followed("ALTER TABLE orders ALTER v TYPE text USING v::text")
	if ids := w.again(s); ids != " orders@1/stopped" {
		t.Errorf("the lanes are%s", ids)
	}
	r, err := s.Open(t.Context(), lanes[0], "")
	if fault.Of(err) != fault.Fatal {
		t.Errorf("lane %s of a table that is stopped: %v, %v", lanes[0].ID, r, err)
	}
	w.exec("ALTER TABLE orders ALTER v TYPE int USING v::int * 2")
	if ids := w.again(s); !strings.HasPrefix(ids, " orders@2/0") {
		t.Errorf("when it can be read again, the lanes are%s", ids)
	}
	w.equal("orders", true)
}

// The column that strategy time goes by is dropped while it is followed.
func TestTheColumnOfTimesIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now())", "INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
	s, _ := w.followed("ALTER TABLE orders DROP updated_at")
	if ids := w.again(s); ids != " orders@1/stopped" {
		t.Errorf("the lanes are%s", ids)
	}
}

// A poll that meets the first value that its column cannot hold keeps the column beside it, as a backfill does.
func TestAPollKeepsItsColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "xmin", "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz)", "INSERT INTO orders SELECT n, now() FROM generate_series(1, 10) n")
	w.equal("orders", true)
	w.exec("UPDATE orders SET at = 'infinity' WHERE id = 3")
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if note := string(w.notes.kept["table orders"]); !strings.Contains(note, "at__raw") {
		t.Errorf("the note of the table is %s", note)
	}
}
