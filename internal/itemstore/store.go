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
	upkeep  sync.WaitGroup

	mu      sync.Mutex
	tables  map[string]*table
	readers map[readerOf]int64 // advanced and not yet saved
	closed  bool
}

// table is a declared table and who waits for its changes.
type table struct {
	Table
	id      int64
	last    int64         // sequence of the last committed change; of the writer alone
	next    int64         // sequence of the last change of the open transaction; of the writer alone
	floor   []byte        // version of the newest truncate that is committed; nil: none; of the writer alone
	changed chan struct{} // closed and replaced after each commit that changed the table
}

// first is the id before that of the table's first change.
func (t *table) first() int64 { return t.id << seqBits }

// end is the id after that of the table's last possible change.
func (t *table) end() int64 { return (t.id + 1) << seqBits }

type readerOf struct {
	name  string
	table int64
}

// readers are the connections that read.
const readers = 4

// Open opens or creates the file. One that is newer (ACQ-ITEMS-002), damaged or not ours (ACQ-ITEMS-001) is refused,
// never overwritten. ctx bounds the opening only.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	s := &Store{
		path: path, options: o, queue: make(chan *write, maxGrouped), closing: make(chan struct{}),
		tables: map[string]*table{}, readers: map[readerOf]int64{},
	}
	version, err := s.check(ctx)
	if err != nil {
		return nil, err
	}
	const common = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)"
	if s.writes, err = sql.Open("sqlite", "file:"+path+common+"&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-16000)"); err != nil {
		return nil, s.refused(err)
	}
	s.writes.SetMaxOpenConns(1)
	if s.reads, err = sql.Open("sqlite", "file:"+path+common+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(s.refused(err), s.writes.Close())
	}
	s.reads.SetMaxOpenConns(readers)
	s.reads.SetMaxIdleConns(readers) // to open one takes longer than most reads
	switch {
	case version == 0:
		err = s.create(ctx)
	case version < fileVersion:
		err = s.upgrade(ctx, version)
	}
	if err == nil {
		err = s.load(ctx, s.writes)
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.reads.Close(), s.writes.Close())
	}
	return s, nil
}

// OpenToRead opens a file that is there, to look at it alone, also while another process writes it: methods that write may not
// be called.
func OpenToRead(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path, tables: map[string]*table{}}
	version, err := s.check(ctx)
	switch {
	case err != nil:
	case version == 0:
		err = s.refused(errors.New("there is no item file"))
	case version < fileVersion:
		err = &fault.Error{
			Code: "ACQ-ITEMS-009", Place: path, Err: fmt.Errorf("the item file has version %d, this program reads %d", version, fileVersion),
			Remedy: "start acequia on it once: that upgrades it, and keeps a copy",
		}
	}
	if err != nil {
		return nil, err
	}
	if s.reads, err = sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
		return nil, s.refused(err)
	}
	if err := s.load(ctx, s.reads); err != nil {
		return nil, errors.Join(err, s.reads.Close())
	}
	return s, nil
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
	if s.writes == nil {
		return s.reads.Close()
	}
	close(s.closing)
	s.writer.Wait()
	s.upkeep.Wait()
	return errors.Join(s.reads.Close(), s.writes.Close())
}

// Define makes a table and its indexes. It may be repeated, also by who knows less of the table: what is there stays,
// an index that is new is filled, and one that has other columns now is made anew.
func (s *Store) Define(ctx context.Context, t Table) error {
	var id int64
	var indexes []Index
	err := s.do(ctx, func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, `insert into tbl(name, no_changes) values(?, ?)
			on conflict(name) do update set no_changes = excluded.no_changes`, t.Name, t.NoChanges)
		if err != nil {
			return err
		}
		if err := w.conn.QueryRowContext(ctx, `select id from tbl where name = ?`, t.Name).Scan(&id); err != nil {
			return err
		}
		indexes, err = w.defineIndexes(ctx, id, t.Indexes)
		return err
	})
	if err != nil {
		return s.explain("define table "+t.Name, err)
	}
	t.Indexes = indexes
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.tables[t.Name]
	if !ok {
		s.tables[t.Name] = &table{Table: t, id: id, changed: make(chan struct{})}
		return nil
	}
	t.Schema = cmp.Or(t.Schema, known.Schema)
	known.Table = t
	return nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Tables lists the declared tables by name.
func (s *Store) Tables() []Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Table, 0, len(s.tables))
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		out = append(out, s.tables[name].Table)
	}
	return out
}

func (s *Store) table(name string) (*table, Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tables[name]
	if !ok {
		return nil, Table{}, unknownTable(name)
	}
	return t, t.Table, nil
}

func unknownTable(name string) error {
	return &fault.Error{
		Code: "ACQ-ITEMS-006", Place: name, Err: errors.New("there is no such items table"),
		Remedy: "declare the table in the sink that writes it, before it is read",
	}
}
