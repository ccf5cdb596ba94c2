package itemstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Changed gives a channel that is closed at the next change of a table. Take it before looking at the log, so that no
// change is missed between the look and the wait. Of a table that is not declared it is nil.
func (s *Store) Changed(name string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tables[name]; ok {
		return t.changed
	}
	return nil
}

// Changes calls each with the changes of a table after a sequence, in order, at most limit of them. A Change and what
// it points to is valid only during the call.
func (s *Store) Changes(ctx context.Context, name string, after int64, limit int, each func(*Change) error) (err error) {
	t, _, err := s.table(name)
	if err != nil {
		return err
	}
	rows, err := s.reads.QueryContext(ctx, `select id, key, op, version, old, new, at from change
		where id > ? and id < ? order by id limit ?`, t.first()+after, t.end(), limit)
	if err != nil {
		return s.explain("read changes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	c := Change{Table: name}
	var version, old, updated sql.RawBytes
	var id, op, at int64
	for rows.Next() {
		err := rows.Scan(&id, &c.Key, &op, &version, &old, &updated, &at)
		if err == nil {
			c.Version, err = parseVersion(version)
		}
		if err != nil {
			return s.explain("read changes", err)
		}
		c.Seq, c.Op, c.Old, c.New, c.At = id-t.first(), record.Op(op), old, updated, time.UnixMicro(at) //nolint:gosec // a letter
		if err := each(&c); err != nil {
			return err
		}
	}
	return s.explain("read changes", rows.Err())
}

// Pending counts the changes of a table after a sequence, and tells when the first of them was made.
func (s *Store) Pending(ctx context.Context, name string, after int64) (n int64, oldest time.Time, err error) {
	t, _, err := s.table(name)
	if err != nil {
		return 0, oldest, err
	}
	var at, last sql.NullInt64
	err = s.reads.QueryRowContext(ctx, `select (select at from change where id > ?1 and id < ?2 order by id limit 1),
		(select max(id) from change where id > ?1 and id < ?2)`, t.first()+after, t.end()).Scan(&at, &last)
	if err != nil || !last.Valid {
		return 0, oldest, s.explain("count changes", err)
	}
	return last.Int64 - t.first() - after, time.UnixMicro(at.Int64), nil // sequences have no gaps
}

// Register makes a reader known, durably: the log is trimmed only behind it. A new reader starts at the oldest change
// there is; one that is known stays where it is. after is where the reader will read on: when later changes were
// trimmed already it is refused with ACQ-ITEMS-004.
func (s *Store) Register(ctx context.Context, reader, name string, after int64) error {
	t, _, err := s.table(name)
	if err != nil {
		return err
	}
	var trimmed int64
	err = s.do(ctx, func(ctx context.Context, w *writer) error {
		if err := w.conn.QueryRowContext(ctx, `select trimmed from tbl where id = ?`, t.id).Scan(&trimmed); err != nil {
			return err
		}
		_, err := w.conn.ExecContext(ctx, `insert into reader(name, tbl, seq) values(?, ?, ?) on conflict do nothing`, reader, t.id, max(trimmed, after))
		return err
	})
	switch {
	case err != nil:
		return s.explain("register reader "+reader, err)
	case after < trimmed:
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-ITEMS-004", Place: name,
			Err: fmt.Errorf("reader %s wants the changes after %d, but they are kept only after %d", reader, after, trimmed),
			Remedy: "copy the items once more with a backfill, then start the pipeline at the present; a longer retention " +
				"keeps changes longer",
		}
	}
	return nil
}

// Advance tells that a reader needs nothing up to a sequence any more. It costs no write: it is saved now and then and
// at Close, and what a crash loses only trims the log later.
func (s *Store) Advance(_ context.Context, reader, name string, seq int64) error {
	t, _, err := s.table(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := readerOf{reader, t.id}
	s.readers[r] = max(s.readers[r], seq)
	return nil
}

// saveReaders writes down where the readers stand.
func saveReaders(ctx context.Context, w *writer) error {
	w.store.mu.Lock()
	advanced := w.store.readers
	w.store.readers = map[readerOf]int64{}
	w.store.mu.Unlock()
	for r, seq := range advanced {
		_, err := w.conn.ExecContext(ctx, `update reader set seq = max(seq, ?) where name = ? and tbl = ?`, seq, r.name, r.table)
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	upkeepEvery = time.Minute
	upkeepSlice = 1000 // rows that one upkeep removes, so that callers do not wait long
)

// keepUp looks after the file until the store closes. What fails is tried again the next time: the callers of Write see
// the same failure.
func (s *Store) keepUp(ctx context.Context) {
	every := time.NewTicker(upkeepEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			_ = s.keepUpOnce(ctx, time.Now())
		case <-s.closing:
			return
		}
	}
}

// keepUpOnce saves the readers, removes expired items, and trims the logs, in slices that share the transactions of
// the callers.
func (s *Store) keepUpOnce(ctx context.Context, now time.Time) error {
	if err := s.do(ctx, saveReaders); err != nil {
		return err
	}
	for _, remove := range []func(context.Context, *writer, time.Time) (int64, error){expire, trim} {
		for removed := int64(math.MaxInt64); removed >= upkeepSlice; {
			err := s.do(ctx, func(ctx context.Context, w *writer) (err error) {
				removed, err = remove(ctx, w, now)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// expire removes items whose time is over.
func expire(ctx context.Context, w *writer, now time.Time) (int64, error) {
	result, err := w.conn.ExecContext(ctx, `delete from item where (tbl, key) in
		(select tbl, key from item where expires > 0 and expires <= ? limit ?)`, now.Unix(), upkeepSlice)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// trim removes changes that are older than the retention and that every reader of their table has settled, and notes
// how far it went. It gives the greatest number that it removed of one table.
func trim(ctx context.Context, w *writer, now time.Time) (most int64, err error) {
	before := now.Add(-w.store.options.Retention).UnixMicro()
	w.store.mu.Lock()
	tables := make([]*table, 0, len(w.store.tables))
	for _, t := range w.store.tables {
		tables = append(tables, t)
	}
	w.store.mu.Unlock()
	for _, t := range tables {
		var upTo sql.NullInt64
		err := w.conn.QueryRowContext(ctx, `select max(id) from (select id, at from change where id > ?1 and id < ?2
			and id <= ?1 + coalesce((select min(seq) from reader where tbl = ?3), ?2 - ?1) order by id limit ?4) where at < ?5`,
			t.first(), t.end(), t.id, upkeepSlice, before).Scan(&upTo)
		if err != nil {
			return 0, err
		}
		if !upTo.Valid {
			continue
		}
		result, err := w.conn.ExecContext(ctx, `delete from change where id > ? and id <= ?`, t.first(), upTo.Int64)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		most = max(most, n)
		if _, err := w.conn.ExecContext(ctx, `update tbl set trimmed = ? where id = ?`, upTo.Int64-t.first(), t.id); err != nil {
			return 0, err
		}
	}
	return most, nil
}
