package mysql_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

var followed = []string{ordersTable, "INSERT INTO orders (id, v) SELECT seq, 0 FROM seq_1_to_50"}

// What changes a table's rows without calling triggers or setting times is seen in the catalog, and the table is read anew; what changes no row is not.
func TestWhatTheCatalogTells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql   []string
		anew  bool
		fails string
	}{
		"truncated":              {sql: []string{"TRUNCATE orders", "INSERT INTO orders (id, v) VALUES (3, 3)"}, anew: true},
		"made again":             {sql: []string{"DROP TABLE orders", ordersTable, "INSERT INTO orders (id, v) VALUES (3, 3)"}, anew: true},
		"column with a default":  {sql: []string{"ALTER TABLE orders ADD c int DEFAULT 5, ALGORITHM = INSTANT"}, anew: true},
		"column without":         {sql: []string{"ALTER TABLE orders ADD c int, ALGORITHM = INSTANT", "UPDATE orders SET c = 1 WHERE id = 2"}},
		"column renamed":         {sql: []string{"ALTER TABLE orders RENAME COLUMN note TO remark, ALGORITHM = INSTANT"}, anew: true},
		"values converted":       {sql: []string{"ALTER TABLE orders MODIFY v bigint"}, anew: true},
		"an index":               {sql: []string{"CREATE INDEX more ON orders (v)"}},
		"rows moved to a table":  {sql: []string{"CREATE TABLE copied LIKE orders", "INSERT INTO copied SELECT * FROM orders", "RENAME TABLE orders TO was, copied TO orders", "UPDATE orders SET v = 8"}, anew: true},
		"another type of column": {sql: []string{"ALTER TABLE orders MODIFY v varchar(20)"}, fails: "ACQ-MY-023"},
	} {
		for _, strategy := range []string{"queue", "time"} {
			t.Run(name+" "+strategy, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, strategy, followed...)
				w.config.Capture.Margin = time.Second
				if strategy == "queue" {
					w.install(sources.InstallRequest{Strategy: strategy})
				}
				w.run1()
				w.exec("UPDATE orders SET v = v + 1 WHERE id < 10")
				w.equal("orders", true)
				w.exec(c.sql...)
				err := w.run()
				if c.fails != "" {
					if fault.Code(err) != c.fails {
						t.Error(err)
					}
					return
				}
				if strategy == "queue" && strings.Contains(w.log.String(), "strategy queue cannot be had") || fault.Code(err) == "ACQ-MY-040" { // its triggers went with the table
					w.install(sources.InstallRequest{Strategy: strategy})
				} else if err != nil {
					t.Fatal(err)
				}
				w.equal("orders", true)
				w.equal("orders", true)
				if again := w.epoch("orders") > 1; again != c.anew {
					t.Errorf("read anew: %v; %s", again, w.log.String())
				}
			})
		}
	}
}

// An entry of a transaction that commits late has a lower number than others that were read and removed.
func TestAnEntryThatComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", followed...)
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.run1()
	late := w.session()
	late.exec("BEGIN", "UPDATE orders SET v = 5 WHERE id = 1")
	for range 3 {
		w.exec("UPDATE orders SET v = v + 1 WHERE id IN (2, 3)", "DELETE FROM orders WHERE id = 4", "INSERT INTO orders (id, v) VALUES (4, 4)")
		w.run1()
	}
	late.exec("UPDATE orders SET id = 77 WHERE id = 5")
	w.exec("UPDATE orders SET v = 9 WHERE id = 2")
	w.crash = func() bool { // after the snapshot that does not show it, and before what was read is removed
		if late != nil {
			late.exec("COMMIT")
			late = nil
		}
		return false
	}
	w.equal("orders", true)
	if late != nil {
		t.Error("nothing was read")
	}
}

// Keys that the server takes for the same, by case and by blanks behind, are other keys to sinks.
func TestKeysThatDifferInCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", "CREATE TABLE named (name varchar(20) PRIMARY KEY, v int)", "INSERT INTO named VALUES ('ana', 1), ('eva', 1)")
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.run1()
	w.exec("UPDATE named SET name = 'ANA' WHERE name = 'ana'", "UPDATE named SET name = 'eva ' WHERE name = 'eva'", "DELETE FROM named WHERE name = 'ANA'",
		"INSERT INTO named VALUES ('Ana', 2)")
	w.equal("named", true)
}

// One pipeline reads a queue, with one state; a state that is older than what was removed reads the table anew.
func TestOneReaderOfAQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", followed...)
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.run1()
	old, at := w.notes.copied(), w.at["orders@1/follow"]
	w.exec("UPDATE orders SET v = 9 WHERE id = 9")
	w.equal("orders", true)

	other, err := mysql.New(w.config, sources.Host{Pipeline: "other", State: newNotes()})
	if err != nil {
		t.Fatal(err)
	}
	lanes, err := other.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(t.Context(), lanes[0], ""); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), `pipeline "test" reads the queue`) {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}

	w.notes, w.at["orders@1/follow"] = old, at // as when a state file is put back
	w.equal("orders", true)
	if w.epoch("orders") != 2 || !strings.Contains(w.log.String(), "older than what was removed") {
		t.Error(w.epoch("orders"), w.log.String())
	}
}

// A table whose rows foreign keys change is not followed unless somebody sweeps.
func TestForeignKeysThatChangeRows(t *testing.T) {
	t.Parallel()
	tables := []string{
		"CREATE TABLE rooms (id int PRIMARY KEY)", "CREATE TABLE seats (id int PRIMARY KEY, room int, FOREIGN KEY (room) REFERENCES rooms (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"INSERT INTO rooms VALUES (1), (2)", "INSERT INTO seats SELECT seq, 1 + seq % 2 FROM seq_1_to_20",
	}
	w := newWorld(t, "queue", tables...)
	w.install(sources.InstallRequest{Strategy: "queue"})
	if err := w.run(); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), "seats: strategy queue cannot be had: foreign keys change its rows") ||
		!strings.Contains(err.Error(), "capture.cascades: sweep") {
		t.Error(err)
	}
	w.config.Capture.Cascades = "sweep"
	w.run1()
	w.exec("DELETE FROM rooms WHERE id = 1", "UPDATE rooms SET id = 5 WHERE id = 2")
	w.run1()
	if missing, extra := w.differences("seats"); len(missing) == 0 || len(extra) == 0 {
		t.Error("the queue has seen what a foreign key did: the refusal is not needed any more")
	}

	auto := newWorld(t, "auto", tables...) // reads them anew
	auto.run1()
	auto.exec("DELETE FROM rooms WHERE id = 1", "UPDATE rooms SET id = 5 WHERE id = 2")
	auto.equal("seats", true)
}

// Without the right to see what others do, no time is known to be over.
func TestTimeWithoutTheRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", followed...)
	w.exec("CREATE USER IF NOT EXISTS reader@127.0.0.1", "GRANT SELECT ON "+w.database+".* TO reader@127.0.0.1")
	w.config.DSN = config.Secret(strings.Replace(server.DSN(w.database), "root@", "reader@", 1))
	if err := w.run(); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), "GRANT PROCESS ON *.*") {
		t.Error(err)
	}
	w.config.Capture.Strategy = "auto"
	w.run1()
	if _, extra := w.differences("orders"); len(extra) > 0 || !strings.Contains(w.log.String(), "it is read anew every so often") {
		t.Error(extra, w.log.String())
	}
}

// Rows with the same time come whole, over the bounds of pages; those from before a server's summer time, too.
func TestRowsOfOneTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", followed...)
	w.config.Capture.Margin = time.Second
	w.chunk, w.page = 7, 20
	w.run1()
	w.exec("INSERT INTO orders (id, v) SELECT seq, 1 FROM seq_1000_to_1500", "UPDATE orders SET v = 3 WHERE id > 1400")
	w.equal("orders", true)
	if w.given < 500 || w.given > 700 {
		t.Error(w.given)
	}
}

// A DATETIME is a moment in the zone that the settings name.
func TestTimesOfAZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", "CREATE TABLE local (id int PRIMARY KEY, v int, updated_at datetime(3) NOT NULL, KEY (updated_at))",
		"INSERT INTO local VALUES (1, 1, utc_timestamp(3) - INTERVAL 5 HOUR)")
	w.config.Capture.Margin = time.Second
	if err := w.run(); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), "capture.zone") {
		t.Error(err)
	}
	w.config.Capture.Zone = "-05:00"
	w.run1()
	w.exec("UPDATE local SET v = 2, updated_at = utc_timestamp(3) - INTERVAL 5 HOUR", "INSERT INTO local VALUES (2, 2, utc_timestamp(3) - INTERVAL 5 HOUR)")
	w.equal("local", true)
	if w.given < 2 {
		t.Error(w.given)
	}
}

// A server whose log has statements refuses to remove entries without locks that writers would wait for.
func TestAServerThatLogsStatements(t *testing.T) {
	t.Parallel()
	own, err := mysqltest.Start("--binlog-format=STATEMENT")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}()
	database := own.Database(t, followed[0])
	s := open(t, mysql.Config{DSN: config.Secret(own.DSN(database)), Capture: mysql.Capture{Strategy: "queue"}}, newNotes())
	statements, err := s.Install(t.Context(), sources.InstallRequest{Strategy: "queue"})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), "SET GLOBAL binlog_format") {
		t.Error(err)
	}
}

// Check and status say what there is, and installing can be taken back.
func TestInstall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", followed...)
	s := open(t, w.config, w.notes)
	if err := s.Check(t.Context()); fault.Code(err) != "ACQ-MY-040" || !strings.Contains(err.Error(), "acequia capture install --strategy queue") {
		t.Error(err)
	}
	w.install(sources.InstallRequest{Strategy: "queue"})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	w.run1()
	w.exec("UPDATE orders SET v = 2 WHERE id < 4")
	all, err := s.Installed(t.Context())
	if err != nil || len(all) != 1 || all[0].Waiting != 3 || all[0].Oldest <= 0 || all[0].Strategy != "queue" || strings.Join(all[0].Ready, " ") != "queue time" {
		t.Errorf("%+v %v", all, err)
	}
	for _, r := range []sources.InstallRequest{{Strategy: "queue", Overflow: "stop_trigger"}, {Strategy: "xid"}} {
		if _, err := s.Install(t.Context(), r); fault.Code(err) == "" {
			t.Errorf("%+v: %v", r, err)
		}
	}
	statements, err := s.Uninstall(t.Context(), sources.InstallRequest{})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := w.number("SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = '" + w.database + "'"); n > 0 {
		t.Errorf("%d triggers are left", n)
	}
	if err := w.run(); fault.Code(err) != "ACQ-MY-040" {
		t.Error(err)
	}
}

// What every strategy gives of a row is what the backfill gave.
func TestTypesAreTheSameWhicheverWay(t *testing.T) {
	t.Parallel()
	table := `CREATE TABLE types (id int PRIMARY KEY, tu tinyint unsigned, mu mediumint unsigned, iu int unsigned, bu bigint unsigned, b bigint, f float, d double,
		n decimal(12,2), w decimal(38,10), free decimal(65,30), zf decimal(8,2) zerofill, bits bit(7), bits64 bit(64), day date, at datetime(3), ts timestamp(6) NULL, dur time(3), y year,
		c char(5), latin varchar(20) CHARACTER SET latin1, tx text, bin binary(4), bl blob, e enum('a','b,c','it''s'), st set('x','y','z'), j json, u uuid, i6 inet6, g geometry,
		updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), touched int, KEY (updated_at, id))`
	rows := []string{
		"SET sql_mode = 'ALLOW_INVALID_DATES'", "SET time_zone = '+00:00'",
		`INSERT INTO types VALUES (1, 255, 16777215, 4294967295, 18446744073709551615, -9223372036854775808, 0.1, 0.1, -0.01, -9999999999999999999999999999.9999999999,
			99999999999999999999999999999999999.999999999999999999999999999999, 1.5, b'1111111', 18446744073709551615, '9999-12-31', '9999-12-31 23:59:59.999', '2038-01-19 03:14:07.999999',
			'-838:59:59.999', 2155, 'ñ', 'ñandú ÿ', repeat('€', 100), 0x00010000, 0x00ff00, 'it''s', 'x,z', '{"a": 1e400, "a": 2}', '123e4567-e89b-12d3-a456-426655440000', '::1',
			ST_GeomFromText('LINESTRING(1 2, 3 4)', 4326), now(6), 0)`,
		`INSERT INTO types (id, day, at, ts, dur, y, e, touched) VALUES (2, '0000-00-00', '2025-00-15 01:02:03.5', 0, '838:59:59', 0, '', 0)`,
		`INSERT INTO types (id, touched) VALUES (3, 0)`,
	}
	for _, strategy := range []string{"queue", "time"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, append([]string{table}, rows...)...)
			w.config.Capture.Margin = time.Second
			if strategy == "queue" {
				w.install(sources.InstallRequest{Strategy: strategy})
			}
			w.run1()
			same := func() (rows []string) {
				for _, id := range []string{"1\x00", "2\x00", "3\x00"} {
					row, _, _ := strings.Cut(w.sink["types"][id].row, `,"updated_at"`)
					_, rest, _ := strings.Cut(w.sink["types"][id].row, `"touched"`)
					_, raw, _ := strings.Cut(rest, ",")
					rows = append(rows, row+raw)
				}
				return rows
			}
			before := same()
			w.exec("SET sql_mode = ''", "UPDATE types SET touched = touched + 1")
			w.equal("types", true)
			after := same()
			for i := range before {
				if before[i] != after[i] || before[i] == "" {
					t.Errorf("backfill %s\n%s %s", before[i], strategy, after[i])
				}
			}
			if w.given < 3 || !strings.Contains(after[1], `"day__raw":"0000-00-00"`) {
				t.Error(w.given, after[1])
			}
		})
	}
}

// copied is what is kept now.
func (n *notes) copied() *notes {
	out := newNotes()
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(out.kept, n.kept)
	maps.Copy(out.numbers, n.numbers)
	return out
}
