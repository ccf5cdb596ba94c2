package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// How long a refresh waits for transactions that ran when a table joined the log; a run that ends by itself waits longer, since
// nobody asks it again.
const (
	joinPatience  = 2 * time.Second
	drainPatience = time.Minute
)

// joinLog brings the tables of strategy log up to the slot and the publication, after all were looked at. A table joins in three steps:
//
//  1. While no transaction of the log can begin, the position at which the server's log ends is taken: what commits before it
//     is left out of the log for this table, what commits later is given.
//  2. All transactions that run then must end. What has committed before the position is then seen by every read. (A commit is in
//     the log before others see it, and a synchronous standby may keep it so for long.)
//  3. The table is read, in whatever snapshots: its rows have number 0, and a change has the position of its commit.
//
// A slot that was just made has done the first two itself, but for commits before its beginning that others do not see yet: a read in
// the slot's own snapshot shows them, and any other read waits for them.
func (s *Source) joinLog(ctx context.Context, c *postgres.Conn) error {
	var joining, waiting []*table
	for _, t := range s.logTables() {
		keep, err := s.keepsLog(ctx, c, t)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.Quoted(), err)
		}
		switch {
		case !keep:
		case t.note.Log == nil:
			joining = append(joining, t)
		case t.note.Log.Wait != 0:
			waiting = append(waiting, t)
		}
	}
	if err := s.join(ctx, c, joining); err != nil {
		return err
	}
	waiting = append(waiting, joining...)
	if len(waiting) == 0 {
		return nil
	}
	return s.awaitJoin(ctx, c, waiting)
}

func (s *Source) logTables() (tables []*table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.sorted() {
		t.waits = nil
		if t.note.Strategy == byLog && t.err == nil {
			tables = append(tables, new(*t))
		}
	}
	return tables
}

// keepsLog says whether a table is or can be followed by the log. What followed another slot, was out of the publication for a while,
// or had its changes left out is read anew.
func (s *Source) keepsLog(ctx context.Context, c *postgres.Conn, t *table) (bool, error) {
	s.mu.Lock()
	f, join := &s.feed, t.note.Log
	epoch, why, broken, public, refused := f.note.Epoch, f.note.Why, f.err, f.public, f.refused[t.stream]
	s.mu.Unlock()
	again := ""
	switch {
	case broken != nil && join == nil:
		s.hold(t, broken)
		return false, nil
	case broken != nil, join == nil:
	case join.Slot != epoch:
		again = why
	case join.Member != public.members[t.OID]:
		again = "it was out of the log's publication, or the publication was altered"
	case join.Broken != "" && refused != nil: // until the next run: what is read anew would be refused again
		s.hold(t, refused)
		return false, nil
	case join.Broken != "":
		if _, err := s.layout(t); err != nil {
			s.hold(t, err)
			return false, nil
		}
		again = join.Broken
	default:
		var err error
		if again, err = s.untold(ctx, c, t); err != nil {
			return false, err
		}
	}
	if again != "" {
		err := s.again(ctx, c, t, again)
		if err != nil && fault.Of(err) == fault.Fatal && ctx.Err() == nil {
			s.hold(t, err)
			return false, nil
		}
		if err != nil {
			return false, err
		}
		s.turnLog()
		if t.note.Strategy != byLog {
			return false, nil
		}
	}
	if _, published := public.members[t.OID]; broken == nil && !published {
		s.hold(t, errUnfit(t, "the publication "+s.logName()+" does not have it", "add it with: acequia capture install --strategy log --apply"))
		return false, nil
	}
	if reason := public.reasons[t.OID]; broken == nil && reason != "" {
		s.hold(t, errUnfit(t, reason, "mend it, or leave the table out of the publication: its strategy is then another one"))
		return false, nil
	}
	return broken == nil, nil
}

func errUnfit(t *table, reason, remedy string) error {
	return &fault.Error{Class: fault.Fatal, Code: "ACQ-PG-063", Place: t.stream, Err: errors.New("the log cannot follow the table: " + reason), Remedy: remedy}
}

// hold keeps the lanes of a table back for a reason that a later refresh looks at again.
func (s *Source) hold(t *table, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.tables[t.stream]; now != nil {
		now.waits = why
	}
}

// turnLog makes the reader look at its tables again, before it reads the next transaction.
func (s *Source) turnLog() {
	s.feed.gate.Lock()
	defer s.feed.gate.Unlock()
	s.feed.turn++
}

// join does the first step for tables.
func (s *Source) join(ctx context.Context, c *postgres.Conn, tables []*table) (err error) {
	if len(tables) == 0 {
		return nil
	}
	for _, t := range tables { // what happens from here on is told, or seen by the next look
		if _, err := s.logWatch(t).begin(ctx, c, t); err != nil {
			return err
		}
	}
	s.feed.gate.Lock()
	defer s.feed.gate.Unlock()
	s.mu.Lock()
	from, made, epoch := s.feed.note.Start, s.feed.made, s.feed.note.Epoch
	s.mu.Unlock()
	if !made { // what runs is asked for after the position: what begins later commits behind it
		if err := c.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&from); err != nil {
			return postgres.Explain(err, "ask where the log ends", s.logName())
		}
	}
	wait, err := begun(ctx, c)
	if err != nil {
		return err
	}
	for _, t := range tables {
		join := logJoin{Slot: epoch, From: from, Wait: wait, Member: s.feed.public.members[t.OID]}
		if made {
			join.Wait, join.Behind = 0, wait
		}
		if err := s.noteJoin(ctx, t, join); err != nil {
			return err
		}
	}
	s.feed.turn++
	return nil
}

// logWatch gives what watches a table for what its log does not tell.
func (s *Source) logWatch(t *table) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.feed.watches[t.stream]
	if w == nil || w.table.note.Epoch != t.note.Epoch {
		w = &watch{source: s, table: t, deletes: true}
		if s.feed.watches == nil {
			s.feed.watches = map[string]*watch{}
		}
		s.feed.watches[t.stream] = w
	}
	return w
}

// untold says what has happened to a table that its log does not tell, or "": values that ALTER TABLE has put into the rows, a
// partition that was truncated by itself, attached with rows, or taken away. A plain table was looked at with all others.
func (s *Source) untold(ctx context.Context, c *postgres.Conn, t *table) (why string, err error) {
	w := s.logWatch(t)
	err = w.load(ctx)
	if err == nil {
		if t.Kind == postgres.Ordinary && w.guard.Files[t.OID].Node == t.Filenode && w.guard.Columns == markOf(t.Table) {
			return "", nil
		}
		w.emptied = func() (bool, error) { return s.tookTruncate(ctx, c, t) }
		_, err = w.see(ctx, c, t, 0)
	}
	if reason, ok := errors.AsType[*anew](err); ok {
		return reason.why, nil
	}
	if errors.Is(err, errGone) || errors.Is(err, errOutdated) { // the next refresh knows more
		return "", nil
	}
	return "", err
}

// noteJoin keeps how a table has joined the log.
func (s *Source) noteJoin(ctx context.Context, t *table, join logJoin) error {
	t.note.Log = &join
	return s.change(ctx, t.stream, t.note.Epoch, func(n *note) bool {
		n.Log = &join
		return true
	})
}

// begun gives a number above those of all transactions that have begun, which is that of one for it. The xmax of a snapshot is not: it
// is above those that have ended, and the youngest may be committing, in the log and seen by nobody.
func begun(ctx context.Context, c *postgres.Conn) (uint64, error) {
	return transaction(ctx, c, "pg_current_xact_id()")
}

// underWay gives the number below which all transactions have ended.
func underWay(ctx context.Context, c *postgres.Conn) (uint64, error) {
	return transaction(ctx, c, "pg_snapshot_xmin(pg_current_snapshot())")
}

func transaction(ctx context.Context, c *postgres.Conn, sql string) (uint64, error) {
	var text string
	if err := c.QueryRow(ctx, "SELECT "+sql+"::text").Scan(&text); err != nil {
		return 0, postgres.Explain(err, "ask which transactions run", c.Config().Database)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, fault.Stop(err)
}

// awaitJoin does the second step: it waits a little for the transactions that ran, and leaves the rest to the next refresh.
func (s *Source) awaitJoin(ctx context.Context, c *postgres.Conn, tables []*table) error {
	patience := joinPatience
	if s.drains {
		patience = drainPatience
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		oldest, err := underWay(ctx, c)
		if err != nil {
			return err
		}
		rest := tables[:0:0]
		for _, t := range tables {
			if t.note.Log.Wait > oldest {
				rest = append(rest, t)
				continue
			}
			if t.note.Log.Wait == 0 {
				continue
			}
			join := *t.note.Log
			join.Wait = 0
			if err := s.noteJoin(ctx, t, join); err != nil {
				return err
			}
		}
		if tables = rest; len(tables) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			continue
		case <-late.C:
		}
		break
	}
	why := &fault.Error{
		Class: fault.Retryable, Code: "ACQ-PG-062", Place: tables[0].stream,
		Err: errors.New("before the table can be read, all transactions must end that ran when it joined the log: " + oldestRunning(ctx, c)), Remedy: "end it; it is tried again",
	}
	for _, t := range tables {
		s.hold(t, why)
	}
	s.mu.Lock()
	s.refreshed = time.Time{} // they are looked at again at once when somebody asks
	s.mu.Unlock()
	if s.drains {
		return why
	}
	s.log.WarnContext(ctx, "tables wait for a transaction", slog.Int("tables", len(tables)), slog.String("reason", why.Err.Error()))
	return nil
}

// oldestRunning names the transaction that has run longest.
func oldestRunning(ctx context.Context, c *postgres.Conn) string {
	var who string
	err := c.QueryRow(ctx, `SELECT who FROM (
			SELECT format('process %s (user %s, running since %s)', pid, usename, xact_start) AS who, age(backend_xid) AS age
				FROM pg_stat_activity WHERE backend_xid IS NOT NULL
			UNION ALL SELECT format('the prepared transaction %L', gid), age(transaction) FROM pg_prepared_xacts) running
		ORDER BY age DESC LIMIT 1`).Scan(&who)
	if err != nil {
		return "one of them runs still"
	}
	return who
}

// breakLog notes that the changes of a table are left out from now on, for a reason that its owner must mend: it is read anew then.
func (s *Source) breakLog(ctx context.Context, stream string, why error) error {
	s.mu.Lock()
	t := s.tables[stream]
	if t == nil || t.note.Log == nil {
		s.mu.Unlock()
		return nil
	}
	t.waits, s.refreshed = why, time.Time{}
	s.mu.Unlock()
	s.log.ErrorContext(ctx, "the table is stopped, the others go on", slog.Any("table", t), slog.String("reason", why.Error()))
	return s.change(ctx, stream, t.note.Epoch, func(n *note) bool {
		if n.Log == nil {
			return false
		}
		join := *n.Log
		join.Broken = why.Error()
		n.Log = &join
		return true
	})
}

// logStand gives a number for a read that shows a table of the log as it stands and is to win over what older commits left: all that
// commits before it is in the read, once this returns. A backfill needs none: its rows have number 0.
func (s *Source) logStand(ctx context.Context, c *postgres.Conn) (uint64, error) {
	var text string
	if err := c.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return 0, postgres.Explain(err, "ask where the log ends", c.Config().Database)
	}
	at, err := pglogrepl.ParseLSN(text)
	if err != nil {
		return 0, fault.Stop(err)
	}
	running, err := begun(ctx, c)
	if err != nil {
		return 0, err
	}
	return uint64(at), allEnded(ctx, c, running)
}

// allEnded waits until all transactions below a number have ended, so that others see them.
func allEnded(ctx context.Context, c *postgres.Conn, number uint64) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		oldest, err := underWay(ctx, c)
		if err != nil || oldest >= number {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
