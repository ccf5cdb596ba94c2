package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// leastVersion is the oldest server whose catalog we can read. It also reads a range of a table's blocks without the rest.
const leastVersion = 140000

// refreshEvery is how often the catalog is asked at most, however often lanes end.
const refreshEvery = 5 * time.Second

// fresh says whether the catalog need not be asked again.
func (s *Source) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if t.anew != "" || t.note.Anew != "" {
			return false
		}
	}
	return time.Since(s.refreshed) < refreshEvery
}

// refresh brings the tables up to the catalog: those that are new are begun, those that were replaced are read anew, those that are
// gone are let go. What is wrong with one of them stops that one.
func (s *Source) refresh(ctx context.Context, c *postgres.Conn) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	server, err := postgres.Inspect(ctx, c)
	if err != nil {
		return err
	}
	if server.Version < leastVersion {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-044", Place: server.Database,
			Err: fmt.Errorf("the server is of version %d, and %d is needed", server.Version/10000, leastVersion/10000),
		}
	}
	found, err := s.catalog(ctx, c)
	if err != nil {
		return err
	}
	now, back, err := s.wentBack(ctx, c, server)
	if err != nil {
		return err
	}
	if back != "" { // the position of the log is of what has been undone, and may be reached again before the log is opened
		s.loseLog(back)
	}
	if err := s.prepareLog(ctx, c, server); err != nil {
		return err
	}
	if err := s.sayDenied(ctx, c, len(found)); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, f := range found {
		there[f.Stream()] = true
		if err := s.meet(ctx, c, server, back, f); err != nil {
			return fmt.Errorf("table %s: %w", f.Quoted(), err)
		}
	}
	s.mu.Lock()
	known := s.sorted()
	s.mu.Unlock()
	for _, t := range known {
		if !there[t.stream] {
			if err := s.miss(ctx, c, t); err != nil {
				return fmt.Errorf("table %s: %w", t.Quoted(), err)
			}
		}
	}
	if err := s.see(ctx, now, back != ""); err != nil {
		return err
	}
	s.mu.Lock()
	s.refreshed = time.Now()
	s.mu.Unlock()
	return s.joinLog(ctx, c)
}

// sayDenied tells, once, which rights are missing to read tables that the settings choose. Without any table to read it is an error.
func (s *Source) sayDenied(ctx context.Context, c *postgres.Conn, readable int) error {
	grants, err := postgres.Denied(ctx, c, s.config.Tables, nil)
	if err != nil {
		return err
	}
	if readable == 0 && len(grants) > 0 {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-005", Place: c.Config().Database, Err: errors.New("the role may read none of the tables"), Remedy: strings.Join(grants, "; "),
		}
	}
	if all := strings.Join(grants, "; "); all != s.denied {
		s.denied = all
		if all != "" {
			s.log.WarnContext(ctx, "tables that the settings choose are left out, for they may not be read", slog.String("remedy", all))
		}
	}
	return nil
}

// meet takes a table in as the catalog has it now.
func (s *Source) meet(ctx context.Context, c *postgres.Conn, server postgres.Server, back string, found *postgres.Table) error {
	t, old := s.copyOf(found.Stream())
	t.Table, t.stream, t.source = found, found.Stream(), sourceName(server.Database, found)
	t.server = identity{System: server.System, Timeline: server.Timeline}
	t.err = s.bring(ctx, c, t, old, back)
	if t.err != nil && (ctx.Err() != nil || fault.Of(t.err) == fault.Retryable) {
		return t.err
	}
	if t.err != nil && (old.err == nil || old.err.Error() != t.err.Error()) {
		s.log.ErrorContext(ctx, "the table is stopped, the others go on", slog.Any("table", t), slog.String("error", t.err.Error()))
	}
	s.publish(t)
	return nil
}

// bring makes the note of a table what the catalog says it must be. Its error stops the table.
func (s *Source) bring(ctx context.Context, c *postgres.Conn, t *table, old table, back string) error {
	if old.Table == nil || old.err != nil {
		if s.claim != nil {
			if err := s.claim(ctx, t.stream); err != nil {
				return err
			}
		}
		known, err := s.load(ctx, t)
		if err != nil {
			return err
		}
		if !known {
			return s.again(ctx, c, t, "")
		}
	}
	if why := outlived(t, back); why != "" {
		return s.again(ctx, c, t, why)
	}
	if old.Table == nil || old.err != nil {
		epoch := t.note.Epoch
		if err := s.resume(ctx, c, t); err != nil || t.note.Epoch != epoch {
			return err
		}
	}
	switch due, err := s.isDue(ctx, c, t, old.Table == nil); {
	case err != nil:
		return err
	case due:
		return s.again(ctx, c, t, "")
	}
	return s.keepColumns(ctx, t)
}

// outlived says why a table must be read anew, or "".
func outlived(t *table, back string) string {
	switch was := t.note.Server; {
	case t.note.Anew != "":
		return t.note.Anew
	case t.anew != "":
		return t.anew
	case t.note.OID != t.OID:
		return "another table has its name than before"
	case was != t.server && was != identity{}:
		return fmt.Sprintf("the server is another one, or a copy: system identifier %s, timeline %d; it was %s, %d",
			t.server.System, t.server.Timeline, was.System, was.Timeline)
	}
	return back
}

// keepColumns notes the columns that the stream has now, before the first record that has them.
func (s *Source) keepColumns(ctx context.Context, t *table) error {
	layout, err := s.layout(t)
	if err != nil {
		return err
	}
	s.publish(t)
	return s.met(ctx, t.stream, t.note.Epoch, layout.Schema)
}

// miss lets a table go that the catalog does not list any more, or says why it cannot be read.
func (s *Source) miss(ctx context.Context, c *postgres.Conn, t *table) error {
	var name string
	var part, readable bool
	err := c.QueryRow(ctx, `
		select format('%I.%I', n.nspname, c.relname), c.relispartition, has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = $1`, t.OID).Scan(&name, &part, &readable)
	var why string
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		why = "it was dropped, and there is one of its name again"
	case err != nil:
		return postgres.Explain(err, "look for "+t.Quoted(), t.stream)
	case part:
		why = "it was a partition of another table for a while"
	case !readable:
		next, _ := s.copyOf(t.stream)
		next.err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-033", Place: t.stream, Err: errors.New("the role may not read the table any more"),
			Remedy: fmt.Sprintf("grant usage on schema %s, and select on %s, to the role", pgx.Identifier{t.Schema}.Sanitize(), t.Quoted()),
		}
		s.publish(next)
		return nil
	default:
		why = "it had the name " + name + " for a while"
	}
	s.log.WarnContext(ctx, "the table is gone; what was read of it stays", slog.Any("table", t), slog.String("now", name))
	if err := s.mustBegin(ctx, t, why); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tables, t.stream)
	return nil
}

// copyOf gives a copy of a table to change, and the table as it is; both are empty where there is none.
func (s *Source) copyOf(stream string) (next *table, old table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[stream]; t != nil {
		old = *t
	}
	next = new(old)
	if next.found == nil {
		next.found = &findings{}
	}
	return next, old
}

// publish puts a table into its place as the catalog has it now. What was noted or asked of the same incarnation meanwhile stays.
func (s *Source) publish(t *table) {
	s.noting.Lock()
	defer s.noting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.tables[t.stream]; now != nil && now.note.Epoch == t.note.Epoch {
		t.note, t.anew, t.drained, t.waits = now.note, now.anew, now.drained, now.waits
	}
	s.tables[t.stream] = new(*t) // the caller's may change still, and this one is read under the lock
}

// sorted gives the tables by the names of their streams; the caller holds the lock.
func (s *Source) sorted() []*table {
	out := make([]*table, 0, len(s.tables))
	for _, t := range s.tables {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *table) int { return strings.Compare(a.stream, b.stream) })
	return out
}
