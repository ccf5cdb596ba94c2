package mysql_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/mysql"
)

// What ALTER TABLE does while nobody reads, and what the log has from before it, are told apart by what the log says of the columns.
func TestLogAcrossAlterations(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string][]string{
		"added":    {"ALTER TABLE k ADD COLUMN more int", "UPDATE k SET more = id WHERE id < 3"},
		"in front": {"ALTER TABLE k ADD COLUMN more varchar(9) FIRST", "INSERT INTO k VALUES ('m', 900, 'a', 'b', 1)"},
		"filled":   {"ALTER TABLE k ADD COLUMN more int NOT NULL DEFAULT 7"},
		"dropped":  {"ALTER TABLE k DROP COLUMN a", "INSERT INTO k VALUES (900, 'b', 1)"},
		"both":     {"ALTER TABLE k ADD COLUMN c varchar(9) AFTER id, DROP COLUMN a", "INSERT INTO k VALUES (900, 'c', 'b', 1)"},
		"renamed":  {"ALTER TABLE k CHANGE a renamed varchar(20)", "UPDATE k SET renamed = 'x' WHERE id = 2"},
		"widened":  {"ALTER TABLE k MODIFY n bigint", "UPDATE k SET n = 5000000000 WHERE id = 2"},
		"index":    {"CREATE INDEX i ON k (n)", "UPDATE k SET n = 4 WHERE id = 2", "DROP INDEX i ON k"},
		"truncate": {"TRUNCATE k", "INSERT INTO k VALUES (5, 'new', 'new', 5)"},
		"moment":   {"SET explicit_defaults_for_timestamp = OFF", "ALTER TABLE k ADD COLUMN at timestamp"},
		"made":     {"DROP TABLE k", "CREATE TABLE k (id int PRIMARY KEY, a varchar(20), b varchar(20), n int)", "INSERT INTO k VALUES (1, 'x', 'y', 3)"},
		"replaced": {"CREATE OR REPLACE TABLE k (id int PRIMARY KEY, a varchar(20), b varchar(20), n int) SELECT 7 AS id, 'x' AS a, 'y' AS b, 3 AS n"},
		"swapped":  {"CREATE TABLE other LIKE k", "INSERT INTO other VALUES (77, 'o', 'o', 7)", "RENAME TABLE k TO old, other TO k"},
		"database": {"USE information_schema", "UPDATE %s.k SET n = n + 1", "TRUNCATE TABLE /* it */ `%[1]s`.`k`", "INSERT INTO %s.k VALUES (1, 'a', 'b', 1)"},
		"xa":       {"XA START 'x'", "UPDATE k SET n = 77", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"},
		"xa back":  {"XA START 'y'", "UPDATE k SET n = 77", "XA END 'y'", "XA PREPARE 'y'", "XA ROLLBACK 'y'"},
		"text":     {"SET SESSION binlog_format = STATEMENT", "UPDATE k SET n = 78", "SET SESSION binlog_format = ROW"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := server.Database(t, "CREATE TABLE k (id int PRIMARY KEY, a varchar(20), b varchar(20), n int)",
				"INSERT INTO k SELECT seq, concat('a', seq), concat('b', seq), seq FROM seq_1_to_20")
			p := follow(database)
			p.config.Tables = []string{database + ".k"}
			p.run(t, 0)
			sql := []string{"UPDATE k SET a = 'was', n = 3 WHERE id = 2", "DELETE FROM k WHERE id = 3"}
			for _, one := range alter {
				if strings.Contains(one, "%") {
					one = fmt.Sprintf(one, database)
				}
				sql = append(sql, one)
			}
			server.Exec(t, database, sql...)
			p.run(t, 0)
			columns := map[string]bool{}
			described, err := open(t, p.config, p.state).Describe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range described[0].Fields {
				columns[f.Name] = true
			}
			if want, got := plain(t, p.stands(t, "k"), columns), plain(t, p.image.of("k"), columns); want != got {
				t.Errorf("the table has\n%s\nand the sink\n%s", want, got)
			}
		})
	}
}

// A log that was purged, or reset, has its tables read anew, and it is said why.
func TestLogLost(t *testing.T) {
	t.Parallel()
	own, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	database := own.Database(t, "CREATE TABLE k (id int PRIMARY KEY, n int)", "INSERT INTO k SELECT seq, seq FROM seq_1_to_20")
	for _, loss := range []struct {
		name string
		sql  []string
	}{
		{"reset", []string{"DELETE FROM k WHERE id = 2", "RESET MASTER", "UPDATE k SET n = n + 100", "INSERT INTO k SELECT seq, seq FROM seq_1000_to_20000"}},
		{"purged", []string{"FLUSH BINARY LOGS", "UPDATE k SET n = n + 1", "FLUSH BINARY LOGS", "DELETE FROM k WHERE id = 1", "FLUSH BINARY LOGS"}},
	} {
		p := follow(database)
		p.config.DSN = config.Secret(own.DSN(database))
		p.run(t, 0)
		own.Exec(t, database, loss.sql...)
		if loss.name == "purged" {
			purge(t, own)
		}
		p.run(t, 0)
		p.equal(t, "k")
		if p.image.ops[record.Snapshot] < 30 {
			t.Errorf("%s: the table was not read anew: %v", loss.name, p.image.ops)
		}
	}
}

// purge throws away all of the log but its last file, once the server has seen that nobody reads it.
func purge(t *testing.T, s *mysqltest.Server) {
	t.Helper()
	c, err := s.Connect("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		files, err := c.Execute("SHOW BINARY LOGS")
		if err != nil {
			t.Fatal(err)
		}
		if files.RowNumber() == 1 {
			return
		}
		last, _ := files.GetString(files.RowNumber()-1, 0)
		if _, err := c.Execute("PURGE BINARY LOGS TO '" + last + "'"); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	t.Fatal("the server keeps its log")
}

// A server whose log does not tell all is not followed by it, and the remedy is said.
func TestLogRefused(t *testing.T) {
	t.Parallel()
	own, err := mysqltest.Start("--binlog-row-metadata=NO_LOG")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	database := own.Database(t, "CREATE TABLE k (id int PRIMARY KEY, n int)", "CREATE USER reader IDENTIFIED BY 'x'", "GRANT SELECT ON *.* TO reader")
	for _, one := range []struct{ sql, dsn, want string }{
		{"SET GLOBAL binlog_row_metadata = MINIMAL", own.DSN(database), "binlog_row_metadata is MINIMAL"},
		{"SET GLOBAL binlog_row_metadata = FULL, binlog_row_image = MINIMAL", own.DSN(database), "binlog_row_image is MINIMAL"},
		{"SET GLOBAL binlog_row_image = FULL, binlog_format = MIXED", own.DSN(database), "binlog_format is MIXED"},
		{"SET GLOBAL binlog_format = ROW", strings.Replace(own.DSN(database), "root@", "reader:x@", 1), "the user may not read the log"},
	} {
		own.Exec(t, database, one.sql)
		c := mysql.Config{DSN: config.Secret(one.dsn), Capture: mysql.Capture{Strategy: "log"}}
		err := open(t, c, newNotes()).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), one.want) || fault.Of(err) != fault.Fatal {
			t.Errorf("%v, want %q", err, one.want)
		}
	}
}

// An image of a row that lacks columns stops the table, whatever the server's setting says: a session may have another one.
func TestLogStopsAtPartOfARow(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE k (id int PRIMARY KEY, n int, m int)", "INSERT INTO k SELECT seq, seq, seq FROM seq_1_to_20",
		"CREATE TABLE other (id int PRIMARY KEY)")
	p := follow(database)
	p.run(t, 0)
	server.Exec(t, database, "SET SESSION binlog_row_image = MINIMAL", "UPDATE k SET n = 7 WHERE id = 2", "SET SESSION binlog_row_image = FULL", "INSERT INTO other VALUES (1)")
	p.run(t, 0)
	if p.failed == nil || fault.Code(p.failed) != "ACQ-MY-060" || !strings.Contains(p.failed.Error(), "column n") && !strings.Contains(p.failed.Error(), "column m") {
		t.Errorf("the table says %v", p.failed)
	}
	p.equal(t, "other")
	p.run(t, 0) // the next run reads it anew
	p.equal(t, "k")
}
