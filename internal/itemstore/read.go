package itemstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Get finds an item; a tombstone is found too.
func (s *Store) Get(ctx context.Context, name, key string) (Item, bool, error) {
	t, err := s.table(name)
	if err != nil {
		return Item{}, false, err
	}
	item := Item{Key: key}
	var version string
	var doc sql.NullString
	err = s.reads.QueryRowContext(ctx, `select version, doc from item where tbl = ? and key = ?`, t.id, key).Scan(&version, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return Item{}, false, nil
	}
	if err != nil {
		return Item{}, false, s.classify("read item", err)
	}
	item.Deleted, item.Doc = !doc.Valid, []byte(doc.String)
	item.Version, err = record.ParseVersion(version)
	return item, err == nil, err
}

// List gives the items of a table whose key comes after another, in key order, at most limit, tombstones left out.
func (s *Store) List(ctx context.Context, name, after string, limit int) ([]Item, error) {
	t, err := s.table(name)
	if err != nil {
		return nil, err
	}
	return s.items(ctx, `select key, version, doc from item where tbl = ? and key > ? and doc is not null order by key limit ?`,
		t.id, after, limit)
}

// Query gives the items of which the columns of an index have the given values, in key order after a key.
func (s *Store) Query(ctx context.Context, name, index string, values []any, after string, limit int) ([]Item, error) {
	t, err := s.table(name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.Indexes, func(x Index) bool { return x.Name == index })
	if i < 0 || len(values) != len(t.Indexes[i].Columns) {
		return nil, fmt.Errorf("items table %s has no index %q of %d columns", name, index, len(values))
	}
	where := ""
	for _, c := range t.Indexes[i].Columns {
		where += " and " + columns([]string{c}) + " = ?"
	}
	query := fmt.Sprintf(`select key, version, doc from item where tbl = %d%s and key > ? and doc is not null order by key limit ?`, t.id, where) //nolint:gosec // of numbers and quoted names
	return s.items(ctx, query, append(slices.Clone(values), after, limit)...)
}

func (s *Store) items(ctx context.Context, query string, args ...any) (items []Item, err error) {
	rows, err := s.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.classify("read items", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var it Item
		var version string
		if err := rows.Scan(&it.Key, &version, &it.Doc); err != nil {
			return nil, s.classify("read items", err)
		}
		if it.Version, err = record.ParseVersion(version); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, s.classify("read items", rows.Err())
}

// Count counts the items of a table, tombstones left out.
func (s *Store) Count(ctx context.Context, name string) (n int64, err error) {
	t, err := s.table(name)
	if err != nil {
		return 0, err
	}
	err = s.reads.QueryRowContext(ctx, `select count(*) from item where tbl = ? and doc is not null`, t.id).Scan(&n)
	return n, s.classify("count items", err)
}

// Register makes a reader known: the log is trimmed only behind it. It starts at the oldest change there is.
func (s *Store) Register(ctx context.Context, reader, name string) error {
	t, err := s.table(name)
	if err != nil {
		return err
	}
	err = s.do(ctx, func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, `insert into reader(name, tbl, seq)
			select ?1, ?2, coalesce((select min(seq) - 1 from change where tbl = ?2), (select seq from sqlite_sequence where name = 'change'), 0)
			where true on conflict do nothing`, reader, t.id)
		return err
	})
	return s.classify("register reader "+reader, err)
}

// Advance tells that a reader needs nothing up to a sequence any more. It is saved now and then and at Close: what is
// lost in a crash only trims the log later.
func (s *Store) Advance(reader, name string, seq int64) error {
	t, err := s.table(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := readerOf{reader, t.id}
	s.readers[r] = max(s.readers[r], seq)
	return nil
}

// Changes calls each with the changes of a table after a sequence, in order, at most limit of them. What it gives is
// valid only during the call.
func (s *Store) Changes(ctx context.Context, name string, after int64, limit int, each func(*Change) error) (err error) {
	t, err := s.table(name)
	if err != nil {
		return err
	}
	rows, err := s.reads.QueryContext(ctx, `select seq, key, op, version, old, new, at from change
		where tbl = ? and seq > ? order by seq limit ?`, t.id, after, limit)
	if err != nil {
		return s.classify("read changes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var c Change
	var version, old, updated sql.RawBytes
	var op, at int64
	for rows.Next() {
		if err := rows.Scan(&c.Seq, &c.Key, &op, &version, &old, &updated, &at); err != nil {
			return s.classify("read changes", err)
		}
		if c.Version, err = record.ParseVersion(string(version)); err != nil {
			return err
		}
		c.Op, c.Old, c.New, c.At = record.Op(op), old, updated, time.UnixMicro(at) //nolint:gosec // a letter
		if err := each(&c); err != nil {
			return err
		}
	}
	return s.classify("read changes", rows.Err())
}

// LostBefore says whether changes of a table after a sequence were trimmed away.
func (s *Store) LostBefore(ctx context.Context, name string, after int64) (lost bool, err error) {
	t, err := s.table(name)
	if err != nil {
		return false, err
	}
	err = s.reads.QueryRowContext(ctx, `select trimmed > ? from tbl where id = ?`, after, t.id).Scan(&lost)
	return lost, s.classify("read bounds of the change log", err)
}

// Pending counts the changes of a table after a sequence, and tells when the first of them was made.
func (s *Store) Pending(ctx context.Context, name string, after int64) (n int64, oldest time.Time, err error) {
	t, err := s.table(name)
	if err != nil {
		return 0, oldest, err
	}
	var at sql.NullInt64
	err = s.reads.QueryRowContext(ctx, `select count(*), min(at) from change where tbl = ? and seq > ?`, t.id, after).Scan(&n, &at)
	if at.Valid {
		oldest = time.UnixMicro(at.Int64)
	}
	return n, oldest, s.classify("count changes", err)
}

// Trimmed is the error of a reader that asks for changes that are gone.
func (s *Store) Trimmed(name, reader string, after int64) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-ITEMS-004", Place: name,
		Err:    fmt.Errorf("reader %s stands at change %d, and later changes were trimmed before it read them", reader, after),
		Remedy: "the file was changed by another program or the reader was unknown to it: copy the items again with a backfill",
	}
}
