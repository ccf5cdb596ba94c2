package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Installer = (*Source)(nil)

// Install gives the statements that are still to be run for a strategy.
func (s *Source) Install(ctx context.Context, r sources.InstallRequest) ([]sources.Statement, error) {
	var all []sources.Statement
	err := s.ofTables(ctx, r, func(c *postgres.Conn, tables []*table) error {
		switch r.Strategy {
		case byLog:
			return s.installLog(ctx, c, tables, &all)
		case queue, xid:
		default:
			return &fault.Error{Code: "ACQ-PG-041", Err: fmt.Errorf("there is nothing to install for strategy %q", r.Strategy), Remedy: "say log, queue or xid"}
		}
		for _, t := range tables {
			if !t.follows() {
				continue
			}
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			in := &installation{table: t, means: m, request: r, conn: c}
			if r.Strategy == xid {
				err = in.xid(ctx)
			} else {
				err = in.queue(ctx)
			}
			if err != nil {
				return err
			}
			all = append(all, in.statements...)
		}
		return s.addShared(ctx, c, r, &all)
	})
	return all, err
}

// Uninstall gives the statements that take away what Install puts there.
func (s *Source) Uninstall(ctx context.Context, r sources.InstallRequest) ([]sources.Statement, error) {
	var all []sources.Statement
	err := s.ofTables(ctx, r, func(c *postgres.Conn, tables []*table) error {
		if r.Strategy == byLog || r.Strategy == "" {
			if err := s.unlog(ctx, c, &all); err != nil {
				return err
			}
		}
		if r.Strategy == byLog {
			return nil
		}
		for _, t := range tables {
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			in := &installation{table: t, means: m, request: r, conn: c}
			if err := in.remove(ctx); err != nil {
				return err
			}
			all = append(all, in.statements...)
		}
		return s.dropShared(ctx, c, r, tables, &all)
	})
	return all, err
}

// unlog gives the statements that take away the publication and the slot, where there are any.
func (s *Source) unlog(ctx context.Context, c *postgres.Conn, all *[]sources.Statement) error {
	p, err := s.published(ctx, c)
	if err != nil {
		return err
	}
	slot, err := lookSlot(ctx, c, s.logName())
	if err != nil || !p.found && (slot == nil || slot.database != c.Config().Database) {
		return err
	}
	for _, one := range s.unlogStatements() {
		*all = append(*all, sources.Statement{SQL: one.SQL, Why: one.Why})
	}
	return nil
}

// Apply runs statements, each on its own: CREATE INDEX CONCURRENTLY is refused inside a transaction, and a lock on a table is let go
// before the next is asked for.
func (s *Source) Apply(ctx context.Context, statements []sources.Statement, done func(sources.Statement)) error {
	return s.with(ctx, func(c *postgres.Conn) error {
		for _, one := range statements {
			err := released(ctx, s.logName(), func() error {
				_, err := c.PgConn().Exec(ctx, one.SQL).ReadAll()
				return err
			})
			if err != nil {
				return postgres.Explain(err, one.SQL, cmp.Or(one.Table, c.Config().Database))
			}
			if done != nil {
				done(one)
			}
		}
		return nil
	})
}

// Installed says how each table can be followed, and is.
func (s *Source) Installed(ctx context.Context) ([]sources.Installed, error) {
	var all []sources.Installed
	err := s.ofTables(ctx, sources.InstallRequest{}, func(c *postgres.Conn, tables []*table) error {
		for _, t := range tables {
			one, err := s.installed(ctx, c, t)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

func (s *Source) installed(ctx context.Context, c *postgres.Conn, t *table) (sources.Installed, error) {
	one := sources.Installed{Table: t.Schema + "." + t.Name, Stream: t.stream, Strategy: t.note.Strategy}
	if !t.follows() {
		one.Missing = []sources.Missing{{Reason: "a " + t.Kind.String() + " without a key is read anew every so often"}}
		return one, nil
	}
	m, err := s.means(ctx, c, t)
	if err != nil {
		return one, err
	}
	for _, strategy := range ranking {
		if missing := s.lacks(t, m, strategy); missing != nil {
			one.Missing = append(one.Missing, *missing)
		} else {
			one.Ready = append(one.Ready, strategy)
		}
	}
	if t.note.Epoch > 0 {
		one.Risks = s.risksOf(t, m, t.note.Strategy)
	}
	if m.queueTable {
		one.Waiting, one.Oldest, err = waiting(ctx, c, t)
	}
	return one, err
}

// waiting gives how many entries of the queue a table has, and how old the oldest is.
func waiting(ctx context.Context, c *postgres.Conn, t *table) (n int64, age time.Duration, err error) {
	var seconds float64
	err = c.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 FROM acequia.queue WHERE tab = $1`, t.OID).
		Scan(&n, &seconds)
	return n, time.Duration(seconds * float64(time.Second)), postgres.Explain(err, "look at the queue", t.stream)
}

// ofTables does something with the tables that a request chooses, as the catalog has them now.
func (s *Source) ofTables(ctx context.Context, r sources.InstallRequest, do func(*postgres.Conn, []*table) error) error {
	return s.with(ctx, func(c *postgres.Conn) error {
		found, err := postgres.ListTables(ctx, c, s.config.Tables)
		if err != nil {
			return err
		}
		var tables []*table
		for _, f := range found {
			chosen := len(r.Tables) == 0
			if !chosen {
				if chosen, err = postgres.Matches(r.Tables, f.Schema, f.Name); err != nil {
					return fault.Stop(err)
				}
			}
			if !chosen {
				continue
			}
			t := &table{Table: f, stream: f.Stream(), found: &findings{}}
			if s.state != nil {
				if _, err := s.load(ctx, t); err != nil {
					return err
				}
			}
			tables = append(tables, t)
		}
		if len(tables) == 0 {
			return &fault.Error{Code: "ACQ-PG-042", Place: c.Config().Database, Err: errors.New("no table is chosen"), Remedy: "look at tables, and at --tables"}
		}
		return do(c, tables)
	})
}

// installLog adds the publication.
func (s *Source) installLog(ctx context.Context, c *postgres.Conn, tables []*table, all *[]sources.Statement) error {
	plain := make([]*postgres.Table, len(tables))
	for i, t := range tables {
		plain[i] = t.Table
	}
	statements, left, err := s.logStatements(ctx, c, plain)
	if err != nil {
		return err
	}
	for _, one := range statements {
		*all = append(*all, sources.Statement{SQL: one.SQL, Why: one.Why})
	}
	for table, why := range left {
		s.log.WarnContext(ctx, "the publication leaves a table out", slog.String("table", table), slog.String("reason", why))
	}
	return nil
}
