package bus_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/bus"
	"github.com/acequia-io/acequia/sinks/sinktest"
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
		b.Int(0, int64(i))
		b.String(1, text)
		b.Next()
		sys := b.System()
		sys.Ops = append(sys.Ops, record.Update)
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(i)+7)
		sys.EventIDs.AppendText([]byte("event-" + text))
	}
	b.System().Source = "test"
	return b.Batch(nil)
}

func open(t *testing.T, c bus.Config, folder string) sinks.Writer {
	t.Helper()
	s, err := bus.New(c, folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
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

// stage writes and stages a group, and gives its manifest.
func stage(t *testing.T, w sinks.Writer, ordinal int64, b *record.Batch) sinks.Manifest {
	t.Helper()
	if err := w.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: ordinal}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sent(t *testing.T, server *brokertest.Server, topic string) int {
	t.Helper()
	all, err := server.Messages(topic)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestTheSameIDsAreSentAgain dies after the messages were sent and before that was noted: who sends them again sends the same
// ids, by which the stream drops them. The test sees other ids come through.
func TestTheSameIDsAreSentAgain(t *testing.T) {
	t.Parallel()
	server, folder := start(t), t.TempDir()
	w := open(t, bus.Config{URL: server.URL, Topic: "again"}, folder)
	m := stage(t, w, 1, rows(t, "a", "b"))
	staged := filepath.Join(folder, m.Files[0].Staged)
	kept, err := os.ReadFile(staged) //nolint:gosec // below the test's folder
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		notes := filepath.Join(folder, filepath.Dir(m.Files[0].Staged), "sent")
		if err := errors.Join(os.Remove(notes), os.WriteFile(staged, kept, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if n := sent(t, server, "again"); n != 1 {
		t.Errorf("%d messages are there, want 1", n)
	}
	m.Files[0].Name += "-other"
	if err := w.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if n := sent(t, server, "again"); n != 2 {
		t.Errorf("%d messages are there after a group of another name, want 2", n)
	}
}

// TestALostStateDoesNotSilenceTheSink starts with group 1 again, as after state.db was removed and the sink's folder was not.
func TestALostStateDoesNotSilenceTheSink(t *testing.T) {
	t.Parallel()
	server, folder := start(t), t.TempDir()
	w := open(t, bus.Config{URL: server.URL, Topic: "lost"}, folder)
	for _, text := range []string{"first", "second"} {
		if err := w.Publish(t.Context(), stage(t, w, 1, rows(t, text))); err != nil {
			t.Fatal(err)
		}
	}
	if n := sent(t, server, "lost"); n != 2 {
		t.Errorf("%d messages are there, want 2", n)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	server := start(t)
	w := open(t, bus.Config{URL: server.URL, Topic: "json", Format: "json", MaxBytes: 1 << 10}, t.TempDir())
	large := rows(t, "a", strings.Repeat("x", 2000), "c")
	refused, ok := errors.AsType[*fault.Rows](w.Write(t.Context(), large))
	if !ok || len(refused.Bad) != 1 || refused.Bad[0].Index != 1 || fault.Code(refused.Bad[0].Err) != "ACQ-BUS-004" {
		t.Fatalf("a row that is too large: %v", refused)
	}
	if err := w.Publish(t.Context(), stage(t, w, 1, large.Without([]int{1}))); err != nil {
		t.Fatal(err)
	}
	all, err := server.Messages("json")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, string(m.Data)+" "+m.Header.Get("acequia-op")+" "+m.Header.Get("acequia-event-id")+" "+m.Header.Get("acequia-version"))
	}
	want := []string{
		`{"id":0,"text":"a"} U event-a 0000-00000000000000000000000000000007-00000000`,
		`{"id":2,"text":"c"} U event-c 0000-00000000000000000000000000000009-00000000`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLargeBatchesAreSplit(t *testing.T) {
	t.Parallel()
	server := start(t)
	w := open(t, bus.Config{URL: server.URL, Topic: "split", Compression: "none", MaxBytes: 4 << 10}, t.TempDir())
	if err := w.Publish(t.Context(), stage(t, w, 1, rows(t, slices.Repeat([]string{strings.Repeat("y", 900)}, 20)...))); err != nil {
		t.Fatal(err)
	}
	found, err := received(server, "split")
	if err != nil || len(found) != 20 || sent(t, server, "split") < 5 {
		t.Errorf("%d rows in %d messages, %v", len(found), sent(t, server, "split"), err)
	}
}

// TestTheBrokerGoesAway publishes while nobody listens: it is tried again, and nothing is lost.
func TestTheBrokerGoesAway(t *testing.T) {
	t.Parallel()
	server, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	w := open(t, bus.Config{URL: server.URL, Topic: "away"}, folder)
	m := stage(t, w, 1, rows(t, "a"))
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), m); fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-BUS-011" {
		t.Errorf("got %v", err)
	}
	if n, err := staged(folder); n != 1 || err != nil {
		t.Errorf("%d groups are staged, want 1; %v", n, err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := bus.Plugin()
	for want, c := range map[string]bus.Config{
		"url: its scheme":         {URL: "http://x", Topic: "t"},
		"topic: which topic?":     {URL: "nats://x"},
		"SNS wants the ARN":       {URL: "sns://eu-west-1", Topic: "t"},
		"max_bytes: want 1KiB to": {URL: "nats://x", Topic: "t", MaxBytes: 3},
		"compression: is of":      {URL: "nats://x", Topic: "t", Format: "json", Compression: "zstd"},
	} {
		if err := p.Check(&c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := bus.New(c, t.TempDir(), nil); err == nil {
			t.Errorf("%q: it is made all the same", want)
		}
	}
	if err := p.Check(&bus.Config{URL: "nats://x", Topic: "t"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := p.New(t.Context(), &struct{}{}, sinks.Host{Dir: "x"}); err == nil {
		t.Error("settings of another type are taken")
	}
	lines := strings.Join(p.Plan(&bus.Config{URL: "nats://me:hush@x", Topic: "t"}, nil), "\n")
	if !strings.Contains(lines, "at-least-once") || !strings.Contains(lines, "512KiB") || strings.Contains(lines, "hush") {
		t.Error(lines)
	}
}
