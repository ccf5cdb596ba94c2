package sqs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/sinktest"
	"github.com/acequia-io/acequia/sinks/sqs"
)

// rows makes a batch of the suite's schema.
func rows(t *testing.T, texts ...string) *record.Batch {
	t.Helper()
	s, err := sinktest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, len(texts))
	for i, text := range texts {
		b.Int(0, int64(i%7))
		b.String(1, text)
		b.Next()
		sys := b.System()
		sys.Ops = append(sys.Ops, record.Update)
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(i)+7)
	}
	b.System().Source = "test"
	return b.Batch(nil)
}

func open(t *testing.T, c sqs.Config, fake *messagingtest.Server) sinks.Writer {
	t.Helper()
	if c.AWS.Region = "eu-west-1"; fake != nil {
		c.Queue = fake.URL(c.Queue)
	}
	s, err := sqs.New(c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(t.Context(), sinks.Lane{Pipeline: strings.Repeat("a pipeline with a long name ", 4), ID: "l", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.Close(t.Context()), s.Close(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return w
}

// publish writes, stages and publishes a group.
func publish(t *testing.T, w sinks.Writer, b *record.Batch) error {
	t.Helper()
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w.Publish(t.Context(), m)
}

// TestBatches sends rows of many sizes: no batch has more than ten messages or a MiB, which the server refuses, and full ones are used.
func TestBatches(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	var texts []string
	for i := range 48 {
		texts = append(texts, strings.Repeat("x", []int{1, 300 << 10, 1000 << 10}[i%3*(i/40)]))
	}
	if err := publish(t, open(t, sqs.Config{Queue: "q"}, fake), rows(t, texts...)); err != nil {
		t.Fatal(err)
	}
	if got := fake.Calls("SendMessageBatch"); fake.Left() != 48 || got > 14 {
		t.Errorf("%d messages came, in %d calls", fake.Left(), got)
	}
}

// TestEntriesThatFail lets entries of batches fail: each row comes once, for only those that failed are sent again.
func TestEntriesThatFail(t *testing.T) {
	t.Parallel()
	n := 0
	fake := messagingtest.Start(t, messagingtest.Faults{Entry: func(string, int) bool { n++; return n%3 == 0 }})
	if err := publish(t, open(t, sqs.Config{Queue: "q"}, fake), rows(t, make([]string, 50)...)); err != nil {
		t.Fatal(err)
	}
	if fake.Left() != 50 {
		t.Errorf("%d messages came, want 50", fake.Left())
	}
	always := messagingtest.Start(t, messagingtest.Faults{Entry: func(_ string, i int) bool { return i == 1 }, Call: nil})
	if err := publish(t, open(t, sqs.Config{Queue: "q"}, always), rows(t, "a", "b")); err != nil { // it is the first of the next batch, then
		t.Error(err)
	}
	down := messagingtest.Start(t, messagingtest.Faults{Entry: func(string, int) bool { return true }})
	if err := publish(t, open(t, sqs.Config{Queue: "q"}, down), rows(t, "a")); fault.Of(err) != fault.Retryable || err == nil {
		t.Errorf("got %v of class %v", err, fault.Of(err))
	}
}

// TestFIFO sends groups by key, in order though entries fail, with ids that SQS takes, and with the same ones again.
func TestFIFO(t *testing.T) {
	t.Parallel()
	n := 0
	fake := messagingtest.Start(t, messagingtest.Faults{Entry: func(string, int) bool { n++; return n%3 == 0 }})
	w := open(t, sqs.Config{Queue: "q.fifo"}, fake)
	var texts []string
	for i := range 70 {
		texts = append(texts, fmt.Sprint(i))
	}
	if err := w.Write(t.Context(), rows(t, texts...)); err != nil {
		t.Fatal(err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	last, dedups := map[string]string{}, map[string]bool{}
	for _, m := range fake.Messages() {
		info, err := messaging.ParseRecordInfo(m.Attributes[messaging.RecordAttribute])
		if err != nil {
			t.Fatal(err)
		}
		if v := info.Version.String(); v <= last[m.Group] {
			t.Errorf("group %s: %s came after %s", m.Group, v, last[m.Group])
		} else {
			last[m.Group] = v
		}
		if len(m.Group) > 100 || len(m.Dedup) > 100 || m.Dedup == "" || dedups[m.Dedup] {
			t.Errorf("group %q, deduplication id %q", m.Group, m.Dedup)
		}
		dedups[m.Dedup] = true
	}
	if len(last) != 7 || len(dedups) != 70 {
		t.Errorf("%d groups and %d messages", len(last), len(dedups))
	}
}

// TestLargeRows refuses a row that is too large, and says so; with a bucket it goes there.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	b := rows(t, "small", strings.Repeat("x", 1<<20), "small")
	fake := messagingtest.Start(t, messagingtest.Faults{})
	err := open(t, sqs.Config{Queue: "q"}, fake).Write(t.Context(), b)
	bad, ok := errors.AsType[*fault.Rows](err)
	if !ok || len(bad.Bad) != 1 || bad.Bad[0].Index != 1 || fault.Code(bad.Bad[0].Err) != "ACQ-SQS-011" || !strings.Contains(err.Error(), "payload_bucket") {
		t.Errorf("got %v", err)
	}
	loaded, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("rows"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	queue := awssqs.NewFromConfig(loaded)
	made, err := queue.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: aws.String("rows")})
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(t, open(t, sqs.Config{Queue: aws.ToString(made.QueueUrl), PayloadBucket: "rows"}, nil), b); err != nil {
		t.Fatal(err)
	}
	out, err := queue.ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: made.QueueUrl, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 3 {
		t.Fatal(out, err)
	}
	found := 0
	payloads, err := messaging.OpenPayloads(t.Context(), "rows", server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	defer payloads.Close()
	for _, m := range out.Messages {
		if at, is := messaging.PointerOf([]byte(*m.Body)); is {
			body, err := payloads.Get(t.Context(), at)
			if err != nil || len(body) < 1<<20 {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d pointers", found)
	}
}

// TestTruncation is refused: a queue of rows cannot carry it.
func TestTruncation(t *testing.T) {
	t.Parallel()
	b := rows(t, "")
	b.System.Ops = []record.Op{record.Truncate}
	err := open(t, sqs.Config{Queue: "q"}, messagingtest.Start(t, messagingtest.Faults{})).Write(t.Context(), b)
	if bad, ok := errors.AsType[*fault.Rows](err); !ok || fault.Code(bad.Bad[0].Err) != "ACQ-SQS-010" {
		t.Errorf("got %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := sqs.Plugin()
	keyed, err := sinktest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	bare, err := record.NewSchema("bare", nil, record.Field{Name: "x", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]*sqs.Config{
		"queue: which":         {},
		"max_bytes: want":      {Queue: "q", MaxBytes: config.Size(2 << 20)},
		"concurrency: want":    {Queue: "q", Concurrency: 100},
		`group.0: stream bare`: {Queue: "q", Group: []string{"id"}},
		"group: stream bare":   {Queue: "q.fifo"},
	} {
		if err := p.Check(c, []*record.Schema{keyed, bare}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	good := &sqs.Config{Queue: "https://sqs.eu-west-1.amazonaws.com/1/q.fifo"}
	if err := p.Check(good, []*record.Schema{keyed}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("sqs://q.fifo", good.Writes()); diff != "" {
		t.Error(diff)
	}
	if lines := strings.Join(p.Plan(good, nil), "\n"); !strings.Contains(lines, "at-least-once") || !strings.Contains(lines, "FIFO") {
		t.Error(lines)
	}
	bus := sqs.Config{Queue: "nothing", AWS: server.Settings}
	if _, err := bus.Check(t.Context()); fault.Code(err) != "ACQ-AWS-006" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal([]string{messaging.ID("a b"), messaging.ID("ab")}, []string{messaging.ID("a b"), "ab"}) || len(messaging.ID(strings.Repeat("x", 101))) != 64 {
		t.Error("ids")
	}
}
