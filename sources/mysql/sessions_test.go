package mysql_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// session is a connection that the test writes by, statement by statement.
type session struct {
	*testing.T
	conn *client.Conn
}

func (w *world) session() *session {
	w.Helper()
	conn, err := server.Connect(w.database)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Quit() })
	return &session{w.T, conn}
}

func (s *session) exec(sql ...string) {
	s.Helper()
	for _, q := range sql {
		if _, err := s.conn.Execute(q); err != nil {
			s.Fatalf("%s: %v", q, err)
		}
	}
}

// run1 runs, and wants no error.
func (w *world) run1() {
	w.Helper()
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
}

// until waits for a query that counts to count something.
func (w *world) until(q string) {
	w.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for w.number(q) == 0 {
		select {
		case <-tick.C:
		case <-late:
			w.Fatalf("it never came: %s", q)
		}
	}
}

// following is a run that does not end by itself.
type following struct {
	w      *world
	source *mysql.Source
	reader sources.Reader
	lane   sources.Lane
	chunks chan record.Chunk
	ended  chan error
	cancel context.CancelFunc
}

// following follows the first table whose lane follows changes, from where the world's last run has ended.
func (w *world) following() *following {
	w.Helper()
	s, err := mysql.New(w.config, sources.Host{Pipeline: "test", State: w.notes})
	if err != nil {
		w.Fatal(err)
	}
	lanes, err := s.Lanes(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	f := &following{w: w, source: s, chunks: make(chan record.Chunk), ended: make(chan error, 1)}
	for _, l := range lanes {
		if l.Endless {
			f.lane = l
		}
	}
	if f.reader, err = s.Open(w.Context(), f.lane, w.at[f.lane.ID]); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	f.cancel = cancel
	go func() {
		for {
			chunk, err := f.reader.Read(ctx)
			if err != nil {
				f.ended <- err
				return
			}
			f.chunks <- chunk
		}
	}()
	return f
}

// wait takes what comes for a while.
func (f *following) wait(span time.Duration) {
	f.w.Helper()
	late := time.NewTimer(span)
	defer late.Stop()
	for {
		select {
		case chunk := <-f.chunks:
			f.take(chunk)
		case <-late.C:
			return
		}
	}
}

func (f *following) take(chunk record.Chunk) {
	f.w.Helper()
	for _, b := range chunk.Batches {
		f.w.given += b.Rows
		f.w.apply(b)
	}
	chunk.Release()
	f.w.at[f.lane.ID] = chunk.To
	if err := f.reader.Settle(context.WithoutCancel(f.w.Context()), chunk.To, nil); err != nil {
		f.w.Fatal(err)
	}
}

// stop ends it.
func (f *following) stop() {
	f.w.Helper()
	f.cancel()
	for {
		select {
		case chunk := <-f.chunks:
			f.take(chunk)
			continue
		case err := <-f.ended:
			if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
				f.w.Fatal(err)
			}
		}
		break
	}
	if err := errors.Join(f.reader.Close(), f.source.Close()); err != nil {
		f.w.Fatal(err)
	}
}
