package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mongodb"
)

// onMongo makes a source of a database of the MongoDB server.
func onMongo(t *testing.T, name string, collections ...string) backup.Database {
	t.Helper()
	s, err := mongodb.New(mongodb.Config{URI: config.Secret(mongo.URI), Database: name, Collections: collections}, sources.Host{Pipeline: "cinema"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return backup.Database{Name: "cinema", Source: s}
}

// films fills a database: documents of every type that FerretDB keeps (neither NaN nor infinity), in fields of any order, empty collections, and indexes.
func films(t *testing.T) *driver.Database {
	t.Helper()
	db := mongo.Database(t)
	var docs []bson.D
	for i := range 300 {
		docs = append(docs, bson.D{{Key: "_id", Value: bson.ObjectID{byte(i >> 8), byte(i)}}, {Key: "z", Value: int32(i)}, {Key: "title", Value: fmt.Sprintf("película %d", i)}, {Key: "a", Value: int64(i)}})
	}
	mongodbtest.Insert(t, db.Collection("movies"), docs...)
	at := bson.NewDateTimeFromTime(time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC))
	mongodbtest.Insert(t, db.Collection("all kinds"),
		bson.D{
			{Key: "_id", Value: int32(1)},
			{Key: "double", Value: 2.0},
			{Key: "b", Value: math.MaxFloat64},
			{Key: "text", Value: "ñ \x00 \" €"},
			{Key: "doc", Value: bson.D{{Key: "y", Value: int32(1)}, {Key: "x", Value: bson.A{int32(1), int64(1), 1.0, nil, bson.D{}}}}},
			{Key: "binary", Value: bson.Binary{Subtype: 4, Data: bytes.Repeat([]byte{0xff}, 16)}},
			{Key: "id", Value: bson.ObjectID{1, 2, 3}},
			{Key: "yes", Value: true},
			{Key: "at", Value: at},
			{Key: "null", Value: nil},
			{Key: "regex", Value: bson.Regex{Pattern: "^a", Options: "i"}},
			{Key: "stamp", Value: bson.Timestamp{T: 7, I: 9}},
			{Key: "least", Value: int64(math.MinInt64)},
			{Key: "empty", Value: ""},
			{Key: "a", Value: bson.A{}},
		},
		bson.D{{Key: "_id", Value: int64(2)}, {Key: "n", Value: int32(0)}}, bson.D{{Key: "_id", Value: "3"}, {Key: "n", Value: int64(0)}}, bson.D{{Key: "_id", Value: 3.5}, {Key: "n", Value: math.Copysign(0, -1)}},
		bson.D{{Key: "_id", Value: bson.D{{Key: "b", Value: int32(1)}, {Key: "a", Value: int32(2)}}}}, bson.D{{Key: "_id", Value: bson.NewObjectIDFromTimestamp(time.Unix(1, 0))}, {Key: "large", Value: strings.Repeat("x", 1<<20)}})
	if err := db.CreateCollection(t.Context(), "empty"); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateCollection(t.Context(), "last", options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)); err != nil {
		t.Fatal(err)
	}
	mongodbtest.Insert(t, db.Collection("last"), bson.D{{Key: "_id", Value: int32(3)}}, bson.D{{Key: "_id", Value: int32(1)}}, bson.D{{Key: "_id", Value: int32(2)}})
	_, err := db.Collection("movies").Indexes().CreateMany(t.Context(), []driver.IndexModel{
		{Keys: bson.D{{Key: "z", Value: 1}}, Options: options.Index().SetUnique(true)}, {Keys: bson.D{{Key: "title", Value: 1}, {Key: "a", Value: -1}}, Options: options.Index().SetName("by title")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// stored gives all that a database holds as the server sends it: how collections and indexes are made, and the bytes of the documents.
func stored(t *testing.T, db *driver.Database) (out []string) {
	t.Helper()
	list, err := db.ListCollections(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var collections []struct {
		Name    string
		Type    string
		Options bson.Raw
	}
	if err := list.All(t.Context(), &collections); err != nil {
		t.Fatal(err)
	}
	for _, c := range collections {
		out = append(out, c.Name+" "+c.Type+" "+c.Options.String())
		specs, err := db.Collection(c.Name).Indexes().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all []bson.Raw
		if err := specs.All(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		for _, spec := range all {
			out = append(out, c.Name+" index "+spec.String())
		}
		docs, err := db.Collection(c.Name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		if err := docs.All(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		for i, doc := range all {
			place := 0
			if c.Name == "last" { // its order counts
				place = i
			}
			out = append(out, fmt.Sprintf("%s %d %x", c.Name, place, []byte(doc)))
		}
	}
	slices.Sort(out)
	return out
}

// TestARestoredMongoDBIsTheSame makes a backup of a database, in each format, and restores it into an empty one: the server sends the same
// bytes of both.
func TestARestoredMongoDBIsTheSame(t *testing.T) {
	t.Parallel()
	from := films(t)
	want := stored(t, from)
	key := identity(t)
	for name, o := range map[string]backup.Options{
		"parquet, encrypted": {Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}}, "ndjson": {Format: backup.NDJSON},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), o)
			made := create(t, s, onMongo(t, from.Name()))
			if made.Consistent || !made.Ended.After(made.At) || made.SourceDB != "mongodb" || made.Rows != 300+6+3 || len(made.Tables) != 4 {
				t.Errorf("the backup is %+v", made)
			}
			to := mongo.Database(t)
			into := onMongo(t, to.Name())
			restored, err := s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{})
			if err != nil || restored.Rows != made.Rows {
				t.Fatal(restored, err)
			}
			if got := stored(t, to); !slices.Equal(want, got) {
				t.Error(cmp.Diff(want, got))
			}
			for _, d := range []backup.Database{onMongo(t, from.Name()), into} {
				v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &d})
				if err != nil || !v.Whole || !*v.Equal {
					t.Errorf("it is verified as %+v, %v", v, err)
				}
			}
			if _, err := to.Collection("movies").InsertOne(t.Context(), bson.D{{Key: "z", Value: int32(7)}}); !driver.IsDuplicateKeyError(err) {
				t.Errorf("a unique index is missing: %v", err)
			}
			if _, err := to.Collection("movies").UpdateOne(t.Context(), bson.D{{Key: "z", Value: 7}}, bson.D{{Key: "$set", Value: bson.D{{Key: "a", Value: int32(7)}}}}); err != nil {
				t.Fatal(err)
			}
			v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &into})
			if err != nil || *v.Equal {
				t.Errorf("another type of a number is not seen: %+v, %v", v, err)
			}
			if _, err := s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{}); fault.Code(err) != "ACQ-MG-070" {
				t.Errorf("a second time it says %v", err)
			}
		})
	}
}

// TestChosenCollections keeps and restores some; a source that chooses none says so, and a backup of another kind of database is refused.
func TestChosenCollections(t *testing.T) {
	t.Parallel()
	from := mongo.Database(t)
	for _, name := range []string{"a", "b", "c"} {
		mongodbtest.Insert(t, from.Collection(name), bson.D{{Key: "_id", Value: name}})
	}
	s := open(t, t.TempDir(), backup.Options{})
	if b := create(t, s, onMongo(t, from.Name(), "*", "!c")); len(b.Tables) != 2 {
		t.Errorf("it has %v", b.Tables)
	}
	b := create(t, s, onMongo(t, from.Name()), "b", "c")
	if len(b.Tables) != 2 || b.Tables[0].Name != "b" {
		t.Errorf("it has %v", b.Tables)
	}
	if _, err := s.Create(t.Context(), onMongo(t, from.Name()), backup.CreateOptions{Tables: []string{"nothing"}}); fault.Code(err) != "ACQ-MG-071" {
		t.Errorf("without collections it says %v", err)
	}
	to := mongo.Database(t)
	only := backup.RestoreOptions{Choose: func(table string) (bool, error) { return table == "c", nil }}
	if _, err := s.Restore(t.Context(), b.ID, backup.Filter{}, onMongo(t, to.Name()), only); err != nil {
		t.Error(err)
	}
	if names, err := to.ListCollectionNames(t.Context(), bson.D{}); err != nil || !slices.Equal(names, []string{"c"}) {
		t.Errorf("it has %v, %v", names, err)
	}
	for code, into := range map[string]backup.Database{"ACQ-MY-073": onMaria(t, maria.Database(t)), "ACQ-PG-073": database(t, server.Database(t))} {
		if _, err := s.Restore(t.Context(), b.ID, backup.Filter{}, into, backup.RestoreOptions{}); fault.Code(err) != code {
			t.Errorf("into another kind of database: %v", err)
		}
	}
}

// TestARestoreOfMongoDBThatIsCutOff leaves a restore in each state that a process can leave it in: the next one waits until it is surely
// over, removes what is left, or finishes what had begun to become visible.
func TestARestoreOfMongoDBThatIsCutOff(t *testing.T) {
	t.Parallel()
	from := mongo.Database(t)
	for _, name := range []string{"a", "b"} {
		mongodbtest.Insert(t, from.Collection(name), bson.D{{Key: "_id", Value: name}})
	}
	root := t.TempDir()
	made := create(t, open(t, root, backup.Options{}), onMongo(t, from.Name()))
	to := mongo.Database(t)
	lease := to.Collection("acequia_restore_lease")
	restore := func(s *backup.Store) error {
		_, err := s.Restore(t.Context(), made.ID, backup.Filter{}, onMongo(t, to.Name()), backup.RestoreOptions{})
		return err
	}
	names := func() []string {
		all, err := to.ListCollectionNames(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all
	}
	set := func(fields bson.D) {
		t.Helper()
		if _, err := lease.UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: fields}}, options.UpdateOne().SetUpsert(true)); err != nil {
			t.Fatal(err)
		}
	}
	// one that is alive
	alive := open(t, root, backup.Options{Probe: func(at string) {
		if at == backup.AfterTable {
			if err := restore(open(t, root, backup.Options{})); fault.Code(err) != "ACQ-MG-077" {
				t.Errorf("a restore beside another says %v", err)
			}
		}
	}})
	if err := restore(alive); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("there are %v", got)
	}
	drop(t, to, "a", "b")
	// one that another has taken over: it must not become visible
	stolen := open(t, root, backup.Options{Probe: func(at string) {
		if at == backup.BeforeFinish {
			set(bson.D{{Key: "run", Value: "other"}})
		}
	}})
	if err := restore(stolen); fault.Code(err) != "ACQ-MG-077" {
		t.Errorf("one whose place was taken says %v", err)
	}
	if got := names(); slices.Contains(got, "a") || slices.Contains(got, "b") {
		t.Errorf("there are %v", got)
	}
	// the other died long ago, before anything was to be seen
	set(bson.D{{Key: "beat", Value: time.Now().Add(-time.Hour)}})
	mongodbtest.Insert(t, to.Collection("acequia_restore_other_1"), bson.D{{Key: "_id", Value: "half"}})
	if err := restore(open(t, root, backup.Options{})); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("there are %v", got)
	}
	// one that died between the two names: the next restore gives the second, and then sees that both are there
	if err := to.Client().Database("admin").RunCommand(t.Context(), bson.D{{Key: "renameCollection", Value: to.Name() + ".b"}, {Key: "to", Value: to.Name() + ".acequia_restore_x_1"}}).Err(); err != nil {
		t.Fatal(err)
	}
	set(bson.D{
		{Key: "_id", Value: "restore"},
		{Key: "run", Value: "x"},
		{Key: "beat", Value: time.Now().Add(-time.Hour)},
		{Key: "renames", Value: bson.A{bson.D{{Key: "from", Value: "acequia_restore_x_0"}, {Key: "to", Value: "a"}}, bson.D{{Key: "from", Value: "acequia_restore_x_1"}, {Key: "to", Value: "b"}}}},
	})
	if err := restore(open(t, root, backup.Options{})); fault.Code(err) != "ACQ-MG-070" || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("it says %v", err)
	}
	if got := names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("there are %v", got)
	}
	v, err := open(t, root, backup.Options{}).Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: new(onMongo(t, to.Name()))})
	if err != nil || !*v.Equal {
		t.Errorf("it is %+v, %v", v, err)
	}
}

func drop(t *testing.T, db *driver.Database, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := db.Collection(name).Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}
