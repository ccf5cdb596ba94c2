package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

// service speaks as much of SQS and of DynamoDB as is measured. It keeps nothing but counts, so that it is not what is measured, and
// answers each call as late as AWS would.
type service struct {
	late  time.Duration
	total int // messages of the queue, or items that are awaited
	http  *httptest.Server

	mu          sync.Mutex
	given, done int
	first, last time.Time // when the first call was answered that counts, and the last
	ended       chan struct{}
}

func startService(b *testing.B, late time.Duration, total int) *service {
	b.Helper()
	for name, value := range awstest.Environment() {
		b.Setenv(name, value)
	}
	s := &service{late: late, total: total, ended: make(chan struct{})}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	b.Cleanup(s.http.Close)
	b.Setenv(serviceEnv, s.http.URL)
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Entries []struct {
			ID            string `json:"Id"`
			ReceiptHandle string
		}
		TableName string
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if action != "PutItem" { // its item is not looked at
		if err := json.Unmarshal(body, &in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	answer := "{}"
	switch action {
	case "ReceiveMessage":
		answer = s.receive(r.Context())
	case "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
		var good []string
		for _, e := range in.Entries {
			good = append(good, fmt.Sprintf(`{"Id":%q}`, e.ID))
		}
		answer = `{"Failed":[],"Successful":[` + strings.Join(good, ",") + `]}`
		if action == "DeleteMessageBatch" {
			defer s.count(len(in.Entries))
		}
	case "GetQueueAttributes":
		answer = `{"Attributes":{"ApproximateNumberOfMessages":"0","MessageRetentionPeriod":"345600"}}`
	case "PutItem":
		defer s.count(1)
	case "DescribeTable":
		answer = fmt.Sprintf(`{"Table":{"TableName":%q,"TableStatus":"ACTIVE","TableArn":"arn:aws:dynamodb:eu-west-1:123456789012:table/%s",
			"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"N"}]}}`, in.TableName, in.TableName)
	case "DescribeTimeToLive":
		answer = `{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"_expires"}}`
	}
	select {
	case <-time.After(s.late):
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	_, _ = io.WriteString(w, answer)
}

// receive gives ten messages; none comes twice.
func (s *service) receive(ctx context.Context) string {
	s.mu.Lock()
	from := s.given
	s.given = min(s.given+10, s.total)
	to := s.given
	if s.first.IsZero() {
		s.first = time.Now()
	}
	s.mu.Unlock()
	if from == to {
		select {
		case <-s.ended:
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return "{}"
	}
	var out []string
	for id := from; id < to; id++ {
		out = append(out, fmt.Sprintf(`{"MessageId":"00000000-0000-4000-8000-%012d","ReceiptHandle":"%d","Body":%q,"Attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1780000000000"}}`,
			id, id, order(id)))
	}
	return `{"Messages":[` + strings.Join(out, ",") + `]}`
}

// order is a message of 150 bytes.
func order(id int) string {
	return fmt.Sprintf(`{"id":%d,"customer":"customer %09d","amount":"%d.%02d","at":"2026-12-02T10:%02d:%02dZ","note":"an order of no importance"}`,
		id, id*7919%1_000_003, id%1000, id%100, id/60%60, id%60)
}

func (s *service) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
	s.last = time.Now()
	if before := s.done; before < s.total && before+n >= s.total {
		close(s.ended)
	}
	s.done += n
}

// took is the time from the first call to the last.
func (s *service) took() sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sample{Rows: int64(s.total), Wall: s.last.Sub(s.first)}
}

// serviceEnv tells a child where the service is.
const serviceEnv = "ACEQUIA_BENCH_SERVICE"

// bareLoops runs so many loops of calls beside each other, by the SDK as anybody would.
func bareLoops(ctx context.Context, size, loops int, once func(ctx context.Context, c aws.Config) func() (more bool, err error)) (sample, error) {
	c, err := awsconfig.Load(ctx, awsconfig.Settings{Region: "eu-west-1", Endpoint: os.Getenv(serviceEnv)})
	if err != nil {
		return sample{}, err
	}
	defer awsconfig.Connections(&c, loops, time.Minute)()
	step, m := once(ctx, c), startMeter()
	errs := make([]error, loops)
	var all sync.WaitGroup
	for i := range loops {
		all.Go(func() {
			for more := true; more && errs[i] == nil; {
				more, errs[i] = step()
			}
		})
	}
	all.Wait()
	return m.stop(int64(size)), errors.Join(errs...)
}

// drainQueue receives and deletes, and does nothing with the messages.
func drainQueue(ctx context.Context, size int, _ string) (sample, error) {
	return bareLoops(ctx, size, pollers, func(ctx context.Context, c aws.Config) func() (bool, error) {
		client := sqs.NewFromConfig(c, func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
		return func() (bool, error) {
			out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("q"), MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
			if err != nil || len(out.Messages) == 0 {
				return false, err
			}
			var entries []sqstypes.DeleteMessageBatchRequestEntry
			for i, m := range out.Messages {
				entries = append(entries, sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
			}
			_, err = client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String("q"), Entries: entries})
			return true, err
		}
	})
}

// putItems puts items under the condition that an items sink has.
func putItems(ctx context.Context, size int, _ string) (sample, error) {
	var next atomic.Int64
	return bareLoops(ctx, size, writers, func(ctx context.Context, c aws.Config) func() (bool, error) {
		client := dynamodb.NewFromConfig(c)
		return func() (bool, error) {
			id := int(next.Add(1)) - 1
			if id >= size {
				return false, nil
			}
			text := func(s string) dynamotypes.AttributeValue { return &dynamotypes.AttributeValueMemberS{Value: s} }
			_, err := client.PutItem(ctx, &dynamodb.PutItemInput{
				TableName: aws.String("orders"), ConditionExpression: aws.String("attribute_not_exists(id) OR #v < :v"),
				ExpressionAttributeNames:  map[string]string{"#v": "_version"},
				ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":v": text("0000000000000001")},
				Item: map[string]dynamotypes.AttributeValue{
					"id": &dynamotypes.AttributeValueMemberN{Value: strconv.Itoa(id)}, "amount": &dynamotypes.AttributeValueMemberN{Value: fmt.Sprintf("%d.%02d", id%1000, id%100)},
					"customer": text(fmt.Sprintf("customer %09d", id)), "at": text("2026-12-02T10:00:00Z"), "note": text("an order of no importance"), "_version": text("0000000000000001"),
				},
			})
			return true, err
		}
	})
}

// bare runs the loops of a child, and gives their time from the first call that counts.
func (s *service) bare(ctx context.Context, name string) (sample, error) {
	got, err := measure(ctx, name, s.total)
	got.Wall = s.took().Wall
	return got, err
}

// processes runs the program so many times beside each other, with settings for each folder, until all is counted.
func (s *service) processes(ctx context.Context, b *testing.B, path string, n int, settings string) (got sample, err error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmds, logs := make([]*exec.Cmd, n), make([]bytes.Buffer, n)
	dir := b.TempDir()
	for i := range cmds {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o750); err != nil {
			return got, err
		}
		if err := os.WriteFile(filepath.Join(own, "acequia.yaml"), []byte(settings), 0o600); err != nil {
			return got, err
		}
		cmd := exec.CommandContext(ctx, path, "run") //nolint:gosec // our own program
		cmd.Dir, cmd.Stdout, cmd.Stderr = own, &logs[i], &logs[i]
		if err := cmd.Start(); err != nil {
			return got, err
		}
		cmds[i] = cmd
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		err = errors.New("not all was counted in time")
	}
	got = s.took()
	for i, cmd := range cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		if e := cmd.Wait(); err != nil {
			err = fmt.Errorf("%w: %w: %s", err, e, logs[i].String())
		}
		got.CPU += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			got.Peak = max(got.Peak, usage.Maxrss<<10)
		}
	}
	return got, err
}
