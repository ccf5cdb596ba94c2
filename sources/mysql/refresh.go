package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
)

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

// oldest says whether a server is too old: its catalog lacks what we ask it for.
func oldest(v mysql.Server) string {
	major, minor := v.Number()
	switch {
	case v.Flavor == mysql.MariaDB && (major < 10 || major == 10 && minor < 3):
		return "MariaDB 10.3"
	case v.Flavor == mysql.MySQL && major < 8:
		return "MySQL 8.0"
	}
	return ""
}

// refresh brings the tables up to the catalog: those that are new are begun, those that were replaced are read anew, those that are
// gone are let go. What is wrong with one of them stops that one.
func (s *Source) refresh(ctx context.Context, c *mysql.Conn) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	if err := s.inspect(ctx, c); err != nil {
		return err
	}
	if s.state != nil {
		if err := s.loadLog(ctx); err != nil {
			return err
		}
	}
	found, err := s.catalog(ctx, c)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, f := range found {
		there[f.Stream()] = true
		if err := s.meet(ctx, c, f); err != nil {
			return fmt.Errorf("table %s: %w", f.Quoted(), err)
		}
	}
	s.mu.Lock()
	known := s.sorted()
	s.mu.Unlock()
	for _, t := range known {
		if !there[t.stream] {
			if err := s.miss(ctx, t); err != nil {
				return fmt.Errorf("table %s: %w", t.Quoted(), err)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = time.Now()
	return nil
}

// inspect asks which server it is.
func (s *Source) inspect(ctx context.Context, c *mysql.Conn) error {
	server, err := mysql.Inspect(ctx, c)
	if err != nil {
		return err
	}
	if least := oldest(server); least != "" {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MY-044", Place: c.Host(), Err: fmt.Errorf("the server is of version %s, and %s is needed", server.Version, least),
		}
	}
	var log logMeans
	if strategy := s.config.Capture.Strategy; strategy == auto || strategy == byLog {
		if log, err = inspectLog(ctx, c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.feed.means = server, log
	return nil
}

// catalog asks which tables there are, and remembers it. It tells, once, which rights are missing to read tables that the settings
// choose. Without any table to read it is an error.
func (s *Source) catalog(ctx context.Context, c *mysql.Conn) ([]*mysql.Table, error) {
	found, grants, err := mysql.ListTables(ctx, c, s.config.Tables, nil)
	if err != nil {
		return nil, err
	}
	remedy := strings.Join(grants, "; ")
	if len(found) == 0 && len(grants) > 0 {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-MY-005", Place: c.Host(), Err: errors.New("the user may read none of the tables"), Remedy: remedy}
	}
	listed := make(map[string]*mysql.Table, len(found))
	for _, t := range found {
		if other := listed[t.Stream()]; other != nil { // such as "sales.orders" in the dsn's database, and orders in sales
			return nil, &fault.Error{
				Class: fault.Fatal, Code: "ACQ-MY-035", Place: t.Stream(), Err: fmt.Errorf("%s and %s would be the same stream", other.Quoted(), t.Quoted()),
				Remedy: "leave one of them out, with ! and its database and name in tables",
			}
		}
		listed[t.Stream()] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = listed
	if remedy != s.denied {
		s.denied = remedy
		if remedy != "" {
			s.log.WarnContext(ctx, "tables that the settings choose are left out, for they may not be read", slog.String("remedy", remedy))
		}
	}
	return found, nil
}

// meet takes a table in as the catalog has it now.
func (s *Source) meet(ctx context.Context, c *mysql.Conn, found *mysql.Table) error {
	t, old := s.copyOf(found.Stream())
	t.Table, t.stream, t.source = found, found.Stream(), sourceName(found)
	t.err = s.bring(ctx, c, t, old)
	if t.err != nil && (ctx.Err() != nil || fault.Of(t.err) == fault.Retryable) {
		return t.err
	}
	if t.err != nil && (old.err == nil || old.err.Error() != t.err.Error()) {
		s.log.ErrorContext(ctx, "the table is stopped, the others go on", slog.Any("table", t), slog.String("error", t.err.Error()))
	}
	s.publish(t)
	return nil
}

func sourceName(t *mysql.Table) string { return "mysql." + t.Database + "." + t.Name }

// bring makes the note of a table what the catalog says it must be. Its error stops the table.
func (s *Source) bring(ctx context.Context, c *mysql.Conn, t *table, old table) error {
	begins := old.Table == nil || old.err != nil
	if begins {
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
	if join := t.note.Log; join != nil && join.Broken != "" && t.note.Anew == "" {
		if old.Table != nil && old.err != nil { // what is read anew would be stopped again, until somebody has mended it
			return old.err
		}
		return s.again(ctx, c, t, join.Broken)
	}
	if why := s.outlived(t); why != "" {
		return s.again(ctx, c, t, why)
	}
	if begins {
		epoch := t.note.Epoch
		if err := s.resume(ctx, c, t); err != nil || t.note.Epoch != epoch {
			return err
		}
	}
	if s.isDue(t, old.Table == nil) {
		return s.again(ctx, c, t, "")
	}
	return s.keepColumns(ctx, t)
}

// outlived says why a table must be read anew, or "".
func (s *Source) outlived(t *table) string {
	switch {
	case t.note.Anew != "":
		return t.note.Anew
	case t.anew != "":
		return t.anew
	case t.logged() && t.note.Log.Feed != s.feedNow():
		return s.feedWhy()
	case t.note.Server != "" && s.server.Identity != "" && t.note.Server != s.server.Identity:
		return fmt.Sprintf("the server is another one: %s; it was %s", s.server.Identity, t.note.Server)
	}
	return ""
}

// isDue says whether a table that nothing follows is to be read again: when a run begins that ends when nothing is left, and after
// a while in one that does not end. Nothing tells whether its rows are others than before.
func (s *Source) isDue(t *table, first bool) bool {
	if t.note.Strategy != "" || t.note.Done.IsZero() {
		return false
	}
	return time.Since(t.note.Done) >= s.config.Capture.Snapshot || first && s.drains
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
func (s *Source) miss(ctx context.Context, t *table) error {
	if s.denied != "" && strings.Contains(s.denied, t.Quoted()) {
		next, _ := s.copyOf(t.stream)
		next.err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MY-033", Place: t.stream, Err: errors.New("the user may not read the table any more"),
			Remedy: "GRANT SELECT ON " + t.Quoted() + " TO the user of the dsn",
		}
		s.publish(next)
		return nil
	}
	s.log.WarnContext(ctx, "the table is gone; what was read of it stays", slog.Any("table", t))
	if err := s.mustBegin(ctx, t, "it was dropped, or had another name, and there is one of its name again"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tables, t.stream)
	return nil
}

// mustBegin notes durably that a table must be read anew, so that its lanes may end though not all of it was read.
func (s *Source) mustBegin(ctx context.Context, t *table, why string) error {
	return s.change(ctx, t.stream, t.note.Epoch, func(n *note) bool {
		n.Anew = why
		return true
	})
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
		t.note, t.anew, t.drained = now.note, now.anew, now.drained
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
