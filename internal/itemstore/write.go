package itemstore

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/acequia-io/acequia/record"
)

// errClosed is for who asks after Close.
var errClosed = errors.New("the item store is closed")

// write is what one caller wants done in a transaction of the writer.
type write struct {
	ctx  context.Context //nolint:containedctx // of the caller who waits; a write that nobody waits for is left out
	do   func(ctx context.Context, w *writer) error
	done chan error // one answer, after the transaction is on disk
}

// maxGrouped is how many callers share one transaction.
const maxGrouped = 512

// upkeepEvery is how often old changes and expired items are removed.
const upkeepEvery = time.Minute

// Write does all the puts in one durable transaction, which it may share with other callers, and tells what became of
// each. An error means that none of them was done.
func (s *Store) Write(ctx context.Context, puts []Put) ([]Outcome, error) {
	outcomes := make([]Outcome, len(puts))
	err := s.do(ctx, func(ctx context.Context, w *writer) error {
		for i := range puts {
			var err error
			if outcomes[i], err = w.put(ctx, &puts[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.classify("write items", err)
	}
	return outcomes, nil
}

// do hands work to the writer and waits until it is on disk.
func (s *Store) do(ctx context.Context, work func(ctx context.Context, w *writer) error) error {
	w := &write{ctx: ctx, do: work, done: make(chan error, 1)}
	select {
	case s.queue <- w:
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	case <-s.closing:
		s.writer.Wait()
		select {
		case err := <-w.done:
			return err
		default:
			return errClosed
		}
	}
}

// writer owns the one connection that writes.
type writer struct {
	store   *Store
	conn    *sql.Conn
	insert  *sql.Stmt
	look    *sql.Stmt
	replace *sql.Stmt
	log     *sql.Stmt
	touched map[*table]bool // changed in the open transaction
}

func (s *Store) start(ctx context.Context, conn *sql.Conn) error {
	w := &writer{store: s, conn: conn, touched: map[*table]bool{}}
	for text, stmt := range map[string]**sql.Stmt{
		`insert into item(tbl, key, version, doc, expires) values(?, ?, ?, ?, ?) on conflict do nothing`: &w.insert,
		`select version, doc from item where tbl = ? and key = ?`:                                        &w.look,
		`update item set version = ?3, doc = ?4, expires = ?5 where tbl = ?1 and key = ?2`:               &w.replace,
		`insert into change(tbl, key, op, version, old, new, at) values(?, ?, ?, ?, ?, ?, ?)`:            &w.log,
	} {
		var err error
		if *stmt, err = conn.PrepareContext(ctx, text); err != nil {
			return errors.Join(s.refused(err), conn.Close())
		}
	}
	s.writer.Go(func() { w.serve(context.WithoutCancel(ctx)) })
	return nil
}

// serve gathers callers into transactions until the store closes.
func (w *writer) serve(ctx context.Context) {
	upkeep := time.NewTicker(upkeepEvery)
	defer upkeep.Stop()
	for {
		select {
		case first := <-w.store.queue:
			w.transact(ctx, w.gather(first))
		case <-upkeep.C:
			w.transact(ctx, []*write{{ctx: ctx, do: func(ctx context.Context, w *writer) error { return w.upkeep(ctx) }, done: make(chan error, 1)}})
		case <-w.store.closing:
			select {
			case first := <-w.store.queue:
				w.transact(ctx, w.gather(first))
				continue
			default:
			}
			w.transact(ctx, []*write{{ctx: ctx, do: func(ctx context.Context, w *writer) error { return w.saveReaders(ctx) }, done: make(chan error, 1)}})
			_ = w.conn.Close()
			return
		}
	}
}

// gather takes every caller that waits by now: they share one transaction and one fsync.
func (w *writer) gather(first *write) []*write {
	group := []*write{first}
	for len(group) < maxGrouped {
		select {
		case next := <-w.store.queue:
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// transact does a group in one transaction. When one of it fails, all are rolled back and each is tried on its own, so
// that a caller hears only of its own failure.
func (w *writer) transact(ctx context.Context, group []*write) {
	err := w.attempt(ctx, group)
	if err == nil || len(group) == 1 {
		for _, one := range group {
			one.done <- err
		}
		return
	}
	for _, one := range group {
		one.done <- w.attempt(ctx, []*write{one})
	}
}

func (w *writer) attempt(ctx context.Context, group []*write) error {
	clear(w.touched)
	if _, err := w.conn.ExecContext(ctx, "begin immediate"); err != nil {
		return err
	}
	for _, one := range group {
		if err := one.ctx.Err(); err != nil && len(group) == 1 {
			return errors.Join(err, w.rollback(ctx))
		}
		if err := one.do(ctx, w); err != nil {
			return errors.Join(err, w.rollback(ctx))
		}
	}
	if _, err := w.conn.ExecContext(ctx, "commit"); err != nil {
		return errors.Join(err, w.rollback(ctx))
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for t := range w.touched {
		close(t.changed)
		t.changed = make(chan struct{})
	}
	return nil
}

// rollback ends the transaction, which SQLite may have ended itself, as it does when the disk is full.
func (w *writer) rollback(ctx context.Context) error {
	_, _ = w.conn.ExecContext(ctx, "rollback")
	return nil
}

// put does one versioned write in the open transaction.
func (w *writer) put(ctx context.Context, p *Put) (Outcome, error) {
	t, err := w.store.table(p.Table)
	if err != nil {
		return 0, err
	}
	var expires int64
	if !p.Expires.IsZero() {
		expires = p.Expires.Unix()
	}
	doc, op := sql.NullString{String: string(p.Doc), Valid: true}, p.Op
	if op == record.Delete {
		doc = sql.NullString{}
	}
	version := p.Version.String()
	result, err := w.insert.ExecContext(ctx, t.id, p.Key, version, doc, expires)
	if err != nil {
		return 0, err
	}
	var old sql.NullString
	if n, err := result.RowsAffected(); err != nil {
		return 0, err
	} else if n == 0 {
		var stored string
		if err := w.look.QueryRowContext(ctx, t.id, p.Key).Scan(&stored, &old); err != nil {
			return 0, err
		}
		if stored >= version {
			return Superseded, nil
		}
		if _, err := w.replace.ExecContext(ctx, t.id, p.Key, version, doc, expires); err != nil {
			return 0, err
		}
	}
	if t.NoChanges {
		return Written, nil
	}
	if op != record.Delete {
		op = record.Update
		if !old.Valid {
			op = record.Insert
		}
	}
	w.touched[t] = true
	_, err = w.log.ExecContext(ctx, t.id, p.Key, int64(op), version, old, doc, time.Now().UnixMicro())
	return Written, err
}

// upkeepSlice bounds how many rows one upkeep removes, so that callers do not wait long.
const upkeepSlice = 2000

// upkeep saves the readers, removes expired items, and trims the log: what is older than the retention and behind every
// reader of its table.
func (w *writer) upkeep(ctx context.Context) error {
	if err := w.saveReaders(ctx); err != nil {
		return err
	}
	now := time.Now()
	_, err := w.conn.ExecContext(ctx, `delete from item where (tbl, key) in
		(select tbl, key from item where expires > 0 and expires < ? limit ?)`, now.Unix(), upkeepSlice)
	if err != nil {
		return err
	}
	return w.trim(ctx, now.Add(-w.store.options.Retention))
}

// trim removes changes from before a time that every reader of their table has settled, and notes how far it went.
func (w *writer) trim(ctx context.Context, before time.Time) error {
	w.store.mu.Lock()
	tables := slices.Collect(maps.Values(w.store.tables))
	w.store.mu.Unlock()
	for _, t := range tables {
		var upTo sql.NullInt64
		err := w.conn.QueryRowContext(ctx, `select max(seq) from (select seq from change where tbl = ?1 and at < ?2
			and seq <= coalesce((select min(seq) from reader where tbl = ?1), seq) order by seq limit ?3)`,
			t.id, before.UnixMicro(), upkeepSlice).Scan(&upTo)
		if err != nil {
			return err
		}
		if !upTo.Valid {
			continue
		}
		if _, err := w.conn.ExecContext(ctx, `delete from change where tbl = ? and seq <= ?`, t.id, upTo.Int64); err != nil {
			return err
		}
		if _, err := w.conn.ExecContext(ctx, `update tbl set trimmed = ? where id = ?`, upTo.Int64, t.id); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) saveReaders(ctx context.Context) error {
	w.store.mu.Lock()
	settled := w.store.readers
	w.store.readers = map[readerOf]int64{}
	w.store.mu.Unlock()
	for r, seq := range settled {
		_, err := w.conn.ExecContext(ctx, `update reader set seq = max(seq, ?) where name = ? and tbl = ?`, seq, r.name, r.table)
		if err != nil {
			return err
		}
	}
	return nil
}
