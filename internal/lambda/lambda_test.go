package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/lambda"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

const pipeline = `version: 1
sources:
  games: { type: sqs, queue: QUEUE, stream: games, key: [id], schema: { id: int64, title: string } }
sinks:
  out: { type: sqs, queue: "OUT", aws: { region: eu-west-1 }, concurrency: 1 }
pipelines:
  games: { from: games, to: [out] }
`

// handler gives one whose pipeline sends to a server of ours.
func handler(t *testing.T, queue string, f messagingtest.Faults) (*lambda.Handler, *messagingtest.Server) {
	t.Helper()
	out := messagingtest.Start(t, f)
	dir := t.TempDir()
	file := filepath.Join(dir, "acequia.yaml")
	text := strings.ReplaceAll(strings.ReplaceAll(pipeline, "QUEUE", queue), "OUT", out.URL("out"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &lambda.Handler{
		Files: []string{file}, Plugins: catalog.Default(), Lookup: os.LookupEnv, Folder: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	}, out
}

// invoke answers as the runtime of Lambda does, in JSON.
func invoke(t *testing.T, h *lambda.Handler, event []byte) string {
	t.Helper()
	answer, err := runtime.NewHandler(h.Handle).Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(answer))
}

func batch(t *testing.T, queue string, messages ...events.SQSMessage) []byte {
	t.Helper()
	for i := range messages {
		messages[i].MessageId = fmt.Sprint("m", i)
		messages[i].EventSource, messages[i].EventSourceARN = "aws:sqs", "arn:aws:sqs:eu-west-1:1:"+queue
	}
	text, err := json.Marshal(events.SQSEvent{Records: messages})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestFixture handles an event as Lambda gives it: two messages pass, one of them in an envelope of EventBridge, and one fails.
func TestFixture(t *testing.T) {
	t.Parallel()
	event, err := os.ReadFile("testdata/batch.json")
	if err != nil {
		t.Fatal(err)
	}
	h, out := handler(t, "games", messagingtest.Faults{})
	want := `{"batchItemFailures":[{"itemIdentifier":"2e1424d4-f796-459a-8184-9c92662be6da"}]}`
	if diff := cmp.Diff(want, invoke(t, h, event)); diff != "" {
		t.Error(diff)
	}
	var bodies []string
	for _, m := range out.Messages() {
		bodies = append(bodies, m.Body)
	}
	slices.Sort(bodies)
	if diff := cmp.Diff([]string{`{"id":1,"title":"Tetris"}`, `{"id":3,"title":"Zelda"}`}, bodies); diff != "" {
		t.Error(diff)
	}
	left, err := os.ReadDir(h.Folder)
	if err != nil || len(left) > 0 {
		t.Errorf("the state is left: %v, %v", left, err)
	}
}

// TestAllPass answers with an empty list, not with null, and goes on with the next invocation.
func TestAllPass(t *testing.T) {
	t.Parallel()
	h, out := handler(t, "games", messagingtest.Faults{})
	for range 2 {
		if got := invoke(t, h, batch(t, "games", events.SQSMessage{Body: "{\"id\":1}\n{\"id\":2}"}, events.SQSMessage{Body: `{"id":3}`})); got != `{"batchItemFailures":[]}` {
			t.Error(got)
		}
	}
	if out.Left() != 6 {
		t.Errorf("%d rows came", out.Left())
	}
	if got := invoke(t, h, []byte(`{"Records":[]}`)); got != `{"batchItemFailures":[]}` {
		t.Error(got)
	}
}

// TestSinkThatFails has every message fail, and none twice.
func TestSinkThatFails(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, "games", messagingtest.Faults{Call: func(string) *messagingtest.Refusal { return &messagingtest.Refusal{Status: 403, Code: "AccessDenied"} }})
	want := `{"batchItemFailures":[{"itemIdentifier":"m0"},{"itemIdentifier":"m1"}]}`
	if diff := cmp.Diff(want, invoke(t, h, batch(t, "games", events.SQSMessage{Body: `{"id":1}`}, events.SQSMessage{Body: `{"id":2}`}))); diff != "" {
		t.Error(diff)
	}
}

// TestFIFO fails all of a group from the first that cannot pass on, and no other group.
func TestFIFO(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, "games.fifo", messagingtest.Faults{})
	of := func(group, body string) events.SQSMessage {
		return events.SQSMessage{Body: body, Attributes: map[string]string{"MessageGroupId": group}}
	}
	got := invoke(t, h, batch(t, "games.fifo", of("a", `{"id":1}`), of("a", `no`), of("b", `{"id":2}`), of("a", `{"id":3}`)))
	if want := `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m3"}]}`; got != want {
		t.Error(got)
	}
}

// TestConfiguration is an error, of which Lambda takes all messages for failed.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	h, _ := handler(t, "games", messagingtest.Faults{})
	h.Files = []string{filepath.Join(t.TempDir(), "nothing.yaml")}
	event := events.SQSEvent{Records: []events.SQSMessage{{MessageId: "m"}}}
	if _, err := h.Handle(t.Context(), event); err == nil {
		t.Error("a file that is not there was read")
	}
	file := filepath.Join(t.TempDir(), "two.yaml")
	text := strings.ReplaceAll(strings.ReplaceAll(pipeline, "QUEUE", "games"), "OUT", "out") + "  again: { from: games, to: [out] }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Files = []string{file}
	if _, err := h.Handle(context.WithoutCancel(t.Context()), event); fault.Code(err) != "ACQ-LAM-001" {
		t.Errorf("got %v", err)
	}
}
