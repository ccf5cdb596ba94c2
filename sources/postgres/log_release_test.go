package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// TestLogLetsItsSnapshotGo reads tables in the snapshot of a slot that is not the first, and one that is dropped before it is read: the
// session that holds the snapshot ends, for it keeps the server from cleaning up.
func TestLogLetsItsSnapshotGo(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a')`,
		`CREATE TABLE notes (id int8 PRIMARY KEY, name text)`, `INSERT INTO notes VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, notes")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	until(t, dsn, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'")
	server.Exec(t, dsn, "SELECT pg_drop_replication_slot('"+p.config.Capture.Slot+"')")
	s, lanes := p.start(t)
	const held = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'walsender'"
	until(t, dsn, held)
	read := func(stream string) {
		for _, l := range lanes {
			if !l.Endless && l.Streams[0] == stream {
				if err := p.lane(t.Context(), t, s, l, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	read("orders")
	until(t, dsn, held)
	server.Exec(t, dsn, "DROP TABLE notes")
	postgres.Stale(s)
	if _, err := s.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, dsn, "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'walsender'")
}

// TestLogReadsBesideALock reads a table beside its lanes while a transaction that was there before changes its columns: the read waits
// for that transaction, and so must not hold what it waits for.
func TestLogReadsBesideALock(t *testing.T) {
	t.Parallel()
	own := another(t) // who makes a slot waits for all transactions
	dsn := own.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a')`, "CREATE PUBLICATION acequia_beside FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_beside"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	owner, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		if _, err := owner.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	exec("BEGIN; SELECT pg_current_xact_id(); SET LOCAL lock_timeout = '3s'")
	s, _ := p.start(t)
	rows, ended := 0, make(chan error, 1)
	go func() {
		ended <- s.Scan(t.Context(), "orders", sources.KeyRange{}, func(b *record.Batch) error {
			rows += b.Rows
			return nil
		})
	}()
	until(t, dsn, "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_snapshot_xmin%' AND pid <> pg_backend_pid()")
	exec("ALTER TABLE orders ADD COLUMN more text")
	exec("COMMIT")
	if err := <-ended; err != nil || rows != 1 {
		t.Errorf("the read gave %d rows: %v", rows, err)
	}
	_ = owner.Close(t.Context())
}

// TestLogReadsTheTablesOwnRows updates a row with a large value that the server does not send, while a table that inherits from it has a
// row of the same key.
func TestLogReadsTheTablesOwnRows(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4)`,
		`INSERT INTO documents SELECT n, n, `+big+` || n, NULL, 2 * n FROM generate_series(1, 5) n`, `CREATE TABLE drafts () INHERITS (documents)`,
		`INSERT INTO drafts SELECT n, n, 'of the other', 'of the other', 0 FROM generate_series(1, 5) n`, "ANALYZE") // the smaller side is hashed, and its last rows come first
	p := newPipeline(dsn).name()
	p.config.Tables = []string{"public.documents"}
	p.publish(t, dsn, "ONLY documents")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, "DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE ONLY documents SET n = n + 1, twice = 2 * (n + 1); END LOOP; END $$")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "documents", documents+" WHERE tableoid = 'documents'::regclass")
}
