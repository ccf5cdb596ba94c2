//go:build cgo

package oracle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
)

// mongoDB is a database of a server that speaks MongoDB's protocol.
type mongoDB struct {
	db *mongo.Database
}

// mongoMargin is how far the watermark stays behind. Writers keep to less, see mongoSession.stamped.
const mongoMargin = 3 * time.Second

func onMongoDB(s *mongodbtest.Server) engine {
	return engine{
		name: "mongodb", seeds: 1, subjects: mongoSubjects(),
		strategies: []strategy{{name: "time", installed: true}, {name: "sweep", deletes: true}},
		create: func(t *testing.T, of strategy, _ uint64) (database, string) {
			t.Helper()
			m := &mongoDB{s.Database(t)}
			return m, fmt.Sprintf(`type: mongodb, uri: %q, database: %s, capture: { strategy: %s, column: updated_at, every: 500ms, margin: %s },
    schemas: { drift: { v: int64, tag: string, updated_at: timestamp } }`, s.URI, m.db.Name(), of.name, mongoMargin)
		},
	}
}

// mongoSubjects are the collections that the writers change.
func mongoSubjects() []subject {
	var all []subject
	for _, name := range []string{"accounts", "counters", "mixed", "drift", "scratch"} {
		all = append(all, subject{name: name, key: []string{"_id"}})
	}
	return all
}

// mongoFields are what the first documents of a collection have, beside _id, and which types; those of drift are declared, for the writers
// may come before the sample. What has another type, or another name, is kept as Extended JSON.
var mongoFields = map[string]map[string]bson.Type{ //nolint:gochecknoglobals // a constant table
	"accounts": {"v": bson.TypeInt64, "body": bson.TypeString, "price": bson.TypeDouble, "open": bson.TypeBoolean, "updated_at": bson.TypeDateTime},
	"counters": {"v": bson.TypeInt64, "updated_at": bson.TypeDateTime},
	"mixed":    {"v": bson.TypeInt64, "updated_at": bson.TypeDateTime},
	"drift":    {"v": bson.TypeInt64, "tag": bson.TypeString, "updated_at": bson.TypeDateTime},
	"scratch":  {"v": bson.TypeInt64, "updated_at": bson.TypeDateTime},
}

func (m *mongoDB) lay(ctx context.Context) error {
	now := bson.NewDateTimeFromTime(time.Now())
	some := func(n int, doc func(i int64) bson.D) (all []bson.D) {
		for i := range n {
			all = append(all, append(doc(int64(i)), bson.E{Key: "v", Value: -int64(i)}, bson.E{Key: "updated_at", Value: now}))
		}
		return all
	}
	plain := func(i int64) bson.D { return bson.D{{Key: "_id", Value: i}} }
	for name, docs := range map[string][]bson.D{
		"accounts": some(documentKeys/2, func(i int64) bson.D {
			return append(plain(i), bson.E{Key: "body", Value: fmt.Sprint("body ", i)}, bson.E{Key: "price", Value: float64(i) + 0.25}, bson.E{Key: "open", Value: i%3 == 0})
		}),
		"counters": some(counterKeys+1, plain),
		"mixed":    some(mixedKeys/2, func(i int64) bson.D { return bson.D{{Key: "_id", Value: mixedKey(i)}} }),
		"drift":    some(driftKeys/2, func(i int64) bson.D { return append(plain(i), bson.E{Key: "tag", Value: "plain"}) }),
		"scratch":  some(10, plain),
	} {
		if _, err := m.db.Collection(name).InsertMany(ctx, docs); err != nil {
			return fmt.Errorf("fill %s: %w", name, err)
		}
	}
	return nil
}

// held gives each value as the sinks are to have it.
func (m *mongoDB) held(ctx context.Context, s subject) (held, error) {
	columns := []string{"_id", "_rest"}
	for name := range mongoFields[s.name] {
		columns = append(columns, name, name+"__raw")
	}
	slices.Sort(columns)
	found, err := m.db.Collection(s.name).Find(ctx, bson.D{})
	if err != nil {
		return held{}, err
	}
	var docs []bson.Raw
	for found.Next(ctx) {
		docs = append(docs, slices.Clone(found.Current))
	}
	if err := errors.Join(found.Err(), found.Close(ctx)); err != nil {
		return held{}, err
	}
	rows := make([]row, len(docs))
	for i, doc := range docs {
		if rows[i], err = mongoRow(s.name, doc); err != nil {
			return held{}, err
		}
	}
	return hold(s, columns, rows)
}

// mongoRow gives a document as texts.
func mongoRow(collection string, doc bson.Raw) (row, error) {
	r := row{}
	elements, err := doc.Elements()
	if err != nil {
		return nil, err
	}
	rest := bson.D{}
	for _, e := range elements {
		name, v := e.Key(), e.Value()
		kind, known := mongoFields[collection][name]
		switch {
		case name == "_id":
			r[name], err = mongoKey(v)
		case !known:
			rest = append(rest, bson.E{Key: name, Value: v})
		case v.Type == bson.TypeNull:
		case v.Type != kind:
			r[name+"__raw"], err = extended(v)
		default:
			r[name] = mongoText(v)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(rest) > 0 {
		text, err := bson.MarshalExtJSON(rest, true, false)
		if err != nil {
			return nil, err
		}
		r["_rest"] = string(text)
	}
	return r, nil
}

func extended(v bson.RawValue) (string, error) {
	const before, behind = `{"v":`, `}`
	text, err := bson.MarshalExtJSON(bson.D{{Key: "v", Value: v}}, true, false)
	if err != nil {
		return "", err
	}
	return string(text[len(before) : len(text)-len(behind)]), nil
}

func mongoText(v bson.RawValue) string {
	switch v.Type {
	case bson.TypeInt64:
		return strconv.FormatInt(v.Int64(), 10)
	case bson.TypeDouble:
		return strconv.FormatFloat(v.Double(), 'f', -1, 64)
	case bson.TypeBoolean:
		return strconv.FormatBool(v.Boolean())
	case bson.TypeDateTime:
		return moment(v.Time().UTC().Format("2006-01-02 15:04:05.000"))
	}
	return v.StringValue()
}

// mongoKey writes an _id as docs/MONGODB.md says.
func mongoKey(v bson.RawValue) (string, error) {
	switch v.Type {
	case bson.TypeInt32:
		return fmt.Sprint("n:", v.Int32()), nil
	case bson.TypeInt64, bson.TypeDouble:
		return "n:" + mongoText(v), nil
	case bson.TypeString:
		return "s:" + v.StringValue(), nil
	case bson.TypeObjectID:
		return "oid:" + v.ObjectID().Hex(), nil
	case bson.TypeBoolean:
		return "b:" + mongoText(v), nil
	case bson.TypeDateTime:
		return fmt.Sprint("date:", v.DateTime()), nil
	}
	return "", fmt.Errorf("an _id of type %s", v.Type)
}

func (m *mongoDB) changed(ctx context.Context, after time.Time) ([]sight, error) {
	late := bson.D{{Key: "updated_at", Value: bson.D{{Key: "$gt", Value: bson.NewDateTimeFromTime(after)}}}}
	found, err := m.db.Collection("accounts").Find(ctx, late, options.Find().SetSort(bson.D{{Key: "updated_at", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []struct {
		ID int64 `bson:"_id"`
		V  int64
		At time.Time `bson:"updated_at"`
	}
	if err := found.All(ctx, &docs); err != nil {
		return nil, err
	}
	all := make([]sight, len(docs))
	for i, d := range docs {
		all[i] = sight{d.ID, d.V, d.At}
	}
	return all, nil
}

// TestVerifyKnowsTheColumns has a field come after the columns were sampled: it is in no column, for the pipeline and for verify, whose own
// sample would have it.
func TestVerifyKnowsTheColumns(t *testing.T) {
	t.Parallel()
	s, err := mongodbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	closes(t, s)
	db, dir := s.Database(t), t.TempDir()
	r := &trial{dir: dir}
	source := fmt.Sprintf("type: mongodb, uri: %q, database: %s, capture: { strategy: sweep }", s.URI, db.Name())
	if err := os.WriteFile(filepath.Join(dir, projectFile), fmt.Appendf(nil, project, source, server.Database(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		doc := bson.D{{Key: "_id", Value: i}, {Key: "v", Value: i}}
		if i > 0 {
			doc = append(doc, bson.E{Key: "extra", Value: "late"})
		}
		mongodbtest.Insert(t, db.Collection("films"), doc)
		r.ends(t, order{File: projectFile, Drain: true})
		r.command(t, "verify", projectFile)
	}
}
