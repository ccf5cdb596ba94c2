package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/postgres"
)

// TestLogOfAServerThatWentBack goes on after a copy of the server's files was put back, whose log has grown beyond the position by the
// time that the log is opened.
func TestLogOfAServerThatWentBack(t *testing.T) {
	t.Parallel()
	own := another(t)
	dsn := own.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a'), (2, 'b')`,
		"CREATE PUBLICATION acequia_back FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_back"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.positions["log@1"] = record.Position(scalar(t, dsn, "SELECT (pg_current_wal_lsn() + 1000000)::text"))
	var seen map[string]any
	if err := json.Unmarshal(p.state.kept["server"], &seen); err != nil {
		t.Fatal(err)
	}
	seen["lsn"] = seen["lsn"].(float64) + 100e6
	p.state.kept["server"], _ = json.Marshal(seen)
	changed := false
	if err := p.run(t, func(lane string, _ record.Chunk) error {
		if !changed && strings.HasPrefix(lane, "orders@") {
			changed = true
			own.Exec(t, dsn, `UPDATE orders SET name = 'of the new history' WHERE id = 1`, written(3))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !changed {
		t.Error("the table was not read anew")
	}
	p.equal(t, dsn, "orders", orders)
}

// TestLogWhosePublicationIsMadeAnew drops the publication while the slot is read, and makes it again, in a database where nothing
// happens: the slot is another one then, and what reads the old one lets it go.
func TestLogWhosePublicationIsMadeAnew(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	s, lanes := p.start(t)
	log := lanes[len(lanes)-1]
	r := p.open(t, s, log)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := r.Read(context.WithoutCancel(t.Context()))
			if err != nil {
				ended <- errors.Join(err, r.Close())
				return
			}
			c.Release()
		}
	}()
	server.Exec(t, dsn, "DROP PUBLICATION "+p.config.Capture.Slot)
	p.publish(t, dsn, "orders")
	postgres.Stale(s)
	appear(t, s, "log@2")
	if err := <-ended; !errors.Is(err, io.EOF) { // any other end would be one of a lane that has failed
		t.Error(err)
	}
}
