package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// slotPatience is how long the server may take to make a slot at first: it waits for every transaction that runs, and then for those that
// began meanwhile, three times in all. Each time that it was too short it is doubled, up to slotLongest: what was waited for is lost, so
// that transactions that follow each other could keep a slot from ever being made.
const (
	slotPatience = 5 * time.Second
	slotLongest  = 10 * time.Minute
	slotNotice   = 30 * time.Second // how often it is told who is waited for
)

// slot is a row of pg_replication_slots.
type slot struct {
	plugin, database, status string
	active                   int // pid of who reads it; 0: nobody
	confirmed                pglogrepl.LSN
	flushed                  pglogrepl.LSN // how far the server's WAL is on disk
}

// lookSlot finds a slot; nil: there is none.
func lookSlot(ctx context.Context, c *postgres.Conn, name string) (*slot, error) {
	var s slot
	var confirmed, flushed string
	err := c.QueryRow(ctx, `SELECT coalesce(plugin, ''), coalesce(database, ''), coalesce(wal_status, ''), coalesce(active_pid, 0),
			coalesce(confirmed_flush_lsn, '0/0')::text, pg_current_wal_flush_lsn()::text
		FROM pg_replication_slots WHERE slot_name = $1`, name).Scan(&s.plugin, &s.database, &s.status, &s.active, &confirmed, &flushed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // said above
	}
	if err == nil {
		if s.confirmed, err = pglogrepl.ParseLSN(confirmed); err == nil {
			s.flushed, err = pglogrepl.ParseLSN(flushed)
		}
	}
	return &s, postgres.Explain(err, "look at the slot", name)
}

// lost says whether the server has thrown away WAL that the slot needs.
func (s *slot) lost() bool { return s.status == "lost" || s.confirmed == 0 }

// ensureSlot makes the slot where there is none, or gives up one that has lost what is wanted and makes another. The tables that
// followed the one of before are read anew when they are looked at.
func (s *Source) ensureSlot(ctx context.Context, c *postgres.Conn, server postgres.Server, note logNote, public uint32) (made bool, err error) {
	name := s.logName()
	found, err := lookSlot(ctx, c, name)
	if err != nil {
		return false, err
	}
	if found != nil && (found.plugin != "pgoutput" || found.database != server.Database) {
		return false, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-066", Place: name, Err: fmt.Errorf("the slot is one of %q in database %q", found.plugin, found.database),
			Remedy: "name another one with capture.slot",
		}
	}
	s.mu.Lock()
	lost := s.feed.lost
	s.mu.Unlock()
	why := note.Why
	switch {
	case note.Epoch == 0 && found != nil && !found.lost():
		return false, s.adoptSlot(ctx, server, name, found, public)
	case note.Epoch == 0, note.Making:
	case lost != "":
		why = lost
	case note.Slot != name:
		why = "the slot has another name in the configuration"
	case note.System != server.System || note.Timeline != server.Timeline:
		why = "the server is another one, or was promoted or restored"
	case note.Publication != public:
		why = "the publication was dropped and made again" // what was changed in between can never be decoded
	case found == nil:
		why = "the slot " + name + " is gone"
	case found.lost():
		why = "the server has removed WAL that the slot " + name + " needed (max_slot_wal_keep_size)"
	default:
		return false, nil
	}
	next := logNote{Epoch: note.Epoch, Slot: name, Publication: public, System: server.System, Timeline: server.Timeline, Making: true, Why: why}
	if note.Epoch > 0 && note.Slot != name {
		s.log.WarnContext(ctx, "the slot of before holds WAL back until it is removed", slog.String("slot", note.Slot),
			slog.String("remedy", "SELECT pg_drop_replication_slot("+literal(note.Slot)+")"))
	}
	if !note.Making {
		next.Epoch++
		if note.Epoch > 0 {
			s.log.WarnContext(ctx, "the log begins anew", slog.String("slot", name), slog.String("reason", why))
		}
	}
	if err := s.saveLog(ctx, next); err != nil {
		return false, err
	}
	if found != nil {
		s.leaveSlot()
		if err := dropSlot(ctx, c, name); err != nil {
			return false, err
		}
	}
	return true, s.makeSlot(ctx, c, next)
}

// adoptSlot goes on with a slot that the state knows nothing of, such as after the state was lost: every table joins it as it is.
func (s *Source) adoptSlot(ctx context.Context, server postgres.Server, name string, found *slot, public uint32) error {
	s.log.InfoContext(ctx, "the slot was there already", slog.String("slot", name))
	return s.saveLog(ctx, logNote{Epoch: 1, Slot: name, Publication: public, System: server.System, Timeline: server.Timeline, Start: found.confirmed.String()})
}

// leaveSlot ends the reader that has the slot, if it is one of ours: its lane is over.
func (s *Source) leaveSlot() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.feed.reader; r != nil {
		r.over.Store(true)
		r.cancel()
	}
}

// dropSlot removes a slot; one that was being made goes with the session that was making it.
func dropSlot(ctx context.Context, c *postgres.Conn, name string) error {
	err := released(ctx, name, func() error {
		_, err := c.Exec(ctx, "SELECT pg_drop_replication_slot($1)", name)
		return err
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42704" { // undefined_object
		return nil
	}
	return postgres.Explain(err, "drop the slot", name)
}

// released does what wants a slot that nobody reads. The session that has read it may be just ending: that is waited for.
func released(ctx context.Context, name string, do func() error) error {
	late := time.NewTimer(usePatience)
	defer late.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		busy, ok := inUse(err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return slotInUse(name, busy)
		case <-tick.C:
		}
	}
}

// makeSlot makes the slot of a note, and keeps the session open that exports the snapshot of the moment at which it begins.
func (s *Source) makeSlot(ctx context.Context, c *postgres.Conn, note logNote) error {
	session, err := postgres.Connect(ctx, s.replication())
	if err != nil {
		return err
	}
	before, err := publishedCatalog(ctx, c, s.logName())
	if err != nil {
		_ = session.Close(ctx)
		return err
	}
	out := s.createSlot(ctx, c, session, note.Slot)
	if e, ok := errors.AsType[*pgconn.PgError](out.error); ok && e.Code == "53400" { // configuration_limit_exceeded
		out.error = fullSlots(ctx, c, note.Slot, e)
	}
	if out.error != nil {
		_ = session.Close(ctx)
		return postgres.Explain(out.error, "make the slot", note.Slot)
	}
	err = unaltered(ctx, c, s.logName(), before)
	if err == nil {
		note.Making, note.Start = false, out.ConsistentPoint
		err = s.saveLog(ctx, note)
	}
	if err != nil {
		_ = session.Close(ctx)
		return err
	}
	s.log.InfoContext(ctx, "the slot is made", slog.String("slot", note.Slot), slog.String("from", note.Start))
	s.mu.Lock()
	exported := s.feed.export
	s.feed.lost = ""
	s.feed.export = &export{session: session, name: out.SnapshotName}
	s.mu.Unlock()
	exported.close(ctx)
	return nil
}

// created is what the server answered.
type created struct {
	pglogrepl.CreateReplicationSlotResult
	error
}

// createSlot asks the server for the slot, and gives up when it takes longer than it may this time.
func (s *Source) createSlot(ctx context.Context, c, session *postgres.Conn, name string) created {
	// Who is waited for is told below; the server's own end of a wait would only begin everything anew.
	if _, err := session.PgConn().Exec(ctx, "SET lock_timeout = 0").ReadAll(); err != nil {
		return created{error: err}
	}
	done := make(chan created, 1)
	pid := session.PgConn().PID()
	go func() {
		out, err := pglogrepl.CreateReplicationSlot(ctx, session.PgConn(), name, "pgoutput",
			pglogrepl.CreateReplicationSlotOptions{Mode: pglogrepl.LogicalReplication, SnapshotAction: "EXPORT_SNAPSHOT"})
		done <- created{out, err}
	}()
	s.mu.Lock()
	patience := max(s.feed.patience, slotPatience)
	s.feed.patience = min(2*patience, slotLongest)
	s.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	notice := time.NewTicker(slotNotice)
	defer notice.Stop()
	for {
		select {
		case out := <-done:
			if out.error == nil {
				s.mu.Lock()
				s.feed.patience = 0
				s.mu.Unlock()
			}
			return out
		case <-notice.C:
			s.log.WarnContext(ctx, "the slot waits", slog.String("slot", name), slog.String("for", blockers(ctx, c, pid)))
		case <-late.C:
			hinder := blockers(ctx, c, pid)
			_, _ = c.Exec(ctx, "SELECT pg_cancel_backend($1)", pid)
			out := <-done
			if out.error != nil {
				out.error = &fault.Error{
					Class: fault.Retryable, Code: "ACQ-PG-062", Place: name, Err: fmt.Errorf("the server waits for %s before it makes the slot", hinder),
					Remedy: "end it; it is tried again",
				}
			}
			return out
		}
	}
}

// fullSlots says that the server has no slot left, and which of them nobody reads.
func fullSlots(ctx context.Context, c *postgres.Conn, name string, err error) error {
	var most, idle string
	asked := c.QueryRow(ctx, `SELECT current_setting('max_replication_slots'), coalesce((SELECT string_agg(slot_name, ', ') FROM pg_replication_slots WHERE NOT active), 'none')`).
		Scan(&most, &idle)
	if asked != nil {
		return postgres.Explain(asked, "look at the slots", name)
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-PG-060", Place: name, Err: fmt.Errorf("strategy log: max_replication_slots is %s: %w", most, err),
		Remedy: "raise it and restart the server, or drop a slot that nobody needs; nobody reads: " + idle,
	}
}

// blockers names what a session waits for.
func blockers(ctx context.Context, c *postgres.Conn, pid uint32) string {
	rows, err := c.Query(ctx, `SELECT b.pid, coalesce(a.usename::text, ''), coalesce(now() - a.xact_start, '0')::text
		FROM unnest(pg_blocking_pids($1)) b(pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid`, pid)
	if err != nil {
		return "a transaction"
	}
	var names []string
	var blocker int
	var user, age string
	_, err = pgx.ForEachRow(rows, []any{&blocker, &user, &age}, func() error {
		if blocker == 0 {
			names = append(names, "a prepared transaction (see pg_prepared_xacts)")
			return nil
		}
		names = append(names, fmt.Sprintf("the transaction of process %d (user %s, running for %s)", blocker, user, age))
		return nil
	})
	if err != nil || len(names) == 0 {
		return "a transaction"
	}
	return strings.Join(names, " and ")
}

// reachable says why the log cannot be read on from a position; "": it can. A server moves a start that is too old silently on, and
// takes one that is in its future.
func (s *Source) reachable(ctx context.Context, c *postgres.Conn, note logNote, at logPosition) (why string, err error) {
	found, err := lookSlot(ctx, c, note.Slot)
	switch {
	case err != nil:
		return "", err
	case found == nil:
		return "the slot " + note.Slot + " is gone", nil
	case found.lost():
		return "the server has removed WAL that the slot " + note.Slot + " needed (max_slot_wal_keep_size)", nil
	case found.confirmed > at.End:
		return fmt.Sprintf("the slot %s was read on to %s by somebody else, and this state stands at %s", note.Slot, found.confirmed, at.End), nil
	case at.End > found.flushed:
		return fmt.Sprintf("the server's log ends at %s, before %s: it was restored from an older copy", found.flushed, at.End), nil
	}
	return "", nil
}

// insertedUpTo gives the end of the log as records give it: a position at the beginning of a page is one behind the page's header.
func insertedUpTo(ctx context.Context, c *postgres.Conn) (pglogrepl.LSN, error) {
	const pageHeader, segmentHeader = 24, 40 // XLogPageHeaderData and XLogLongPageHeaderData, in access/xlog_internal.h
	var text string
	var page, segment uint64
	err := c.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn()::text, current_setting('wal_block_size')::int8,
		(SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size')`).Scan(&text, &page, &segment)
	if err != nil {
		return 0, postgres.Explain(err, "ask where the log ends", c.Config().Database)
	}
	at, err := pglogrepl.ParseLSN(text)
	if err != nil {
		return 0, fault.Stop(err)
	}
	switch n := uint64(at); {
	case n%segment == segmentHeader:
		at -= segmentHeader
	case n%page == pageHeader:
		at -= pageHeader
	}
	return at, nil
}
