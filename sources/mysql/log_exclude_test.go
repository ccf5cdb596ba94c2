package mysql_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources/mysql"
)

// TestLogGoesOnWithoutATable has a sink refuse one table: the lane goes on without it, also without what statements say of it, the table
// has a lane that tells why, and the next run reads it anew.
func TestLogGoesOnWithoutATable(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE orders (id int PRIMARY KEY, name varchar(9))", "CREATE TABLE other (id int PRIMARY KEY, name varchar(9))",
		"INSERT INTO orders VALUES (1, 'a')")
	p := follow(database)
	p.run(t, 0)
	server.Exec(t, database, "DELETE FROM orders", "INSERT INTO orders VALUES (2, 'refused')", "INSERT INTO other VALUES (1, 'goes on')",
		"TRUNCATE orders", "ALTER TABLE orders MODIFY name varchar(99)", "INSERT INTO other VALUES (2, 'goes on')")
	s := open(t, p.config, p.state)
	s.Drain()
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log, why := lanes[len(lanes)-1], &fault.Error{Class: fault.Fatal, Code: "ACQ-TEST", Place: "orders", Err: errors.New("the sink does not take it")}
	if goesOn, err := s.Exclude(t.Context(), log, "orders", why); err != nil || !goesOn {
		t.Fatal(goesOn, err)
	}
	before := len(p.image.of("orders"))
	p.lane(t, s, log, 0)
	if got := p.image.of("other"); len(got) != 2 {
		t.Errorf("the lane gives %v of the other table", got)
	}
	if got := p.image.of("orders"); len(got) != before {
		t.Errorf("the lane gives %v", got)
	}
	mysql.Stale(s)
	if lanes, err = s.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := lanes[0]
	if _, err := s.Open(t.Context(), stopped, ""); stopped.ID != "orders@1/stopped" || !errors.Is(err, why) {
		t.Errorf("lane %s: %v", stopped.ID, err)
	}
	p.run(t, 0)
	p.equal(t, "orders")
	if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":2`) || !strings.Contains(note, "does not take it") {
		t.Errorf("the note of the table is %s", note)
	}
}

// TestLogWaitsForNoLaneThatHasFailed ends a run by itself though the first read of a table has failed for good: the log is given all the same.
func TestLogWaitsForNoLaneThatHasFailed(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE orders (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
	p := follow(database)
	s := open(t, p.config, p.state)
	s.Drain()
	waits := func() string {
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lanes[len(lanes)-1].After, " ")
	}
	if got := waits(); got != "orders@1/0 other@1/0" {
		t.Errorf("the log waits for %s", got)
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if goesOn, err := s.Exclude(t.Context(), lanes[0], "orders", fault.Stop(errors.New("refused"))); err != nil || goesOn {
		t.Fatal(goesOn, err)
	}
	if got := waits(); got != "other@1/0" {
		t.Errorf("the log waits for %s", got)
	}
}
