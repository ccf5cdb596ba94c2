package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

// databases is the PostgreSQL of the scripts that want one: it is started by the first, and each has a database of its own.
type databases struct {
	start  sync.Once
	server *postgrestest.Server
	err    error
}

// withDatabases runs the tests, and then ends the server if one was started.
type withDatabases struct {
	*testing.M
	*databases
}

// Run runs the tests.
func (w withDatabases) Run() int {
	code := w.M.Run()
	if w.server != nil {
		if err := w.server.Close(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			return exitFailed
		}
	}
	return code
}

// make is the command database of the scripts: a new database, in which the SQL of the named files is run; $DSN says how to connect.
func (d *databases) make(ts *testscript.TestScript, neg bool, files []string) {
	if neg {
		ts.Fatalf("unsupported: ! database")
	}
	d.start.Do(func() { d.server, d.err = postgrestest.Start() })
	ts.Check(d.err)
	name := "script_" + strings.ReplaceAll(ts.Name(), "-", "_")
	ts.Check(runSQL(d.server.DSN("postgres"), "create database "+name))
	dsn := d.server.DSN(name)
	ts.Setenv("DSN", dsn)
	for _, file := range files {
		ts.Check(runSQL(dsn, ts.ReadFile(file)))
	}
}

// sql is the command sql of the scripts: it runs its arguments in the database.
func (d *databases) sql(ts *testscript.TestScript, neg bool, args []string) {
	err := runSQL(ts.Getenv("DSN"), strings.Join(args, " "))
	if neg == (err == nil) {
		ts.Fatalf("sql %q: %v", args, err)
	}
}

// runSQL runs SQL, of one statement or several.
func runSQL(dsn, sql string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	_, err = c.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
