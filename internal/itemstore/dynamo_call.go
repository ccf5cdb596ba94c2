package itemstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// call does a call until it succeeds, or fails for good; the error is as DynamoDB gave it then. limit is that of the table, nil for a
// read of few items; units is what the call costs.
func (d *Dynamo) call(ctx context.Context, table string, limit *limiter, units float64, do func(ctx context.Context) error) error {
	var refusal error // the last
	for throttled, failed := 0, 0; ; {
		if limit != nil {
			if err := limit.wait(ctx, units); err != nil {
				if refusal != nil {
					return refusal
				}
				return err
			}
		}
		err := do(ctx)
		if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); (err == nil || refused) && limit != nil {
			limit.passed(units)
		}
		switch {
		case err == nil:
			return nil
		case awsconfig.Throttled(err):
			refusal = withReasons(err)
			if throttled++; limit != nil {
				d.slower(ctx, table, limit, reasons(err))
			}
		case transient(err):
			failed++
		default:
			return err
		}
		if throttled >= throttledTries || failed >= failedTries || pause(ctx, backoff(throttled+failed)) != nil {
			if refusal != nil { // it says more than that the time is over
				return refusal
			}
			return err
		}
	}
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
	return awsconfig.Explain(err, doing, table)
}
