package sourcetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// errRefused is what the suite settles with.
var errRefused = errors.New("the sinks refused it")

func positionsMove(ctx context.Context, s *scene) error {
	if !s.h.Replayable { // there is nothing that a position could lead back to
		return errNotHere
	}
	_, got, _, err := s.roundTrip(ctx, s.inserts(0, 5*some, plain), plan{})
	if err != nil {
		return err
	}
	for _, lane := range got.lanes {
		seen := map[record.Position]bool{"": s.h.Replayable} // where nothing can be read again there is nothing to tell
		for _, c := range got.chunks[lane] {
			if len(c.rows) > 0 && seen[c.to] {
				return fmt.Errorf("lane %s: a chunk of %d records ends at %q, where the lane was before", lane, len(c.rows), c.to)
			}
			seen[c.to] = seen[c.to] || c.to != "" || s.h.Replayable
		}
	}
	return nil
}

// resumes reads a place in two parts, put one after the other so that there are two chunks at least, and starts again
// after each chunk.
func resumes(ctx context.Context, s *scene) error {
	if !s.h.Replayable {
		return errNotHere
	}
	got, want, err := s.inParts(ctx, 4, plan{})
	if err != nil {
		return err
	}
	if err := s.same(got, want); err != nil {
		return err
	}
	for _, lane := range got.lanes {
		chunks := got.chunks[lane]
		for i := range chunks {
			if err := s.rest(ctx, lane, chunks[i].to, chunks[i+1:]); err != nil {
				return fmt.Errorf("from %q, after chunk %d of %d: %w", chunks[i].to, i+1, len(chunks), err)
			}
		}
	}
	return nil
}

// inParts puts some inserts in a few parts and reads each before the next is put, where the source waits for more.
func (s *scene) inParts(ctx context.Context, parts int, p plan) (*haul, []image, error) {
	var all []image
	sum := &haul{chunks: map[string][]chunk{}}
	p.from = map[string]record.Position{}
	for part := range parts {
		want, _, err := s.put(ctx, s.inserts(part*some, some, plain))
		if err != nil {
			return nil, nil, err
		}
		all = append(all, want...)
		if s.h.Bounded && part < parts-1 {
			continue
		}
		p.want = len(want)
		got, err := s.fresh(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		for _, lane := range got.lanes {
			if !slices.Contains(sum.lanes, lane) {
				sum.lanes = append(sum.lanes, lane)
			}
			for _, c := range got.chunks[lane] {
				sum.chunks[lane] = append(sum.chunks[lane], c)
				p.from[lane] = c.to
			}
		}
	}
	return sum, all, nil
}

// rest reads one lane of a fresh source from a position and compares what comes with what should.
func (s *scene) rest(ctx context.Context, lane string, from record.Position, chunks []chunk) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	want := (&haul{lanes: []string{lane}, chunks: map[string][]chunk{lane: chunks}}).all()
	got, err := s.collect(ctx, oneLane{source, lane}, plan{from: map[string]record.Position{lane: from}, want: len(want)})
	if err != nil {
		return err
	}
	if err := s.same(got, want); err != nil {
		return err
	}
	for i, row := range got.all() {
		if !s.h.Unordered && !s.h.Standing && (row.event != want[i].event || row.version != want[i].version) {
			return fmt.Errorf("record %d comes again as event %q, version %s; it was %q, %s", i, row.event, row.version, want[i].event, want[i].version)
		}
	}
	return nil
}

// oneLane hides the other lanes of a source, and what the lane waits for.
type oneLane struct {
	sources.Source
	id string
}

func (o oneLane) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := o.Source.Lanes(ctx)
	lanes = slices.DeleteFunc(lanes, func(l sources.Lane) bool { return l.ID != o.id })
	for i := range lanes {
		lanes[i].After = nil
	}
	return lanes, err
}

func comesAgain(ctx context.Context, s *scene) error {
	return s.twice(ctx, plan{keep: true})
}

func refusedComesAgain(ctx context.Context, s *scene) error {
	return s.twice(ctx, plan{refuse: errRefused})
}

// twice reads without success, then again as after a restart: nothing is missing and every record is what it was.
func (s *scene) twice(ctx context.Context, first plan) error {
	if !s.h.Replayable {
		return errNotHere
	}
	want, got, _, err := s.roundTrip(ctx, s.inserts(0, some, plain), first)
	if err != nil {
		return err
	}
	again, err := s.fresh(ctx, plan{want: len(want)})
	if err != nil {
		return err
	}
	if err := s.same(again, want); err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	if s.h.Standing {
		return nil // there is no more to compare
	}
	events := map[string]image{}
	for _, row := range got.all() {
		events[row.event] = row
	}
	for _, row := range again.all() {
		if before := events[row.event]; before.Values != row.Values || before.version != row.version {
			return fmt.Errorf("event %q was %s of version %s and comes again as %s of %s", row.event, before.Key, before.version, row.Key, row.version)
		}
	}
	return nil
}

func foreignPosition(ctx context.Context, s *scene) error {
	if !s.h.Replayable {
		return errNotHere
	}
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	lanes, err := source.Lanes(ctx)
	if err != nil {
		return err
	}
	r, err := source.Open(ctx, lanes[0], "\x00 another source's position")
	if err != nil {
		return nil
	}
	read, cancel := context.WithTimeout(ctx, s.soon())
	defer cancel()
	_, err = r.Read(read)
	if closed := r.Close(); closed != nil {
		return closed
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it was taken")
	}
	return nil
}

// settlesFirst does as recovery does: the position it rolled forward to is settled before the first read.
func settlesFirst(ctx context.Context, s *scene) error {
	if !s.h.Replayable {
		return errNotHere
	}
	got, _, err := s.inParts(ctx, 2, plan{keep: true})
	if err != nil {
		return err
	}
	for _, lane := range got.lanes {
		chunks := got.chunks[lane]
		if len(chunks) < 2 {
			continue
		}
		source, err := s.place.Source(ctx)
		if err != nil {
			return err
		}
		want := chunks[1:]
		recovered := recovering{oneLane{source, lane}, chunks[0].to}
		rows := (&haul{lanes: []string{lane}, chunks: map[string][]chunk{lane: want}}).all()
		again, err := s.collect(ctx, recovered, plan{from: map[string]record.Position{lane: chunks[0].to}, want: len(rows)})
		if err != nil {
			return err
		}
		if err := s.same(again, rows); err != nil {
			return err
		}
	}
	return nil
}

// recovering settles a position as soon as a lane is open.
type recovering struct {
	sources.Source
	at record.Position
}

func (r recovering) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	reader, err := r.Source.Open(ctx, lane, from)
	if err != nil {
		return nil, err
	}
	if err := reader.Settle(ctx, r.at, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("settle before the first read: %w", err), reader.Close())
	}
	return reader, nil
}

// answers looks at what those hear who wait for their records to be safe.
func answers(ctx context.Context, s *scene) error {
	for i, refuse := range []error{nil, errRefused} {
		changes := s.inserts(i*some, some, plain)
		_, _, told, err := s.roundTrip(ctx, changes, plan{refuse: refuse})
		if err != nil {
			return err
		}
		if told == nil {
			return errNotHere
		}
		var heard []error
		err = within(s.patience, "wait for the answers", func() (err error) {
			heard, err = told(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if len(heard) != len(changes) {
			return fmt.Errorf("%d of %d were answered", len(heard), len(changes))
		}
		for _, answer := range heard {
			if (answer == nil) != (refuse == nil) {
				return fmt.Errorf("settled with error: %t; told an error: %t (%w)", refuse != nil, answer != nil, cmp.Or(answer, errors.New("none")))
			}
		}
	}
	return nil
}

func secretsKept(ctx context.Context, s *scene) error {
	if s.h.Unreachable == nil {
		return errNotHere
	}
	source, err := s.h.Unreachable(ctx)
	errs := []error{err}
	if err == nil {
		lanes, err := source.Lanes(ctx)
		errs = append(errs, err)
		if c, ok := source.(sources.Checker); ok {
			errs = append(errs, c.Check(ctx))
		}
		for _, l := range lanes {
			r, err := source.Open(ctx, l, "")
			if errs = append(errs, err); err == nil {
				_, err = r.Read(ctx)
				errs = append(errs, err, r.Close())
			}
		}
	}
	failed := errors.Join(errs...)
	if failed == nil {
		return errors.New("the harness gave a source that can be reached")
	}
	if strings.Contains(failed.Error(), s.h.Secret) {
		return errors.New("an error shows the secret")
	}
	return nil
}
