package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
)

// TestLogIsJoinedWhileWritersWrite publishes a table, and has it read anew, while the log is followed and many transactions change it.
func TestLogIsJoinedWhileWritersWrite(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 2000) n`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "lines")
	s, lanes := p.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		if err := p.lane(ctx, t, s, lanes[len(lanes)-1], nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	writing, stop := context.WithCancel(t.Context())
	for seed := range 4 {
		writers.Go(func() { change(writing, t, dsn, uint64(seed)) })
	}
	server.Exec(t, dsn, "ALTER PUBLICATION "+p.config.Capture.Slot+" ADD TABLE orders")
	for epoch := 1; epoch <= 2; epoch++ {
		for _, l := range appear(t, s, fmt.Sprintf("orders@%d/", epoch)) {
			if err := p.lane(t.Context(), t, s, l, nil); err != nil {
				t.Fatal(err)
			}
			p.ended[l.ID] = true
		}
		if epoch == 1 { // nothing tells of this but the catalog
			server.Exec(t, dsn, "ALTER TABLE orders ADD COLUMN more int4 DEFAULT 7")
		}
	}
	stop()
	writers.Wait()
	cancel()
	readers.Wait()
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", `SELECT id::text, format('{"id":%s,"name":%s,"more":%s}', id, to_json(name), more) FROM orders`)
	p.image.once(t)
	if p.image.ops["orders U"] == 0 || p.image.ops["orders D"] == 0 || p.image.ops["orders R"] < 2000 {
		t.Errorf("what was given: %v", p.image.ops)
	}
}

// change changes rows of the table orders in small transactions until ctx ends.
func change(ctx context.Context, t *testing.T, dsn string, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	for n := 0; ctx.Err() == nil; n++ {
		id := r.IntN(3000)
		sql := fmt.Sprintf("INSERT INTO orders (id, name) VALUES (%d, 'w%d') ON CONFLICT (id) DO UPDATE SET name = excluded.name", id, n)
		switch r.IntN(6) {
		case 0:
			sql = fmt.Sprintf("DELETE FROM orders WHERE id = %d", id)
		case 1:
			sql = fmt.Sprintf("BEGIN; %s; SELECT pg_sleep(0.02); ROLLBACK", sql)
		case 2:
			sql = fmt.Sprintf("BEGIN; %s; SELECT pg_sleep(0.05); COMMIT", sql)
		}
		if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "deadlock") {
			t.Errorf("%s: %v", sql, err)
			return
		}
	}
}

// appear asks for the lanes until some begin with a prefix, and gives these.
func appear(t *testing.T, s sources.Source, prefix string) (found []sources.Lane) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		lanes, err := s.Lanes(t.Context())
		if err != nil && fault.Code(err) != "ACQ-PG-062" { // a transaction of another test is waited for
			t.Fatal(err)
		}
		if found = slices.DeleteFunc(lanes, func(l sources.Lane) bool {
			return !strings.HasPrefix(l.ID, prefix) || strings.HasSuffix(l.ID, "/stopped")
		}); len(found) > 0 {
			return found
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("no lane of %s", prefix)
		}
	}
}
