package mongodb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/record"
)

// mixed gives documents whose keys are of every type that the server of the tests takes. 1 and "1" are two of them.
func mixed(n int) []bson.D {
	docs := []bson.D{
		{{Key: "_id", Value: nil}},
		{{Key: "_id", Value: false}},
		{{Key: "_id", Value: 1.5}},
		{{Key: "_id", Value: -0.25}},
		{{Key: "_id", Value: int64(1) << 60}},
		{{Key: "_id", Value: ""}},
		{{Key: "_id", Value: bson.Timestamp{T: 7, I: 8}}},
	}
	for i := 1; i <= n; i++ { // the server of the tests takes true for the number 1, and a date for its milliseconds
		docs = append(
			docs, bson.D{{Key: "_id", Value: int32(i)}, {Key: "n", Value: i}}, bson.D{{Key: "_id", Value: fmt.Sprint(i)}, {Key: "n", Value: i}},
			bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "n", Value: i}}, bson.D{{Key: "_id", Value: bson.DateTime(1_700_000_000_000 + i)}, {Key: "n", Value: i}},
			bson.D{{Key: "_id", Value: bson.Binary{Data: []byte{byte(i), byte(i >> 8)}}}, {Key: "n", Value: i}},
			bson.D{{Key: "_id", Value: bson.D{{Key: "a", Value: int32(i)}}}, {Key: "n", Value: i}},
		)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
	return docs
}

// TestKeysOfEveryType reads a collection whose keys are of many types, in small parts that are cut off at random: each document comes,
// and none comes twice but after a crash.
func TestKeysOfEveryType(t *testing.T) {
	t.Parallel()
	for _, crashes := range []bool{false, true} {
		w := newWorld(t, "time")
		w.part, w.chunk = 40, 7
		docs := mixed(60)
		mongodbtest.Insert(t, w.db.Collection("mixed"), docs...)
		rnd, given := rand.New(rand.NewPCG(3, 4)), 0
		w.crash = func() bool {
			given++
			return crashes && rnd.IntN(8) == 0
		}
		for range 500 {
			if err := w.run(); err == nil {
				break
			}
		}
		w.crash = func() bool { return false }
		w.equal("mixed", true)
		if len(w.sink["mixed"]) != len(docs) {
			t.Errorf("%d keys for %d documents: some collide", len(w.sink["mixed"]), len(docs))
		}
		for _, key := range []string{"n:1", "s:1", "null", "n:1.5", "ts:7:8", "s:", "n:1152921504606846976", "doc:{\"a\":{\"$numberInt\":\"1\"}}"} {
			if _, ok := w.sink["mixed"][key]; !ok {
				t.Errorf("no record has the key %s", key)
			}
		}
	}
}

// TestPartsOfKeys cuts a collection: parts follow each other, and together they are all.
func TestPartsOfKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time")
	w.part, w.chunk = 50, 1000
	docs := mixed(100)
	mongodbtest.Insert(t, w.db.Collection("mixed"), docs...)
	s := w.open()
	s.Backfill(nil, 0)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(lanes) < 8 {
		t.Errorf("%d lanes for %d documents in parts of 50", len(lanes), len(docs))
	}
	seen := map[string]int{}
	for _, lane := range lanes {
		before := len(w.sink["mixed"])
		if err := w.lane(s, lane); err != nil {
			t.Fatal(err)
		}
		if n := len(w.sink["mixed"]) - before; n == 0 || n > 120 {
			t.Errorf("lane %s gave %d documents", lane.ID, n)
		}
		for key := range w.sink["mixed"] {
			seen[key]++
		}
	}
	if len(seen) != len(docs) {
		t.Errorf("%d of %d documents came", len(seen), len(docs))
	}
	parts, err := s.Split(t.Context(), "mixed", 50)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, part := range parts {
		var last string
		err := s.Scan(t.Context(), "mixed", part, func(b *record.Batch) error {
			for row := range b.Rows {
				key := string(b.Columns[b.Schema.Key[0]].Text(row))
				if part.After != nil && key <= part.After[0].Text || part.UpTo != nil && key > part.UpTo[0].Text {
					return fmt.Errorf("%s is not in the part %v", key, part)
				}
				last = key
			}
			total += b.Rows
			return nil
		})
		if err != nil {
			t.Fatal(err, last)
		}
	}
	if total != len(docs) || len(parts) < 3 {
		t.Errorf("%d parts have %d of %d documents", len(parts), total, len(docs))
	}
	if _, err := s.Split(t.Context(), "nobody", 50); err == nil || !strings.Contains(err.Error(), "ACQ-MG-032") {
		t.Errorf("a collection that is not there: %v", err)
	}
}

// TestDrift has values that are not of the type of their column: they stand beside it, as they were.
func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time")
	w.config.Documents, w.config.Arrays = "flatten", "list"
	c := w.db.Collection("movies")
	mongodbtest.Insert(t, c, bson.D{
		{Key: "_id", Value: 1},
		{Key: "title", Value: "Alien"},
		{Key: "year", Value: int32(1979)},
		{Key: "genres", Value: bson.A{"Horror", "Sci-Fi"}},
		{Key: "info", Value: bson.D{{Key: "director", Value: "Scott"}, {Key: "gross", Value: int64(1) << 40}}},
		{Key: "id2", Value: bson.ObjectID{1, 2, 3}},
	})
	if err := w.run(); err != nil { // the columns are fixed
		t.Fatal(err)
	}
	mongodbtest.Insert(t, c, bson.D{
		{Key: "_id", Value: 2},
		{Key: "title", Value: int32(1984)},
		{Key: "year", Value: "1984"},
		{Key: "genres", Value: "Drama"},
		{Key: "info", Value: bson.D{{Key: "director", Value: "Radford"}, {Key: "studio", Value: "Virgin"}}},
		{Key: "new", Value: true},
		{Key: "id2", Value: nil},
	}, bson.D{{Key: "_id", Value: 3}, {Key: "info", Value: "none"}})
	if _, err := w.open().Rewind(t.Context(), []string{"movies"}); err != nil {
		t.Fatal(err)
	}
	// What is declared is not sampled again: so nothing is new here but the fields that the sample did not have.
	w.config.Sample = 1
	w.equal("movies", true)
	row := w.sink["movies"]["n:2"].row
	for _, want := range []string{
		`"title__raw":"{\"$numberInt\":\"1984\"}"`, `"year__raw":"\"1984\""`, `"genres__raw":"\"Drama\""`, `"info_director":"Radford"`,
		`"_rest":"{\"info\":{\"studio\":\"Virgin\"},\"new\":true}"`,
	} {
		if !strings.Contains(row, want) {
			t.Errorf("%s is not in %s", want, row)
		}
	}
	if row := w.sink["movies"]["n:3"].row; !strings.Contains(row, `"_rest":"{\"info\":\"none\"}"`) {
		t.Errorf("what is no document is lost: %s", row)
	}
	if row := w.sink["movies"]["n:1"].row; !strings.Contains(row, `"genres":["Horror","Sci-Fi"]`) || !strings.Contains(row, `"id2":"010203000000000000000000"`) {
		t.Error(row)
	}
	if !strings.Contains(w.log.String(), "genres: list(string)") {
		t.Errorf("the columns are not told: %s", w.log.String())
	}
}

// TestDeclared declares columns: what does not fit is a dead letter where that is wanted, and names stream, key and column.
func TestDeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time")
	w.config.Unfit = "error"
	w.config.Schemas = config.Ordered[config.Ordered[string]]{{Name: "movies", Value: config.Ordered[string]{{Name: "_id", Value: "objectid"}, {Name: "info.year", Value: "int32"}}}}
	id := bson.ObjectID{9}
	mongodbtest.Insert(
		t, w.db.Collection("movies"), bson.D{{Key: "_id", Value: id}, {Key: "info", Value: bson.D{{Key: "year", Value: int32(5)}}}},
		bson.D{{Key: "_id", Value: "x"}}, bson.D{{Key: "_id", Value: bson.ObjectID{8}}, {Key: "info", Value: bson.D{{Key: "year", Value: "5"}}}},
	)
	if err := w.run(); err != nil {
		t.Fatal(err)
	}
	if got := w.sink["movies"][id.Hex()].row; got != `{"_id":"`+id.Hex()+`","info_year":5}` {
		t.Errorf("got %s", got)
	}
	var told []string
	for _, r := range w.refused {
		told = append(told, r.Err.Error())
	}
	slices.Sort(told)
	if len(told) != 2 || !strings.Contains(told[0], "ACQ-MG-021: movies, key oid:08") || !strings.Contains(told[0], "column info_year") || !strings.Contains(told[1], "key s:x, column _id") {
		t.Errorf("dead letters: %q", told)
	}
}
