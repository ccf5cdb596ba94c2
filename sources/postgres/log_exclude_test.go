package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources/postgres"
)

// TestLogGoesOnWithoutATable has a sink refuse one table: the lane goes on without it, the table has a lane that tells why, and the next
// run reads it anew.
func TestLogGoesOnWithoutATable(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO orders VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, lines")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `DELETE FROM orders`, `INSERT INTO orders VALUES (2, 'refused')`, `INSERT INTO lines VALUES (1, 'goes on')`)
	s, lanes := p.start(t)
	log, why := lanes[len(lanes)-1], &fault.Error{Class: fault.Fatal, Code: "ACQ-TEST", Place: "orders", Err: errors.New("the sink does not take it")}
	if goesOn, err := s.Exclude(t.Context(), log, "orders", why); err != nil || !goesOn {
		t.Fatal(goesOn, err)
	}
	r := p.open(t, s, log)
	for len(p.image.latest("lines")) == 0 {
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.image.take(t, c)
		p.positions[log.ID] = c.To
	}
	if got := p.image.latest("orders"); len(got) != 1 || got["1"] == "" {
		t.Errorf("the lane gives %v", got)
	}
	postgres.Stale(s)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopped := lanes[1]
	if _, err := s.Open(t.Context(), stopped, ""); stopped.ID != "orders@1/stopped" || !errors.Is(err, why) {
		t.Errorf("lane %s: %v", stopped.ID, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":2`) || !strings.Contains(note, "does not take it") {
		t.Errorf("the note of the table is %s", note)
	}
}

// TestLogWaitsForNoLaneThatHasFailed ends a run by itself though the first read of a table has failed for good: the log is given all the same.
func TestLogWaitsForNoLaneThatHasFailed(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, lines")
	s, _ := p.start(t)
	s.Drain()
	waits := func() (after []string) {
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return lanes[len(lanes)-1].After
	}
	if got := strings.Join(waits(), " "); got != "lines@1/0 orders@1/0" {
		t.Errorf("the log waits for %s", got)
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if goesOn, err := s.Exclude(t.Context(), lanes[1], "orders", fault.Stop(errors.New("refused"))); err != nil || goesOn {
		t.Fatal(goesOn, err)
	}
	if got := strings.Join(waits(), " "); got != "lines@1/0" {
		t.Errorf("the log waits for %s", got)
	}
}
