package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// stateSchema holds the tables of the state, so that the database may hold others.
const stateSchema = "acequia_state"

// connections is how many a process opens to the state at most.
const connections = 8

// ErrNoState means that nothing has run yet on a state that is only read.
var ErrNoState = errors.New("there is no state yet")

// database is the state in a database of PostgreSQL, which several processes share. A write is a transaction of its own: the
// server makes those of all processes durable together.
type database struct {
	db    *sql.DB
	place string
}

// OpenPostgres opens the state in a database, and makes its tables in the schema acequia_state if need be. The role needs CREATE on
// the database the first time. A connection that leads off loopback must verify the server.
func OpenPostgres(ctx context.Context, dsn string) (*Store, error) {
	s, d, err := connectState(dsn)
	if err != nil {
		return nil, err
	}
	if err := d.upgrade(ctx); err != nil {
		return nil, errors.Join(d.explain("open the state", err), s.Close())
	}
	return s, nil
}

// OpenPostgresToRead opens a state that is there, to look at it alone: methods that write may not be called. ErrNoState: nothing
// has run yet.
func OpenPostgresToRead(ctx context.Context, dsn string) (*Store, error) {
	s, d, err := connectState(dsn)
	if err != nil {
		return nil, err
	}
	version, err := d.version(ctx, d.db)
	switch {
	case err != nil:
		err = d.explain("open the state", err)
	case version == 0:
		err = ErrNoState
	case version < len(serverMigrations):
		err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-008", Place: d.place, Err: fmt.Errorf("the state has version %d, this program reads %d", version, len(serverMigrations)),
			Remedy: "start acequia on it once: that upgrades it",
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func connectState(dsn string) (*Store, *database, error) {
	db, place, err := postgres.Pool(postgres.Options{DSN: dsn, Application: "acequia state", Verified: true}, stateSchema, connections)
	if err != nil {
		return nil, nil, err
	}
	d := &database{db: db, place: place}
	return &Store{place: place, readers: numbered{db}, leased: true, engine: d}, d, nil
}

// version is that of the tables; 0: there are none.
func (d *database) version(ctx context.Context, on session) (n int, err error) {
	var there bool
	err = on.QueryRowContext(ctx, `select exists(select from pg_tables where schemaname = '`+stateSchema+`' and tablename = 'version')`).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	if err = on.QueryRowContext(ctx, `select n from `+stateSchema+`.version`).Scan(&n); err == nil && n > len(serverMigrations) {
		err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-002", Place: d.place, Err: fmt.Errorf("the state has version %d, this program knows up to %d", n, len(serverMigrations)),
			Remedy: "run the newer acequia that wrote it, or another database; the state was not touched",
		}
	}
	return n, err
}

// upgrade makes the tables, or brings them to the newest version, in one transaction. Of several processes one does it.
func (d *database) upgrade(ctx context.Context) error {
	version, err := d.version(ctx, d.db)
	if err != nil || version == len(serverMigrations) {
		return err
	}
	return d.transact(ctx, func(ctx context.Context, tx session) error {
		if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock(hashtext('`+stateSchema+`'))`); err != nil {
			return err
		}
		version, err := d.version(ctx, tx)
		if err != nil {
			return err
		}
		for _, step := range serverMigrations[version:] {
			for statement := range strings.SplitSeq(step, "\n;\n") {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return err
				}
			}
		}
		_, err = tx.ExecContext(ctx, `update version set n = ?`, len(serverMigrations))
		return err
	})
}

// tries is how often a write is tried that met another process's.
const tries = 10

func (d *database) run(ctx context.Context, doing string, do func(context.Context, session) error) error {
	for try := 1; ; try++ {
		err := d.transact(ctx, do)
		if errors.Is(err, ErrFenced) {
			return lost(d.place, doing)
		}
		if err != nil && ctx.Err() != nil {
			return fault.Retry(fmt.Errorf("%s: %w", doing, err))
		}
		if try == tries || !collided(err) {
			return d.explain(doing, err)
		}
	}
}

func (d *database) transact(ctx context.Context, do func(context.Context, session) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(ctx, numbered{tx}); err != nil {
		_ = tx.Rollback() // a connection that cannot roll back is not used again
		return err
	}
	return tx.Commit()
}

// collided says whether a transaction was undone for another's sake: serialization, deadlock, or a row that both have added
// (https://www.postgresql.org/docs/15/errcodes-appendix.html).
func collided(err error) bool {
	e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	return ok && (strings.HasPrefix(e.SQLState(), "40") || e.SQLState() == "23505")
}

func (d *database) explain(doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return postgres.Explain(err, doing, d.place)
}

func (d *database) close() error { return d.explain("close the state", d.db.Close()) }

// numbered runs statements as SQLite takes them on PostgreSQL.
type numbered struct{ on session }

func (n numbered) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return n.on.ExecContext(ctx, translated(query), storable(args)...)
}

func (n numbered) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return n.on.QueryContext(ctx, translated(query), storable(args)...)
}

func (n numbered) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return n.on.QueryRowContext(ctx, translated(query), storable(args)...)
}

var (
	parameter = regexp.MustCompile(`\?\d*`)
	asText    = regexp.MustCompile(`cast\(("?\w+"?) as text\)`)
	known     sync.Map //nolint:gochecknoglobals // statements that were translated: they are constants of this package
)

// translated numbers the parameters as PostgreSQL does: a bare ? is one more than the greatest before it, as in SQLite
// (https://www.sqlite.org/lang_expr.html#varparam). Two functions that the servers do not share have a name of our own.
func translated(query string) string {
	if before, ok := known.Load(query); ok {
		if text, ok := before.(string); ok {
			return text
		}
	}
	greatest := 0
	text := parameter.ReplaceAllStringFunc(query, func(p string) string {
		n, err := strconv.Atoi(p[1:])
		if err != nil {
			n = greatest + 1
		}
		greatest = max(greatest, n)
		return "$" + strconv.Itoa(n)
	})
	text = strings.ReplaceAll(asText.ReplaceAllString(text, "readable($1)"), "json_each(", "each_number(")
	known.Store(query, text)
	return text
}

// storable gives texts as the server takes them: UTF-8, and without NUL.
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\u2400")
		}
	}
	return args
}
