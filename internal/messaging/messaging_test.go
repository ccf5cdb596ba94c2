package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

func open(t *testing.T, queue string, at awsconfig.Settings) *messaging.Queue {
	t.Helper()
	q, err := messaging.OpenQueue(t.Context(), queue, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// queue makes a queue at moto, with a dead-letter queue where one is named.
func queue(t *testing.T, name, dead string) *messaging.Queue {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	in := &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{}}
	if messaging.IsFIFO(name) {
		in.Attributes["FifoQueue"] = "true"
	}
	if dead != "" {
		in.Attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:%s","maxReceiveCount":"3"}`, dead)
	}
	if _, err := sqs.NewFromConfig(c).CreateQueue(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return open(t, name, server.Settings)
}

// received takes all messages of a queue.
func received(t *testing.T, q *messaging.Queue) (bodies []string) {
	t.Helper()
	for {
		all, err := q.Receive(t.Context(), time.Second, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			return bodies
		}
		for _, m := range all {
			bodies = append(bodies, string(m.Body))
		}
	}
}

// TestQueue sends, receives, hides and deletes at moto.
func TestQueue(t *testing.T) {
	t.Parallel()
	queue(t, "dead", "")
	q := queue(t, "all", "dead")
	var all []messaging.Outgoing
	for i := range 23 {
		all = append(all, messaging.Outgoing{Body: fmt.Sprint(i), Attributes: map[string]string{"n": fmt.Sprint(i)}})
	}
	if err := q.SendAll(t.Context(), all, 3); err != nil {
		t.Fatal(err)
	}
	l, err := q.Look(t.Context())
	if err != nil || l.Visible != 23 || l.DeadLetter != "arn:aws:sqs:eu-west-1:123456789012:dead" || l.Receives != 3 || l.Retention <= 0 || l.ARN == "" {
		t.Errorf("got %+v, %v", l, err)
	}
	got, err := q.Receive(t.Context(), time.Second, time.Hour)
	if err != nil || len(got) == 0 || got[0].Attributes["n"] != string(got[0].Body) || got[0].Receives() != 1 || time.Since(time.UnixMicro(got[0].Sent())) > time.Hour {
		t.Fatalf("got %+v, %v", got, err)
	}
	failed, err := q.Hide(t.Context(), []string{got[0].Handle, "nothing"}, []time.Duration{0, 0})
	if err != nil || len(failed) != 1 || failed[0].Index != 1 {
		t.Errorf("got %+v, %v", failed, err)
	}
	if failed, err = q.Delete(t.Context(), []string{got[0].Handle}); err != nil || len(failed) != 0 {
		t.Errorf("got %+v, %v", failed, err)
	}
	for queue, want := range map[string]awsconfig.Settings{
		"q":                          {},
		"arn:aws:sqs:eu-south-2:1:q": {Region: "eu-south-2"},
		"https://sqs.eu-west-3.amazonaws.com/1/q": {Region: "eu-west-3"},
		"http://127.0.0.1:4566/1/q":               {Endpoint: "http://127.0.0.1:4566"},
	} {
		if diff := cmp.Diff(want, messaging.SettingsOf(queue, awsconfig.Settings{})); diff != "" {
			t.Errorf("%s: %s", queue, diff)
		}
	}
}

// before stands before moto and answers one action itself.
func before(t *testing.T, action string, status int, body string) awsconfig.Settings {
	t.Helper()
	moto, err := url.Parse(server.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	on := httputil.NewSingleHostReverseProxy(moto)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+action) {
			on.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return awsconfig.Settings{Region: server.Settings.Region, Endpoint: s.URL}
}

// TestRedriveByTask leaves the moving to SQS.
func TestRedriveByTask(t *testing.T) {
	t.Parallel()
	queue(t, "by-task", "")
	at := before(t, "StartMessageMoveTask", http.StatusOK, `{"TaskHandle":"task"}`)
	got, err := open(t, "by-task", at).Redrive(t.Context(), "", at)
	if diff := cmp.Diff(messaging.MoveResult{Task: "task"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	at = before(t, "StartMessageMoveTask", http.StatusForbidden, `{"__type":"AccessDenied","message":"no"}`)
	if _, err := open(t, "by-task", at).Redrive(t.Context(), "", at); fault.Code(err) != "ACQ-AWS-005" {
		t.Errorf("got %v", err)
	}
}

// TestRedriveByHand moves dead letters back where SQS has no task for it: to where they came from, or elsewhere.
func TestRedriveByHand(t *testing.T) {
	t.Parallel()
	at := before(t, "StartMessageMoveTask", http.StatusBadRequest, `{"__type":"UnsupportedOperation","message":"no"}`)
	queue(t, "redrive-dead", "")
	from := queue(t, "redrive", "redrive-dead")
	dead := open(t, "redrive-dead", at)
	if err := dead.SendAll(t.Context(), []messaging.Outgoing{{Body: "a", Attributes: map[string]string{"k": "v"}}, {Body: "b", Attributes: map[string]string{"k": "v"}}}, 1); err != nil {
		t.Fatal(err)
	}
	if result, err := dead.Redrive(t.Context(), "", at); err != nil || result.Moved != 2 {
		t.Fatalf("got %+v, %v", result, err)
	}
	all, err := from.Receive(t.Context(), time.Second, time.Minute)
	if err != nil || len(all) != 2 || all[0].Attributes["k"] != "v" {
		t.Errorf("got %+v, %v", all, err)
	}
	if left := received(t, dead); len(left) > 0 {
		t.Errorf("%q were left", left)
	}
	other := queue(t, "redrive-other.fifo", "")
	queue(t, "redrive-dead.fifo", "")
	deadFIFO := open(t, "redrive-dead.fifo", at)
	if _, err := deadFIFO.Redrive(t.Context(), "", at); fault.Code(err) != "ACQ-SQS-020" {
		t.Errorf("of a queue that nothing feeds: %v", err)
	}
	if err := deadFIFO.SendAll(t.Context(), []messaging.Outgoing{{Body: "a", Group: "g", Dedup: "1"}, {Body: "b", Group: "g", Dedup: "2"}}, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := deadFIFO.Redrive(t.Context(), "redrive-other.fifo", at); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(received(t, other), ""); got != "ab" {
		t.Errorf("got %q", got)
	}
}

// TestPersist sends again what failed, alone, and gives up in the end.
func TestPersist(t *testing.T) {
	t.Parallel()
	var calls []string
	err := messaging.Persist(t.Context(), 4, func(_ context.Context, left []int) ([]messaging.Failure, error) {
		calls = append(calls, fmt.Sprint(left))
		return map[int][]messaging.Failure{1: {{Index: 1}, {Index: 3}}, 2: {{Index: 0}}}[len(calls)], nil
	})
	if diff := cmp.Diff([]string{"[0 1 2 3]", "[1 3]", "[1]"}, calls); diff != "" || err != nil {
		t.Error(diff, err)
	}
	err = messaging.Persist(t.Context(), 1, func(context.Context, []int) ([]messaging.Failure, error) {
		return []messaging.Failure{{Code: "Bad", Sender: true}}, nil
	})
	if fault.Code(err) != "ACQ-SQS-012" || fault.Of(err) != fault.Fatal {
		t.Errorf("got %v", err)
	}
}

// TestSplit cuts by count, by bytes and by group.
func TestSplit(t *testing.T) {
	t.Parallel()
	sizes, groups := []int{1 << 19, 1 << 19, 1, 3 << 20, 1}, []string{"a", "b", "a", "", ""}
	none := func(int) string { return "" }
	for want, got := range map[string][][2]int{
		"[[0 2] [2 3] [3 4] [4 5]]": messaging.Split(5, func(i int) int { return sizes[i] }, none),
		"[[0 10] [10 20] [20 21]]":  messaging.Split(21, func(int) int { return 1 }, none),
		"[[0 2] [2 5]]":             messaging.Split(5, func(int) int { return 1 }, func(i int) string { return groups[i] }),
		"[]":                        messaging.Split(0, nil, nil),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// TestAnswersThatLackEntries takes an entry of which the answer says nothing for one that failed.
func TestAnswersThatLackEntries(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{Call: func(action string) *messagingtest.Refusal {
		if action == "DeleteMessageBatch" {
			return &messagingtest.Refusal{Status: http.StatusOK}
		}
		return nil
	}})
	q := open(t, fake.URL("q"), fake.Settings)
	if failed, err := q.Delete(t.Context(), []string{"x", "y"}); err != nil || len(failed) != 2 {
		t.Errorf("got %v, %v", failed, err)
	}
}

// TestPointers reads both forms, alone and in envelopes, and takes nothing else for one.
func TestPointers(t *testing.T) {
	t.Parallel()
	const ours, theirs = `{"s3":{"bucket":"b","key":"k"}}`, `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]`
	quote := func(s string) string { return string(record.AppendJSONString(nil, s)) }
	get := func(p messaging.Pointer) ([]byte, error) {
		if p.String() != "s3://b/k" {
			return nil, errors.New("another")
		}
		return []byte(`{"id":"large"}`), nil
	}
	for body, want := range map[string]string{
		ours: `{"id":"large"}`, " " + theirs: `{"id":"large"}`,
		`{"detail-type":"T","source":"s","detail":` + ours + `}`:                 `{"detail":{"id":"large"},"detail-type":"T","source":"s"}`,
		`{"Type":"Notification","TopicArn":"a","Message":` + quote(theirs) + `}`: `{"Message":"{\"id\":\"large\"}","TopicArn":"a","Type":"Notification"}`,
		`{"s3":{"bucket":"b"}}`: "", `{"s3":{"bucket":"b","key":"k"},"id":1}`: "", `["x",{"s3BucketName":"b","s3Key":"k"}]`: "", `{"s3":1}`: "", `{`: "", `{"detail-type":"s3"}`: "",
	} {
		got, found, err := messaging.Unfold([]byte(body), get)
		if err != nil || found != (want != "") || found && string(got) != want || !found && string(got) != body {
			t.Errorf("%s: got %s, %t, %v", body, got, found, err)
		}
	}
	body, err := messaging.Pointer{Bucket: "b", Key: "k"}.Body()
	if err != nil || string(body) != ours {
		t.Errorf("got %s, %v", body, err)
	}
}

// TestRecordInfo goes with a row, and comes back, with and without columns.
func TestRecordInfo(t *testing.T) {
	t.Parallel()
	in := messaging.RecordInfo{Op: record.Delete, Version: record.Version{Epoch: 1, Hi: 2, Lo: 3, Index: 4}, ID: "é", Source: "s"}
	for _, object := range []string{`{}`, `{"id":1,"text":"a\"b","list":[1]}`} {
		info, rest, there, err := messaging.TakeInfo(in.AppendTo([]byte(object)))
		if err != nil || !there || info != in || string(rest) != object {
			t.Errorf("got %+v, %s, %t, %v", info, rest, there, err)
		}
	}
	if _, rest, there, err := messaging.TakeInfo([]byte(`{"_acequia":1}`)); there || err != nil || string(rest) != `{"_acequia":1}` {
		t.Error(string(rest), there, err)
	}
	for _, text := range []string{`{}`, `no`, `{"op":"T","version":"0000-00000000000000000000000000000000-00000000"}`, `{"op":"I","version":"1"}`} {
		if _, err := messaging.ParseRecordInfo(text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if got := messaging.Text([]byte("\"a\uffff\"")); got != `"a\uffff"` {
		t.Error(got)
	}
}
