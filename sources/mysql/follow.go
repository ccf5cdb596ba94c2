package mysql

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// poller finds the changes of one table by asking for them, in rounds. Its positions are its own. It is used by one goroutine, with the
// table as the catalog has it then.
type poller interface {
	// begin gives the position of now: what is committed after it was asked is found by the rounds that follow.
	begin(ctx context.Context, c *mysql.Conn, t *table) (record.Position, error)
	// poll does one round: it gives the changes after a position, and says where the table stands then. An *anew says that the
	// changes are not complete any more. The number of a version is taken after the snapshot that its rows are read in.
	poll(ctx context.Context, c *mysql.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error)
	// covers says whether a round that began after a moment of the server's, and gave nothing, had all that was committed then.
	covers(at record.Position, moment time.Time) bool
}

// tidier is a poller that removes from the server what is durable in every sink.
type tidier interface {
	tidy(ctx context.Context, c *mysql.Conn, t *table, upTo record.Position) error
}

// anew says that a table must be read anew, since its changes are not complete any more.
type anew struct{ why string }

// Error gives the reason.
func (a *anew) Error() string { return "the table must be read anew: " + a.why }

// newPoller makes what follows a table by a strategy; nil where nothing does.
func (s *Source) newPoller(strategy string) poller {
	switch strategy {
	case byTime:
		return &timePoller{source: s, watch: watch{source: s}}
	case queue:
		return &queuePoller{source: s, watch: watch{source: s, triggers: true}}
	}
	return nil
}

// tidyTimeout is how long a reader that is closed tries to remove from the server what is durable.
const tidyTimeout = 5 * time.Second

// follower asks a table for its changes, again at once while there are some, else after a while. Chunks are handed on while the next
// are read.
type follower struct {
	*tabular.Reading

	source  *Source
	stream  string
	epoch   uint16
	poller  poller
	at      record.Position                 // where the next round begins
	settled atomic.Pointer[record.Position] // durable in every sink, and not yet tidied
}

func (s *Source) follow(ctx context.Context, t *table, from record.Position) (sources.Reader, error) {
	if from == "" {
		from = record.Position(t.note.Cursor)
	}
	f := &follower{source: s, stream: t.stream, epoch: t.note.Epoch, poller: t.poller, at: from}
	f.settled.Store(&from) // what was durable before, or what the backfill reads
	f.Reading = tabular.Read(ctx, f.run)
	return f, nil
}

// run polls until the table is drained, or there is an end to it.
func (f *follower) run(ctx context.Context, give func(record.Chunk) error) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	<-wait.C
	until, err := f.until(ctx)
	for err == nil {
		var more bool
		more, err = f.round(ctx, give)
		var again *anew
		switch {
		case errors.As(err, &again):
			f.source.readAnew(f.stream, f.epoch, again.why)
			return io.EOF
		case err != nil:
			return err
		case more:
			continue
		case !until.IsZero() && f.poller.covers(f.at, until):
			f.source.hasDrained(f.stream, f.epoch)
			return io.EOF
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

// drainEvery is how often a table is asked while somebody waits for the end.
const drainEvery = 200 * time.Millisecond

// pause is how long nothing is asked after a round that gave nothing.
func (f *follower) pause(until time.Time) time.Duration {
	every := f.source.config.Capture.Every
	if !until.IsZero() {
		return min(every, drainEvery)
	}
	return every
}

// until asks for the moment up to which a source that drains has to give all; zero: it does not drain.
func (f *follower) until(ctx context.Context) (at time.Time, err error) {
	if !f.source.drains {
		return at, nil
	}
	err = f.source.with(ctx, func(c *mysql.Conn) error {
		at, err = clock(ctx, c)
		return err
	})
	return at, err
}

// round polls once, and says whether there was something.
func (f *follower) round(ctx context.Context, give func(record.Chunk) error) (more bool, err error) {
	t := f.source.table(f.stream)
	if t == nil || t.note.Epoch != f.epoch {
		return false, io.EOF
	}
	err = f.source.with(ctx, func(c *mysql.Conn) error {
		at, err := f.poller.poll(ctx, c, t, f.at, func(chunk record.Chunk) error {
			to := chunk.To
			if err := give(chunk); err != nil {
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
	err := f.source.with(ctx, func(c *mysql.Conn) error { return f.source.refresh(ctx, c) })
	if now := f.source.table(f.stream); err == nil && now != nil && now.Mark() == t.Mark() {
		return errOutdated
	}
	return err
}

// tidy tells a poller that keeps something on the server what is durable.
func (f *follower) tidy(ctx context.Context, c *mysql.Conn, t *table) error {
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
	err := f.Reading.Close()
	if _, ok := f.poller.(tidier); !ok || f.settled.Load() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	return errors.Join(err, f.source.with(ctx, func(c *mysql.Conn) error {
		if t := f.source.table(f.stream); t != nil && t.note.Epoch == f.epoch {
			return f.tidy(ctx, c, t)
		}
		return nil
	}))
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
