package routers

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// Through takes a batch through steps as a run does, without a run, and hands over each batch that comes out of the last;
// it is the callee's during the call. Rows that a step refuses, which a run makes dead letters of, are counted. A step that
// is handlers.Stateful knows nothing of other batches here.
func Through(ctx context.Context, steps []Step, b *record.Batch, each func(*record.Batch) error) (refused int, err error) {
	if len(steps) == 0 {
		return 0, each(b)
	}
	rest := b.Retain()
	out, err := steps[0].Handler.Handle(ctx, rest)
	for err != nil {
		bad, rowErr := badRows(rest, err)
		if rowErr != nil {
			rest.Release()
			return refused, fmt.Errorf("step %s: %w", steps[0].Name, rowErr)
		}
		refused += len(bad)
		kept := rest.Without(bad)
		rest.Release()
		if rest = kept; rest.Rows == 0 {
			out = nil
			break
		}
		out, err = steps[0].Handler.Handle(ctx, rest)
	}
	rest.Release()
	err = nil
	for _, next := range out {
		if err == nil {
			var more int
			more, err = Through(ctx, steps[1:], next, each)
			refused += more
		}
		next.Release()
	}
	return refused, err
}
