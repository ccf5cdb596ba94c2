package postgres_test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
)

// TestATableIsAlteredWhileTheSlotIsMade alters a table while the server waits for a transaction before it makes the slot: it would decode all
// later changes with the columns of before, and say nothing.
func TestATableIsAlteredWhileTheSlotIsMade(t *testing.T) {
	t.Parallel()
	own := another(t)
	dsn := own.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, v int4)`, `INSERT INTO orders SELECT n, n FROM generate_series(1, 9) n`,
		`CREATE TABLE other (i int)`, "CREATE PUBLICATION acequia_altered FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot, p.config.Tables = "acequia_altered", []string{"public.orders"}
	var holders [3]*pgx.Conn
	exec := func(i int, sql string) {
		t.Helper()
		if _, err := holders[i].PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for i := range holders {
		var err error
		if holders[i], err = pgx.Connect(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
	}
	exec(0, "BEGIN; INSERT INTO other VALUES (1)")
	ended := make(chan error, 1)
	go func() { ended <- p.run(t, nil) }()
	until(t, dsn, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event = 'transactionid'")
	exec(1, "BEGIN; INSERT INTO other VALUES (2)") // the second phase waits for it
	own.Exec(t, dsn, "ALTER TABLE orders ADD COLUMN extra text", "UPDATE orders SET extra = 'filled'")
	exec(0, "COMMIT")
	until(t, dsn, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND transactionid IS NOT NULL AND transactionid IN (SELECT backend_xid FROM pg_stat_activity WHERE pid = "+strconv.Itoa(int(holders[1].PgConn().PID()))+")")
	exec(2, "BEGIN; UPDATE orders SET v = -1 WHERE id = 6") // it is in the log, for it ends when the slot is there
	exec(1, "COMMIT")
	until(t, dsn, "SELECT count(*) > 0 FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL")
	exec(2, "COMMIT")
	for i := range holders {
		_ = holders[i].Close(t.Context())
	}
	err := <-ended
	for ; err != nil && fault.Of(err) == fault.Retryable; err = p.run(t, nil) {
	}
	if err != nil {
		t.Fatal(err)
	}
	own.Exec(t, dsn, "UPDATE orders SET v = v + 1 WHERE id < 5")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", `SELECT id::text, format('{"id":%s,"v":%s,"extra":%s}', id, v, to_json(extra)) FROM orders`)
}
