package routers

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// blemished is a generator some of whose lines are no records.
type blemished struct {
	*generator
	bad  int  // in each chunk
	only bool // and nothing else
}

type blemishedReader struct {
	sources.Reader
	b *blemished
}

func (b *blemished) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := b.generator.Open(ctx, lane, from)
	return &blemishedReader{r, b}, err
}

func (r *blemishedReader) Read(ctx context.Context) (record.Chunk, error) {
	c, err := r.Reader.Read(ctx)
	if err != nil {
		return c, err
	}
	for i := range r.b.bad {
		reason := &fault.Error{Class: fault.Poison, Code: "TEST-2", Place: fmt.Sprintf("chunk %s", c.To), Err: errors.New("no number")}
		c.Refused = append(c.Refused, record.Refused{Stream: "gen", Column: "id", Err: reason, Raw: fmt.Appendf(nil, "line %d\xff", i)})
	}
	if r.b.only {
		c.Release()
		c.Batches = nil
	}
	return c, nil
}

func TestRefusedRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 3, rows: 10}
	run := r.mustRun(t, r.pipeline(&blemished{generator: g, bad: 2}))
	check(t, r.out.root, g) // they reach no sink
	letters, err := r.store.DeadLetters(t.Context(), "p", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, l := range letters {
		got = append(got, fmt.Sprintf("%s %s %s %d %s %s %s %s %q", l.Lane, l.Stream, l.Position, l.Index, l.Step, l.Column, l.Code, l.Reason, l.Raw))
	}
	for chunk := 1; chunk <= 3; chunk++ {
		for i := range 2 {
			want = append(want, fmt.Sprintf(`0 gen %d %d read id TEST-2 TEST-2: chunk %d: no number "line %d\xff"`, chunk, i, chunk, i))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := run.Status(); s.State != Ended || s.RowsRead != 36 || s.DeadLetters != 6 {
		t.Errorf("%+v", s)
	}
}

func TestOnlyRefusedRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.mustRun(t, r.pipeline(&blemished{generator: &generator{lanes: 1, chunks: 4, rows: 1}, bad: 3, only: true}))
	if n, err := r.store.CountDeadLetters(t.Context(), "p"); n != 12 || err != nil {
		t.Error(n, err)
	}
	if s := run.Status(); s.State != Ended || s.Lanes[0].Position != "4" {
		t.Errorf("%+v", s)
	}
}

func TestRefusedRecordsStopALane(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.pipeline(&blemished{generator: &generator{lanes: 1, chunks: 400, rows: 10}, bad: 2})
	p.StopAfter = 0.1
	if err := r.run(t, p).Run(t.Context()); fault.Code(err) != "ACQ-RUN-002" {
		t.Fatal(err)
	}
}
