package mysql_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// What the log needs is printed, and run when it is asked for; then it can be followed, and there is nothing left to do.
func TestLogIsInstalled(t *testing.T) {
	t.Parallel()
	own, err := mysqltest.Start("--binlog-row-metadata=NO_LOG", "--binlog-format=MIXED")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	database := own.Database(t, "CREATE TABLE k (id int PRIMARY KEY)", "CREATE USER 'a reader'@'127.0.0.1' IDENTIFIED BY 'x'", "GRANT SELECT ON *.* TO 'a reader'@'127.0.0.1'")
	install := func(dsn string, apply bool) (sql []string) {
		t.Helper()
		s := open(t, mysql.Config{DSN: config.Secret(dsn), Capture: mysql.Capture{Strategy: "log"}}, newNotes())
		statements, err := s.Install(t.Context(), sources.InstallRequest{Strategy: "log"})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range statements {
			sql = append(sql, one.SQL)
		}
		if !apply {
			return sql
		}
		if err := s.Apply(t.Context(), statements, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if left, err := s.Uninstall(t.Context(), sources.InstallRequest{Strategy: "log"}); err != nil || len(left) > 0 {
			t.Errorf("the server's settings would be taken back: %v, %v", left, err)
		}
		return sql
	}
	reader := strings.Replace(own.DSN(database), "root@", "a%20reader:x@", 1)
	const want = "SET GLOBAL binlog_format = ROW; SET GLOBAL binlog_row_metadata = FULL"
	const grant = "; GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `a reader`@`127.0.0.1`"
	if got := strings.Join(install(reader, false), "; "); got != want+grant {
		t.Errorf("a reader is told %q", got)
	}
	if got := strings.Join(install(own.DSN(database), true), "; "); got != want {
		t.Errorf("who may do all is told %q", got)
	}
	if got := install(own.DSN(database), false); len(got) > 0 {
		t.Errorf("to be installed again: %q", got)
	}
	own.Exec(t, "", strings.TrimPrefix(grant, "; "))
	if got := install(reader, false); len(got) > 0 {
		t.Errorf("the reader still lacks %q", got)
	}
}
