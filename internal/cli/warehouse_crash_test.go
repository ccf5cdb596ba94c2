package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/routers"
)

// TestWarehouseRunIsKilled kills runs into a warehouse at each point of the commit protocol and at random, then lets one end. The records
// have no key, and the server takes the ids of their events away, so that one which is merged twice is there twice.
func TestWarehouseRunIsKilled(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn := server.Database(t)
	r, kills := newFileRun(t), 0
	text := strings.NewReplacer("key: [id], ", "", "lake: { type: lake, url: lake, partition: [century] }", "warehouse: { type: postgres, dsn: \""+dsn+"\" }", "[lake]", "[warehouse]").Replace(fileProject)
	r.write(t, "lines.yaml", []byte(text))
	try := func(o order, life time.Duration) {
		code, killed, output, err := r.command(t.Context(), o, life, "run", "lines.yaml")
		switch {
		case err != nil || !killed && code != exitOK && code != exitPartial:
			t.Fatalf("%+v: exit code %d, %v\n%s", o, code, err, output)
		case killed:
			kills++
		}
	}
	try(order{}, 0)
	server.Exec(t, dsn, `CREATE FUNCTION bare() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW."_event_id" = NULL; RETURN NEW; END $$`,
		"CREATE TRIGGER bare BEFORE INSERT OR UPDATE ON lines FOR EACH ROW EXECUTE FUNCTION bare()", "UPDATE lines SET id = id")
	for i := range 6 {
		r.grow(t, fmt.Sprintf("part-%d.csv", i%fileCount), 20_000)
		try(order{}, time.Duration(100+rand.IntN(600))*time.Millisecond)
	}
	random := kills
	for i, point := range routers.Points() {
		r.grow(t, fmt.Sprintf("part-%d.csv", i%fileCount), 300) // so that each run has something to do
		try(order{KillAt: "lines/" + point + ":1"}, 0)
	}
	try(order{}, 0)
	r.checkWarehouse(t, dsn)
	t.Logf("%d kills at random, %d at points", random, kills-random)
	if kills-random < len(routers.Points())-1 { // there may be nothing to roll forward
		t.Errorf("only %d runs were killed at points", kills-random)
	}
}

// checkWarehouse compares the table with the rows that must be there, each once, and wants nothing to be left staged.
func (r *fileRun) checkWarehouse(t *testing.T, dsn string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	seen := map[int64]int{}
	var id, staged int64
	var n, bare int
	rows, err := c.Query(ctx, `SELECT id, count(*), count(*) FILTER (WHERE "_event_id" IS NULL) FROM lines GROUP BY id`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&id, &n, &bare}, func() error {
			if seen[id] = n; bare != n {
				return fmt.Errorf("%d has an id of its event: the test would prove nothing", id)
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	lost, doubled, more := 0, 0, 0
	for id := range r.rows {
		if seen[id] == 0 {
			lost++
		}
	}
	for id, n := range seen {
		if n > 1 {
			doubled++
		}
		if !r.rows[id] {
			more++
		}
	}
	if err := c.QueryRow(ctx, `SELECT (SELECT count(*) FROM acequia.stages) + (SELECT count(*) FROM pg_class WHERE relname LIKE 'stage\_%' AND relkind = 'r')`).Scan(&staged); err != nil {
		t.Fatal(err)
	}
	if lost+doubled+more > 0 || staged > 0 {
		t.Errorf("of %d rows %d lost, %d doubled, %d that should not be there; %d left staged", len(r.rows), lost, doubled, more, staged)
	}
}
