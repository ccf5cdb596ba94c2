package mongodb_test

import (
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mongodb"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// as makes a source in a role, whose parts and chunks are small.
func (w *world) as(role sources.Role, state sources.State) *mongodb.Source {
	w.Helper()
	s, err := mongodb.New(w.config, sources.Host{Pipeline: "test", Role: role, State: state})
	if err != nil {
		w.Fatal(err)
	}
	mongodb.Sizes(s, 250, 20)
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	})
	return s
}

// lent gives the state of an Assistant.
func (w *world) lent() sources.State { return &sourcetest.Lent{State: w.notes} }

// partedWorld has a collection of 1,000 documents, in parts. led gives its Leader, which has noted it, and its lanes.
func partedWorld(t *testing.T, strategy string) *world {
	t.Helper()
	w := newWorld(t, strategy)
	w.fill()
	return w
}

func (w *world) fill() {
	w.Helper()
	var docs []bson.D
	for i := range 1000 {
		docs = append(docs, bson.D{{Key: "_id", Value: int32(i)}, {Key: "n", Value: int32(i)}})
	}
	mongodbtest.Insert(w.T, w.db.Collection("things"), docs...)
}

func (w *world) led() (*mongodb.Source, []sources.Lane) {
	w.Helper()
	s := w.as(sources.Leader, w.notes)
	lanes, err := s.Lanes(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return s, lanes
}

// set gives a field of a document another value.
func (w *world) set(id int32, value any) {
	w.Helper()
	if _, err := w.db.Collection("things").UpdateByID(w.Context(), id, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: value}}}}); err != nil {
		w.Fatal(err)
	}
}

// TestPartsForOthers marks the numbered parts of collections for others to read, and nothing else: not what completes, follows, is stopped
// or is swept, which makes an index. Alone nothing is.
func TestPartsForOthers(t *testing.T) {
	t.Parallel()
	for strategy, c := range map[string]struct{ parts, rest []string }{
		"time":  {[]string{"things/N"}, []string{"things/complete", "things/follow"}},
		"sweep": {nil, []string{"things/N", "things/complete", "things/follow"}},
		"log":   {nil, []string{"things/stopped"}}, // of a server without one
	} {
		w := partedWorld(t, strategy)
		if w.led(); strategy != "log" {
			sourcetest.Edit(t, w.notes, "collection things", func(note map[string]any) { note["anew"] = "the test wants it" })
		}
		_, lanes := w.led()
		sourcetest.Apart(t, lanes, c.parts, c.rest)
		lanes, err := w.as(sources.Alone, w.notes).Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Sorted(slices.Values(slices.Concat(c.parts, c.rest)))
		sourcetest.Apart(t, lanes, nil, slices.Compact(all))
	}
}

// TestAnAssistantReadsWhatItsLeaderWould reads each part twice, whole and from the middle.
func TestAnAssistantReadsWhatItsLeaderWould(t *testing.T) {
	t.Parallel()
	w := partedWorld(t, "time")
	leader, _ := w.led()
	lent := &sourcetest.Lent{State: w.notes}
	rows := sourcetest.Assist(t, leader, w.as(sources.Assistant, lent), false)
	if slices.Sort(rows); len(rows) != 1000 || len(slices.Compact(rows)) != 1000 || !strings.HasPrefix(rows[0], "R 1 {") {
		t.Errorf("%d rows, %d different, such as %s", len(rows), len(slices.Compact(rows)), rows[0])
	}
	if n := lent.Refused.Load(); n > 0 {
		t.Errorf("%d times something was to be kept of what was noted", n)
	}
}

// TestLogWinsOverWhatAnAssistantRead changes documents after following has begun, before and after an Assistant reads them: its read waits until
// it sees what the log has from before, and has the number 0.
func TestLogWinsOverWhatAnAssistantRead(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	for i := range 20 {
		r.write(change{kind: "insert", doc: doc(int32(i), i)})
	}
	leader, lanes := w.led()
	sourcetest.Apart(t, lanes, []string{"things/N"}, []string{"things/follow"})
	leader.Drain()
	r.write(change{kind: "update", doc: doc(int32(3), 300)}, change{kind: "delete", doc: doc(int32(4), 0)})
	if err := w.lane(leader, lanes[1]); err != nil {
		t.Fatal(err)
	}
	r.write(change{kind: "update", doc: doc(int32(3), 3000)}, change{kind: "delete", doc: doc(int32(5), 0)}, change{kind: "insert", doc: doc(int32(4), 400)})
	if err := w.lane(w.as(sources.Assistant, w.lent()), lanes[0]); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := r.finds[len(r.finds)-1].Lookup("readConcern", "afterClusterTime").TimestampOK(); !ok {
		t.Errorf("the read does not wait for the log: %s", r.finds[len(r.finds)-1])
	}
	if got := w.sink["things"]["n:3"].row; !strings.Contains(got, `"n":300}`) || w.sink["things"]["n:7"].version != (record.Version{Epoch: 1}) {
		t.Errorf("a read has won over the log, or has a number: %s, %s", got, w.sink["things"]["n:7"].version)
	}
	w.equal("things", true)
}

// TestWhatOnlyTheLeaderCanGoOnWith has collections that are not as they were noted, and lanes that are not for others.
func TestWhatOnlyTheLeaderCanGoOnWith(t *testing.T) {
	t.Parallel()
	note := func(name string, value any) func(w *world) {
		return func(w *world) {
			sourcetest.Edit(w.T, w.notes, "collection things", func(note map[string]any) { note[name] = value })
		}
	}
	drop := func(w *world) {
		if err := w.db.Collection("things").Drop(w.Context()); err != nil {
			w.Fatal(err)
		}
	}
	declare := func(name string) func(w *world) {
		return func(w *world) {
			w.config.Schemas = config.Ordered[config.Ordered[string]]{{Name: "things", Value: config.Ordered[string]{{Name: "_id", Value: "int32"}, {Name: name, Value: "int32"}}}}
		}
	}
	for name, c := range map[string]struct {
		lane   string
		before func(w *world)
		do     func(w *world)
	}{
		"dropped": {do: drop},
		"made again": {do: func(w *world) {
			drop(w)
			w.fill()
		}},
		"another collection":  {do: note("uuid", "00000000-0000-0000-0000-000000000000")},
		"a value":             {do: func(w *world) { w.set(3, "three") }},
		"declared":            {do: declare("n")},
		"declared otherwise":  {before: declare("n"), do: declare("m")},
		"read anew":           {do: note("epoch", 2)},
		"to be read anew":     {do: note("anew", "it was asked for")},
		"swept":               {do: note("strategy", "sweep")},
		"of another name":     {lane: "unknown@1/0"},
		"of another epoch":    {lane: "things@2/0"},
		"no part":             {lane: "things@1/9"},
		"no number":           {lane: "things@1/-1"},
		"what completes":      {lane: "things@1/complete"},
		"what follows":        {lane: "things@1/follow"},
		"no lane of anything": {lane: "things"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := partedWorld(t, "time")
			if c.before != nil {
				c.before(w)
			}
			w.led()
			var from record.Position
			if c.lane == "" { // else no reader would give anything
				c.lane = "things@1/0"
				part, err := sourcetest.ReadPart(t.Context(), w.as(sources.Assistant, w.lent()), sources.Lane{ID: c.lane, Streams: []string{"things"}}, "", 2)
				if err != nil || len(part.To) < 2 {
					t.Fatalf("%d chunks of %s: %v", len(part.To), c.lane, err)
				}
				from = part.To[0]
			}
			if c.do != nil {
				c.do(w)
			}
			assistant := w.as(sources.Assistant, w.lent())
			if name != "a value" { // which is before the position
				sourcetest.Elsewhere(t, assistant, c.lane, from)
			}
			sourcetest.Elsewhere(t, assistant, c.lane, "")
		})
	}
}

// TestLanesThatAreOpenedAcrossAnEpoch opens a lane of an incarnation that ends meanwhile: what is known of the next one stays, so that a
// column that only a value far behind makes is still for the Leader to note.
func TestLanesThatAreOpenedAcrossAnEpoch(t *testing.T) {
	t.Parallel()
	w := partedWorld(t, "time")
	w.led()
	sourcetest.AcrossAnEpoch(t, w.notes, "collection things", "things", func(state sources.State) sources.Source {
		return w.as(sources.Assistant, state)
	}, func() {
		sourcetest.Edit(t, w.notes, "collection things", func(note map[string]any) { note["anew"] = "the test wants it" })
		w.led()
		w.set(200, "two hundred")
	})
}
