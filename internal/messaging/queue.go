// Package messaging speaks with the queues of SQS and the buses of EventBridge: in batches, of which any part may fail though
// the answer is 200, and with the bodies that are too large for them and stand in S3.
package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// The limits of SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const (
	MostEntries  = 10      // of a batch
	MostBytes    = 1 << 20 // of a message with its attributes, and of all messages of a batch
	LongestWait  = 20 * time.Second
	LongestHide  = 12 * time.Hour // since a message was received
	MostInFlight = 120_000        // received and not deleted, of a queue
)

// callLimit bounds a call, its repetitions included, and answerTime one without an answer, beside what it waits for messages.
const (
	callLimit  = 30 * time.Second
	answerTime = callLimit / 2
)

// Message is what was received. Handle is of this receipt alone.
type Message struct {
	ID, Handle string
	Body       []byte
	System     map[string]string // by the names of SQS, such as SentTimestamp
	Attributes map[string]string // that its sender gave it

	given map[string]types.MessageAttributeValue // the same, with their types
}

// Number gives a system attribute that is a number; 0: it is not there.
func (m *Message) Number(name string) int64 {
	n, err := strconv.ParseInt(m.System[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Receives counts how often the message was received, this time included.
func (m *Message) Receives() int {
	return max(1, int(m.Number("ApproximateReceiveCount")))
}

// Sent is when the queue got the message, in microseconds since 1970 UTC; 0: it is not told.
func (m *Message) Sent() int64 {
	return m.Number("SentTimestamp") * int64(time.Millisecond/time.Microsecond)
}

// Group is the message group; "" outside of FIFO and fair queues.
func (m *Message) Group() string {
	return m.System["MessageGroupId"]
}

// Failure is an entry of a batch that failed though the batch did not.
type Failure struct { //nolint:errname // it reads as what it is
	Index   int // in what was given
	Code    string
	Message string
	Sender  bool // it would fail again: the entry is at fault
}

// Error says why.
func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// Queue is one queue.
type Queue struct {
	client  *sqs.Client
	waiting *sqs.Client // for messages: its answers may be late
	url     string
	idle    func() // ends connections that nobody uses
}

// OpenQueue finds a queue by its name, ARN or URL. It is an error if there is none.
func OpenQueue(ctx context.Context, queue string, at awsconfig.Settings) (*Queue, error) {
	c, err := awsconfig.Load(ctx, SettingsOf(queue, at))
	if err != nil {
		return nil, err
	}
	idle := awsconfig.Connections(&c, connections, answerTime)
	q := &Queue{client: sqs.NewFromConfig(c), url: queue}
	idleWaiting := awsconfig.Connections(&c, connections, LongestWait+answerTime)
	q.waiting = sqs.NewFromConfig(c)
	q.idle = func() {
		idle()
		idleWaiting()
	}
	if strings.Contains(queue, "://") {
		return q, nil
	}
	in := &sqs.GetQueueUrlInput{QueueName: aws.String(QueueName(queue))}
	if parts := strings.Split(queue, ":"); len(parts) == arnParts {
		in.QueueOwnerAWSAccountId = aws.String(parts[4])
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := q.client.GetQueueUrl(ctx, in)
	if err != nil {
		q.Close()
		return nil, awsconfig.Explain(err, "find the queue (sqs:GetQueueUrl)", queue)
	}
	q.url = aws.ToString(out.QueueUrl)
	return q, nil
}

// connections are kept open for as many calls at the same time.
const connections = 64

// Close ends the connections, when nobody calls any more.
func (q *Queue) Close() { q.idle() }

// arnParts is how many parts arn:aws:sqs:REGION:ACCOUNT:NAME has.
const arnParts = 6

// QueueName is the name in a name, ARN or URL of a queue.
func QueueName(queue string) string {
	if at, err := url.Parse(queue); err == nil && at.Host != "" {
		return path.Base(at.Path)
	}
	return queue[strings.LastIndex(queue, ":")+1:]
}

// IsFIFO says whether a queue, by its name, ARN or URL, keeps the order of its groups.
func IsFIFO(queue string) bool { return strings.HasSuffix(queue, ".fifo") }

// SettingsOf puts in what an ARN or a URL tells and the settings do not: the region, or the address of a server that is not AWS.
func SettingsOf(queue string, at awsconfig.Settings) awsconfig.Settings {
	parts := strings.Split(queue, ":")
	if len(parts) == arnParts && parts[0] == "arn" {
		at.Region = cmp.Or(at.Region, parts[3])
		return at
	}
	u, err := url.Parse(queue)
	if err != nil || u.Host == "" {
		return at
	}
	if parts := strings.Split(u.Hostname(), "."); len(parts) > 3 && parts[0] == "sqs" && parts[2] == "amazonaws" { // sqs.REGION.amazonaws.com
		at.Region = cmp.Or(at.Region, parts[1])
	} else if !strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		at.Endpoint = cmp.Or(at.Endpoint, u.Scheme+"://"+u.Host)
	}
	return at
}

// Name is the name of the queue.
func (q *Queue) Name() string { return QueueName(q.url) }

// Receive waits for messages and hides them from others. None may come though there are some. What AWS gives more than its
// limits say is ErrOverLimit.
func (q *Queue) Receive(ctx context.Context, wait, hidden time.Duration) ([]Message, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTime) // who receives does it again
	defer cancel()
	out, err := q.waiting.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: MostEntries, WaitTimeSeconds: seconds(wait), VisibilityTimeout: seconds(hidden),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		if strings.Contains(awsconfig.Code(err), "OverLimit") {
			return nil, fmt.Errorf("%w: %w", ErrOverLimit, err)
		}
		return nil, awsconfig.Explain(err, "receive messages (sqs:ReceiveMessage)", q.Name())
	}
	all := make([]Message, len(out.Messages))
	for i, m := range out.Messages {
		all[i] = Message{ID: aws.ToString(m.MessageId), Handle: aws.ToString(m.ReceiptHandle), Body: []byte(aws.ToString(m.Body)), System: m.Attributes, given: m.MessageAttributes}
		for name, v := range m.MessageAttributes {
			if all[i].Attributes == nil {
				all[i].Attributes = map[string]string{}
			}
			all[i].Attributes[name] = attribute(v)
		}
	}
	return all, nil
}

// ErrOverLimit is of a queue of which as many messages are received and not deleted as there may be.
var ErrOverLimit = errors.New("the queue has as many messages in flight as it may")

func attribute(v types.MessageAttributeValue) string {
	if v.BinaryValue != nil {
		return string(v.BinaryValue)
	}
	return aws.ToString(v.StringValue)
}

// seconds rounds up: what is hidden for less than it should would be given to two.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) } //nolint:gosec // 12 hours at most

// Delete deletes up to MostEntries messages by their handles.
func (q *Queue) Delete(ctx context.Context, handles []string) ([]Failure, error) {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
	for i := range handles {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &handles[i]})
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := q.client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return nil, awsconfig.Explain(err, "delete messages (sqs:DeleteMessage)", q.Name())
	}
	return failures(len(handles), ids(out.Successful, func(e types.DeleteMessageBatchResultEntry) *string { return e.Id }), out.Failed), nil
}

// Hide hides up to MostEntries messages for a time from now on, or shows them to others where it is 0.
func (q *Queue) Hide(ctx context.Context, handles []string, times []time.Duration) ([]Failure, error) {
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url}
	for i := range handles {
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &handles[i], VisibilityTimeout: seconds(times[i]),
		})
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := q.client.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		return nil, awsconfig.Explain(err, "hide messages (sqs:ChangeMessageVisibility)", q.Name())
	}
	return failures(len(handles), ids(out.Successful, func(e types.ChangeMessageVisibilityBatchResultEntry) *string { return e.Id }), out.Failed), nil
}

func ids[E any](entries []E, id func(E) *string) map[string]bool {
	out := map[string]bool{}
	for _, e := range entries {
		out[aws.ToString(id(e))] = true
	}
	return out
}

// failures gives what failed. An entry of which the answer says nothing has failed, too.
func failures(entries int, done map[string]bool, failed []types.BatchResultErrorEntry) []Failure {
	why := map[string]types.BatchResultErrorEntry{}
	for _, e := range failed {
		why[aws.ToString(e.Id)] = e
	}
	var out []Failure
	for i := range entries {
		id := strconv.Itoa(i)
		if e, known := why[id]; known {
			out = append(out, Failure{Index: i, Code: aws.ToString(e.Code), Message: aws.ToString(e.Message), Sender: e.SenderFault})
		} else if !done[id] {
			out = append(out, Failure{Index: i, Code: "NoAnswer", Message: "the answer does not name the entry"})
		}
	}
	return out
}

// Look is what a queue tells of itself.
type Look struct {
	ARN        string
	Visible    int64         // messages that wait, those that are delayed included
	InFlight   int64         // received by somebody and not deleted
	Retention  time.Duration // after which a message is thrown away
	Visibility time.Duration // for which a received message is hidden, if its receiver does not say
	MostBytes  int64         // of a message
	DeadLetter string        // ARN of its dead-letter queue; "": it has none
	Receives   int           // after so many a message goes to the dead-letter queue
}

// Look asks the queue.
func (q *Queue) Look(ctx context.Context) (Look, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		return Look{}, awsconfig.Explain(err, "ask the queue (sqs:GetQueueAttributes)", q.Name())
	}
	number := func(name types.QueueAttributeName) int64 {
		n, err := strconv.ParseInt(out.Attributes[string(name)], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	l := Look{
		ARN:        out.Attributes[string(types.QueueAttributeNameQueueArn)],
		Visible:    number(types.QueueAttributeNameApproximateNumberOfMessages) + number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
		InFlight:   number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		Retention:  time.Duration(number(types.QueueAttributeNameMessageRetentionPeriod)) * time.Second,
		Visibility: time.Duration(number(types.QueueAttributeNameVisibilityTimeout)) * time.Second,
		MostBytes:  number(types.QueueAttributeNameMaximumMessageSize),
	}
	l.DeadLetter, l.Receives = redrive(out.Attributes[string(types.QueueAttributeNameRedrivePolicy)])
	return l, nil
}
