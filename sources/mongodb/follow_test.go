package mongodb_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
)

// writes changes a collection at random: inserts and updates, with a time, and deletes.
func writes(t *testing.T, w *world, rnd *rand.Rand, n int, deletes bool) {
	t.Helper()
	c := w.db.Collection("things")
	for range n {
		key := any(rnd.IntN(60))
		if rnd.IntN(2) == 0 {
			key = fmt.Sprint(key)
		}
		id := bson.D{{Key: "_id", Value: key}}
		if deletes && rnd.IntN(4) == 0 {
			if _, err := c.DeleteOne(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			continue
		}
		set := bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: rnd.IntN(1000)}, {Key: "updatedAt", Value: time.Now()}}}}
		if _, err := c.UpdateOne(t.Context(), id, set, options.UpdateOne().SetUpsert(true)); err != nil {
			t.Fatal(err)
		}
	}
}

// follows writes, reads and dies at random, and compares.
func follows(t *testing.T, strategy string, deletes bool) {
	t.Helper()
	w := newWorld(t, strategy)
	w.part, w.chunk = 25, 5
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	writes(t, w, rnd, 120, false)
	w.crash = func() bool { return rnd.IntN(12) == 0 }
	for range 12 {
		writes(t, w, rnd, 20, deletes)
		if err := w.run(); err != nil && err.Error() != errCrashed.Error() {
			t.Fatal(err)
		}
	}
	w.crash = func() bool { return false }
	w.equal("things", deletes)
	w.given = 0
	w.equal("things", deletes)
	if w.given > 0 && strategy == "sweep" {
		t.Errorf("%d records were given though nothing was changed", w.given)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	follows(t, "time", false)
}

func TestSweep(t *testing.T) {
	t.Parallel()
	follows(t, "sweep", true)
}

// TestSweepGivesWhatChanged counts what a sweep gives: what was changed, and nothing else.
func TestSweepGivesWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sweep")
	w.part, w.chunk = 100, 30
	c := w.db.Collection("things")
	var docs []bson.D
	for i := range 250 {
		docs = append(docs, bson.D{{Key: "_id", Value: fmt.Sprintf("%03d", i)}, {Key: "n", Value: i}})
	}
	mongodbtest.Insert(t, c, docs...)
	w.equal("things", true)
	for _, step := range []struct {
		do   func() error
		want int
	}{
		{func() error { return nil }, 0},
		{func() error {
			_, err := c.UpdateByID(t.Context(), "007", bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: -1}}}})
			return err
		}, 1},
		{func() error {
			_, err := c.DeleteMany(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: "245"}}}})
			return err
		}, 4},
		{func() error {
			_, err := c.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "249"}})
			return err
		}, 1},
		{func() error { return nil }, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		w.given = 0
		w.equal("things", true)
		if w.given != step.want {
			t.Errorf("%d records were given, want %d", w.given, step.want)
		}
	}
	if err := c.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mongodbtest.Insert(t, c, bson.D{{Key: "_id", Value: "again"}})
	w.equal("things", true)
	for key := range w.notes.kept {
		if strings.HasPrefix(key, "sweep things@1/") {
			t.Errorf("the index of the incarnation before is still there: %s", key)
		}
	}
}

// TestEqualTimes cuts a round off within documents of one time, whose keys are of several types.
func TestEqualTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time")
	c := w.db.Collection("things")
	mongodbtest.Insert(t, c, bson.D{{Key: "_id", Value: "first"}, {Key: "updatedAt", Value: time.Now()}, {Key: "n", Value: 0}})
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	now := bson.NewDateTimeFromTime(time.Now())
	var docs []bson.D
	for _, d := range mixed(50) {
		docs = append(docs, bson.D{d[0], {Key: "updatedAt", Value: now}, {Key: "n", Value: 1}})
	}
	mongodbtest.Insert(t, c, docs...)
	w.part, w.chunk = 1000, 10
	rnd := rand.New(rand.NewPCG(5, 6))
	w.crash = func() bool { return rnd.IntN(4) == 0 }
	w.given = 0
	crashes := 0
	for ; w.run() != nil; crashes++ {
	}
	w.crash = func() bool { return false }
	w.equal("things", true)
	if crashes == 0 || w.given > len(docs)+crashes*11+10 {
		t.Errorf("%d records were given for %d documents and %d crashes", w.given, len(docs), crashes)
	}
}

// TestDocumentsWithoutATime are counted as they are read, in every part, and told of.
func TestDocumentsWithoutATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time")
	w.config.Capture.Column = "info.changed"
	w.part, w.chunk = 20, 10
	var docs []bson.D
	for i := range 60 {
		d := bson.D{{Key: "_id", Value: i}}
		switch i % 6 {
		case 0: // has none
		case 1:
			d = append(d, bson.E{Key: "info", Value: bson.D{{Key: "changed", Value: "2026-01-01"}}})
		default:
			d = append(d, bson.E{Key: "info", Value: bson.D{{Key: "changed", Value: time.Now()}}})
		}
		docs = append(docs, d)
	}
	mongodbtest.Insert(t, w.db.Collection("things"), docs...)
	s := w.open()
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, lane := range lanes {
		if !lane.Endless && len(lane.After) == 0 {
			if err := w.lane(s, lane); err != nil {
				t.Fatal(err)
			}
		}
	}
	report, err := s.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if risks := strings.Join(report.Streams[0].Risks, "; "); len(lanes) < 4 || !strings.Contains(risks, "20 documents have no date in info.changed") {
		t.Errorf("%d lanes, and %s", len(lanes), risks)
	}
	if !strings.Contains(w.log.String(), "documents have no time, and their changes are not seen") {
		t.Error("nothing was told of them:", w.log.String())
	}
}
