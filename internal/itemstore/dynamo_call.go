package itemstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// A call is tried again with pauses that double, each cut by chance: some two minutes while it is throttled, a second when it fails.
const (
	throttledTries = 30
	failedTries    = 4
	firstPause     = 25 * time.Millisecond
	longestPause   = 5 * time.Second
)

// cost is what a call costs a table; without a limit nobody counts it.
type cost struct {
	table string
	limit *limiter
	units float64
}

// call does a call until it succeeds, or fails for good; the error is as DynamoDB gave it then. limit is that of the table, nil for a
// read of few items; units is what the call costs.
func (d *Dynamo) call(ctx context.Context, table string, limit *limiter, units float64, do func(ctx context.Context) error) error {
	return d.callAll(ctx, []cost{{table, limit, units}}, do)
}

// callAll is call for several tables: of a transaction, one cost for each action.
func (d *Dynamo) callAll(ctx context.Context, costs []cost, do func(ctx context.Context) error) error {
	var refusal error // the last
	for busy, failed := 0, 0; ; {
		err := entered(ctx, costs)
		if err != nil {
			return cmp.Or(refusal, err)
		}
		err = do(ctx)
		switch throttled := throttles(err, costs); {
		case passed(err) == nil:
			for _, c := range costs {
				if c.limit != nil {
					c.limit.passed(c.units)
				}
			}
			return err
		case canceledForGood(err):
			return err
		case ctx.Err() != nil:
			return cmp.Or(refusal, err) // a refusal says more than that the time is over
		case len(throttled) > 0:
			refusal = withReasons(err)
			busy++
			for _, c := range throttled {
				if c.limit != nil {
					d.slower(ctx, c.table, c.limit, reasons(err))
				}
			}
		case conflicts(err):
			refusal = err
			busy++
		case transient(err):
			failed++
		default:
			return err
		}
		if busy >= throttledTries || failed >= failedTries || pause(ctx, backoff(busy+failed)) != nil {
			return cmp.Or(refusal, err)
		}
	}
}

// entered waits until all limits let a call in.
func entered(ctx context.Context, costs []cost) error {
	for _, c := range costs {
		if c.limit == nil {
			continue
		}
		if err := c.limit.wait(ctx, c.units); err != nil {
			return err
		}
	}
	return nil
}

// canceledFor says which actions of a transaction have canceled it for one of some reasons.
func canceledFor(err error, reasons ...string) (at []int) {
	if e, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		for i, r := range e.CancellationReasons {
			if slices.Contains(reasons, aws.ToString(r.Code)) {
				at = append(at, i)
			}
		}
	}
	return at
}

// canceledForGood says whether a transaction was canceled for what will be so when it is sent again.
func canceledForGood(err error) bool {
	e, ok := errors.AsType[*types.TransactionCanceledException](err)
	return ok && slices.ContainsFunc(e.CancellationReasons, func(r types.CancellationReason) bool {
		switch aws.ToString(r.Code) {
		case "", reasonNone, reasonConflict, reasonThroughput, reasonThrottling:
			return false
		}
		return true
	})
}

// throttles gives the costs of a call that were too much.
func throttles(err error, costs []cost) (out []cost) {
	for _, i := range canceledFor(err, reasonThroughput, reasonThrottling) {
		out = append(out, costs[min(i, len(costs)-1)])
	}
	if out == nil && !conflicts(err) && awsconfig.Throttled(err) {
		return costs
	}
	return out
}

// conflicts says whether a transaction was under way that has one of the items.
func conflicts(err error) bool {
	_, one := errors.AsType[*types.TransactionConflictException](err)
	_, same := errors.AsType[*types.TransactionInProgressException](err)
	return one || same || len(canceledFor(err, reasonConflict)) > 0
}

// slower tells how far the rate of a table was cut, and why.
func (d *Dynamo) slower(ctx context.Context, table string, limit *limiter, why string) {
	if rate, cut := limit.throttled(); cut && d.options.Log != nil {
		d.options.Log.WarnContext(ctx, "DynamoDB throttles: the table is used slower",
			slog.String("table", table), slog.String("reasons", why), slog.Float64("units_per_second", rate))
	}
}

func backoff(tries int) time.Duration {
	most := min(longestPause, firstPause<<min(tries, 10))
	return most/2 + rand.N(most/2) //nolint:gosec // chance, no secret
}

// transient says whether a call that failed may succeed when it is repeated: the server's failure, or the network's.
func transient(err error) bool {
	return !errors.Is(err, context.Canceled) && retry.NewStandard().IsErrorRetryable(err)
}

// reasons are why DynamoDB throttles, each with what it concerns; "": it does not say.
func reasons(err error) string {
	var list []types.ThrottlingReason
	if e, ok := errors.AsType[*types.TransactionCanceledException](err); ok {
		var words []string
		for _, i := range canceledFor(err, reasonThroughput, reasonThrottling) {
			words = append(words, aws.ToString(e.CancellationReasons[i].Code)+" ("+aws.ToString(e.CancellationReasons[i].Message)+")")
		}
		return strings.Join(words, ", ")
	}
	if e, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err); ok {
		list = e.ThrottlingReasons
	} else if e, ok := errors.AsType[*types.ThrottlingException](err); ok {
		list = e.ThrottlingReasons
	} else if e, ok := errors.AsType[*types.RequestLimitExceeded](err); ok {
		list = e.ThrottlingReasons
	}
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = fmt.Sprintf("%s (%s)", aws.ToString(r.Reason), aws.ToString(r.Resource))
	}
	return strings.Join(words, ", ")
}

func withReasons(err error) error {
	if why := reasons(err); why != "" {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// each does n pieces of work, as many at the same time as the store may; the first error ends it. No work holds a slot while it asks for
// another.
func (d *Dynamo) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	var next atomic.Int64
	one := func(i int) (more bool) {
		if !d.take(ctx) {
			return false
		}
		defer func() { <-d.slots }()
		if err := do(ctx, i); err != nil {
			once.Do(func() { first = err })
			cancel()
			return false
		}
		return true
	}
	for range min(n, cap(d.slots)) { // each does many: a stack that the SDK has made large is used again
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && one(i); i = int(next.Add(1)) - 1 {
			}
		})
	}
	all.Wait()
	if first != nil {
		return first // it may say more than that the time is over
	}
	return ctx.Err()
}

// take waits for a slot; false: ctx ended before.
func (d *Dynamo) take(ctx context.Context) bool {
	select {
	case d.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// explain classifies an error of a table.
func (d *Dynamo) explain(err error, doing, table string) error {
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return &fault.Error{
			Code: "ACQ-ITEMS-020", Place: table, Err: fmt.Errorf("%s: there is no such table in DynamoDB: %w", doing, err),
			Remedy: "make it: acequia setup apply FILE",
		}
	}
	switch throttled := canceledFor(err, reasonThroughput, reasonThrottling); {
	case len(throttled) > 0 && !canceledForGood(err):
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-AWS-008", Place: table, Err: fmt.Errorf("%s: %w", doing, err), Remedy: "it is tried again, slower; raise the limit if it stays so",
		}
	case conflicts(err) && !canceledForGood(err):
		return fault.Retry(fmt.Errorf("%s: %s: a transaction has the items all the time: %w", doing, table, err))
	}
	return awsconfig.Explain(err, doing, table)
}
