package dynamodbstreams

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// reader reads one shard. It pages ahead of its caller by one page.
type reader struct {
	*tabular.Reading
	*progress
	source *Source
	arn    string
	lane   string
	shard  string
	epoch  uint16

	// What follows is of the goroutine that pages.
	from     string  // the position at which it was opened
	after    string  // sequence number of the last change read; "": none, so that the oldest there is comes next
	horizon  bool    // what comes after it is trimmed: the oldest there is comes next
	iterator *string // nil: it must be got
}

func (s *Source) read(ctx context.Context, r *reader) *reader {
	r.progress = &progress{}
	s.mu.Lock()
	s.reading[r.lane] = r.progress
	s.mu.Unlock()
	r.Reading = tabular.Read(ctx, r.run)
	return r
}

// Close ends the reading.
func (r *reader) Close() error {
	err := r.Reading.Close()
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	if r.source.reading[r.lane] == r.progress {
		delete(r.source.reading, r.lane)
	}
	return err
}

// Settle notes how far the shard is durable. A refused chunk is read again: the stream keeps it.
func (r *reader) Settle(ctx context.Context, upTo record.Position, refused error) error {
	if refused != nil {
		return nil //nolint:nilerr // see above
	}
	if r.settled(string(upTo)) {
		return r.source.finish(ctx, r.lane)
	}
	return nil
}

// run gives the pages of the shard until it ends.
func (r *reader) run(ctx context.Context, give func(record.Chunk) error) error {
	for {
		page, err := r.page(ctx)
		if errors.Is(err, io.EOF) {
			return r.end(ctx)
		}
		if err != nil {
			return err
		}
		if n := len(page.Records); n > 0 {
			chunk, oldest, err := r.source.decode(page.Records, r.epoch)
			if err != nil {
				return err
			}
			r.after, r.horizon = aws.ToString(page.Records[n-1].Dynamodb.SequenceNumber), false
			chunk.To = record.Position(r.after)
			r.gave(r.after, oldest)
			if err := give(chunk); err != nil {
				return err
			}
		} else {
			r.caughtUp()
		}
		if r.iterator = page.NextShardIterator; r.iterator == nil {
			return r.end(ctx)
		}
		if len(page.Records) > 0 {
			continue
		}
		if err := pause(ctx, r.source.config.Poll); err != nil {
			return err
		}
	}
}

// childTime is how long the children of a shard that has ended may take to be listed.
const childTime = time.Minute

// end is reached when the shard is closed and read. The list of shards may be behind: the children are waited for, since without them
// nothing would follow the shard.
func (r *reader) end(ctx context.Context) error {
	s := r.source
	for begun := time.Now(); ; {
		found, err := s.tree(ctx, r.arn)
		if err != nil {
			return err
		}
		others := false
		for _, one := range found.shards {
			others = others || one.id != r.shard && one.last == ""
		}
		if found.hasChildOf(r.shard) || !found.has(r.shard) || !found.enabled || others && time.Since(begun) > childTime {
			break
		}
		if err := pause(ctx, s.config.Poll); err != nil {
			return err
		}
	}
	if r.over(r.after) {
		return s.finish(ctx, r.lane)
	}
	return nil
}

// page gets the next page of the shard; io.EOF: the shard is gone.
func (r *reader) page(ctx context.Context) (out *dynamodbstreams.GetRecordsOutput, err error) {
	for tries := 0; ; tries++ {
		if r.iterator == nil {
			if err := r.locate(ctx); err != nil {
				return nil, err
			}
		}
		err := r.source.call(ctx, "read the stream (dynamodb:GetRecords)", func(ctx context.Context) (err error) {
			out, err = r.source.streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: r.iterator, Limit: aws.Int32(1000)})
			return err
		})
		if err == nil {
			return out, nil
		}
		_, expired := errors.AsType[*types.ExpiredIteratorException](err) // after 15 minutes, such as those that a group took
		_, trimmed := errors.AsType[*types.TrimmedDataAccessException](err)
		_, gone := errors.AsType[*types.ResourceNotFoundException](err)
		switch {
		case expired:
		case trimmed:
			r.trimmed(ctx)
		case gone:
			if err := r.vanished(ctx, err); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
		r.iterator = nil
		if err := pause(ctx, backoff(tries)); err != nil {
			return nil, err
		}
	}
}

// locate gets an iterator: after the last change read, or where nothing was read, the oldest that there is. Never the newest: that is
// how a child loses what was written before it was found.
func (r *reader) locate(ctx context.Context) error {
	for {
		in := &dynamodbstreams.GetShardIteratorInput{StreamArn: &r.arn, ShardId: &r.shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
		if r.after != "" && !r.horizon {
			in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &r.after
		}
		var out *dynamodbstreams.GetShardIteratorOutput
		err := r.source.call(ctx, "find the place in the stream (dynamodb:GetShardIterator)", func(ctx context.Context) (err error) {
			out, err = r.source.streams.GetShardIterator(ctx, in)
			return err
		})
		if err == nil {
			r.iterator = out.ShardIterator
			return nil
		}
		_, trimmed := errors.AsType[*types.TrimmedDataAccessException](err)
		_, gone := errors.AsType[*types.ResourceNotFoundException](err)
		switch {
		case trimmed && !r.horizon:
			r.trimmed(ctx)
		case gone:
			return r.vanished(ctx, err)
		default:
			return awsconfig.Explain(err, "find the place in the stream", r.source.config.Table)
		}
	}
}

// trimmed goes on with the oldest change there is, and tells that there is a gap.
func (r *reader) trimmed(ctx context.Context) {
	r.horizon = true
	r.source.lost(ctx, r.shard, "what follows sequence number "+r.after+" was trimmed before it was read")
}

// vanished gives io.EOF when the shard is gone from a stream that is there: what it had is trimmed, and its children may be read.
func (r *reader) vanished(ctx context.Context, err error) error {
	found, listErr := r.source.tree(ctx, r.arn)
	if listErr != nil || found.has(r.shard) {
		return awsconfig.Explain(err, "read the stream", r.source.config.Table)
	}
	r.source.lost(ctx, r.shard, "the shard is gone, and was not read to its end")
	return io.EOF
}

// A call is tried again with pauses that double, each cut by chance: some minutes while it is throttled, seconds when it fails.
const (
	throttledTries = 60
	failedTries    = 5
	firstPause     = 50 * time.Millisecond
	longestPause   = 5 * time.Second
)

// call does a call until it succeeds or fails for good. Errors of iterators and shards come as they are, others explained.
func (s *Source) call(ctx context.Context, doing string, do func(ctx context.Context) error) error {
	for throttled, failed := 0, 0; ; {
		err := do(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case awsconfig.Throttled(err):
			if throttled++; throttled == 1 {
				s.host.Log.WarnContext(ctx, "DynamoDB throttles: the stream is read slower", slog.String("table", s.config.Table), slog.Any("error", err))
			}
		case retry.NewStandard().IsErrorRetryable(err):
			failed++
		default:
			failed = failedTries
		}
		if throttled >= throttledTries || failed >= failedTries {
			return s.explain(err, doing)
		}
		if pause(ctx, backoff(throttled+failed)) != nil {
			return ctx.Err()
		}
	}
}

func (s *Source) explain(err error, doing string) error {
	switch awsconfig.Code(err) {
	case "ExpiredIteratorException", "TrimmedDataAccessException", "ResourceNotFoundException":
		return err
	}
	return awsconfig.Explain(err, doing, s.config.Table)
}

func backoff(tries int) time.Duration {
	most := min(longestPause, firstPause<<min(tries, 10))
	return most/2 + rand.N(most/2) //nolint:gosec // chance, no secret
}

// pause waits, or gives the error of a context that ends meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// progress is how far a shard was given and settled.
type progress struct {
	mu      sync.Mutex
	pending []given
	last    time.Time // of the newest change given
	idle    bool      // nothing followed when it was last asked
	end     string    // the last position, once it is known
	ended   bool
	done    string // the last position settled
}

type given struct {
	to     string
	oldest time.Time
}

func (p *progress) gave(to string, oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending = append(p.pending, given{to, oldest})
	p.last, p.idle = oldest, false
}

func (p *progress) caughtUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = true
}

// settled notes a position, and says whether it is the last of all.
func (p *progress) settled(to string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = to
	for i, g := range p.pending {
		if g.to == to {
			p.pending = p.pending[i+1:]
			break
		}
	}
	return p.ended && p.done == p.end
}

// over notes the last position, and says whether it is settled, or nothing was given.
func (p *progress) over(at string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.end, p.idle = true, at, true
	return len(p.pending) == 0
}

// behind says whether there is something that is not settled, and since when, if that is known.
func (p *progress) behind() (since time.Time, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) > 0 {
		return p.pending[0].oldest, true
	}
	return p.last, !p.idle
}

var _ sources.Reader = (*reader)(nil)
