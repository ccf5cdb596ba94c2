package postgres

import (
	"context"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// poller finds the changes of one table by asking for them. Its positions are its own; a cursor that a timestamp of the
// application makes is none (strategy time says what it assumes).
type poller interface {
	// begin gives the position of now: what is committed after it was asked is found by the reads that follow.
	begin(ctx context.Context, c *postgres.Conn) (record.Position, error)
	// read gives the changes after a position, some 10,000 at a time, and where it stands then. Nothing new: no batches. It takes
	// the number of their version after the snapshot that it reads in.
	read(ctx context.Context, c *postgres.Conn, from record.Position) (record.Chunk, error)
	// settle is told what is durable in every sink.
	settle(ctx context.Context, c *postgres.Conn, upTo record.Position) error
}

// choose decides how a table's changes are found, and where following begins. It is asked before the first read of a backfill.
func (s *Source) choose(ctx context.Context, c *postgres.Conn, t *table) error {
	t.note.Strategy = ""
	if len(t.Key) == 0 {
		t.poller = nil
		return nil
	}
	if err := s.resume(ctx, c, t); err != nil || t.poller == nil {
		return err
	}
	at, err := t.poller.begin(ctx, c)
	t.note.Cursor = string(at)
	return err
}

// resume makes what follows a table whose strategy is known.
func (s *Source) resume(_ context.Context, _ *postgres.Conn, t *table) error {
	t.poller = nil
	return nil
}
