package postgres_test

import (
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/sources"
)

// A standby's snapshots do not list the transactions that are under way at the primary: below the oldest of them is what is over.
func TestPollsOfAStandby(t *testing.T) {
	t.Parallel()
	primary, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = primary.Close() }()
	dsn := primary.DSN("postgres")
	primary.Exec(t, dsn, ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standby.Close() }()
	replayed := func(w *world) {
		lsn := w.session().texts("SELECT pg_current_wal_lsn()::text")[0]
		at := *w
		at.config.DSN = config.Secret(standby.DSN("postgres"))
		s := at.session()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if s.texts("SELECT (pg_last_wal_replay_lsn() >= '" + lsn + "')::text")[0] == "true" {
				return
			}
		}
	}
	for _, strategy := range []string{"xid", "xmin"} {
		w := newWorld(t, strategy)
		w.config.DSN = config.Secret(dsn)
		if strategy == "xid" {
			w.install(sources.InstallRequest{Strategy: strategy})
		}
		w.exec("UPDATE orders SET v = 0, note = '" + strategy + "'")
		late := w.session()
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.equal("orders", true)
		late.exec("BEGIN", "UPDATE orders SET v = 1 WHERE id = 1")
		primary.Exec(t, dsn, "UPDATE orders SET v = 2 WHERE id = 2")
		w.config.DSN = config.Secret(dsn)
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.meanwhile(func() { late.exec("COMMIT") })
		w.config.DSN = config.Secret(dsn)
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.equal("orders", true)
	}
	// Strategies that a standby cannot serve are refused.
	for _, strategy := range []string{"queue", "time"} {
		w := newWorld(t, strategy)
		w.config.DSN = config.Secret(dsn)
		if strategy == "queue" {
			w.install(sources.InstallRequest{Strategy: strategy})
			replayed(w)
		}
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		if err := w.run(); err == nil {
			t.Error(strategy, "is not refused at a standby")
		}
	}
}
