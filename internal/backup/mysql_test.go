package backup_test

import (
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// onMaria makes a source of a database of MariaDB.
func onMaria(t *testing.T, name string, tables ...string) backup.Database {
	t.Helper()
	return mariaAs(t, maria.DSN(name), tables...)
}

func mariaAs(t *testing.T, dsn string, tables ...string) backup.Database {
	t.Helper()
	s, err := mysql.New(mysql.Config{DSN: config.Secret(dsn), Tables: tables, Parallel: 3}, sources.Host{Pipeline: "cinema"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return backup.Database{Name: "cinema", Source: s}
}

// asked gives the rows of a statement as texts.
func asked(t *testing.T, database, sql string) (out []string) {
	t.Helper()
	c, err := maria.Connect(database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	result, err := c.Execute(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	for _, row := range result.Values {
		var texts []string
		for _, v := range row {
			if text, ok := v.Value().([]byte); ok {
				texts = append(texts, string(text))
				continue
			}
			texts = append(texts, fmt.Sprint(v.Value()))
		}
		out = append(out, strings.Join(texts, " "))
	}
	return out
}

// refused runs a statement that must fail.
func refused(t *testing.T, database, sql string) {
	t.Helper()
	c, err := maria.Connect(database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	if _, err := c.Execute(sql); err == nil {
		t.Errorf("%s is taken", sql)
	}
}

// standsIn gives what the server says of every table: how it is made, with where counting stands, and the sum of its rows by the server's own count.
func standsIn(t *testing.T, database string) (out []string) {
	t.Helper()
	for _, name := range asked(t, database, "SELECT concat('`', replace(table_name, '`', '``'), '`') FROM information_schema.tables WHERE table_schema = database() AND table_type = 'BASE TABLE' ORDER BY 1") {
		out = append(out, asked(t, database, "SHOW CREATE TABLE "+name)...)
		sum := asked(t, database, "CHECKSUM TABLE "+name+" EXTENDED")[0]
		out = append(out, name+" "+sum[strings.LastIndexByte(sum, ' ')+1:])
	}
	return out
}

func cinemaSQL(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/cinema.sql")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), ";\n")
}

// TestARestoredMariaDBIsTheSame makes a backup of a database with what tables can have, in each format, and restores it into an empty one: the
// server says the same of both. Foreign keys hold, and counting goes on.
func TestARestoredMariaDBIsTheSame(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, cinemaSQL(t)...)
	want := standsIn(t, from)
	key := identity(t)
	for name, o := range map[string]backup.Options{
		"parquet": {}, "ndjson, encrypted": {Format: backup.NDJSON, Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), o)
			made := create(t, s, onMaria(t, from))
			if !made.Consistent || made.Position["binlog_file"] == "" || !strings.Contains(made.Position["gtid"], "-") || made.SourceDB != "mysql" || made.Rows != 8+1991+50+3+1500+3+0+2+1 {
				t.Errorf("the backup is %+v", made)
			}
			to := maria.Database(t)
			into := onMaria(t, to)
			restored, err := s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, renamed(standsIn(t, to), to, from)); diff != "" {
				t.Error(diff)
			}
			notKept := []string{
				"view `" + from + "`.`looks`", "sequence " + from + ".unused", "trigger told of " + from + ".rooms",
			}
			if diff := cmp.Diff(notKept, restored.NotKept); diff != "" {
				t.Error(diff)
			}
			for _, d := range []backup.Database{onMaria(t, from), into} {
				v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &d})
				if err != nil || !v.Whole || !*v.Equal {
					t.Errorf("it is verified as %+v, %v", v, err)
				}
			}
			maria.Exec(t, to, "INSERT INTO sold (who) VALUES ('c')")
			if next := asked(t, to, "SELECT max(id) FROM sold"); next[0] != "1100" { // the server had taken a thousand
				t.Errorf("the sequence goes on at %s", next)
			}
			refused(t, to, "INSERT INTO `before` VALUES (9, NULL, 5000)")
			refused(t, to, "DELETE FROM rooms WHERE id = 0")
			refused(t, to, "INSERT INTO older (id, n) VALUES (2, -1)")
			maria.Exec(t, to, "DELETE FROM rooms WHERE id = 7", "INSERT INTO rooms (name, seats) VALUES ('next', 1)")
			if got := asked(t, to, "SELECT (SELECT count(*) FROM `odd ``name, (x`), max(id) FROM rooms"); got[0] != "49 2001" {
				t.Errorf("after a delete that cascades, and an insert: %s", got)
			}
			if left := asked(t, "", "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'acequia\\_restore%' AND schema_name = '"+stagingOf(to)+"'"); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
			_, err = s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{})
			if fault.Code(err) != "ACQ-MY-070" || !strings.Contains(err.Error(), "`before`") {
				t.Errorf("a second time it says %v", err)
			}
		})
	}
}

// TestABackupOfMariaDBIsOfOneMoment moves money between two tables, which different sessions read, while backups are made.
func TestABackupOfMariaDBIsOfOneMoment(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE a (id int PRIMARY KEY, v int, pad text)", "INSERT INTO a SELECT seq, 100, repeat('x', 500) FROM seq_1_to_600",
		"CREATE TABLE b (id int PRIMARY KEY, v int)", "INSERT INTO b SELECT seq, 100 FROM seq_1_to_600")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 3 {
		c, err := maria.Connect(from)
		if err != nil {
			t.Fatal(err)
		}
		writing.Go(func() {
			defer func() { _ = c.Quit() }()
			for n := w; ; n += 3 {
				select {
				case <-stop:
					return
				default:
				}
				for _, sql := range []string{"BEGIN", fmt.Sprintf("UPDATE a SET v = v - 1 WHERE id = %d", n%600+1), fmt.Sprintf("UPDATE b SET v = v + 1 WHERE id = %d", n%600+1), "COMMIT"} {
					if _, err := c.Execute(sql); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	s := open(t, t.TempDir(), backup.Options{})
	d := onMaria(t, from)
	var made []*backup.Backup
	for range 3 {
		b, err := s.Create(t.Context(), d, backup.CreateOptions{})
		if err != nil {
			t.Error(err)
			break
		}
		made = append(made, b)
	}
	close(stop)
	writing.Wait()
	for i, b := range made {
		to := maria.Database(t)
		if _, err := s.Restore(t.Context(), b.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		if sum := asked(t, to, "SELECT (SELECT sum(v) FROM a) + (SELECT sum(v) FROM b)"); sum[0] != "120000" {
			t.Errorf("backup %d: the sum is %s", i+1, sum[0])
		}
	}
}

// TestTablesOfMariaDBHoldStill tries to truncate, alter and drop a table after the snapshot: all have to wait.
func TestTablesOfMariaDBHoldStill(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)")
	tried := 0
	s := open(t, t.TempDir(), backup.Options{Probe: func(at string) {
		if at != backup.AfterSnapshot {
			return
		}
		for _, sql := range []string{"TRUNCATE TABLE a NOWAIT", "ALTER TABLE a NOWAIT ADD n int", "DROP TABLE a NOWAIT", "RENAME TABLE a NOWAIT TO b"} {
			refused(t, from, sql)
			tried++
		}
	}})
	if b := create(t, s, onMaria(t, from)); b.Rows != 2 || tried != 4 {
		t.Errorf("%d rows, %d tried", b.Rows, tried)
	}
}

// TestWhatMariaDBDoesNotLetReadIsNoBackup wants the GRANT where a chosen table may not be read; one that is not chosen matters to nobody.
func TestWhatMariaDBDoesNotLetReadIsNoBackup(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE open (id int PRIMARY KEY)", "CREATE TABLE shut (id int PRIMARY KEY, secret int)", "CREATE TABLE old (id int) ENGINE=MyISAM")
	maria.Exec(t, from, "CREATE USER keeper_"+from+"@127.0.0.1", "GRANT SELECT ON "+from+".open TO keeper_"+from+"@127.0.0.1", "GRANT SELECT (secret) ON "+from+".shut TO keeper_"+from+"@127.0.0.1")
	as := mariaAs(t, strings.Replace(maria.DSN(from), "root@", "keeper_"+from+"@", 1))
	s := open(t, t.TempDir(), backup.Options{})
	_, err := s.Create(t.Context(), as, backup.CreateOptions{})
	if fault.Code(err) != "ACQ-MY-005" || !strings.Contains(err.Error(), "GRANT SELECT ON `"+from+"`.`shut`") {
		t.Errorf("it says %v", err)
	}
	if b := create(t, s, as, "open"); len(b.Tables) != 1 || !b.Consistent {
		t.Errorf("it is %+v", b)
	}
	if b := create(t, s, onMaria(t, from), "old"); b.Consistent || !slices.Contains(b.NotKept, "the moment of `"+from+"`.`old`: tables of MyISAM show none") {
		t.Errorf("it is %+v", b)
	}
	if _, err := s.Create(t.Context(), as, backup.CreateOptions{Tables: []string{"nothing"}}); fault.Code(err) != "ACQ-MY-074" {
		t.Errorf("without tables it says %v", err)
	}
}

// TestRestoreOfMariaDBAcrossDatabases restores tables of two databases, which refer to each other, and some of them without the others.
func TestRestoreOfMariaDBAcrossDatabases(t *testing.T) {
	t.Parallel()
	home := maria.Database(t, "CREATE TABLE users (id int PRIMARY KEY)", "INSERT INTO users VALUES (1), (2)")
	other := maria.Database(t, "CREATE TABLE users (id int PRIMARY KEY, CONSTRAINT u FOREIGN KEY (id) REFERENCES "+home+".users (id))", "INSERT INTO users VALUES (1)")
	maria.Exec(t, home, "CREATE TABLE looks (id int, CONSTRAINT u FOREIGN KEY (id) REFERENCES "+other+".users (id))", "INSERT INTO looks VALUES (1)")
	s := open(t, t.TempDir(), backup.Options{})
	made := create(t, s, onMaria(t, home, home+".*", other+".*"))
	if len(made.Tables) != 3 {
		t.Fatalf("it has %+v", made.Tables)
	}
	maria.Exec(t, home, "SET foreign_key_checks = 0", "DROP TABLE looks, users", "DROP DATABASE "+other)
	if _, err := s.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, home), backup.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, home, "INSERT INTO looks VALUES (2)")
	maria.Exec(t, other, "INSERT INTO users VALUES (2)")
	refused(t, other, "INSERT INTO users VALUES (3)")
	to := maria.Database(t)
	restored, err := s.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{Choose: func(table string) (bool, error) { return table == "looks", nil }})
	if err != nil || len(restored.LeftOut) != 1 || !strings.Contains(restored.LeftOut[0], "REFERENCES `"+other+"`.`users`") {
		t.Errorf("restored %+v, %v", restored, err)
	}
}

// TestRestoreIntoMariaDBNeedsLittle restores as a user who has what docs/BACKUPS.md says, and as one who has less.
func TestRestoreIntoMariaDBNeedsLittle(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE a (id int PRIMARY KEY, KEY (id))", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id int, CONSTRAINT x FOREIGN KEY (id) REFERENCES a (id))")
	s := open(t, t.TempDir(), backup.Options{})
	made := create(t, s, onMaria(t, from))
	to := maria.Database(t)
	user := "maker_" + to
	maria.Exec(t, to, "CREATE USER "+user+"@127.0.0.1", "GRANT CREATE, INSERT ON "+to+".* TO "+user+"@127.0.0.1")
	into := mariaAs(t, strings.Replace(maria.DSN(to), "root@", user+"@", 1))
	if _, err := s.Restore(t.Context(), made.ID, backup.Filter{}, into, backup.RestoreOptions{}); fault.Code(err) != "ACQ-MY-005" {
		t.Errorf("without rights it says %v", err)
	}
	maria.Exec(t, to, "GRANT ALL ON `acequia\\_restore\\_%`.* TO "+user+"@127.0.0.1")
	if _, err := s.Restore(t.Context(), made.ID, backup.Filter{}, mariaAs(t, strings.Replace(maria.DSN(to), "root@", user+"@", 1)), backup.RestoreOptions{}); err != nil {
		t.Error(err)
	}
	refused(t, to, "INSERT INTO b VALUES (2)")
}

// TestLostSessionsOfMariaDB ends the sessions of a backup, and then that of a restore, as a server does that is restarted: there is no backup, and nothing
// is left of the tables.
func TestLostSessionsOfMariaDB(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a SELECT seq FROM seq_1_to_1000", "CREATE TABLE b (id int PRIMARY KEY)")
	to := maria.Database(t)
	root := t.TempDir()
	end := func(database string) {
		for _, id := range asked(t, "", "SELECT id FROM information_schema.processlist WHERE db = '"+database+"'") {
			maria.Exec(t, "", "KILL "+id)
		}
	}
	cut := open(t, root, backup.Options{Probe: func(at string) {
		switch at {
		case backup.AfterSnapshot:
			end(from)
		case backup.AfterTable:
			end(to)
		}
	}})
	if _, err := cut.Create(t.Context(), onMaria(t, from), backup.CreateOptions{}); fault.Of(err) != fault.Retryable {
		t.Errorf("a backup whose sessions are lost says %v", err)
	}
	if all, bad, err := cut.List(t.Context(), backup.Filter{}); len(all)+len(bad) > 0 || err != nil {
		t.Errorf("there are %v, %v, %v", all, bad, err)
	}
	s := open(t, root, backup.Options{})
	made := create(t, s, onMaria(t, from))
	if _, err := cut.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{}); err == nil {
		t.Error("a restore whose session is lost succeeds")
	}
	if left := asked(t, "", "SELECT schema_name FROM information_schema.schemata WHERE schema_name = '"+stagingOf(to)+"'"); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	if _, err := s.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{}); err != nil {
		t.Error(err)
	}
}

// TestVersionedTables keeps the rows of a system-versioned table as they are now, and says that their history is not kept. Times of the server's
// own in columns cannot be made again.
func TestVersionedTables(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE TABLE a (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING", "INSERT INTO a VALUES (1, 1), (2, 1)", "UPDATE a SET v = 2 WHERE id = 1")
	s := open(t, t.TempDir(), backup.Options{})
	b := create(t, s, onMaria(t, from))
	if b.Rows != 2 || !slices.Equal(b.NotKept, []string{"the history of `" + from + "`.`a`"}) {
		t.Errorf("it is %+v", b)
	}
	to := maria.Database(t)
	if _, err := s.Restore(t.Context(), b.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if rows := asked(t, to, "SELECT concat(id, '=', v) FROM a ORDER BY 1"); !slices.Equal(rows, []string{"1=2", "2=1"}) {
		t.Errorf("it has %v", rows)
	}
	maria.Exec(t, from, "CREATE TABLE b (id int PRIMARY KEY, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING")
	if _, err := s.Create(t.Context(), onMaria(t, from), backup.CreateOptions{}); fault.Code(err) != "ACQ-MY-076" || !strings.Contains(err.Error(), "column s") {
		t.Errorf("it says %v", err)
	}
}

// TestABrokenRestoreOfMariaDBLeavesNothing has a manifest say other rows, and a table of its name made meanwhile.
func TestABrokenRestoreOfMariaDBLeavesNothing(t *testing.T) {
	t.Parallel()
	from := maria.Database(t, "CREATE SEQUENCE s", "CREATE TABLE a (id int PRIMARY KEY, t text, n int DEFAULT nextval(s))", "INSERT INTO a (id, t) SELECT seq, md5(seq) FROM seq_1_to_100", "CREATE TABLE b (id int PRIMARY KEY)")
	root := t.TempDir()
	made := create(t, open(t, root, backup.Options{}), onMaria(t, from))
	to := maria.Database(t)
	empty := func(what string) {
		t.Helper()
		if left := asked(t, "", "SELECT concat(table_schema, '.', table_name) FROM information_schema.tables WHERE table_schema IN ('"+to+"', '"+stagingOf(to)+"') AND table_name <> 'b'"); len(left) > 0 {
			t.Errorf("%s: left are %v", what, left)
		}
	}
	clash := open(t, root, backup.Options{Probe: func(at string) {
		if at == backup.BeforeFinish {
			maria.Exec(t, to, "CREATE TABLE b (other int)")
		}
	}})
	if _, err := clash.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{}); err == nil {
		t.Error("a table that was made meanwhile is written over")
	}
	empty("a table was made meanwhile")
	maria.Exec(t, to, "DROP TABLE b")
	both := open(t, root, backup.Options{Probe: func(at string) {
		if at == backup.AfterTable {
			_, err := open(t, root, backup.Options{}).Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), backup.RestoreOptions{})
			if fault.Code(err) != "ACQ-MY-077" {
				t.Errorf("a restore beside another says %v", err)
			}
		}
	}})
	one := backup.RestoreOptions{Choose: func(table string) (bool, error) { return table == "a", nil }}
	if _, err := both.Restore(t.Context(), made.ID, backup.Filter{}, onMaria(t, to), one); err != nil {
		t.Error(err)
	}
}

// stagingOf is where the tables of a database are restored first.
func stagingOf(database string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(database))
	return fmt.Sprintf("acequia_restore_%016x", h.Sum64())
}
