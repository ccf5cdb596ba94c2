package routers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// apart are lanes of which all but the first and the successor may be read by another process than the one that has the pipeline.
type apart struct{ *generator }

func (a apart) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := a.generator.Lanes(ctx)
	for i := range lanes {
		lanes[i].Apart = i > 0 && len(lanes[i].After) == 0
	}
	return lanes, err
}

// noted are offers that the state keeps, as long as the pipeline is its own.
type noted struct{ *checkpoint.Leased }

func (n noted) Offer(ctx context.Context, lanes []sources.Lane) error {
	text, err := json.Marshal(lanes)
	if err != nil {
		return err
	}
	return n.SaveNote(ctx, "crash", "offered", text)
}

// taken is the source of a process that assists: the lanes that are offered, some of which it gives back.
type taken struct {
	*generator
	store *checkpoint.Store
	gives map[string]bool

	mu     sync.Mutex
	opened map[string]int
}

func (s *taken) Lanes(ctx context.Context) (lanes []sources.Lane, err error) {
	text, err := s.store.Note(ctx, "crash", "offered")
	if err != nil || text == nil {
		return nil, err
	}
	return lanes, json.Unmarshal(text, &lanes)
}

func (s *taken) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened[lane.ID]++
	if s.gives[lane.ID] {
		return nil, fmt.Errorf("lane %s: %w", lane.ID, sources.ErrElsewhere)
	}
	return s.generator.Open(ctx, lane, from)
}

func (s *taken) opens(lane string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[lane]
}

// assisting is a run of the pipeline in a process of a team.
func assisting(t *testing.T, store *checkpoint.Store, team *Team, source sources.Source, out string, offers bool) (*Run, chan error) {
	t.Helper()
	o := Options{Store: store, Log: slog.New(slog.DiscardHandler), Team: team}
	if offers {
		leased := store.Leases(team.Owner).Under(checkpoint.PipelineLease("crash"))
		o.Store, o.Offers = leased, noted{leased}
	}
	run, err := New(Pipeline{
		Name: "crash", Source: source, Sinks: []NamedSink{{"out", newFolder(out)}}, Refresh: 200 * time.Millisecond, Slots: 9,
		Limits: Limits{Age: 20 * time.Millisecond}, Retry: Retry{Initial: time.Millisecond, Longest: 5 * time.Millisecond},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Run(context.Background()) }()
	return run, ended
}

// TestOffers has a process read lanes that another offers: about as many, but those that it gives back; what it read is counted there, and
// nothing is offered any more in the end. Lanes that are not Apart have no lease.
func TestOffers(t *testing.T) {
	t.Parallel()
	dsn, out := server.Database(t), t.TempDir()
	source := &generator{lanes: 9, chunks: 150, rows: 10, successor: true, pace: 20 * time.Millisecond}
	stores, teams := [2]*checkpoint.Store{}, [2]*Team{}
	for i := range stores {
		var err error
		if stores[i], err = checkpoint.OpenPostgres(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		teams[i] = openTestTeam(stores[i])
	}
	whole := NewWhole(teams[0])
	grant, ok := whole.Take(t.Context(), "crash", false)
	if !ok {
		t.Fatal("nobody has the pipeline")
	}
	leader, led := assisting(t, stores[0], teams[0], apart{source}, out, true)
	reads := func(r *Run) (n int) {
		for _, l := range r.Status().Lanes {
			if l.State == Running {
				n++
			}
		}
		return n
	}
	waitFor(t, "one reads all", func() bool { return reads(leader) == 9 })
	lent := &taken{generator: source, store: stores[1], gives: map[string]bool{"3": true}, opened: map[string]int{}}
	assistant, assisted := assisting(t, stores[1], teams[1], lent, out, false)
	waitFor(t, "both read", func() bool { return reads(assistant) >= 3 && reads(leader) >= 3 })
	if n := reads(assistant); n > 4 {
		t.Errorf("the other reads %d of 8", n)
	}
	held, err := stores[0].Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if lane, ok := checkpoint.LeasedLane(l.Key); ok && lane.ID == "0" {
			t.Error("a lane that is not Apart has a lease")
		}
	}
	if err := errors.Join(<-led, <-assisted); err != nil {
		t.Fatal(err)
	}
	if held, err = stores[0].Held(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if lane, ok := checkpoint.LeasedLane(l.Key); ok {
			t.Errorf("lane %s has a lease in the end", lane.ID)
		}
	}
	if n := lent.opens("3"); n > 1 {
		t.Errorf("the lane that was given back was opened %d times", n)
	}
	if lent.opens("0") > 0 || lent.opens(strconv.Itoa(source.lanes)) > 0 {
		t.Error("a lane that is not Apart was read elsewhere")
	}
	own, others := leader.Status(), assistant.Status().RowsCommitted
	if own.Others.Rows == 0 || own.Others.Rows < others || own.RowsCommitted+own.Others.Rows != int64(source.total()) {
		t.Errorf("%d rows read, %d counted of others, who read %d: there are %d", own.RowsCommitted, own.Others.Rows, others, source.total())
	}
	if left, err := stores[1].Note(t.Context(), "crash", "offered"); err != nil || string(left) != "null" {
		t.Errorf("still offered: %s, %v", left, err)
	}
	found, err := verify(out, source)
	if err != nil || !found.ok() {
		t.Errorf("%+v, %v", found, err)
	}
	grant.Done(t.Context())
	whole.Leave()
	for i := range teams {
		teams[i].Close(t.Context())
		if err := stores[i].Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAssistEndsBeforeItsPipelineBegins has a process be given a pipeline while it reads lanes of it that another had offered.
func TestAssistEndsBeforeItsPipelineBegins(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t)
	stores, teams := [2]*checkpoint.Store{}, [2]*Team{}
	for i := range stores {
		var err error
		if stores[i], err = checkpoint.OpenPostgres(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
		teams[i] = openTestTeam(stores[i])
	}
	first, second := NewWhole(teams[0]), NewWhole(teams[1])
	if _, ok := second.Assist("p"); ok {
		t.Fatal("assists though nobody has the pipeline")
	}
	grant, ok := first.Take(t.Context(), "p", false)
	if _, again := first.Assist("p"); !ok || again {
		t.Fatal("assists itself")
	}
	waitFor(t, "the other sees who has it", func() bool { return second.Holder("p") != "" })
	done, ok := second.Assist("p")
	if _, again := second.Assist("p"); !ok || again {
		t.Fatal("one assistance at a time")
	}
	got := make(chan *Grant, 1)
	go func() {
		g, _ := second.Take(context.Background(), "p", true)
		got <- g
	}()
	<-grant.Left()
	grant.Done(t.Context())
	waitFor(t, "it has the pipeline", func() bool {
		return second.Holder("p") == "" && teams[1].Holder(checkpoint.PipelineLease("p")) == teams[1].Owner
	})
	before := epochOf(t, stores[1], checkpoint.PipelineLease("p"))
	wait(t.Context(), 200*time.Millisecond, nil)
	select {
	case <-got:
		t.Fatal("it may run while it assists")
	default:
	}
	if now := epochOf(t, stores[1], checkpoint.PipelineLease("p")); now != before {
		t.Errorf("the pipeline was given up while it was waited for: lease %d is now %d", before, now)
	}
	done()
	(<-got).Done(t.Context())
	first.Leave()
	second.Leave()
	for i := range teams {
		teams[i].Close(t.Context())
		if err := stores[i].Close(); err != nil {
			t.Error(err)
		}
	}
}

func epochOf(t *testing.T, store *checkpoint.Store, key string) int64 {
	t.Helper()
	held, err := store.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range held {
		if l.Key == key {
			return l.Epoch
		}
	}
	t.Fatalf("nobody has %s", key)
	return 0
}

// TestOffersEndWithTheRun stops a run while others may read lanes of it: they may no longer.
func TestOffersEndWithTheRun(t *testing.T) {
	t.Parallel()
	store, err := checkpoint.OpenPostgres(t.Context(), server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	team := openTestTeam(store)
	whole := NewWhole(team)
	grant, ok := whole.Take(t.Context(), "crash", false)
	if !ok {
		t.Fatal("nobody has the pipeline")
	}
	run, ended := assisting(t, store, team, apart{&generator{lanes: 3, chunks: 2000, rows: 1, pace: 20 * time.Millisecond}}, t.TempDir(), true)
	offered := func() string {
		text, err := store.Note(t.Context(), "crash", "offered")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	waitFor(t, "lanes are offered", func() bool { return strings.Contains(offered(), `"ID":"2"`) })
	run.Stop()
	if err := <-ended; err != nil || offered() != "null" {
		t.Errorf("%v; still offered: %s", err, offered())
	}
	grant.Done(t.Context())
	whole.Leave()
	team.Close(t.Context())
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}
