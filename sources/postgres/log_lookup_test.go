package postgres_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/config"
)

// TestLogLooksUpATableThatIsCalledOtherwise reads what was not sent while the table has another name, or its column is gone.
func TestLogLooksUpATableThatIsCalledOtherwise(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after, want string }{
		"another name for a while": {"ALTER TABLE documents RENAME TO other_name", "ALTER TABLE other_name RENAME TO documents", `"n":100,"body":"`},
		"a column that is dropped": {"ALTER TABLE documents DROP other", "SELECT", `"n":100,"body":"`},
	} {
		dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4)`,
			`INSERT INTO documents SELECT n, n, `+big+` || n, `+big+`, NULL FROM generate_series(1, 5) n`)
		p := newPipeline(dsn).name()
		p.publish(t, dsn, "documents")
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		s, lanes := p.start(t)
		log := lanes[len(lanes)-1]
		server.Exec(t, dsn, `UPDATE documents SET n = 100 WHERE id = 1`, c.before)
		r := p.open(t, s, log)
		for end := time.Now().Add(5 * time.Second); p.image.ops["documents U"] == 0 && time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			chunk, err := r.Read(ctx)
			cancel()
			if err == nil {
				p.image.take(t, chunk)
				p.positions[log.ID] = chunk.To
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
				break
			}
		}
		server.Exec(t, dsn, c.after)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		if got := p.image.latest("documents")["1"]; !strings.Contains(got, c.want) {
			t.Errorf("%s: %.100s", name, got)
		}
		if p.image.absent > 0 {
			t.Errorf("%s: %d values are absent", name, p.image.absent)
		}
	}
}

// TestLogReadsLargeValuesInLittleMemory updates many rows with large values that the updates do not touch.
func TestLogReadsLargeValuesInLittleMemory(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text)`, `ALTER TABLE documents ALTER body SET STORAGE EXTERNAL`,
		`INSERT INTO documents SELECT n, n, repeat('x', 100000) FROM generate_series(1, 3000) n`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "documents")
	s, lanes := p.start(t)
	server.Exec(t, dsn, `UPDATE documents SET n = 0`)
	r := p.open(t, s, lanes[len(lanes)-1])
	rows, most := 0, 0
	for rows < 3000 {
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, b := range c.Batches {
			rows += b.Rows
			bytes += len(b.Columns[2].Bytes)
		}
		most = max(most, bytes)
		c.Release()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if most > 32<<20 {
		t.Errorf("one chunk has %d MB", most>>20)
	}
}

// TestLogLooksUpWhatLasts reads a value that was not sent when another transaction has changed it, whose commit a crash of the server
// takes back.
func TestLogLooksUpWhatLasts(t *testing.T) {
	t.Parallel()
	settings := []string{"wal_writer_delay=10s", "checkpoint_timeout=1d"}
	own := another(t, settings...)
	dsn := own.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4)`,
		`INSERT INTO documents SELECT n, n, `+big+` || n, NULL, 0 FROM generate_series(1, 5) n`, "CREATE PUBLICATION acequia_lasts FOR TABLE documents")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_lasts"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	s, lanes := p.start(t)
	log := lanes[len(lanes)-1]
	r := p.open(t, s, log)
	own.Exec(t, dsn, `UPDATE documents SET n = 100 WHERE id = 1`, `SET synchronous_commit = off; UPDATE documents SET body = 'taken back' WHERE id = 1`)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	if c, err := r.Read(ctx); err == nil {
		p.image.take(t, c)
		p.positions[log.ID] = c.To
	}
	cancel()
	if err := errors.Join(own.Stop(syscall.SIGQUIT), own.Run(settings...)); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	own.Exec(t, dsn, `INSERT INTO documents VALUES (6, 6, 'small', NULL, 0)`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	if text := scalar(t, dsn, "SELECT body FROM documents WHERE id = 1"); text == "taken back" {
		t.Skip("the server had written it")
	}
	p.equal(t, dsn, "documents", documents)
}

// TestLogMayNotLookUp takes away the right to read a table of which values were not sent: that table stops, and the other goes on.
func TestLogMayNotLookUp(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text)`, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO documents SELECT n, n, `+big+` || n FROM generate_series(1, 5) n`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "documents, orders")
	role := "reader_" + p.database()
	server.Exec(t, dsn, "CREATE ROLE "+role+" LOGIN REPLICATION", "GRANT SELECT ON documents, orders TO "+role)
	p.config.DSN = config.Secret(strings.Replace(dsn, "postgres@", role+"@", 1))
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	s, lanes := p.start(t)
	server.Exec(t, dsn, `UPDATE documents SET n = 100`, "REVOKE SELECT ON documents FROM "+role, `INSERT INTO orders VALUES (1, 'goes on')`)
	r := p.open(t, s, lanes[len(lanes)-1])
	for len(p.image.latest("orders")) == 0 {
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.image.take(t, c)
		p.positions[lanes[len(lanes)-1].ID] = c.To
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if note := string(p.state.kept["table documents"]); !strings.Contains(note, "permission denied") {
		t.Errorf("the note of the table is %s", note)
	}
	server.Exec(t, dsn, "GRANT SELECT ON documents TO "+role)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	if got := p.image.latest("documents")["1"]; !strings.Contains(got, `"n":100`) {
		t.Errorf("the sinks have %.100s", got)
	}
}

// TestLogOfAPartitionWithAnotherIdentity changes the key of a row with a large value in a partition whose replica identity is poorer than
// that of its root: the server calls the old row whole, as the root's would be, and it has the key alone.
func TestLogOfAPartitionWithAnotherIdentity(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4) PARTITION BY RANGE (id)`,
		`CREATE TABLE low PARTITION OF documents FOR VALUES FROM (0) TO (100)`, `ALTER TABLE ONLY documents REPLICA IDENTITY FULL`,
		`INSERT INTO documents SELECT n, n, `+big+` || n, NULL, 0 FROM generate_series(1, 5) n`)
	p := newPipeline(dsn).name()
	p.config.Tables = []string{"public.documents"}
	p.publish(t, dsn, "documents")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `UPDATE documents SET id = 50 WHERE id = 1`, `UPDATE documents SET n = 22 WHERE id = 2`, `DELETE FROM documents WHERE id = 3`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "documents", documents)
}
