package postgres_test

import (
	"testing"

	"github.com/acequia-io/acequia/sources"
)

// Keys that are read as text are in their own order all the same: what is read after a crash begins after the last of them.
func TestKeysReadAsTextKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"xid", "queue", "xmin"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, "CREATE TABLE spans (id int4range PRIMARY KEY, v int NOT NULL)",
				"INSERT INTO spans SELECT int4range(i, i + 1), 0 FROM generate_series(1, 2500) i")
			w.chunk, w.page = 1000, 2000
			if strategy != "xmin" {
				w.install(sources.InstallRequest{Strategy: strategy})
			}
			chunks := 0
			w.crash = func() bool {
				chunks++
				return chunks%2 == 0
			}
			for range 20 {
				if w.run() == nil {
					break
				}
			}
			w.equal("spans", true)
			w.exec("UPDATE spans SET v = 1")
			for range 20 {
				if w.run() == nil {
					break
				}
			}
			w.equal("spans", true)
			if w.given < 2500 {
				t.Errorf("%d records of changes", w.given)
			}
		})
	}
}
