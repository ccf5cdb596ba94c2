package mongodb_test

import (
	"os"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mongodb"
)

// shown counts the rows of a snapshot's stream.
func shown(t *testing.T, s sources.Snapshot, stream string) (rows int, err error) {
	t.Helper()
	for _, table := range s.About().Tables {
		for part := 0; table.Schema.Stream == stream && part < table.Parts && err == nil; part++ {
			err = s.Scan(t.Context(), stream, part, func(b *record.Batch) error {
				rows += b.Rows
				return nil
			})
		}
	}
	return rows, err
}

// TestSnapshotIsOfOneMoment asks a replica set for a moment: every read is of it, and says so in the manifest. A server that shows moments in
// transactions alone, or that has forgotten the moment, says so.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	r.write(change{kind: "insert", doc: doc("a", 1)}, change{kind: "insert", doc: doc("b", 2)})
	s, err := w.open().Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	about := s.About()
	if !about.Consistent || about.Position["cluster_time"] == "" || about.Server != "7.0.0" {
		t.Errorf("it is %+v", about)
	}
	r.write(change{kind: "insert", doc: doc("c", 3)}) // the time goes on
	if n, err := shown(t, s, "things"); err != nil || n == 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	var times []bson.Timestamp
	r.mu.Lock()
	for _, find := range r.finds {
		at, i, ok := find.Lookup("readConcern", "atClusterTime").TimestampOK()
		if level, _ := find.Lookup("readConcern", "level").StringValueOK(); !ok || level != "snapshot" {
			t.Errorf("a read is not of the moment: %s", find)
		}
		times = append(times, bson.Timestamp{T: at, I: i})
	}
	r.failOnce["find"] = 239
	r.mu.Unlock()
	if len(times) != 2 || times[0] != times[1] {
		t.Errorf("the reads are of %v", times)
	}
	if _, err := shown(t, s, "things"); fault.Code(err) != "ACQ-MG-008" {
		t.Errorf("a moment that was forgotten: %v", err)
	}
	r.mu.Lock()
	r.failOnce["find"] = 72
	r.mu.Unlock()
	if s, err = w.open().Snapshot(t.Context(), nil); err != nil || s.About().Consistent || s.About().Position != nil {
		t.Errorf("an old server: %+v, %v", s, err)
	}
}

// TestSnapshotOfAReplicaSet looks at a real one, where there is one.
func TestSnapshotOfAReplicaSet(t *testing.T) {
	t.Parallel()
	uri := os.Getenv("ACEQUIA_TEST_MONGODB_URI")
	if uri == "" {
		t.Skip("ACEQUIA_TEST_MONGODB_URI names no replica set")
	}
	db := mongodbtest.Connect(t, uri, "acequia_snapshot")
	if err := db.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mongodbtest.Insert(t, db.Collection("a"), doc("a", 1), doc("b", 2))
	source, err := mongodb.New(mongodb.Config{URI: config.Secret(uri), Database: db.Name()}, sources.Host{Pipeline: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := source.Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mongodbtest.Insert(t, db.Collection("a"), doc("c", 3))
	if n, err := shown(t, s, "a"); err != nil || n != 2 || !s.About().Consistent {
		t.Errorf("%d rows, %v, %+v", n, err, s.About())
	}
}

// TestSnapshotInParts reads a collection whose keys are of several types in small parts: each document once.
func TestSnapshotInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sweep")
	w.part, w.chunk = 70, 50
	var docs []bson.D
	for i := range 500 {
		docs = append(docs, doc(int32(i), i))
	}
	mongodbtest.Insert(t, w.db.Collection("things"), append(docs, doc("text", 1), doc(bson.NewObjectID(), 2), doc(nil, 3), doc(bson.D{{Key: "a", Value: 1}}, 4))...)
	s, err := w.open().Snapshot(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := shown(t, s, "things"); err != nil || n != 504 || s.About().Tables[0].Parts < 4 {
		t.Errorf("%d rows of %+v, %v", n, s.About().Tables, err)
	}
}
