package dedupe_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/dedupe"
	"github.com/acequia-io/acequia/record"
)

// event is a record: its key ("" is null), its hour, and what happened.
type event struct {
	id   string
	hour int
	op   record.Op
}

func batchOf(tb testing.TB, s *record.Schema, all ...event) *record.Batch {
	tb.Helper()
	b := record.NewBuilder(s, len(all))
	for _, e := range all {
		if e.id != "" {
			b.String(0, e.id)
		}
		b.Next()
		op := e.op
		if op == 0 {
			op = record.Insert
		}
		b.System().Ops = append(b.System().Ops, op)
		b.System().EventTimes = append(b.System().EventTimes, (time.Duration(e.hour) * time.Hour).Microseconds())
	}
	return b.Batch(nil)
}

// store keeps the blocks of lanes as the state store does.
type store map[string][][]byte

func (s store) blocks(lane string) iter.Seq2[handlers.Block, error] {
	return func(yield func(handlers.Block, error) bool) {
		for name, all := range s {
			for _, data := range all {
				if (lane == "" || lane == name) && !yield(handlers.Block{Lane: name, Data: data}, nil) {
					return
				}
			}
		}
	}
}

func (s store) save(lane string, m handlers.Memory) {
	if len(m.Block) > 0 {
		s[lane] = append(s[lane], m.Block)
	}
}

func track(tb testing.TB, h *dedupe.Handler, lane string, s store) handlers.Tracker {
	tb.Helper()
	t, err := h.Track(tb.Context(), lane, s.blocks)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// passing gives the ids and hours that come out.
func passing(tb testing.TB, h handlers.Handler, b *record.Batch) string {
	tb.Helper()
	out, err := h.Handle(tb.Context(), b)
	if err != nil {
		tb.Fatal(err)
	}
	var text []string
	for _, b := range out {
		for row := range b.Rows {
			text = append(text, fmt.Sprintf("%s%d", b.Columns[0].Text(row), b.System.EventTime(row)/time.Hour.Microseconds()))
		}
	}
	return strings.Join(text, " ")
}

func made(tb testing.TB, c dedupe.Config) *dedupe.Handler {
	tb.Helper()
	if c.By == "" {
		c.By = "event_time"
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = 1000
	}
	h, err := dedupe.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func day(tb testing.TB) *dedupe.Handler {
	tb.Helper()
	return made(tb, dedupe.Config{Key: []string{"id"}, Window: 24 * time.Hour, MaxKeys: 10_000})
}

func TestWindow(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
	tracker := track(t, day(t), "lane", store{})
	for _, c := range []struct {
		name string
		in   []event
		want string
	}{
		{"a copy goes", []event{{id: "a", hour: 100}, {id: "a", hour: 101}, {id: "b", hour: 100}}, "a100 b100"},
		{"in a later batch too, at the window's edge", []event{{id: "a", hour: 123}, {id: "a", hour: 124}}, "a124"},
		{"the first one counts, not the copies", []event{{id: "b", hour: 123}, {id: "b", hour: 124}}, "b124"},
		{"a late copy goes", []event{{id: "a", hour: 101}}, ""},
		{"one that is too late is none", []event{{id: "a", hour: 90}, {id: "a", hour: 125}}, "a90"},
		{"null is no key", []event{{hour: 130}, {hour: 130}}, "130 130"},
		{"a change is no copy", []event{{id: "a", hour: 126, op: record.Update}, {id: "a", hour: 126, op: record.Truncate}}, "a126 a126"},
		{"what comes again after a truncate is none", []event{{hour: 126, op: record.Truncate}, {id: "a", hour: 126}, {id: "a", hour: 126}}, "126 a126"},
		{"what comes again after a delete is none", []event{{id: "a", hour: 126, op: record.Delete}, {id: "a", hour: 126}, {id: "a", hour: 126}}, "a126 a126"},
	} {
		if got := passing(t, tracker, batchOf(t, s, c.in...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Lanes see each other's records, also after a restart and when one of them begins again.
func TestLanes(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
	h, disk := day(t), store{}
	one, two := track(t, h, "one", disk), track(t, h, "two", disk)
	expect := func(tracker handlers.Tracker, want string, in ...event) {
		t.Helper()
		if got := passing(t, tracker, batchOf(t, s, in...)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expect(one, "a1 b1", event{id: "a", hour: 1}, event{id: "b", hour: 1})
	expect(two, "c1", event{id: "a", hour: 1}, event{id: "c", hour: 1})
	disk.save("one", one.Cut())
	expect(one, "d1", event{id: "d", hour: 1}) // never durable
	one.Close()
	expect(two, "", event{id: "d", hour: 1}) // lane one reads it again
	one = track(t, h, "one", disk)
	expect(one, "d1", event{id: "a", hour: 2}, event{id: "c", hour: 2}, event{id: "d", hour: 1})
	disk.save("one", one.Cut())
	disk.save("two", two.Cut())

	h = day(t) // another process
	three := track(t, h, "three", disk)
	expect(three, "e1", event{id: "a", hour: 1}, event{id: "c", hour: 1}, event{id: "d", hour: 1}, event{id: "e", hour: 1})
	two = track(t, h, "two", disk)
	expect(two, "", event{id: "a", hour: 1}, event{id: "c", hour: 1}, event{id: "e", hour: 1})
}

// A truncate is remembered with its group: the records of before are no copies after a restart either.
func TestTruncateIsRemembered(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
	disk := store{}
	one := track(t, day(t), "one", disk)
	passing(t, one, batchOf(t, s, event{id: "a", hour: 1}, event{id: "b", hour: 1}))
	disk.save("one", one.Cut())
	passing(t, one, batchOf(t, s, event{hour: 2, op: record.Truncate}, event{id: "a", hour: 2}))
	disk.save("one", one.Cut())
	one = track(t, day(t), "one", disk)
	if got := passing(t, one, batchOf(t, s, event{id: "a", hour: 3}, event{id: "b", hour: 3})); got != "b3" {
		t.Errorf("%q", got)
	}
}

// A lane that reads old records beside one that reads new ones keeps its window, also when it begins again.
func TestLanesOfOtherTimes(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
	disk := store{}
	for i := range 3 {
		h := day(t)
		fast, slow := track(t, h, "fast", disk), track(t, h, "slow", disk)
		for round := range 2 {
			first := i == 0 && round == 0
			if got := passing(t, fast, batchOf(t, s, event{id: "new", hour: 5000})); (got != "") != first {
				t.Error(i, round, got)
			}
			old := make([]event, 5000) // enough to let the parts of the table grow while they are read
			for n := range old {
				old[n] = event{id: fmt.Sprint("old", n), hour: 10}
			}
			if got := strings.Fields(passing(t, slow, batchOf(t, s, old...))); len(got) != map[bool]int{true: len(old)}[first] {
				t.Error(i, round, len(got))
			}
			disk.save("fast", fast.Cut())
			disk.save("slow", slow.Cut())
			slow.Close()
			slow = track(t, h, "slow", disk)
		}
	}
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "id", Kind: record.String, Nullable: true})
	tracker := track(t, made(t, dedupe.Config{Key: []string{"id"}, Window: time.Hour, MaxKeys: 10}), "lane", store{})
	for i := range 100 { // a few keys an hour are no trouble
		if got := passing(t, tracker, batchOf(t, s, event{id: fmt.Sprint("x", i), hour: 2 * i}, event{id: fmt.Sprint("y", i), hour: 2 * i})); len(got) < 4 {
			t.Fatal(got)
		}
		if m := tracker.Cut(); m.Newest != (time.Duration(2*i)*time.Hour).Microseconds() || m.Before != m.Newest-time.Hour.Microseconds() {
			t.Fatal(m.Newest, m.Before)
		}
	}
	var many []event
	for i := range 11 {
		many = append(many, event{id: fmt.Sprint(i), hour: 1000})
	}
	if _, err := tracker.Handle(context.Background(), batchOf(t, s, many...)); fault.Code(err) != "ACQ-DEDUPE-002" || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
}

// BenchmarkTrack is a lane whose records are new, or of which nine in ten are copies.
func BenchmarkTrack(b *testing.B) {
	const rows = 10_000
	s := schema(b, record.Field{Name: "id", Kind: record.String})
	for name, fresh := range map[string]int{"all new": rows, "a tenth new": rows / 10} {
		b.Run(name, func(b *testing.B) {
			h := made(b, dedupe.Config{Key: []string{"id"}, Window: time.Hour, MaxKeys: 10_000_000})
			tracker, next := track(b, h, "lane", store{}), 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				build := record.NewBuilder(s, rows)
				for i := range rows {
					build.String(0, fmt.Sprintf("0190a6e0-7c3b-7d2a-9f10-%012d", next+i%fresh))
					build.Next()
				}
				next += fresh
				build.System().EventTimes = []int64{int64(next) * 3600} // a million keys an hour
				batch := build.Batch(nil)
				b.StartTimer()
				if _, err := tracker.Handle(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				tracker.Cut()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// BenchmarkMemory tells what a key takes.
func BenchmarkMemory(b *testing.B) {
	const keys, rows = 1_500_000, 10_000
	s := schema(b, record.Field{Name: "id", Kind: record.Int64})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		tracker := track(b, made(b, dedupe.Config{Key: []string{"id"}, Window: time.Hour, MaxKeys: keys}), "lane", store{})
		for at := 0; at < keys; at += rows {
			build := record.NewBuilder(s, rows)
			for i := range rows {
				build.Int(0, int64(at+i))
				build.Next()
			}
			if _, err := tracker.Handle(b.Context(), build.Batch(nil)); err != nil {
				b.Fatal(err)
			}
			tracker.Cut()
		}
		b.ReportMetric(float64(heap()-before)/keys, "B/key")
		tracker.Close()
	}
}
