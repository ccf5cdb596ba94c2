package mongodb_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/mongodb"
)

// logWorld is a world over a replica that the test plays.
func logWorld(t *testing.T) (*world, *replica) {
	t.Helper()
	r := newReplica(t)
	w := &world{
		T: t, notes: newNotes(), ended: map[string]bool{}, at: map[string]record.Position{}, sink: map[string]map[string]newest{},
		cut: map[string]record.Version{}, crash: func() bool { return false }, part: 1_000_000, chunk: 4,
	}
	w.config = mongodb.Config{URI: config.Secret(r.uri()), Database: "cinema", Capture: mongodb.Capture{Strategy: "auto"}}
	return w, r
}

func doc(id any, n int) bson.D { return bson.D{{Key: "_id", Value: id}, {Key: "n", Value: int32(n)}} }

// TestLog writes, reads and dies at random: inserts, updates that are looked up later, deletes, transactions that write one key often,
// large events in fragments.
func TestLog(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	random := func() change {
		var id any = int32(rnd.IntN(20))
		if rnd.IntN(2) == 0 {
			id = fmt.Sprint(id)
		}
		r.mu.Lock()
		there := r.find(id) >= 0
		r.mu.Unlock()
		switch {
		case there && rnd.IntN(3) == 0:
			return change{kind: "delete", doc: doc(id, 0)}
		case there:
			return change{kind: "update", doc: doc(id, rnd.IntN(1000)), large: rnd.IntN(5) == 0}
		}
		return change{kind: "insert", doc: doc(id, rnd.IntN(1000)), large: rnd.IntN(5) == 0}
	}
	for range 30 {
		r.write(random())
	}
	w.crash = func() bool { return rnd.IntN(10) == 0 }
	for range 20 {
		for range rnd.IntN(10) {
			r.write(random())
		}
		id := int32(1000 + rnd.IntN(3))
		r.write(change{kind: "insert", doc: doc(id, 1)}, change{kind: "update", doc: doc(id, 2)}, change{kind: "delete", doc: doc(id, 2)}, change{kind: "insert", doc: doc(id, rnd.IntN(100))})
		if err := w.run(); err != nil && err.Error() != errCrashed.Error() {
			t.Fatal(err)
		}
	}
	w.crash = func() bool { return false }
	w.equal("things", true)
	w.given = 0
	w.equal("things", true)
	if w.given != 0 {
		t.Errorf("%d records were given though nothing was changed", w.given)
	}
	if !strings.Contains(w.log.String(), "strategy=log") {
		t.Error("auto has not taken the log of a replica set")
	}
	// What a majority has may be older than what the log says: each read waits for the time from which on the log is followed.
	if _, _, ok := r.finds[len(r.finds)-1].Lookup("readConcern", "afterClusterTime").TimestampOK(); !ok {
		t.Errorf("a read does not wait for the log: %s", r.finds[len(r.finds)-1])
	}
}

// TestLogOfOneTransaction has the versions of events of one time ascend, also when a run ends between them.
func TestLogOfOneTransaction(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	w.chunk, r.batch = 1, 1
	r.write(change{kind: "insert", doc: doc("a", 0)})
	w.equal("things", true)
	r.write(change{kind: "delete", doc: doc("a", 0)}, change{kind: "insert", doc: doc("a", 1)}, change{kind: "delete", doc: doc("a", 1)}, change{kind: "insert", doc: doc("a", 2)})
	left := 3
	w.crash = func() bool { left--; return left == 0 }
	if err := w.run(); err == nil {
		t.Fatal("it did not die")
	}
	w.crash = func() bool { return false }
	w.equal("things", true)
	if v := w.sink["things"]["s:a"].version; v.Index != 3 {
		t.Errorf("the fourth event of a transaction has the index %d", v.Index)
	}
}

// TestLogDropped drops the collection: all of it goes, and what is made after it is followed, for the stream begins again behind its end.
func TestLogDropped(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	for i := range 10 {
		r.write(change{kind: "insert", doc: doc(int32(i), i)})
	}
	w.equal("things", true)
	r.write(change{kind: "insert", doc: doc("before", 1)})
	r.write(change{kind: "drop"})
	r.write(change{kind: "insert", doc: doc("after", 1)})
	w.equal("things", true)
	if len(w.sink["things"]) != 1 || !strings.Contains(w.sink["things"]["s:after"].row, "after") {
		t.Errorf("the sink has %v", w.sink["things"])
	}
	if w.cut["things"].Lo == 0 {
		t.Error("nothing says that the collection was dropped")
	}
	r.write(change{kind: "insert", doc: doc("more", 1)})
	w.equal("things", true)
	if strings.Contains(w.log.String(), "read anew") {
		t.Error("it was read anew")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := false
	for _, watch := range r.watched {
		_, ok := watch.Lookup("startAfter").DocumentOK()
		begun = begun || ok
	}
	if !begun {
		t.Error("no stream has begun behind the end of the one before")
	}
}

// TestLogRenamed gives the collection another name: it is read anew.
func TestLogRenamed(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	r.write(change{kind: "insert", doc: doc("a", 1)})
	w.equal("things", true)
	r.write(change{kind: "rename"})
	r.write(change{kind: "insert", doc: doc("b", 1)})
	w.equal("things", true)
	if !strings.Contains(w.log.String(), "it was renamed") || w.sink["things"]["s:a"].row != "" {
		t.Errorf("%v\n%s", w.sink["things"], w.log.String())
	}
}

// TestLogLost has the log forget what was not read: the collection is read anew, and it is said why. What went meanwhile goes.
func TestLogLost(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	r.write(change{kind: "insert", doc: doc("stays", 1)})
	r.write(change{kind: "insert", doc: doc("goes", 1)})
	w.equal("things", true)
	r.write(change{kind: "insert", doc: doc("later", 1)})
	w.equal("things", true) // by now it stands at a token
	r.write(change{kind: "delete", doc: doc("goes", 1)})
	r.write(change{kind: "insert", doc: doc("new", 1)})
	r.mu.Lock()
	r.oldest = len(r.log) - 1
	r.mu.Unlock()
	w.equal("things", true)
	if !strings.Contains(w.log.String(), "the collection is read anew") || !strings.Contains(w.log.String(), "ChangeStreamHistoryLost") {
		t.Errorf("nothing says that the log was lost: %s", w.log.String())
	}
	if v := w.sink["things"]["s:stays"].version; v.Epoch != 2 {
		t.Errorf("the epoch is %d", v.Epoch)
	}
}

// TestLogPast has deletes tell what the document was, where the collection keeps that.
func TestLogPast(t *testing.T) {
	t.Parallel()
	for _, past := range []bool{false, true} {
		w, r := logWorld(t)
		r.past = past
		r.write(change{kind: "insert", doc: doc("a", 41)})
		w.equal("things", true)
		r.write(change{kind: "delete", doc: doc("a", 41)})
		s := w.open()
		s.Drain()
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reader, err := s.Open(t.Context(), lanes[len(lanes)-1], w.at[lanes[len(lanes)-1].ID])
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := reader.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := chunk.Batches[0]
		if got := string(b.AppendJSON(nil, 0)); b.System.Op(0) != record.Delete || strings.Contains(got, "41") != past || !strings.Contains(got, "s:a") {
			t.Errorf("pre-images %v: %s %s", past, b.System.Op(0), got)
		}
		chunk.Release()
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLogOfAnOldServer follows one that cannot split events, and one that fails now and then.
func TestLogOfAnOldServer(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	r.old = true
	r.write(change{kind: "insert", doc: doc("a", 1)})
	w.equal("things", true)
	r.write(change{kind: "insert", doc: doc("b", 1)})
	r.failOnce["getMore"] = 43 // the cursor is gone: the driver opens another at the place of the last event
	w.equal("things", true)
}

// TestReplicaSet follows a real replica set, where there is one.
func TestReplicaSet(t *testing.T) {
	t.Parallel()
	uri := os.Getenv("ACEQUIA_TEST_MONGODB_URI")
	if uri == "" {
		t.Skip("ACEQUIA_TEST_MONGODB_URI names no replica set")
	}
	w, _ := logWorld(t)
	w.config.URI, w.config.Database = config.Secret(uri), fmt.Sprintf("acequia_test_%d", time.Now().UnixNano())
	w.db = mongodbtest.Connect(t, uri, w.config.Database)
	t.Cleanup(func() { _ = w.db.Drop(t.Context()) })
	rnd := rand.New(rand.NewPCG(1, 2))
	writes(t, w, rnd, 200, true)
	d, err := bson.ParseDecimal128("1.10")
	if err != nil {
		t.Fatal(err)
	}
	mongodbtest.Insert(t, w.db.Collection("things"), bson.D{{Key: "_id", Value: d}}, bson.D{{Key: "_id", Value: bson.MinKey{}}}, bson.D{{Key: "_id", Value: nil}})
	w.crash = func() bool { return rnd.IntN(10) == 0 }
	for range 10 {
		writes(t, w, rnd, 50, true)
		if err := w.run(); err != nil && err.Error() != errCrashed.Error() {
			t.Fatal(err)
		}
	}
	w.crash = func() bool { return false }
	w.equal("things", true)
	session, err := w.db.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.EndSession(t.Context())
	_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		for i := range 5 {
			if _, err := w.db.Collection("things").UpdateByID(ctx, "tx", bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: i}}}}, options.UpdateOne().SetUpsert(true)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.equal("things", true)
	if err := w.db.Collection("things").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	writes(t, w, rnd, 20, false)
	w.equal("things", true)
}
