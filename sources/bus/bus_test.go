package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/bus"
)

// open opens the lane of a topic, which may be closed early.
func open(t *testing.T, server *brokertest.Server, c bus.Config) sources.Reader {
	t.Helper()
	c.URL, c.Group = server.URL, "test"
	s, err := bus.New(c, slog.New(slog.DiscardHandler))
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
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := r.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// quiet wants nothing to come for a while.
func quiet(t *testing.T, r sources.Reader, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if c, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %v: %v, %v", limit, c, err)
	}
}

func message(t *testing.T, version byte) []byte {
	t.Helper()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, 1)
	b.Int(0, 5)
	b.Next()
	e, err := wire.NewEncoder(1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := e.Encode(b.Batch(nil))
	if err != nil {
		t.Fatal(err)
	}
	all[0].Payload[4] = version
	return all[0].Payload
}

// TestUnreadableMessagesAreDeadLetters sends a message of an unknown version, a damaged one and one of somebody else: each is
// refused with its bytes, once, and the one between them passes.
func TestUnreadableMessagesAreDeadLetters(t *testing.T) {
	t.Parallel()
	server := start(t)
	r := open(t, server, bus.Config{Topic: "odd", AckWait: time.Second})
	good, cut := message(t, 1), message(t, 1)
	cut = cut[:len(cut)-1]
	err := server.Publish("odd", &nats.Msg{Data: message(t, 9)}, &nats.Msg{Data: good}, &nats.Msg{Data: cut}, &nats.Msg{Data: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	codes, rows := map[string]string{}, 0
	for len(codes) < 3 || rows < 1 {
		c := read(t, r)
		for _, x := range c.Refused {
			codes[fault.Code(x.Err)] = string(x.Raw)
			if x.Stream != "odd" || x.Source != "bus.odd" || x.EventID == "" {
				t.Errorf("refused as %+v", x)
			}
		}
		for _, b := range c.Batches {
			rows += b.Rows
			if !strings.HasPrefix(string(b.System.EventIDs.Text(0)), "odd-") {
				t.Errorf("the event id is %q", b.System.EventIDs.Text(0))
			}
		}
		if err := r.Settle(t.Context(), c.To, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"ACQ-BUS-001": "hello", "ACQ-BUS-002": string(message(t, 9)), "ACQ-BUS-003": string(cut)}
	if diff := cmp.Diff(want, codes); diff != "" || rows != 1 {
		t.Error(rows, diff)
	}
	quiet(t, r, 2*time.Second) // they were confirmed: none comes again
}

// TestConfirmationsArriveBeforeTheEnd settles many messages and closes at once: none comes to the next reader.
func TestConfirmationsArriveBeforeTheEnd(t *testing.T) {
	t.Parallel()
	server := start(t)
	c := bus.Config{Topic: "last", AckWait: time.Second}
	r := open(t, server, c)
	var all []*nats.Msg
	for range 60 {
		all = append(all, &nats.Msg{Data: message(t, 1)})
	}
	if err := server.Publish("last", all...); err != nil {
		t.Fatal(err)
	}
	for rows := 0; rows < len(all); {
		chunk := read(t, r)
		rows += len(chunk.Batches)
		if err := r.Settle(t.Context(), chunk.To, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	quiet(t, open(t, server, c), 2*time.Second)
}

// TestOnlyWhatIsDurableIsConfirmed refuses a chunk, closes with another unsettled, and reads both again.
func TestOnlyWhatIsDurableIsConfirmed(t *testing.T) {
	t.Parallel()
	server := start(t)
	c := jsonConfig("again", "")
	r := open(t, server, c)
	if err := server.Publish("again", &nats.Msg{Data: []byte(`{"id": 1}`)}); err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for n := range 3 {
		chunk := read(t, r)
		ids[fmt.Sprint(string(chunk.Batches[0].System.EventIDs.Text(0)), chunk.Batches[0].System.EventTime(0))]++
		switch n {
		case 0:
			if err := r.Settle(t.Context(), chunk.To, errors.New("refused")); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = open(t, server, c)
		case 2:
			if err := r.Settle(t.Context(), chunk.To, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(ids) != 1 {
		t.Errorf("the event ids and times are %v", ids)
	}
	quiet(t, r, 2*time.Second)
}

func jsonConfig(topic, version string) bus.Config {
	return bus.Config{
		Topic: topic, Format: "json", Stream: "games", Key: []string{"id"}, Version: version, AckWait: time.Second,
		Schema: config.Ordered[string]{{Name: "id", Value: "int64"}, {Name: "rev", Value: "int64"}, {Name: "title", Value: "string"}},
	}
}

// TestJSONRows reads one row, several lines and an object on many lines; bad rows are dead letters of their own.
func TestJSONRows(t *testing.T) {
	t.Parallel()
	server := start(t)
	r := open(t, server, jsonConfig("rows", "row.rev * 10"))
	err := server.Publish("rows",
		&nats.Msg{Data: []byte(`{"id":1,"rev":1,"title":"one"}`)},
		&nats.Msg{Data: []byte("{\"id\":2,\"rev\":2}\n\n{\"id\":3,\"rev\":\"x\"}\n{\"id\":4,\"rev\":4}\n"), Header: nats.Header{nats.MsgIdHdr: {"mine"}}},
		&nats.Msg{Data: []byte("{\n  \"id\": 5,\n  \"rev\": 5\n}")},
		&nats.Msg{Data: []byte(`{"rev":6}`)}, &nats.Msg{Data: []byte(`{"id":7}`)}, &nats.Msg{Data: []byte(`{"id":8,"rev":-8}`)}, &nats.Msg{Data: []byte(`no`)})
	if err != nil {
		t.Fatal(err)
	}
	got, codes := map[string]string{}, map[string]int{}
	for len(got) < 4 || codes["ACQ-BUS-005"] < 3 || codes["ACQ-BUS-006"] < 2 {
		c := read(t, r)
		for _, x := range c.Refused {
			codes[fault.Code(x.Err)]++
		}
		for _, b := range c.Batches {
			for row := range b.Rows {
				got[fmt.Sprint(b.Columns[0].Int(row))] = fmt.Sprint(b.System.Versions.At(row).Lo, " ", string(b.System.EventIDs.Text(row)), " ", b.System.Op(row))
			}
		}
		if err := r.Settle(t.Context(), c.To, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"1": "10 rows-1:0 I", "2": "20 mine:0 I", "4": "40 mine:2 I", "5": "50 rows-3:0 I"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"ACQ-BUS-005": 3, "ACQ-BUS-006": 2}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := bus.Plugin()
	with := func(change func(c *bus.Config)) *bus.Config {
		c := jsonConfig("t", "")
		c.URL = "nats://me:hush@here:4222"
		change(&c)
		return &c
	}
	for want, c := range map[string]*bus.Config{
		"url: its scheme":               with(func(c *bus.Config) { c.URL = "ftp://x" }),
		"topic: which topic?":           with(func(c *bus.Config) { c.Topic = "" }),
		"SNS wants the ARN":             with(func(c *bus.Config) { c.URL = "sns://eu-west-1" }),
		"in_flight: want 1 to 1000":     with(func(c *bus.Config) { c.InFlight = 5000 }),
		"ack_wait: want 1s or more":     with(func(c *bus.Config) { c.AckWait = time.Millisecond }),
		`key.0: there is no column "x"`: with(func(c *bus.Config) { c.Key = []string{"x"} }),
		"schema: JSON rows need":        with(func(c *bus.Config) { c.Schema = nil }),
		"schema.id: \"int\" is no type": with(func(c *bus.Config) { c.Schema[0].Value = "int" }),
		"version: gives string":         with(func(c *bus.Config) { c.Version = "row.title" }),
		"version: ":                     with(func(c *bus.Config) { c.Version = "row.reb" }),
		"schema: is for format: json":   with(func(c *bus.Config) { c.Format, c.Key, c.Stream = "acequia", nil, "" }),
	} {
		if _, err := p.Schemas(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := bus.New(*c, nil); fault.Of(err) != fault.Fatal || err == nil {
			t.Errorf("%q: got %v", want, err)
		}
	}
	told, err := p.Schemas(t.Context(), with(func(*bus.Config) {}))
	if err != nil || len(told) != 1 || told[0].Stream != "games" || told[0].Fields[0].Nullable || !told[0].Fields[1].Nullable {
		t.Errorf("got %v, %v", told, err)
	}
	lines := strings.Join(p.Plan(t.Context(), with(func(*bus.Config) {})), "\n")
	if !strings.Contains(lines, "at-least-once") || !strings.Contains(lines, "no version") || strings.Contains(lines, "hush") {
		t.Error(lines)
	}
}
