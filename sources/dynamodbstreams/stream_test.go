package dynamodbstreams_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/streamtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/dynamodbstreams"
)

func idSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("t", []string{"id"}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, at awsconfig.Settings, host sources.Host) *dynamodbstreams.Source {
	t.Helper()
	s, err := dynamodbstreams.New(t.Context(), dynamodbstreams.Config{Table: "t", AWS: at, Schema: idSchema(t), Poll: time.Millisecond}, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// follower reads all lanes as routers do: each when those that it waits for have ended, again listed when one ends and at intervals; it is
// over when no lane is read and none may begin.
type follower struct {
	source sources.Source
	from   map[string]record.Position
	want   int // keys

	mu    sync.Mutex
	busy  int
	keys  []string
	at    map[string]record.Position
	ended map[string]bool
	over  bool
	err   error
}

func (f *follower) run(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.at, f.ended = map[string]record.Position{}, map[string]bool{}
	started := map[string]bool{}
	changed := make(chan struct{}, 1000)
	var lanes sync.WaitGroup
	for done := false; !done && ctx.Err() == nil; {
		list, err := f.source.Lanes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		for _, l := range list {
			if started[l.ID] || slices.ContainsFunc(l.After, func(id string) bool { return !f.ended[id] }) {
				continue
			}
			started[l.ID] = true
			f.busy++
			lanes.Go(func() {
				err := f.lane(ctx, l, changed)
				list, _ := f.source.Lanes(ctx) // before the lane is over
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.busy--; err != nil && ctx.Err() == nil {
					f.err = errors.Join(f.err, err)
				}
				if f.busy == 0 && !slices.ContainsFunc(list, func(l sources.Lane) bool { return !started[l.ID] }) {
					f.over = true
				}
				changed <- struct{}{}
			})
		}
		done = len(f.keys) >= f.want || f.err != nil || f.over
		f.mu.Unlock()
		if done {
			break
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	cancel()
	lanes.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.keys
}

func (f *follower) lane(ctx context.Context, l sources.Lane, changed chan<- struct{}) (err error) {
	r, err := f.source.Open(ctx, l, f.from[l.ID])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		c, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			f.mu.Lock()
			f.ended[l.ID] = true
			f.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		f.mu.Lock()
		for _, b := range c.Batches {
			for row := range b.Rows {
				f.keys = append(f.keys, string(b.Columns[0].Text(row)))
			}
		}
		f.at[l.ID] = c.To
		f.mu.Unlock()
		c.Release()
		if err := r.Settle(ctx, c.To, nil); err != nil {
			return err
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("k%03d", i)
	}
	return out
}

func sameKeys(t *testing.T, got, want []string) {
	t.Helper()
	got = slices.Sorted(slices.Values(got))
	if !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d: %v", len(got), len(want), got)
	}
}

// A loss that others had: a stream of more than a hundred shards is listed by pages, and all of them are read.
func TestManyShards(t *testing.T) {
	t.Parallel()
	f := streamtest.New()
	all := keys(120)
	for i, key := range all {
		id := fmt.Sprintf("shard-%03d", i)
		f.Shards = append(f.Shards, &streamtest.Shard{ID: id, Closed: i < 115})
		f.Add(id, key)
	}
	f.Status = "DISABLED"
	sameKeys(t, (&follower{source: open(t, f.Start(t), sources.Host{}), want: len(all)}).run(t), all)
}

// A loss that others had: the children of a shard are read from their beginning, however late they are found, and not before their parent
// is at its end.
func TestChildrenFromTheirBeginning(t *testing.T) {
	t.Parallel()
	f := streamtest.New("root")
	all := keys(40)
	for _, k := range all[:10] {
		f.Add("root", k)
	}
	reads := 0
	f.Reading = func(f *streamtest.Stream, _ streamtest.Iterator) {
		if reads++; reads == 2 { // while the parent is read it is split, the children get changes at once, and one of them is split again
			f.Split("root", "left", "right")
			for _, k := range all[10:20] {
				f.Add("left", k)
			}
			for _, k := range all[20:30] {
				f.Add("right", k)
			}
			f.Split("left", "leaf")
			for _, k := range all[30:] {
				f.Add("leaf", k)
			}
			f.Hidden = map[string]int{"left": 3, "right": 6, "leaf": 9} // and the list is behind
		}
	}
	sameKeys(t, (&follower{source: open(t, f.Start(t), sources.Host{}), want: len(all)}).run(t), all)
	last := map[string]int{}
	first := map[string]int{}
	for i, shard := range f.Order {
		if last[shard] = i; first[shard] == 0 {
			first[shard] = i
		}
	}
	if last["root"] > first["left"] || last["root"] > first["right"] || last["left"] > first["leaf"] {
		t.Errorf("a child is read beside its parent: %v", f.Order)
	}
	for _, a := range f.Asked {
		if strings.HasPrefix(a, "LATEST") {
			t.Errorf("asked for %s", a)
		}
	}
}

// A loss that others had: an iterator that has expired is got anew from the last change that was read, and where none was, from the
// oldest; it is not asked for ever, and not without a number.
func TestExpiredIterators(t *testing.T) {
	t.Parallel()
	for _, before := range []int{1, 2, 3} { // reads: before anything was read, in the middle, and after a pause
		f := streamtest.New("one")
		all := keys(9)
		for _, k := range all {
			f.Add("one", k)
		}
		reads := 0
		f.Reading = func(f *streamtest.Stream, _ streamtest.Iterator) {
			if reads++; reads == before {
				f.Expire()
			}
		}
		got := (&follower{source: open(t, f.Start(t), sources.Host{}), want: len(all)}).run(t)
		if !slices.Equal(got, all) {
			t.Errorf("expired before read %d: got %v", before, got)
		}
		if n := len(f.Asked); n != 2 {
			t.Errorf("iterators %v", f.Asked)
		}
	}
}

// Changes that were trimmed before they were read are announced, counted, and reading goes on with the oldest that is left.
func TestTrimmedChanges(t *testing.T) {
	t.Parallel()
	f := streamtest.New("one")
	all := keys(12)
	for _, k := range all {
		f.Add("one", k)
	}
	at := f.Start(t)
	lane := f.Label + "/one"
	f.Locked(func() { f.Shard("one").Trimmed = 8 })
	var log bytes.Buffer
	source := open(t, at, sources.Host{Log: slog.New(slog.NewTextHandler(&log, nil))})
	got := (&follower{source: source, want: 4, from: map[string]record.Position{lane: record.Position(f.Shard("one").Records[2].Sequence)}}).run(t)
	sameKeys(t, got, all[8:])
	report, err := source.Report(t.Context())
	if err != nil || report.Trimmed != 1 || len(report.Warnings) != 1 || !strings.Contains(log.String(), "DATA LOSS POSSIBLE") {
		t.Errorf("%+v %v\n%s", report, err, &log)
	}
	// Nothing is lost where the reader stood right before what is left, or where it had read nothing.
	for _, from := range []record.Position{record.Position(f.Shard("one").Records[7].Sequence), ""} {
		source := open(t, at, sources.Host{})
		got := (&follower{source: source, want: 4, from: map[string]record.Position{lane: from}}).run(t)
		sameKeys(t, got, all[8:])
		if report, err := source.Report(t.Context()); err != nil || report.Trimmed != 0 {
			t.Errorf("from %q: %+v %v", from, report, err)
		}
	}
	// It is trimmed while it is read.
	f.Locked(func() {
		f.Shard("one").Trimmed = 0
		f.Reading = func(f *streamtest.Stream, i streamtest.Iterator) {
			if i.At == 3 { // the first page was taken, whatever calls that took
				f.Shard("one").Trimmed = 6
			}
		}
	})
	source = open(t, at, sources.Host{})
	got = (&follower{source: source, want: 9}).run(t)
	sameKeys(t, got, append(slices.Clone(all[:3]), all[6:]...))
	if report, err := source.Report(t.Context()); err != nil || report.Trimmed != 1 {
		t.Errorf("%+v %v", report, err)
	}
}

// A shard that went while nobody read it is announced, and so is a stream that another has taken the place of; what follows is read.
func TestVanishedShards(t *testing.T) {
	t.Parallel()
	f := streamtest.New("old")
	all := keys(6)
	f.Add("old", all[0])
	at := f.Start(t)
	state := &kept{}
	first := &follower{source: open(t, at, sources.Host{State: state}), want: 1}
	first.run(t)
	f.Locked(func() {
		f.Split("old", "child")
		f.Shards = f.Shards[1:]
		for _, k := range all[1:3] {
			f.Add("child", k)
		}
	})
	source := open(t, at, sources.Host{State: state})
	second := &follower{source: source, want: 2, from: first.at}
	sameKeys(t, second.run(t), all[1:3])
	if report, err := source.Report(t.Context()); err != nil || report.Trimmed != 1 {
		t.Errorf("a shard is gone: %+v %v", report, err)
	}
	f.Locked(func() {
		f.Label = "2026-02-02T00:00:00.000"
		f.Shards = []*streamtest.Shard{{ID: "anew"}}
		f.Add("anew", all[3])
	})
	source = open(t, at, sources.Host{State: state})
	lanes, err := source.Lanes(t.Context())
	if err != nil || len(lanes) != 1 {
		t.Fatal(lanes, err)
	}
	r, err := source.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Read(t.Context())
	if err != nil || c.Batches[0].System.Versions.Epoch != 1 {
		t.Errorf("the versions of a second stream have epoch %d: %v", c.Batches[0].System.Versions.Epoch, err)
	}
	if report, err := source.Report(t.Context()); err != nil || report.Trimmed != 1 || r.Close() != nil {
		t.Errorf("a stream is gone: %+v %v", report, err)
	}
}

// What was read to its end and settled may be trimmed: nobody is alarmed.
func TestFinishedShardsMayGo(t *testing.T) {
	t.Parallel()
	f := streamtest.New("old")
	f.Add("old", "k000")
	f.Split("old", "child")
	f.Add("child", "k001")
	at := f.Start(t)
	state := &kept{}
	(&follower{source: open(t, at, sources.Host{State: state}), want: 2}).run(t)
	f.Locked(func() { f.Shards = f.Shards[1:] })
	nothingLost(t, open(t, at, sources.Host{State: state}))
}

func nothingLost(t *testing.T, source *dynamodbstreams.Source) {
	t.Helper()
	if _, err := source.Lanes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err := source.Report(t.Context()); err != nil || report.Trimmed != 0 {
		t.Errorf("%+v %v", report, err)
	}
}

// So may a shard whose last changes are durable only after its end was read.
func TestShardsThatFinishLate(t *testing.T) {
	t.Parallel()
	f := streamtest.New("old")
	f.Add("old", "k000")
	f.Split("old", "child")
	at := f.Start(t)
	state := &kept{}
	source := open(t, at, sources.Host{State: state})
	lanes, err := source.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := source.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context()); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := errors.Join(r.Settle(t.Context(), c.To, nil), r.Close()); err != nil {
		t.Error(err)
	}
	f.Locked(func() { f.Shards = f.Shards[1:] })
	nothingLost(t, open(t, at, sources.Host{State: state}))
}

// Throttling is waited for; a right that is missing is named.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := streamtest.New("one")
	all := keys(5)
	for _, k := range all {
		f.Add("one", k)
	}
	n := map[string]int{} // every second call of an operation: of all calls together, it could be the same operation's each time
	f.Refuse = func(operation string) string {
		if n[operation]++; operation != "DescribeTable" && n[operation]%2 == 1 {
			return map[bool]string{true: "LimitExceededException", false: "ProvisionedThroughputExceededException"}[n[operation]%4 == 1]
		}
		return ""
	}
	at := f.Start(t)
	sameKeys(t, (&follower{source: open(t, at, sources.Host{}), want: len(all)}).run(t), all)
	for _, action := range []string{"DescribeTable", "DescribeStream", "GetShardIterator", "GetRecords"} {
		f.Locked(func() {
			f.Refuse = func(operation string) string {
				if operation == action {
					return "AccessDeniedException"
				}
				return ""
			}
		})
		err := open(t, at, sources.Host{}).Check(t.Context())
		if fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "dynamodb:"+action) {
			t.Errorf("%s: %v", action, err)
		}
	}
}

// A shard is a lane that waits for its parent as long as that is listed; one that is closed takes its turn with others.
func TestLanesOfShards(t *testing.T) {
	t.Parallel()
	f := streamtest.New("old")
	f.Split("old", "open")
	f.Shards = append(f.Shards, &streamtest.Shard{ID: "orphan", Parent: "trimmed"})
	lanes, err := open(t, f.Start(t), sources.Host{}).Lanes(t.Context())
	if err != nil || len(lanes) != 3 {
		t.Fatal(lanes, err)
	}
	if lanes[0].Endless || !lanes[1].Endless || !slices.Equal(lanes[1].After, []string{lanes[0].ID}) || len(lanes[0].After)+len(lanes[2].After) > 0 {
		t.Errorf("%+v", lanes)
	}
}

// How far it is behind, and when that will be lost.
func TestLag(t *testing.T) {
	t.Parallel()
	f := streamtest.New("one")
	f.Add("one", "k000")
	hour := time.Now().Add(-20 * time.Hour).Unix()
	f.Shard("one").Records[0].Body["dynamodb"].(map[string]any)["ApproximateCreationDateTime"] = hour //nolint:errcheck // it is one
	source := open(t, f.Start(t), sources.Host{})
	lanes, err := source.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := source.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lag, err := source.Lag(t.Context())
	if err != nil || lag.Records != -1 || lag.Age.Round(time.Hour) != 20*time.Hour || lag.Loss.Round(time.Hour) != 4*time.Hour {
		t.Errorf("%+v %v", lag, err)
	}
	if err := r.Settle(t.Context(), c.To, nil); err != nil {
		t.Fatal(err)
	}
	for lag.Records != 0 || lag.Loss != 0 { // until it has asked once more
		if lag, err = source.Lag(t.Context()); err != nil || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
