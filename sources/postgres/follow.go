package postgres

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// tidyTimeout is how long a reader that is closed tries to remove from the server what is durable.
const tidyTimeout = 5 * time.Second

// moment is a time of the server.
type moment struct {
	at    visible
	clock time.Time
}

// follower asks a table for its changes, again at once while there are some, else after a while. Chunks are handed on while the next
// are read.
type follower struct {
	*tabular.Reading

	source *Source
	stream string
	epoch  uint16
	poller poller
	at     record.Position // where the next round begins
	give   func(record.Chunk) error

	settled atomic.Pointer[record.Position] // durable in every sink, and not yet tidied
}

func (s *Source) follow(ctx context.Context, t *table, from record.Position) (sources.Reader, error) {
	if from == "" {
		from = record.Position(t.note.Cursor)
	}
	f := &follower{source: s, stream: t.stream, epoch: t.note.Epoch, poller: t.poller, at: from}
	f.settled.Store(&from) // what was durable before, or what the backfill reads
	f.Reading = tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		f.give = give
		return f.run(ctx)
	})
	return f, nil
}

// run polls until the table is drained, or there is an end to it.
func (f *follower) run(ctx context.Context) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	<-wait.C
	until, err := f.until(ctx)
	for err == nil {
		var more bool
		more, err = f.round(ctx)
		var again *anew
		switch {
		case errors.As(err, &again):
			f.source.readAnew(f.stream, f.epoch, again.why)
			return io.EOF
		case err != nil:
			return err
		case until != nil && f.poller.covers(f.at, *until):
			f.source.hasDrained(f.stream, f.epoch)
			return io.EOF
		case more:
			continue
		}
		wait.Reset(f.pause(until))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
	}
	return err
}

// pause is how long nothing is asked after a round that gave nothing.
func (f *follower) pause(until *moment) time.Duration {
	every := f.source.config.Capture.Every
	if until != nil { // someone waits for the end
		return min(every, leastMargin)
	}
	return every
}

// until asks for the moment up to which a source that drains has to give all; nil: it does not drain.
func (f *follower) until(ctx context.Context) (m *moment, err error) {
	if !f.source.drains {
		return nil, nil //nolint:nilnil // said above
	}
	m = &moment{}
	err = f.source.with(ctx, func(c *postgres.Conn) error {
		var text string
		if err := c.QueryRow(ctx, "SELECT pg_current_snapshot()::text, clock_timestamp()").Scan(&text, &m.clock); err != nil {
			return postgres.Explain(err, "ask for the moment", f.stream)
		}
		m.at, err = parseVisible(text)
		return err
	})
	return m, err
}

// round polls once, and says whether there was something.
func (f *follower) round(ctx context.Context) (more bool, err error) {
	t := f.source.table(f.stream)
	if t == nil || t.note.Epoch != f.epoch {
		return false, io.EOF
	}
	err = f.source.with(ctx, func(c *postgres.Conn) error {
		at, err := f.poller.poll(ctx, c, t, f.at, func(chunk record.Chunk) error {
			to := chunk.To
			if err := f.give(chunk); err != nil {
				return err
			}
			f.at, more = to, true
			return nil
		})
		if err != nil {
			return err
		}
		f.at = at
		return f.tidy(ctx, c, t)
	})
	if errors.Is(err, errOutdated) || errors.Is(err, errGone) {
		return true, f.outdated(ctx, t)
	}
	return more, err
}

// outdated lets the catalog be asked again, and says whether the table is another one by now.
func (f *follower) outdated(ctx context.Context, t *table) error {
	err := f.source.with(ctx, func(c *postgres.Conn) error { return f.source.refresh(ctx, c) })
	if now := f.source.table(f.stream); err == nil && now != nil && now.OID == t.OID && markOf(now.Table) == markOf(t.Table) {
		return errOutdated
	}
	return err
}

// tidy tells a poller that keeps something on the server what is durable.
func (f *follower) tidy(ctx context.Context, c *postgres.Conn, t *table) error {
	p, ok := f.poller.(tidier)
	if !ok {
		return nil
	}
	upTo := f.settled.Load()
	if upTo == nil {
		return nil
	}
	if err := p.tidy(ctx, c, t, *upTo); err != nil {
		return err
	}
	f.settled.CompareAndSwap(upTo, nil)
	return nil
}

// Settle notes what is durable; the next round tidies. A connection is not asked for here: those who hold them may wait for this.
func (f *follower) Settle(_ context.Context, upTo record.Position, err error) error {
	if err == nil && upTo != "" {
		f.settled.Store(&upTo)
	}
	return nil
}

// Close ends the reading.
func (f *follower) Close() error {
	if err := f.Reading.Close(); err != nil {
		return err
	}
	if _, ok := f.poller.(tidier); !ok || f.settled.Load() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	return f.source.with(ctx, func(c *postgres.Conn) error {
		if t := f.source.table(f.stream); t != nil && t.note.Epoch == f.epoch {
			return f.tidy(ctx, c, t)
		}
		return nil
	})
}

// table gives a table as it was when the catalog was last asked; nil: it is gone.
func (s *Source) table(stream string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tables[stream]
}

// readAnew lets the next refresh begin a new incarnation of a stream.
func (s *Source) readAnew(stream string, epoch uint16, why string) {
	s.noting.Lock() // else a note that is being kept would put back a copy from before
	defer s.noting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[stream]; t != nil && t.note.Epoch == epoch {
		t.anew = why
	}
}

// hasDrained notes that what follows a table has given all there was.
func (s *Source) hasDrained(stream string, epoch uint16) {
	s.noting.Lock() // as above
	defer s.noting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[stream]; t != nil && t.note.Epoch == epoch {
		t.drained = true
	}
}
