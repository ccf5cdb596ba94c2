package messaging

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Outgoing is a message that is sent.
type Outgoing struct {
	Body       string
	Group      string            // message group; ""; none
	Dedup      string            // of a FIFO queue: what has the same within five minutes is one message
	Attributes map[string]string // ten at most, none of them empty

	given map[string]types.MessageAttributeValue // instead of Attributes: as a message has them that is moved
}

// Size is what SQS counts of the message.
func (o *Outgoing) Size() int {
	n := len(o.Body)
	for name, v := range o.Attributes {
		n += len(name) + len(stringType) + len(v)
	}
	for name, v := range o.given {
		n += len(name) + len(aws.ToString(v.DataType)) + len(aws.ToString(v.StringValue)) + len(v.BinaryValue)
	}
	return n
}

const stringType = "String"

// LongestID is that of message groups and of deduplication ids.
const LongestID = 100

// ID makes an id that SQS takes of any text: letters, digits and some punctuation, LongestID at most. What is not so is hashed.
func ID(text string) string {
	good := text != "" && len(text) <= LongestID && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	if good {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Send sends up to MostEntries messages of MostBytes together.
func (q *Queue) Send(ctx context.Context, all []Outgoing) ([]Failure, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &q.url}
	for i := range all {
		m := &all[i]
		e := types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &m.Body, MessageAttributes: maps.Clone(m.given)}
		if e.MessageAttributes == nil {
			e.MessageAttributes = map[string]types.MessageAttributeValue{}
		}
		if m.Group != "" {
			e.MessageGroupId = &m.Group
		}
		if m.Dedup != "" {
			e.MessageDeduplicationId = &m.Dedup
		}
		for name, v := range m.Attributes {
			e.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String(stringType), StringValue: &v}
		}
		in.Entries = append(in.Entries, e)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := q.client.SendMessageBatch(ctx, in)
	if err != nil {
		return nil, awsconfig.Explain(err, "send messages (sqs:SendMessage)", q.Name())
	}
	return failures(len(all), ids(out.Successful, func(e types.SendMessageBatchResultEntry) *string { return e.Id }), out.Failed), nil
}

// Split cuts things of some sizes into runs of at most MostEntries and MostBytes, in order. A thing that is larger is alone. Of things of
// one group, where they have groups, a run has one: of two the first could fail, and be sent again behind the other.
func Split(things int, size func(i int) int, group func(i int) string) (runs [][2]int) {
	from, bytes, groups := 0, 0, map[string]bool{}
	for i := range things {
		n, g := size(i), group(i)
		if i > from && (i-from == MostEntries || bytes+n > MostBytes || groups[g]) {
			runs, from, bytes = append(runs, [2]int{from, i}), i, 0
			clear(groups)
		}
		bytes += n
		groups[g] = g != ""
	}
	if things > from {
		runs = append(runs, [2]int{from, things})
	}
	return runs
}

// SendAll sends messages in as many batches as they need: side by side, or, for a FIFO queue, one after the other.
func (q *Queue) SendAll(ctx context.Context, all []Outgoing, sideBySide int) error {
	group := func(int) string { return "" }
	if IsFIFO(q.url) {
		sideBySide, group = 1, func(i int) string { return all[i].Group }
	}
	return each(ctx, Split(len(all), func(i int) int { return all[i].Size() }, group), sideBySide, func(ctx context.Context, run [2]int) error {
		part := all[run[0]:run[1]]
		return Persist(ctx, len(part), func(ctx context.Context, left []int) ([]Failure, error) { return q.Send(ctx, picked(part, left)) })
	})
}

// each does something with each run, several at a time, and gives the first failure.
func each(ctx context.Context, runs [][2]int, sideBySide int, do func(ctx context.Context, run [2]int) error) error {
	if sideBySide <= 1 || len(runs) == 1 {
		for _, run := range runs {
			if err := do(ctx, run); err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var calls sync.WaitGroup
	free := make(chan struct{}, sideBySide)
	for _, run := range runs {
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() {
			defer func() { <-free }()
			if err := do(ctx, run); err != nil {
				cancel(err) // the first one is kept
			}
		})
	}
	calls.Wait()
	return context.Cause(ctx)
}

// sendTries is how often an entry is sent before all that was to be sent is begun anew.
const sendTries = 6

// Persist sends a run of entries until all are taken: those that failed are sent again, alone. An entry that is at fault itself is
// an error at once.
func Persist(ctx context.Context, entries int, send func(ctx context.Context, indexes []int) ([]Failure, error)) error {
	left := make([]int, entries)
	for i := range left {
		left[i] = i
	}
	for try := 1; ; try++ {
		failed, err := send(ctx, left)
		if err != nil || len(failed) == 0 {
			return err
		}
		again := make([]int, len(failed))
		for i := range failed {
			if failed[i].Sender {
				return &fault.Error{Code: "ACQ-SQS-012", Err: fmt.Errorf("entry %d: %w", left[failed[i].Index], &failed[i]), Remedy: "see what the service says; the entry would be refused again"}
			}
			again[i] = left[failed[i].Index]
		}
		if try == sendTries {
			return fault.Retry(fmt.Errorf("%d of %d entries were refused %d times: %w", len(again), entries, try, &failed[0]))
		}
		left = again
		if err := wait(ctx, 25*time.Millisecond<<try); err != nil {
			return err
		}
	}
}

// wait waits for a time, less up to a half of it.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d - time.Duration(rand.Int64N(int64(d/2)))) //nolint:gosec // so that not all come at once
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Text makes a text that SQS takes of JSON: of the characters that XML has none of, JSON lets none but U+FFFE and U+FFFF stand.
func Text(json []byte) string {
	return strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`).Replace(string(json))
}

func picked[T any](all []T, indexes []int) []T {
	out := make([]T, len(indexes))
	for i, at := range indexes {
		out[i] = all[at]
	}
	return out
}
