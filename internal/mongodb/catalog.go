package mongodb

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/fault"
)

// Collection is a collection of a database.
type Collection struct {
	Name string
	UUID string // tells it from another of its name; "": the server does not say
	Past bool   // it keeps what documents were before they were changed (changeStreamPreAndPostImages)
}

// Collections lists those that patterns choose, by their names. Views, time series and the server's own are none.
func (d *Database) Collections(ctx context.Context, patterns []string) ([]Collection, error) {
	cursor, err := d.ListCollections(ctx, bson.D{{Key: "type", Value: "collection"}})
	if err != nil {
		return nil, Explain(err, "list the collections", d.Name())
	}
	var listed []struct {
		Name    string
		Info    struct{ UUID bson.Binary }
		Options struct {
			Images struct{ Enabled bool } `bson:"changeStreamPreAndPostImages"`
		}
	}
	if err := cursor.All(ctx, &listed); err != nil {
		return nil, Explain(err, "list the collections", d.Name())
	}
	var out []Collection
	for _, l := range listed {
		in, err := Matches(patterns, l.Name)
		if err != nil {
			return nil, err
		}
		if !in || own(l.Name) {
			continue
		}
		out = append(out, Collection{l.Name, hex.EncodeToString(l.Info.UUID.Data), l.Options.Images.Enabled})
	}
	slices.SortFunc(out, func(a, b Collection) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Size estimates how many documents a collection has and what they take, without indexes; 0 bytes: the server does not say, or not to
// this user. A server that is not MongoDB may count one by one for the command count, and asked for its statistics does not.
func (d *Database) Size(ctx context.Context, name string) (rows, bytes int64, err error) {
	var stats struct {
		Count int64 `bson:"count"`
		Size  int64 `bson:"size"`
	}
	if d.RunCommand(ctx, bson.D{{Key: "collStats", Value: name}}).Decode(&stats) == nil {
		return stats.Count, stats.Size, nil
	}
	rows, err = d.Collection(name).EstimatedDocumentCount(ctx)
	return rows, 0, Explain(err, "count the documents of "+name, name)
}

// Matches says whether patterns choose a collection; those with ! leave out what the ones before took in.
func Matches(patterns []string, name string) (bool, error) {
	chosen := false
	for _, glob := range patterns {
		pattern, not := strings.CutPrefix(glob, "!")
		ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00")) // a / is a letter
		if err != nil {
			return false, &fault.Error{
				Class: fault.Fatal, Code: codePattern, Place: glob, Err: fmt.Errorf("it is no pattern: %w", err),
				Remedy: "write the name of a collection, where * and ? stand for letters",
			}
		}
		switch {
		case ok && not:
			return false, nil
		case ok:
			chosen = true
		}
	}
	return chosen, nil
}

// Index is an index of a collection.
type Index struct {
	Name    string
	Field   string // the first
	Partial bool   // it has only some of the documents
}

// Indexes lists those of a collection.
func (d *Database) Indexes(ctx context.Context, collection string) ([]Index, error) {
	cursor, err := d.Collection(collection).Indexes().List(ctx)
	if err != nil {
		return nil, Explain(err, "list the indexes of "+collection, collection)
	}
	var listed []struct {
		Name    string
		Key     bson.D
		Partial bson.Raw `bson:"partialFilterExpression"`
	}
	if err := cursor.All(ctx, &listed); err != nil {
		return nil, Explain(err, "list the indexes of "+collection, collection)
	}
	var out []Index
	for _, l := range listed {
		if len(l.Key) > 0 {
			out = append(out, Index{l.Name, l.Key[0].Key, l.Partial != nil})
		}
	}
	return out, nil
}

// Sample gives up to so many documents of a collection: by chance where the server can, else the first.
func (d *Database) Sample(ctx context.Context, collection string, n int) ([]bson.Raw, error) {
	c := d.Collection(collection)
	cursor, err := c.Aggregate(ctx, bson.A{bson.D{{Key: "$sample", Value: bson.D{{Key: "size", Value: n}}}}})
	if Unknown(err) {
		cursor, err = c.Find(ctx, bson.D{}, options.Find().SetLimit(int64(n)))
	}
	if err != nil {
		return nil, Explain(err, "sample "+collection, collection)
	}
	var docs []bson.Raw
	for cursor.Next(ctx) {
		docs = append(docs, slices.Clone(cursor.Current))
	}
	return docs, Explain(cursor.Err(), "sample "+collection, collection)
}
