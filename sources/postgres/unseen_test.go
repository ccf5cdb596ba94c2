package postgres_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// A table gets a partition by a transaction that has begun before the rows in it were written, by others, while it was none.
func TestPartitionThatAnOlderTransactionAttaches(t *testing.T) {
	t.Parallel()
	for _, s := range strategies {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s.name, partsSQL)
			w.config.Tables, w.config.Capture.Margin = []string{"public.parts"}, 200*time.Millisecond
			if s.install {
				w.install(sources.InstallRequest{Strategy: s.name})
			}
			w.exec("CREATE TABLE parts_3 (LIKE parts INCLUDING ALL)")
			w.equal("parts", s.deletes)
			writer, old := w.session(), w.session()
			writer.exec("BEGIN", "SELECT now()") // strategy time: its time is before that of the other
			old.exec("BEGIN", "SELECT pg_current_xact_id()")
			writer.exec("INSERT INTO parts_3 (id, day) SELECT i, '2026-03-05' FROM generate_series(500, 600) i", "COMMIT")
			if s.name != "xmin" && s.name != "time" {
				w.equal("parts", s.deletes)
			}
			old.exec("ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')", "COMMIT")
			w.calm()
			w.equal("parts", s.deletes)
		})
	}
}

// A column that is dropped and made again under its name is empty in rows that nobody has written.
func TestColumnThatIsMadeAgain(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		w.exec("INSERT INTO orders (id, v, note) SELECT i, 0, 'before' FROM generate_series(1, 20) i")
		w.equal("orders", deletes)
		w.exec("ALTER TABLE orders DROP note", "ALTER TABLE orders ADD note text")
		w.equal("orders", true)
		w.exec("UPDATE orders SET note = 'again'")
		w.equal("orders", true)
		w.exec("ALTER TABLE orders DROP note")
		w.equal("orders", true)
		if n := w.epoch("orders"); n != 2 {
			w.Errorf("a column was dropped, and the table is in incarnation %d", n)
		}
		w.exec("ALTER TABLE orders ADD note text")
		w.equal("orders", true)
		w.exec("ALTER TABLE orders ADD other text")
		w.equal("orders", true)
		if n := w.epoch("orders"); n != 3 {
			w.Errorf("a column was added, and the table is in incarnation %d", n)
		}
	})
}

// A value of an enum gets another name: no row is written, and all of them that have it are others.
func TestValueOfAnEnumIsRenamed(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		w.exec("CREATE TYPE state AS ENUM ('new', 'paid')", "CREATE DOMAIN stated AS state",
			"ALTER TABLE orders ADD state state, ADD states stated[]", "INSERT INTO orders (id, v, state, states) VALUES (1, 0, 'new', '{new,paid}'), (2, 0, 'paid', NULL)")
		w.equal("orders", deletes)
		w.exec("ALTER TYPE state ADD VALUE 'sent'", "UPDATE orders SET state = 'sent' WHERE id = 2")
		w.equal("orders", deletes)
		if n := w.epoch("orders"); n != 1 {
			w.Errorf("a value was added, and the table is in incarnation %d", n)
		}
		w.exec("ALTER TYPE state RENAME VALUE 'new' TO 'fresh'")
		w.equal("orders", true)
		if n := w.epoch("orders"); n != 2 {
			w.Errorf("a value was renamed, and the table is in incarnation %d", n)
		}
	})
}

// What follows a table ends when it is dropped or renamed, without an error; under its name again it is read anew.
func TestTableGoesWhileItIsFollowed(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"xmin", "time"} {
		for _, sql := range []string{
			"DROP TABLE orders", "ALTER TABLE orders RENAME TO away",
			"BEGIN; ALTER TABLE orders RENAME TO away; CREATE TABLE orders (LIKE away INCLUDING ALL); INSERT INTO orders VALUES (7, 7); COMMIT",
		} {
			w := newWorld(t, strategy, ordersSQL, "INSERT INTO orders (id, v) SELECT n, n FROM generate_series(1, 10) n", "CREATE TABLE other (id int PRIMARY KEY, updated_at timestamptz)")
			w.config.Capture.Margin, w.config.Tables = 200*time.Millisecond, []string{"public.o*"}
			s, _ := w.followed(sql)
			ids := w.again(s)
			if w.Failed() {
				t.Errorf("%s: %s: the lanes are%s", strategy, sql, ids)
			}
			if strings.HasPrefix(sql, "BEGIN") {
				w.equal("orders", true)
			}
		}
	}
}

// A table that has another's name now is not read for it.
func TestTablesThatChangeTheirNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT n, n FROM generate_series(1, 10) n", "CREATE TABLE spare (LIKE orders INCLUDING ALL)")
	w.config.Tables = []string{"public.orders", "public.spare"}
	w.install(sources.InstallRequest{Strategy: "queue"})
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	s := open(t, w.config, w.notes)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.exec("BEGIN; ALTER TABLE orders RENAME TO x; ALTER TABLE spare RENAME TO orders; ALTER TABLE x RENAME TO spare; UPDATE spare SET v = v + 1; COMMIT")
	follow := lanes[slices.IndexFunc(lanes, func(l sources.Lane) bool { return l.ID == "orders@1/follow" })]
	r, err := s.Open(t.Context(), follow, w.at[follow.ID])
	if err != nil {
		t.Fatal(err)
	}
	for {
		chunk, err := r.Read(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("records of another table, to %s", chunk.To)
		chunk.Release()
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Statements about a table change the rows of those that inherit from it, and call their triggers for rows alone.
func TestRowsThatAreChangedByTheTableInheritedFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "CREATE TABLE special (PRIMARY KEY (id)) INHERITS (orders)",
		"INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 5) i", "INSERT INTO special (id, v) SELECT i, 0 FROM generate_series(4, 9) i")
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.equal("special", true)
	w.exec("UPDATE orders SET v = 1", "DELETE FROM orders WHERE id = 8", "UPDATE ONLY orders SET v = 2 WHERE id = 4")
	w.equal("special", true)
	w.equal("orders", true)
	w.exec("TRUNCATE orders")
	w.equal("special", true)
	w.equal("orders", true)
}

// A backfill that was asked for leaves no connection when it is closed.
func TestNoConnectionIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "xmin", ordersSQL, "INSERT INTO orders (id, v) VALUES (1, 1)")
	s, err := postgres.New(w.config, sources.Host{Pipeline: "leaves nothing", State: w.notes})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rewind(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.Backfill(nil, 3)
	if _, err := s.Lanes(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	await(t, "no connection is left", func() bool {
		return w.texts("SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'acequia leaves nothing'")[0] == "0"
	})
}

// A server that ends idle sessions lets ours wait between two polls.
func TestSessionsThatWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "xmin", ordersSQL, "INSERT INTO orders (id, v) VALUES (1, 1)",
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET idle_session_timeout = 1000', current_database()); END $$")
	w.config.Capture.Every = 1600 * time.Millisecond
	s := open(t, w.config, w.notes)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), lanes[slices.IndexFunc(lanes, func(l sources.Lane) bool { return l.Endless })], "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for err == nil { // what was written when following began may come
		var chunk record.Chunk
		chunk, err = r.Read(ctx)
		chunk.Release()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error("what follows an idle table ends:", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// slowNotes do something while a note is being kept.
type slowNotes struct {
	*notes
	meanwhile func(key string)
}

func (n *slowNotes) Save(ctx context.Context, key string, value []byte) error {
	n.meanwhile(key)
	return n.notes.Save(ctx, key, value)
}

// That a table must be read anew is found while another reader notes something of it: neither is forgotten.
func TestWhatIsFoundWhileSomethingIsNoted(t *testing.T) {
	t.Parallel()
	dsn := newWorld(t, "xmin", ordersSQL, "INSERT INTO orders (id, v) VALUES (1, 1)").config
	state := &slowNotes{notes: newNotes(), meanwhile: func(string) {}}
	s := open(t, dsn, state)
	if _, err := s.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := make(chan struct{})
	state.meanwhile = func(key string) {
		if key != "table orders" {
			return
		}
		state.meanwhile = func(string) {}
		go func() {
			defer close(found)
			postgres.ReadAnew(s, "orders", 1, "of a test")
		}()
		select {
		case <-found:
		case <-time.After(100 * time.Millisecond): // it waits for this
		}
	}
	if err := postgres.Note(s, "orders", 1); err != nil {
		t.Fatal(err)
	}
	<-found
	lanes, err := s.Lanes(t.Context())
	if err != nil || !slices.ContainsFunc(lanes, func(l sources.Lane) bool { return l.ID == "orders@2/follow" }) {
		t.Error(lanes, err)
	}
}
