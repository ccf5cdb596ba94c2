package itemstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"

	_ "modernc.org/sqlite" // the driver
)

// Options of a store.
type Options struct {
	Retention time.Duration // of the change log; default 24 h, as DynamoDB Streams keep theirs
}

// Store is the embedded item store: one SQLite file with one writer. It is safe for concurrent use.
type Store struct {
	path    string
	options Options
	writes  *sql.DB // one connection, of the writer
	reads   *sql.DB
	queue   chan *write
	closing chan struct{}
	writer  sync.WaitGroup

	mu      sync.Mutex
	tables  map[string]*table
	readers map[readerOf]int64 // settled and not yet saved
	closed  bool
}

// table is a declared table and who waits for its changes.
type table struct {
	Table
	id      int64
	changed chan struct{} // closed and replaced after each commit that changed the table
}

type readerOf struct {
	name  string
	table int64
}

// The file says whose it is and how new: see https://www.sqlite.org/pragma.html#pragma_application_id.
const (
	applicationID = 0x61637169 // "acqi"
	schemaVersion = 1
)

const ddl = `
create table tbl(id integer primary key, name text not null unique, no_changes integer not null, trimmed integer not null default 0);
create table item(
	tbl integer not null, key text not null, version text not null, doc text, expires integer not null default 0,
	primary key(tbl, key)) without rowid;
create index item_expires on item(expires) where expires > 0;
create table change(
	seq integer primary key autoincrement, tbl integer not null, key text not null, op integer not null, version text not null,
	old text, new text, at integer not null);
create table reader(name text not null, tbl integer not null, seq integer not null, primary key(name, tbl)) without rowid;`

// Open opens or creates the file. One that is newer, damaged or not ours is refused, never overwritten.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	s := &Store{
		path: path, options: o, queue: make(chan *write, 1024), closing: make(chan struct{}),
		tables: map[string]*table{}, readers: map[readerOf]int64{},
	}
	var err error
	const common = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"
	if s.writes, err = sql.Open("sqlite", "file:"+path+common+"&_pragma=wal_autocheckpoint(4000)"); err != nil {
		return nil, s.refused(err)
	}
	s.writes.SetMaxOpenConns(1)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.writes.Close())
	}
	if s.reads, err = sql.Open("sqlite", "file:"+path+common+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(s.refused(err), s.writes.Close())
	}
	s.reads.SetMaxOpenConns(4)
	conn, err := s.writes.Conn(ctx)
	if err == nil {
		err = s.start(ctx, conn)
	}
	if err != nil {
		return nil, errors.Join(err, s.reads.Close(), s.writes.Close())
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	var app, version, tables int
	err := s.writes.QueryRowContext(ctx, `select (select application_id from pragma_application_id()),
		(select user_version from pragma_user_version()), (select count(*) from sqlite_schema)`).Scan(&app, &version, &tables)
	switch {
	case err != nil:
		return s.refused(err)
	case app == applicationID && version == schemaVersion:
		return s.load(ctx)
	case app == applicationID && version > schemaVersion:
		return &fault.Error{
			Code: "ACQ-ITEMS-002", Place: s.path, Err: fmt.Errorf("the item file has version %d, this program knows %d", version, schemaVersion),
			Remedy: "run the newer acequia that wrote it; the file was not touched",
		}
	case app != 0 || version != 0 || tables > 0:
		return s.refused(errors.New("it is an SQLite file of another program"))
	}
	_, err = s.writes.ExecContext(ctx, fmt.Sprintf("begin immediate; %s pragma application_id = %d; pragma user_version = %d; commit",
		ddl, applicationID, schemaVersion))
	return s.classify("create item file", err)
}

func (s *Store) load(ctx context.Context) (err error) {
	rows, err := s.writes.QueryContext(ctx, `select id, name, no_changes from tbl`)
	if err != nil {
		return s.refused(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		t := &table{changed: make(chan struct{})}
		if err := rows.Scan(&t.id, &t.Name, &t.NoChanges); err != nil {
			return s.refused(err)
		}
		s.tables[t.Name] = t
	}
	return rows.Err()
}

func (s *Store) refused(err error) error {
	return &fault.Error{
		Code: "ACQ-ITEMS-001", Place: s.path, Err: fmt.Errorf("the item file cannot be used: %w", err),
		Remedy: "restore it from a copy, or move it away to start from nothing; it was not overwritten",
	}
}

// classify makes a failed statement retryable: a full disk, a lock, an I/O error.
func (s *Store) classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-ITEMS-003", Place: s.path, Err: fmt.Errorf("%s: %w", doing, err),
		Remedy: "see that the disk has space and can be written; nothing was half written, try again",
	}
}

// Close ends the writer after the writes it has taken, saves the readers and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.closing)
	s.writer.Wait()
	return errors.Join(s.reads.Close(), s.writes.Close())
}

// Define makes a table and its indexes; what is there already stays. An index that comes later is filled.
func (s *Store) Define(ctx context.Context, t Table) error {
	err := s.do(ctx, func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, `insert into tbl(name, no_changes) values(?, ?)
			on conflict(name) do update set no_changes = excluded.no_changes`, t.Name, t.NoChanges)
		if err != nil {
			return err
		}
		var id int64
		if err := w.conn.QueryRowContext(ctx, `select id from tbl where name = ?`, t.Name).Scan(&id); err != nil {
			return err
		}
		for _, x := range t.Indexes {
			_, err := w.conn.ExecContext(ctx, fmt.Sprintf(`create index if not exists %s on item(%s, key) where tbl = %d`,
				quote(fmt.Sprintf("item_%d_%s", id, x.Name)), columns(x.Columns), id))
			if err != nil {
				return err
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if known, ok := s.tables[t.Name]; ok {
			known.Table = t
		} else {
			s.tables[t.Name] = &table{Table: t, id: id, changed: make(chan struct{})}
		}
		return nil
	})
	return s.classify("define table "+t.Name, err)
}

// columns gives the expressions that an index and its queries share: SQLite matches them by their text.
func columns(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "json_extract(doc, " + literal(`$."`+n+`"`) + ")"
	}
	return strings.Join(out, ", ")
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// TableNames lists the declared tables.
func (s *Store) TableNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.tables))
}

func (s *Store) table(name string) (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tables[name]
	if !ok {
		return nil, fmt.Errorf("there is no items table %q", name)
	}
	return t, nil
}

// Changed gives a channel that is closed at the next change of a table. Take it before looking at the log, so that no
// change is missed between the look and the wait.
func (s *Store) Changed(name string) (<-chan struct{}, error) {
	t, err := s.table(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.changed, nil
}
