package postgres_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// TestReport has a table that is polled, one without a key, and one that cannot be followed as it is asked.
func TestReport(t *testing.T) {
	t.Parallel()
	dsn := config.Secret(server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, n int)`, `INSERT INTO orders SELECT i, i FROM generate_series(1, 10) i`,
		`CREATE TABLE events (n int)`))
	report := func(c postgres.Config, state *notes) (map[string]sources.StreamReport, sources.Report) {
		t.Helper()
		s := open(t, c, state)
		if _, err := s.Lanes(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := s.Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]sources.StreamReport{}
		for _, one := range r.Streams {
			by[one.Stream] = one
		}
		return by, r
	}
	polled, all := report(postgres.Config{DSN: dsn, Capture: postgres.Capture{Strategy: "xmin"}}, newNotes())
	if one := polled["orders"]; one.Strategy != "xmin" || !strings.Contains(strings.Join(one.Risks, "; "), "deletes") || one.Stopped != "" || one.Anew != "" {
		t.Errorf("%+v", one)
	}
	state := newNotes()
	for range 2 { // chosen, and then taken up as it was
		again, _ := report(postgres.Config{DSN: dsn, Capture: postgres.Capture{Strategy: "auto"}}, state)
		if one := again["orders"]; one.Strategy != "xmin" || strings.Contains(strings.Join(one.Risks, "; "), "table, 0 now") {
			t.Errorf("%+v", one)
		}
	}
	if one := polled["events"]; one.Strategy != "snapshot" || len(one.Risks) != 1 {
		t.Errorf("%+v", one)
	}
	if len(all.Streams) != 2 || all.Held != 0 || all.Loss != 0 || all.Warnings != nil {
		t.Errorf("%+v", all)
	}
	unfit, _ := report(postgres.Config{DSN: dsn, Capture: postgres.Capture{Strategy: "queue"}}, newNotes())
	if one := unfit["orders"]; !strings.Contains(one.Stopped, "queue") {
		t.Errorf("%+v", one)
	}
}
