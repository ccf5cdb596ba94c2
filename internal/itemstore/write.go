package itemstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/acequia-io/acequia/record"
)

// errClosed is for who asks after Close.
var errClosed = errors.New("the item store is closed")

// maxGrouped is how many callers share one transaction.
const maxGrouped = 512

// write is what one caller wants done in a transaction of the writer.
type write struct {
	do   func(ctx context.Context, w *writer) error
	done chan error // one answer, after the transaction is on disk
}

// yieldPuts is after how many puts the writer lets others have the CPU: what a person asks for does not wait for a whole transaction.
const yieldPuts = 8

// Write does all the puts in one durable transaction, which it may share with other callers, and tells what became of
// each. An error means that none of them is known to be done; to write them again is safe. A ctx that ends after the
// writer has taken the puts is not looked at. What a truncate deletes goes after it, in transactions of its own: it is done
// when Write returns, and after a crash when the truncate is written again.
func (s *Store) Write(ctx context.Context, puts []Put) ([]Outcome, error) {
	targets := make([]target, len(puts))
	for i := range puts {
		if i > 0 && puts[i].Table == puts[i-1].Table {
			targets[i] = targets[i-1]
		} else {
			t, declared, err := s.table(puts[i].Table)
			if err != nil {
				return nil, fmt.Errorf("write items: %w", err)
			}
			targets[i] = target{table: t, indexed: len(declared.Indexes) > 0, logged: !declared.NoChanges}
		}
		// An index of SQLite fails on what is no JSON, and with it the transaction of all callers.
		if targets[i].indexed && puts[i].Op != record.Delete && puts[i].Op != record.Truncate && !json.Valid(puts[i].Doc) {
			return nil, fmt.Errorf("write items: %s, key %s: the document is not JSON", puts[i].Table, puts[i].Key)
		}
	}
	outcomes := make([]Outcome, len(puts))
	err := s.do(ctx, func(ctx context.Context, w *writer) error {
		return w.putAll(ctx, targets, puts, outcomes)
	})
	for i := range puts {
		if err == nil && puts[i].Op == record.Truncate && outcomes[i] == Written {
			err = s.sweep(ctx, &targets[i], &puts[i])
		}
	}
	if err != nil {
		return nil, s.explain("write items", err)
	}
	return outcomes, nil
}

// do hands work to the writer and waits until it is on disk.
func (s *Store) do(ctx context.Context, work func(ctx context.Context, w *writer) error) error {
	one := &write{do: work, done: make(chan error, 1)}
	select {
	case s.queue <- one:
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-one.done:
		return err
	case <-s.closing:
		s.writer.Wait()
		select {
		case err := <-one.done:
			return err
		default:
			return errClosed
		}
	}
}

// writer owns the one connection that writes.
type writer struct {
	store           *Store
	conn            *sql.Conn
	begin, commit   *sql.Stmt
	insert, replace *sql.Stmt
	look, log       *sql.Stmt
	now             int64             // of the open transaction, microseconds
	touched         map[*table]bool   // changed in the open transaction
	floors          map[*table][]byte // of the tables that the open transaction truncates
	version         [versionLen]byte  // scratch
}

func (s *Store) start(ctx context.Context) error {
	conn, err := s.writes.Conn(ctx)
	if err != nil {
		return s.refused(err)
	}
	w := &writer{store: s, conn: conn, touched: map[*table]bool{}, floors: map[*table][]byte{}}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.begin, `begin immediate`},
		{&w.commit, `commit`},
		{&w.insert, `insert into item(tbl, key, version, doc, expires) values(?, ?, ?, ?, ?) on conflict do nothing`},
		{&w.look, `select version, doc from item where tbl = ? and key = ?`},
		{&w.replace, `update item set version = ?3, doc = ?4, expires = ?5 where tbl = ?1 and key = ?2`},
		{&w.log, `insert into change(id, key, op, version, old, new, at) values(?, ?, ?, ?, ?, ?, ?)`},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // the writer closes them, see close
			return errors.Join(s.refused(err), conn.Close())
		}
	}
	detached := context.WithoutCancel(ctx)
	s.writer.Go(func() { w.serve(detached) })
	s.upkeep.Go(func() { s.keepUp(detached) })
	return nil
}

// serve gathers callers into transactions until the store closes.
func (w *writer) serve(ctx context.Context) {
	group := make([]*write, 0, maxGrouped)
	for {
		select {
		case first := <-w.store.queue:
			group = w.gather(append(group[:0], first))
			w.transact(ctx, group)
		case <-w.store.closing:
			for group = w.gather(group[:0]); len(group) > 0; group = w.gather(group[:0]) {
				w.transact(ctx, group)
			}
			w.transact(ctx, []*write{{do: saveReaders, done: make(chan error, 1)}})
			w.close()
			return
		}
	}
}

// close gives the connection back to its pool, which closes it and reports. SQLite empties its log into the file only
// when no statement is left.
func (w *writer) close() {
	for _, stmt := range []*sql.Stmt{w.begin, w.commit, w.insert, w.replace, w.look, w.log} {
		_ = stmt.Close()
	}
	_ = w.conn.Close()
}

// gather takes every caller that waits by now: they share one transaction and one fsync.
func (w *writer) gather(group []*write) []*write {
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

// transact does a group in one transaction and tells every caller of it how it went.
func (w *writer) transact(ctx context.Context, group []*write) {
	err := w.attempt(ctx, group)
	if err != nil {
		// SQLite may have rolled back by itself, as it does when the disk is full: that this fails means nothing.
		_, _ = w.conn.ExecContext(ctx, "rollback")
	} else {
		w.wake()
	}
	for _, one := range group {
		one.done <- err
	}
}

func (w *writer) attempt(ctx context.Context, group []*write) error {
	clear(w.touched)
	clear(w.floors)
	w.now = time.Now().UnixMicro()
	if _, err := w.begin.ExecContext(ctx); err != nil {
		return err
	}
	for _, one := range group {
		if err := one.do(ctx, w); err != nil {
			return err
		}
	}
	_, err := w.commit.ExecContext(ctx)
	return err
}

// wake tells who waits for changes of the tables that the transaction changed.
func (w *writer) wake() {
	for t, floor := range w.floors {
		t.floor = floor
	}
	if len(w.touched) == 0 {
		return
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for t := range w.touched {
		t.last = t.next
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// target is the table of a put.
type target struct {
	table           *table
	indexed, logged bool
}

// putAll does the puts of one caller in the open transaction.
func (w *writer) putAll(ctx context.Context, targets []target, puts []Put, outcomes []Outcome) error {
	there := map[uint32]bool{} // of puts together, whose first found a copy
	for i := range puts {
		together := puts[i].Together
		if there[together] {
			outcomes[i] = Exists
			continue
		}
		var err error
		if outcomes[i], err = w.put(ctx, &targets[i], &puts[i]); err != nil {
			return err
		}
		if together != 0 && outcomes[i] == Exists {
			there[together] = true
		}
		if i%yieldPuts == 0 {
			runtime.Gosched()
		}
	}
	return nil
}

// put does one versioned write in the open transaction.
func (w *writer) put(ctx context.Context, to *target, p *Put) (Outcome, error) {
	version := appendVersion(w.version[:0], p.Version)
	switch {
	case string(version) < string(w.floor(to.table)):
		return Superseded, nil
	case p.Op == record.Truncate:
		return w.truncate(ctx, to.table, version)
	case len(p.Kept) > 0:
		return w.merge(ctx, to, p, version)
	}
	doc := sql.NullString{String: string(p.Doc), Valid: p.Op != record.Delete}
	if !doc.Valid {
		doc.String = ""
	}
	result, err := w.insert.ExecContext(ctx, to.table.id, p.Key, version, doc, p.Expires)
	if err != nil {
		return 0, err
	}
	inserted, err := result.RowsAffected()
	if err != nil {
		return 0, err
	}
	var old sql.NullString
	if inserted == 0 {
		var stored []byte
		if err := w.look.QueryRowContext(ctx, to.table.id, p.Key).Scan(&stored, &old); err != nil {
			return 0, err
		}
		switch {
		case p.IfAbsent:
			return Exists, nil
		case string(stored) >= string(version):
			return Superseded, nil
		}
		if _, err := w.replace.ExecContext(ctx, to.table.id, p.Key, version, doc, p.Expires); err != nil {
			return 0, err
		}
	}
	return Written, w.tell(ctx, to, p.Key, version, old, doc)
}

// tell puts a change into the log of the table.
func (w *writer) tell(ctx context.Context, to *target, key string, version []byte, old, doc sql.NullString) error {
	op := record.Update
	switch {
	case !to.logged, !old.Valid && !doc.Valid: // a delete of what was not there changes nothing that a reader could see
		return nil
	case !old.Valid:
		op = record.Insert
	case !doc.Valid:
		op = record.Delete
	}
	_, err := w.log.ExecContext(ctx, w.following(to.table), key, int64(op), version, old, doc, w.now)
	return err
}

// following gives the id of the next change of a table.
func (w *writer) following(t *table) int64 {
	if !w.touched[t] {
		w.touched[t] = true
		t.next = t.last
	}
	t.next++
	return t.first() + t.next
}

// versionLen is the length of a stored version: its words, big endian, which order as the version does.
const versionLen = 2 + 8 + 8 + 4

func appendVersion(dst []byte, v record.Version) []byte {
	dst = binary.BigEndian.AppendUint16(dst, v.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, v.Hi)
	dst = binary.BigEndian.AppendUint64(dst, v.Lo)
	return binary.BigEndian.AppendUint32(dst, v.Index)
}

func parseVersion(b []byte) (record.Version, error) {
	if len(b) != versionLen {
		return record.Version{}, fmt.Errorf("a stored version has %d bytes, want %d", len(b), versionLen)
	}
	return record.Version{
		Epoch: binary.BigEndian.Uint16(b), Hi: binary.BigEndian.Uint64(b[2:]), Lo: binary.BigEndian.Uint64(b[10:]), Index: binary.BigEndian.Uint32(b[18:]),
	}, nil
}
