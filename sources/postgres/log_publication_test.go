package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// TestLogPublishesNoChildren installs the publication for a table from which another inherits that has no key: its owner goes on to
// update it.
func TestLogPublishesNoChildren(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE drafts () INHERITS (orders)`,
		`INSERT INTO drafts VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	statements, err := s.Install(t.Context(), sources.InstallRequest{Strategy: "log"})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `UPDATE drafts SET name = 'b'`)
	server.Exec(t, dsn, `CREATE TABLE more (id int8 PRIMARY KEY)`, `CREATE TABLE fewer () INHERITS (more)`, `INSERT INTO fewer VALUES (1)`)
	if statements, err = s.Install(t.Context(), sources.InstallRequest{Strategy: "log"}); err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `DELETE FROM fewer`)
	if got := scalar(t, dsn, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables"); got != "more orders" {
		t.Errorf("the publication has %s", got)
	}
}

// TestLogIsUninstalledWithoutItsPublication drops the publication by hand: the slot, which goes on to hold WAL back, is told, and taken
// away by uninstall all the same.
func TestLogIsUninstalledWithoutItsPublication(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	p.config.Capture.Strategy = "auto"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, "DROP PUBLICATION "+p.config.Capture.Slot)
	s, _ := p.start(t)
	report, err := s.Report(t.Context())
	if err != nil || report.Streams[0].Strategy == "log" || !strings.Contains(strings.Join(report.Warnings, "; "), "no table is followed by the log any more") {
		t.Errorf("the report is %+v, %v", report, err)
	}
	until(t, dsn, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'")
	statements, err := s.Uninstall(t.Context(), sources.InstallRequest{Strategy: "log"})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := scalar(t, dsn, "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'"); n != "0" {
		t.Error("the slot is there still")
	}
}

// TestUninstallWaitsForAReader takes the slot away while a session that reads it is ending.
func TestUninstallWaitsForAReader(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	source, lanes := p.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.lane(ctx, t, source, lanes[len(lanes)-1], nil) }()
	until(t, dsn, "SELECT active FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'")
	statements, err := source.Uninstall(t.Context(), sources.InstallRequest{Strategy: "log"})
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(500*time.Millisecond, cancel).Stop()
	if err := source.Apply(t.Context(), statements, nil); err != nil {
		t.Error(err)
	}
	<-ended
}

// TestLogNeedsTheKeyInTheIdentity has a table without a primary key, whose replica identity is another index than its key.
func TestLogNeedsTheKeyInTheIdentity(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 NOT NULL UNIQUE, code int8 NOT NULL UNIQUE, name text)`,
		`ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_code_key`, `CREATE TABLE lines (id int8 NOT NULL UNIQUE, name text)`,
		`ALTER TABLE lines REPLICA IDENTITY USING INDEX lines_id_key`)
	p := newPipeline(dsn).name()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	statements, err := s.Install(t.Context(), sources.InstallRequest{Strategy: "log"})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := scalar(t, dsn, "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables"); got != "lines" {
		t.Errorf("the publication has %s", got)
	}
}
