// Package query answers SQL over the lake with an embedded DuckDB: read-only, with caps on rows, time and memory. The
// database lives in memory, is opened by the first query and closed when nobody has asked for a while, so that a
// program which is never asked pays nothing. A build without cgo lists and describes tables, and says how to get SQL.
package query

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

// MaxSQL is the longest statement in bytes, the same as Athena's.
const MaxSQL = 262_144

// Config says what an Engine reads and how much it may use. Zero values take the defaults named here.
type Config struct {
	Lake    string        // folder of the lake
	Also    []string      // folders that may be read beside it
	Catalog Catalog       // the tables; nil: those that the lake describes
	Scratch string        // folder for what does not fit into memory; "": a temporary one while the database is open
	Memory  int64         // bytes that DuckDB may hold; 256 MiB
	Spill   int64         // bytes that DuckDB may write into Scratch; 8 GiB
	Threads int           // 2
	MaxRows int           // rows a query gives at most; 100,000
	Timeout time.Duration // a query's time; 30 s
	Idle    time.Duration // the database is closed when it was not used for this long; 2 min
}

// maxRows is how many rows a query gives at most where nothing else is said.
const maxRows = 100_000

func (c *Config) setDefaults() {
	c.Memory = orDefault(c.Memory, 256<<20)
	c.Spill = orDefault(c.Spill, 8<<30)
	c.Threads = orDefault(c.Threads, 2)
	c.MaxRows = orDefault(c.MaxRows, maxRows)
	c.Timeout = orDefault(c.Timeout, 30*time.Second)
	c.Idle = orDefault(c.Idle, 2*time.Minute)
}

func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// View is one relation that SQL can name.
type View struct {
	Name string
	SQL  string // the SELECT that it stands for
}

// LakeTable is a table of the lake as its description has it.
type LakeTable struct {
	Name      string
	Columns   []Column // fields, then system columns
	Partition []string // the columns of its folders
	Views     []View   // the table itself, then what is derived from it
	Folder    string   // of its files; "": that of its name in the lake
}

// Catalog gives the tables of a lake as they are now, in the order of their names. It is called before each query,
// from several goroutines.
type Catalog func(ctx context.Context, lake string) ([]LakeTable, error)

// Request is one query.
type Request struct {
	SQL     string        // one statement that reads
	MaxRows int           // 0, or more than Config.MaxRows: Config.MaxRows
	Timeout time.Duration // 0, or more than Config.Timeout: Config.Timeout
}

// Engine runs queries. Its methods may be called from several goroutines.
type Engine struct {
	cfg   Config
	slots chan struct{} // one for each query that may run at a time

	mu      sync.Mutex // guards what follows, and the making of views
	base    *database
	users   int
	idle    *time.Timer
	closed  bool
	spoiled bool
	views   map[string]string // SQL of each view as the database has it

	surveying sync.Mutex                  // guards counted
	counted   map[string]map[string]int64 // rows of each file of each table
}

// New makes an engine. It does not touch the lake and opens nothing: the first query does.
func New(cfg Config) (*Engine, error) {
	cfg.setDefaults()
	if _, _, remote := blob.ParseURL(cfg.Lake); !remote {
		lake, err := filepath.Abs(cfg.Lake)
		if err != nil {
			return nil, fmt.Errorf("find lake %s: %w", cfg.Lake, err)
		}
		cfg.Lake = lake
	}
	if cfg.Catalog == nil {
		cfg.Catalog = DescribedTables
	}
	return &Engine{cfg: cfg, slots: make(chan struct{}, 2*cfg.Threads)}, nil
}

// Available says whether queries can be answered: nil, or an error that says what to do.
func (e *Engine) Available() error {
	if _, _, remote := blob.ParseURL(e.cfg.Lake); remote {
		return &fault.Error{
			Code: "ACQ-QUERY-012", Place: e.cfg.Lake, Err: errors.New("the lake is in S3, and DuckDB as it is built in reads directories alone"),
			Remedy: "ask by Athena: acequia query --engine athena, after acequia tables apply (athena: {} under the lake makes it the usual engine), " +
				"or copy the lake: aws s3 sync " + e.cfg.Lake + " DIR",
		}
	}
	return built()
}

// Close closes the database once the running queries have been closed. Later queries are refused.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.users > 0 {
		return nil
	}
	return e.shut()
}

// Query starts a query and gives its rows, which the caller must close. Errors carry a code, and *SQLError when
// DuckDB found fault with the statement; an ended context gives its own error.
func (e *Engine) Query(ctx context.Context, req Request) (*Rows, error) {
	if err := e.Available(); err != nil {
		return nil, err
	}
	if err := plausible(req.SQL); err != nil {
		return nil, err
	}
	limit := withinCap(req.MaxRows, e.cfg.MaxRows)
	timeout := withinCap(req.Timeout, e.cfg.Timeout)
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeCap)
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		defer cancel()
		return nil, e.explain(ctx, ctx.Err(), timeout)
	}
	rows, err := e.start(ctx, req.SQL, limit)
	if err != nil {
		defer cancel()
		<-e.slots
		return nil, e.explain(ctx, err, timeout)
	}
	rows.began, rows.limit = start, limit
	rows.explain = func(err error) error { return e.explain(ctx, err, timeout) }
	finish := rows.finish
	rows.finish = func() error {
		defer cancel()
		defer func() { <-e.slots }()
		return finish()
	}
	return rows, nil
}

func withinCap[T int | time.Duration](asked, most T) T {
	if asked <= 0 || asked > most {
		return most
	}
	return asked
}

// plausible refuses what need not be shown to DuckDB: its C interface would end a statement at a NUL byte.
func plausible(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return refused("the statement is empty", "write one SELECT")
	case len(text) > MaxSQL:
		return refused(fmt.Sprintf("the statement has %d bytes, more than %d", len(text), MaxSQL), "make it shorter")
	case strings.ContainsRune(text, 0):
		return refused("the statement holds a NUL byte", "remove it")
	}
	return nil
}

// start opens the database if need be and runs the statement on a connection of its own.
func (e *Engine) start(ctx context.Context, text string, limit int) (*Rows, error) {
	base, err := e.acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := base.pool.Conn(ctx)
	if err != nil {
		e.release(err)
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	rows, err := runOn(ctx, conn, text, limit)
	if err != nil {
		closeErr := conn.Close()
		e.release(err)
		return nil, errors.Join(err, closeErr)
	}
	rows.finish = func() error {
		rollBack(ctx, conn)
		err := conn.Close()
		e.release(err)
		return err
	}
	return rows, nil
}

// rollBack ends the transaction of a query. DuckDB first waits for what is left of a cancelled query, which listens
// to nothing but interrupts, and the one that cancelled it may have come too early: so this is interrupted, too, when
// it takes long, and tried again. A connection that cannot be rolled back is given up.
func rollBack(ctx context.Context, conn *sql.Conn) {
	for range 3 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
		// Not Exec: the driver interrupts the whole of a Query, but only the running of an Exec.
		found, err := conn.QueryContext(ctx, "ROLLBACK")
		if err == nil {
			err = errors.Join(found.Close(), found.Err()) //nolint:sqlclosecheck // before the context of this turn ends
		}
		cancel()
		if err == nil {
			return
		}
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // gives the error back, and closes the connection
}

// runOn checks the statement, prepares it for its columns, and runs it with every value as text: the same text that
// DuckDB prints, for every type it has.
func runOn(ctx context.Context, conn *sql.Conn, text string, limit int) (*Rows, error) {
	explained, body := splitExplain(text)
	if err := checkReads(ctx, conn, body); err != nil {
		return nil, err
	}
	columns, err := prepare(conn, text)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN TRANSACTION READ ONLY"); err != nil {
		rollBack(ctx, conn) // cancelled, it may have begun all the same
		return nil, fmt.Errorf("begin: %w", err)
	}
	found, err := conn.QueryContext(ctx, wrap(explained, body, columns, limit))
	if err != nil {
		rollBack(ctx, conn)
		return nil, err
	}
	return newRows(columns, found), nil
}

// wrap puts the statement into the table function query(), which takes a single SELECT and nothing else, under a
// limit of one row more than may be shown, so that no larger result is ever built.
func wrap(explained, body string, columns []Column, limit int) string {
	if explained != "" {
		return explained + " SELECT * FROM query(" + quote(body) + ")"
	}
	var out, names strings.Builder
	for i, c := range columns {
		if i > 0 {
			out.WriteString(", ")
			names.WriteString(", ")
		}
		fmt.Fprintf(&names, "c%d", i)
		if c.Kind == JSON {
			fmt.Fprintf(&out, "CAST(to_json(c%d) AS VARCHAR)", i)
		} else {
			fmt.Fprintf(&out, "CAST(c%d AS VARCHAR)", i)
		}
	}
	return fmt.Sprintf("SELECT %s FROM query(%s) AS t(%s) LIMIT %d", &out, quote(body), &names, limit+1)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// acquire gives the open database with views as the lake is now, and counts its user. That serves all queries, so one
// that is cancelled does not end it half-way.
func (e *Engine) acquire(ctx context.Context) (*database, error) {
	ctx = context.WithoutCancel(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, &fault.Error{Code: "ACQ-QUERY-006", Err: errors.New("the query engine is closed")}
	}
	tables, err := e.cfg.Catalog(ctx, e.cfg.Lake)
	if err != nil {
		return nil, cannotOpen(err)
	}
	if e.base == nil {
		if e.base, err = open(ctx, &e.cfg); err != nil {
			return nil, cannotOpen(err)
		}
		e.views = make(map[string]string)
	}
	if e.idle != nil {
		e.idle.Stop()
	}
	e.users++
	if err := e.refresh(ctx, tables); err != nil {
		e.left()
		return nil, cannotOpen(err)
	}
	return e.base, nil
}

// refresh makes the views that are new or changed, and drops those that are gone.
func (e *Engine) refresh(ctx context.Context, tables []LakeTable) error {
	gone := make(map[string]bool, len(e.views))
	for name := range e.views {
		gone[name] = true
	}
	for _, t := range tables {
		for _, v := range t.Views {
			delete(gone, v.Name)
			if e.views[v.Name] == v.SQL {
				continue
			}
			if _, err := e.base.pool.ExecContext(ctx, "CREATE OR REPLACE VIEW "+quoteName(v.Name)+" AS "+v.SQL); err != nil {
				return fmt.Errorf("make view %s: %w", v.Name, err)
			}
			e.views[v.Name] = v.SQL
		}
	}
	for name := range gone {
		if _, err := e.base.pool.ExecContext(ctx, "DROP VIEW IF EXISTS "+quoteName(name)); err != nil {
			return fmt.Errorf("drop view %s: %w", name, err)
		}
		delete(e.views, name)
	}
	return nil
}

// release takes a user off. A database that has failed inside is closed by the last of its users.
func (e *Engine) release(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spoiled = e.spoiled || broken(err)
	e.left()
}

func (e *Engine) left() {
	e.users--
	switch {
	case e.users > 0:
	case e.closed || e.spoiled:
		_ = e.shut() // the user has been told of the failure, and Close has returned
	default:
		e.idle = time.AfterFunc(e.cfg.Idle, e.rest)
	}
}

// rest closes a database that nobody uses; the next query opens it again.
func (e *Engine) rest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users == 0 {
		_ = e.shut()         // an in-memory database has nothing to lose
		debug.FreeOSMemory() // results that went through Go are no more needed than it
	}
}

func (e *Engine) shut() error {
	if e.idle != nil {
		e.idle.Stop()
		e.idle = nil
	}
	if e.base == nil {
		return nil
	}
	err := e.base.close()
	e.base, e.views, e.spoiled = nil, nil, false
	return err
}
