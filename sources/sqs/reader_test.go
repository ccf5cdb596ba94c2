package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/sqs"
)

// numbers are settings for rows {"id": 1}.
func numbers(queue string) sqs.Config {
	return quick(sqs.Config{Queue: queue, Stream: "numbers", Key: []string{"id"}, Columns: config.Ordered[string]{{Name: "id", Value: "int64"}, {Name: "rev", Value: "int64"}}})
}

func open(t *testing.T, c sqs.Config) sources.Reader {
	t.Helper()
	s, err := sqs.New(c, nil, discard)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), sources.Lane{}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func read(t *testing.T, r sources.Reader) record.Chunk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := r.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ids gives the first column of a chunk.
func ids(c record.Chunk) (out []int64) {
	for _, b := range c.Batches {
		for row := range b.Rows {
			out = append(out, b.Columns[0].Int(row))
		}
	}
	return out
}

func settle(t *testing.T, r sources.Reader, err error) {
	t.Helper()
	if err := r.Settle(t.Context(), "", err); err != nil {
		t.Fatal(err)
	}
}

// all reads and settles until so many rows came.
func all(t *testing.T, r sources.Reader, rows int) (out []int64) {
	t.Helper()
	for len(out) < rows {
		c := read(t, r)
		out = append(out, ids(c)...)
		settle(t, r, nil)
	}
	return out
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not in a minute", what)
		}
	}
}

func put(s *messagingtest.Server, from, to int) {
	for n := from; n < to; n++ {
		s.Put(messagingtest.Message{Body: fmt.Sprintf(`{"id":%d}`, n)})
	}
}

// TestDeletesThatFail lets every third entry of a batch fail, and every fourth call as a whole: all are deleted in the end, and no
// message comes twice.
func TestDeletesThatFail(t *testing.T) {
	t.Parallel()
	n, calls := 0, 0
	fake := messagingtest.Start(t, messagingtest.Faults{
		Entry: func(action string, _ int) bool { n++; return n%3 == 0 },
		Call: func(action string) *messagingtest.Refusal {
			if calls++; calls%4 == 0 && action == "DeleteMessageBatch" {
				return &messagingtest.Refusal{Status: http.StatusInternalServerError, Code: "InternalError"}
			}
			return nil
		},
	})
	put(fake, 0, 95)
	r := open(t, numbers(fake.URL("q")))
	got := all(t, r, 95)
	eventually(t, "all are deleted", func() bool { return fake.Left() == 0 })
	if slices.Sort(got); len(slices.Compact(slices.Clone(got))) != 95 || len(got) != 95 {
		t.Errorf("got %v", got)
	}
}

// TestDeletesThatAreLost answers the first delete of each message and does nothing: it comes again, is not given again, and is deleted.
func TestDeletesThatAreLost(t *testing.T) {
	t.Parallel()
	lost := map[string]bool{}
	fake := messagingtest.Start(t, messagingtest.Faults{Lose: func(id string) bool {
		was := lost[id]
		lost[id] = true
		return !was
	}})
	put(fake, 0, 30)
	r := open(t, numbers(fake.URL("q")))
	all(t, r, 30)
	eventually(t, "all are deleted", func() bool { return fake.Left() == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("there came %v, %v", ids(c), err)
	}
}

// TestMessagesThatComeTwice gives each message again while it is in flight, under another handle: its rows come once, and the newer
// handle deletes it.
func TestMessagesThatComeTwice(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{Twice: func(string) bool { return true }})
	put(fake, 0, 20)
	r := open(t, numbers(fake.URL("q")))
	var got []int64
	chunks := 0
	for len(got) < 20 {
		got = append(got, ids(read(t, r))...)
		chunks++
	}
	eventually(t, "each came twice", func() bool {
		return !slices.ContainsFunc(fake.Messages(), func(m messagingtest.Message) bool { return m.Receives < 2 })
	})
	for range chunks {
		settle(t, r, nil)
	}
	eventually(t, "all are deleted", func() bool { return fake.Left() == 0 })
	if len(got) != 20 {
		t.Errorf("got %v", got)
	}
}

// TestHiddenWhileTheGroupWaits holds messages for longer than they are hidden: nobody else gets them.
func TestHiddenWhileTheGroupWaits(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	put(fake, 0, 25)
	c := numbers(fake.URL("q"))
	c.Visibility = 3 * time.Second
	r := open(t, c)
	chunks, rows, began := 0, 0, time.Now()
	for rows < 25 {
		rows += len(ids(read(t, r)))
		chunks++
	}
	eventually(t, "longer than they were hidden", func() bool { return time.Since(began) > 4*time.Second })
	for _, m := range fake.Messages() {
		if m.Receives != 1 || !m.Hidden.After(time.Now()) {
			t.Errorf("message %s was received %d times, and is hidden until %s", m.ID, m.Receives, m.Hidden)
		}
	}
	for range chunks {
		settle(t, r, nil)
	}
	eventually(t, "all are deleted", func() bool { return fake.Left() == 0 })
}

// TestRefusals settles with errors: what a stop leaves behind is there for others at once, what failed a while later, and longer each time.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		why         error
		receives    int
		least, most time.Duration
	}{
		"stop":     {fault.Retry(sources.ErrStopped), 3, 0, 0},
		"failure":  {fault.Retry(errors.New("the sink is down")), 0, 3 * time.Second, 5 * time.Second},
		"again":    {errors.New("the sink is down"), 2, 30 * time.Second, 45 * time.Second},
		"for ever": {errors.New("the sink is down"), 30, 10 * time.Minute, 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := messagingtest.Start(t, messagingtest.Faults{})
			fake.Put(messagingtest.Message{Body: `{"id":1}`, Receives: test.receives})
			s, err := sqs.New(numbers(fake.URL("q")), nil, discard)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Open(t.Context(), sources.Lane{}, "")
			if err != nil {
				t.Fatal(err)
			}
			read(t, r)
			before := time.Now()
			settle(t, r, test.why)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			m := fake.Messages()[0]
			if m.Receives != test.receives+1 {
				t.Errorf("it was received %d times, %d before: by the reader that let it go", m.Receives, test.receives)
			}
			if hidden := m.Hidden.Sub(before); test.most > 0 && (hidden < test.least || hidden > test.most+time.Minute) || test.most == 0 && m.Hidden.After(time.Now()) {
				t.Errorf("it is hidden for %s", hidden)
			}
		})
	}
}

// TestCloseReleases closes with messages that were read and not settled, and with some that were not even read: none stays hidden
// for the time of its visibility.
func TestCloseReleases(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{Late: 50 * time.Millisecond}) // so that receives are under way
	c := numbers(fake.URL("q"))
	c.Visibility = time.Hour
	put(fake, 0, 60)
	s, err := sqs.New(c, nil, discard)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), sources.Lane{}, "")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some were received", func() bool { return fake.Messages()[15].Receives > 0 })
	read(t, r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range fake.Messages() {
		if m.Hidden.After(time.Now().Add(time.Minute)) {
			t.Errorf("message %s is hidden until %s", m.ID, m.Hidden)
		}
	}
}

// TestFIFO reads two message groups by several pollers, is stopped with some of it, and goes on: each group comes in its order.
func TestFIFO(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	for n := range 60 {
		fake.Put(messagingtest.Message{Body: fmt.Sprintf(`{"id":%d}`, n), Group: []string{"even", "odd"}[n%2]})
	}
	r := open(t, numbers(fake.URL("q.fifo")))
	last := [2]int64{-2, -1}
	for refused, rows := false, 0; rows < 60; {
		got := ids(read(t, r))
		if !refused && rows > 20 {
			refused = true
			settle(t, r, sources.ErrStopped)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = open(t, numbers(fake.URL("q.fifo")))
			continue
		}
		for _, id := range got {
			if last[id%2]+2 != id {
				t.Fatalf("%d came after %d", id, last[id%2])
			}
			last[id%2] = id
		}
		rows += len(got)
		settle(t, r, nil)
	}
}

// TestInFlightBounds allows few messages in flight: their group is told to close, whether the source or the queue has the limit.
func TestInFlightBounds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ ours, theirs int }{"ours": {20, 0}, "the queue's": {0, 15}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := messagingtest.Start(t, messagingtest.Faults{Flight: test.theirs})
			put(fake, 0, 100)
			c := numbers(fake.URL("q"))
			c.InFlight, c.Visibility = test.ours, time.Hour
			r := open(t, c)
			var got []int64
			waiting := 0
			for len(got) < 100 {
				chunk := read(t, r)
				got = append(got, ids(chunk)...)
				if waiting++; !chunk.Full && len(got) < 100 {
					continue
				}
				received := 0
				for _, m := range fake.Messages() {
					if m.Receives > 0 && !m.Gone {
						received++
					}
				}
				if most := max(test.ours, test.theirs+10*4); received > most {
					t.Errorf("%d messages are in flight, more than %d", received, most)
				}
				for ; waiting > 0; waiting-- {
					settle(t, r, nil)
				}
			}
		})
	}
}

// TestThrottling refuses every second receive for a while: the reader goes on by itself. Another error ends the read with its class.
func TestThrottling(t *testing.T) {
	t.Parallel()
	n := 0
	fake := messagingtest.Start(t, messagingtest.Faults{Late: 2 * time.Millisecond, Call: func(action string) *messagingtest.Refusal {
		if n++; action == "ReceiveMessage" && n < 20 {
			return &messagingtest.Refusal{Status: http.StatusBadRequest, Code: "ThrottlingException"}
		}
		return nil
	}})
	put(fake, 0, 5)
	if got := all(t, open(t, numbers(fake.URL("q"))), 5); len(got) != 5 {
		t.Errorf("got %v", got)
	}
	denied := messagingtest.Start(t, messagingtest.Faults{Call: func(string) *messagingtest.Refusal {
		return &messagingtest.Refusal{Status: http.StatusForbidden, Code: "AccessDenied"}
	}})
	_, err := open(t, numbers(denied.URL("q"))).Read(t.Context())
	if fault.Code(err) != "ACQ-AWS-005" || fault.Of(err) != fault.Fatal || !strings.Contains(err.Error(), "sqs:ReceiveMessage") {
		t.Errorf("got %v", err)
	}
}

// TestFailedReceives has more receives fail in a row than the SDK repeats: what was received before is still in flight, and goes on.
func TestFailedReceives(t *testing.T) {
	t.Parallel()
	calls := 0
	fake := messagingtest.Start(t, messagingtest.Faults{Call: func(action string) *messagingtest.Refusal {
		if action != "ReceiveMessage" {
			return nil
		}
		if calls++; calls > 1 && calls < 6 {
			return &messagingtest.Refusal{Status: http.StatusInternalServerError, Code: "InternalError"}
		}
		return nil
	}})
	put(fake, 0, 15)
	c := numbers(fake.URL("q"))
	c.Pollers = 1
	if got := all(t, open(t, c), 15); len(got) != 15 {
		t.Errorf("got %v", got)
	}
	for _, m := range fake.Messages() {
		if m.Receives != 1 {
			t.Errorf("%d receives of %s", m.Receives, m.Body)
		}
	}
}

// TestLag counts what waits.
func TestLag(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	put(fake, 0, 3)
	r := open(t, numbers(fake.URL("q")))
	read(t, r)
	lag, err := r.(sources.Lagger).Lag(t.Context()) //nolint:forcetypeassert // it is one
	if err != nil || lag.Records != 3 || lag.Age <= 0 || lag.Age > time.Minute || lag.Loss < 90*time.Hour {
		t.Errorf("got %+v, %v", lag, err)
	}
	settle(t, r, nil)
}

// TestSettings says what is wrong, with its place.
func TestSettings(t *testing.T) {
	t.Parallel()
	p := sqs.Plugin()
	with := func(change func(c *sqs.Config)) *sqs.Config {
		c := sqs.Config{Queue: "q", Key: []string{"id"}, Columns: config.Ordered[string]{{Name: "id", Value: "int64"}, {Name: "title", Value: "string"}}}
		change(&c)
		return &c
	}
	for want, c := range map[string]*sqs.Config{
		"queue: which":                  with(func(c *sqs.Config) { c.Queue = "" }),
		"pollers: want":                 with(func(c *sqs.Config) { c.Pollers = 100 }),
		"in_flight: want":               with(func(c *sqs.Config) { c.InFlight = 200_000 }),
		"wait: want":                    with(func(c *sqs.Config) { c.Wait = time.Minute }),
		"visibility: want":              with(func(c *sqs.Config) { c.Visibility = 13 * time.Hour }),
		"hold: ":                        with(func(c *sqs.Config) { c.Hold = -1 }),
		"schema: rows need":             with(func(c *sqs.Config) { c.Columns, c.Key = nil, nil }),
		"schema: format s3 has":         with(func(c *sqs.Config) { c.Format = "s3"; c.Key = nil }),
		"schema.id: ":                   with(func(c *sqs.Config) { c.Columns[0].Value = "int" }),
		`key.0: there is no column "x"`: with(func(c *sqs.Config) { c.Key[0] = "x" }),
		"version: gives string":         with(func(c *sqs.Config) { c.Version = "row.title" }),
		"version: ":                     with(func(c *sqs.Config) { c.Version = "row.titel" }),
		"metadata.n: ":                  with(func(c *sqs.Config) { c.Metadata = config.Ordered[string]{{Name: "n", Value: "receives"}} }),
		"metadata: ":                    with(func(c *sqs.Config) { c.Metadata = config.Ordered[string]{{Name: "title", Value: "group_id"}} }),
	} {
		if _, err := p.Schemas(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := sqs.New(*c, nil, nil); err == nil || fault.Of(err) != fault.Fatal {
			t.Errorf("%q: got %v", want, err)
		}
	}
	c := with(func(c *sqs.Config) { c.Metadata = config.Ordered[string]{{Name: "n", Value: "receive_count"}} })
	told, err := p.Schemas(t.Context(), c)
	if err != nil || len(told) != 1 || told[0].Stream != "q" || len(told[0].Fields) != 3 || told[0].Fields[0].Nullable || told[0].Fields[2].Kind != record.Int32 {
		t.Errorf("got %v, %v", told, err)
	}
	lines := strings.Join(p.Plan(t.Context(), c), "\n")
	if !strings.Contains(lines, "at-least-once") || !strings.Contains(lines, "no version") {
		t.Error(lines)
	}
	if diff := cmp.Diff("sqs://q", c.Reads()); diff != "" {
		t.Error(diff)
	}
	if messaging.QueueName("https://sqs.eu-west-1.amazonaws.com/1/q.fifo") != "q.fifo" || messaging.QueueName("arn:aws:sqs:eu-west-1:1:q") != "q" {
		t.Error("names of queues")
	}
}
