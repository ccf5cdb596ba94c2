package sourcetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// open opens the first lane of a fresh source.
func (s *scene) open(ctx context.Context) (sources.Source, sources.Reader, error) {
	source, err := s.place.Source(ctx)
	if err != nil {
		return nil, nil, err
	}
	lanes, err := source.Lanes(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list lanes: %w", err)
	}
	r, err := source.Open(ctx, lanes[0], "")
	if err != nil {
		return nil, nil, fmt.Errorf("open lane %s: %w", lanes[0].ID, err)
	}
	return source, r, nil
}

// waits puts records while the lanes are being read: they come without a poke.
func waits(ctx context.Context, s *scene) error {
	if s.h.Bounded {
		return errNotHere
	}
	var want []image
	got, err := s.fresh(ctx, plan{want: 3 * some, during: func() error {
		for part := range 3 {
			select { // a read waits by then, else it would find all of it at once
			case <-time.After(apart):
			case <-ctx.Done():
				return ctx.Err()
			}
			rows, _, err := s.put(ctx, s.inserts(part*some, some, plain))
			if err != nil {
				return err
			}
			want = append(want, rows...)
		}
		return nil
	}})
	if err != nil {
		return err
	}
	return s.same(got, want)
}

// apart is the time between records that reads are to wait for.
const apart = 100 * time.Millisecond

func contextEnds(ctx context.Context, s *scene) error {
	_, r, err := s.open(ctx)
	if err != nil {
		return err
	}
	ended, end := context.WithCancel(ctx)
	end()
	err = within(s.soon(), "read with an ended context", func() error { return s.wantContextError(ended, r, context.Canceled) })
	if err == nil && !s.h.Bounded {
		short, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		err = within(s.soon()+grace, "read whose context ends", func() error { return s.wantContextError(short, r, context.DeadlineExceeded) })
	}
	return errors.Join(err, r.Close())
}

func (s *scene) wantContextError(ctx context.Context, r sources.Reader, want error) error {
	switch c, err := r.Read(ctx); {
	case err == nil:
		c.Release()
		return errors.New("a read of nothing gave a chunk after its context ended")
	case s.h.Bounded && errors.Is(err, io.EOF):
		return nil
	case !errors.Is(err, want):
		return fmt.Errorf("the read gave %w, want the context's error", err)
	}
	return nil
}

// endedReadLosesNothing ends many reads at odd moments while records come, with the same reader all along.
func endedReadLosesNothing(ctx context.Context, s *scene) error {
	var want []image
	p := plan{want: 5 * some, during: func() error {
		for part := range 5 {
			rows, _, err := s.put(ctx, s.inserts(part*some, some, plain))
			if err != nil {
				return err
			}
			want = append(want, rows...)
		}
		return nil
	}}
	if s.h.Bounded {
		if err := p.during(); err != nil {
			return err
		}
		p.during = nil
	}
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	got, err := s.collect(ctx, &impatient{source}, p)
	if err != nil {
		return err
	}
	return s.same(got, want)
}

// impatient ends each read after a short time and begins another.
type impatient struct{ sources.Source }

func (i *impatient) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := i.Source.Open(ctx, lane, from)
	return &impatientReader{r, 0}, err
}

type impatientReader struct {
	sources.Reader
	reads int
}

func (r *impatientReader) Read(ctx context.Context) (record.Chunk, error) {
	for {
		r.reads++
		short, cancel := context.WithTimeout(ctx, time.Duration(r.reads%7*r.reads%997)*10*time.Microsecond)
		c, err := r.Reader.Read(short)
		cancel()
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return c, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return c, err
		}
	}
}

func closeEnds(ctx context.Context, s *scene) error {
	if s.h.Bounded {
		return errNotHere
	}
	_, r, err := s.open(ctx)
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		_, err := r.Read(ctx)
		read <- err
	}()
	timer := time.NewTimer(grace) // the read is under way by then, or begins on a closed reader: both must end
	defer timer.Stop()
	select {
	case err := <-read:
		return errors.Join(fmt.Errorf("the read of an empty place did not wait: %w", cmp.Or(err, errors.New("it gave a chunk"))), r.Close())
	case <-timer.C:
	}
	if err := within(s.soon(), "close a reader", r.Close); err != nil {
		return err
	}
	return within(s.soon(), "end a read after its reader was closed", func() error {
		switch err := <-read; {
		case err == nil:
			return errors.New("the read of a closed reader gave a chunk")
		case errors.Is(err, io.EOF):
			return errors.New("the read of a closed reader gave io.EOF: the lane would count as ended for ever")
		}
		return nil
	})
}

func staysEnded(ctx context.Context, s *scene) error {
	if !s.h.Bounded {
		return errNotHere
	}
	if _, _, err := s.put(ctx, s.inserts(0, some, plain)); err != nil {
		return err
	}
	_, r, err := s.open(ctx)
	if err != nil {
		return err
	}
	for err == nil {
		var c record.Chunk
		if c, err = r.Read(ctx); err == nil {
			c.Release()
			err = r.Settle(ctx, c.To, nil)
		}
	}
	for range 3 {
		if !errors.Is(err, io.EOF) {
			return errors.Join(fmt.Errorf("the lane's end was given as %w, want io.EOF", err), r.Close())
		}
		err = within(s.soon(), "read a lane that has ended", func() error {
			_, err := r.Read(ctx)
			if err == nil {
				err = errors.New("a chunk")
			}
			return err
		})
	}
	return r.Close()
}

func emptyPlace(ctx context.Context, s *scene) error {
	got, err := s.fresh(ctx, plan{})
	if err != nil {
		return err
	}
	if rows := got.all(); len(rows) > 0 {
		return fmt.Errorf("%d records came from an empty place", len(rows))
	}
	return nil
}

// sideBySide asks all that may be asked at once while the lanes are read; the race detector looks on.
func sideBySide(ctx context.Context, s *scene) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	var want []image
	put := func() (err error) {
		want, _, err = s.put(ctx, s.inserts(0, 5*some, plain))
		return err
	}
	p := plan{want: 5 * some, during: put}
	if s.h.Replayable {
		p.during = nil
		if err := put(); err != nil {
			return err
		}
	}
	asking, stop := context.WithCancel(ctx)
	var askers sync.WaitGroup
	failed := make(chan error, 2)
	for range 2 {
		askers.Go(func() {
			for n := 0; n < some && asking.Err() == nil; n++ {
				if err := ask(ctx, source); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	got, err := s.collect(ctx, source, p)
	stop()
	askers.Wait()
	close(failed)
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	return s.same(got, want)
}

func ask(ctx context.Context, source sources.Source) error {
	_, err := source.Lanes(ctx)
	if l, ok := source.(sources.Lagger); ok && err == nil {
		_, err = l.Lag(ctx)
	}
	if d, ok := source.(sources.Describer); ok && err == nil {
		_, err = d.Describe(ctx)
	}
	return err
}

// lagTold looks at the lag before anything was read and after all was settled.
func lagTold(ctx context.Context, s *scene) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	l, ok := source.(sources.Lagger)
	if !ok || !s.h.Replayable {
		return errNotHere
	}
	if _, _, err := s.put(ctx, s.inserts(0, some, plain)); err != nil {
		return err
	}
	lag, err := l.Lag(ctx)
	if err != nil {
		return fmt.Errorf("lag: %w", err)
	}
	if lag.Records != some && lag.Records != -1 {
		return fmt.Errorf("nothing was read of %d records, and the lag is %d", some, lag.Records)
	}
	if _, err := s.collect(ctx, source, plan{want: some}); err != nil {
		return err
	}
	if lag, err = l.Lag(ctx); err != nil {
		return fmt.Errorf("lag: %w", err)
	}
	if lag.Records > 0 || lag.Records == 0 && lag.Age != 0 {
		return fmt.Errorf("all was settled, and the lag is %d records of %v", lag.Records, lag.Age)
	}
	return nil
}

// nothingRuns looks for goroutines that the source started and left. They carry the label of the goroutine that called
// the source, so that other tests may run meanwhile.
func nothingRuns(ctx context.Context, s *scene) error {
	label := "sourcetest-" + rand.Text() // of this case alone: an address is used again, and a leak of before still carries it
	var err error
	opened := s.place.Source
	var closers []io.Closer // sources that hold connections, which their owner closes
	s.place.Source = func(ctx context.Context) (sources.Source, error) {
		source, err := opened(ctx)
		if c, ok := source.(io.Closer); ok {
			closers = append(closers, c)
		}
		return source, err
	}
	pprof.Do(ctx, pprof.Labels("case", label), func(ctx context.Context) {
		if !s.h.Bounded {
			if err = closeEnds(ctx, s); err != nil {
				return
			}
		}
		if _, _, _, err = s.roundTrip(ctx, s.inserts(0, some, plain), plan{}); err != nil {
			return
		}
		var r sources.Reader
		if _, r, err = s.open(ctx); err != nil { // opened, never read
			return
		}
		err = r.Close()
	})
	for _, c := range closers {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return err
	}
	running := labelled(label)
	for n := 0; running != "" && n < 10; n++ { // goroutines that were told to end may need a moment
		late, stop := after(s.soon() / 10)
		<-late
		stop()
		running = labelled(label)
	}
	if running != "" {
		return fmt.Errorf("still running after all readers were closed:\n%s", running)
	}
	return nil
}

// labelled gives the stacks of the goroutines that carry a label.
func labelled(label string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	var out []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, label) {
			out = append(out, stack)
		}
	}
	return strings.Join(out, "\n\n")
}
