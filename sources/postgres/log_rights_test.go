package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
)

// TestLogNeedsRights lacks each thing that the log needs, and is told it with what to do.
func TestLogNeedsRights(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	says := func(p *pipeline, words ...string) {
		t.Helper()
		err := p.run(t, nil)
		for _, w := range words {
			if fault.Of(err) != fault.Fatal || !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("the run says %v, without %q", err, w)
			}
		}
	}
	says(p, "there is no such publication", "acequia capture install --strategy log --apply")
	p.publish(t, dsn, "orders")
	role := "reader_" + p.database()
	server.Exec(t, dsn, "CREATE ROLE "+role+" LOGIN", "GRANT SELECT ON orders TO "+role)
	weak := newPipeline(dsn).name()
	weak.config.DSN = config.Secret(strings.Replace(dsn, "postgres@", role+"@", 1))
	says(weak, "may not replicate", "alter role "+role+" replication")
	server.Exec(t, dsn, "ALTER ROLE "+role+" REPLICATION")
	if err := weak.run(t, nil); err != nil {
		t.Error(err)
	}
	weak.equal(t, dsn, "orders", orders)

	s := another(t, "wal_level=replica")
	dsn = s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_small FOR TABLE orders")
	small := newPipeline(dsn)
	small.config.Capture.Slot = "acequia_small"
	says(small, "wal_level is replica", "alter system set wal_level = logical")
	full := another(t, "max_replication_slots=1")
	dsn = full.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_small FOR TABLE orders",
		"SELECT pg_create_physical_replication_slot('other')")
	small = newPipeline(dsn)
	small.config.Capture.Slot = "acequia_small"
	says(small, "max_replication_slots", "other")
}

// TestLogBeginsAtOneMoment changes a table between the making of the slot and the first read of the table. The read shows the moment of
// the slot, and the log tells the change; without that moment the read shows the change too, and nothing is wrong.
func TestLogBeginsAtOneMoment(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a'), (2, 'b')`)
		p := newPipeline(dsn).name()
		p.publish(t, dsn, "orders")
		s, lanes := p.start(t)
		if !kept {
			end := "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = '" + p.database() + "'"
			server.Exec(t, dsn, end)
		}
		server.Exec(t, dsn, `INSERT INTO orders VALUES (3, 'later')`, `DELETE FROM orders WHERE id = 1`)
		if err := p.lane(t.Context(), t, s, lanes[0], nil); err != nil {
			t.Fatal(err)
		}
		got, want := fmt.Sprint(p.image.latest("orders")), `map[1:{"id":1,"name":"a"} 2:{"id":2,"name":"b"}]`
		if !kept {
			want = `map[2:{"id":2,"name":"b"} 3:{"id":3,"name":"later"}]`
		}
		if got != want {
			t.Errorf("the session kept: %t; the first read gave %s, want %s", kept, got, want)
		}
		until(t, dsn, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = '"+p.database()+"'") // it is let go
		p.ended[lanes[0].ID] = true
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		p.equal(t, dsn, "orders", orders)
	}
}
