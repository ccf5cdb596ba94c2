package mongodb

import (
	"context"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// RestorePrefix begins the names of collections in which documents are restored before anybody sees them. They are no collections of the
// database for who lists them here.
const RestorePrefix = "acequia_restore_"

// Definition is what makes a collection again.
type Definition struct {
	Name   string
	Type   string // collection, view or timeseries
	Capped bool   // its documents have an order of their own
	Create bson.D // the command create, with its options
}

// Definitions lists all that patterns choose of a database, by their names, views and time series too; not the server's own.
func (d *Database) Definitions(ctx context.Context, patterns []string) ([]Definition, error) {
	cursor, err := d.ListCollections(ctx, bson.D{})
	if err != nil {
		return nil, Explain(err, "list the collections", d.Name())
	}
	var listed []struct {
		Name    string
		Type    string
		Options bson.D
	}
	if err := cursor.All(ctx, &listed); err != nil {
		return nil, Explain(err, "list the collections", d.Name())
	}
	var out []Definition
	for _, l := range listed {
		in, err := Matches(patterns, l.Name)
		if err != nil {
			return nil, err
		}
		if !in || own(l.Name) {
			continue
		}
		one := Definition{Name: l.Name, Type: l.Type, Create: bson.D{{Key: "create", Value: l.Name}}}
		for _, option := range l.Options {
			switch option.Key {
			case "autoIndexId", "uuid":
				continue
			case "capped":
				one.Capped = option.Value == true
			}
			one.Create = append(one.Create, option)
		}
		if one.Type == "" { // servers before views
			one.Type = "collection"
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// own says whether a collection is the server's, or ours.
func own(name string) bool {
	return strings.HasPrefix(name, "system.") || strings.HasPrefix(name, RestorePrefix)
}

// usualIndex is the version of indexes that servers make; not all take it when it is said.
const usualIndex = int32(2)

// IndexDefinitions gives what makes the indexes of a collection again, but that of _id, which each has.
func (d *Database) IndexDefinitions(ctx context.Context, collection string) ([]bson.D, error) {
	cursor, err := d.Collection(collection).Indexes().List(ctx)
	if err != nil {
		return nil, Explain(err, "list the indexes of "+collection, collection)
	}
	var listed []bson.D
	if err := cursor.All(ctx, &listed); err != nil {
		return nil, Explain(err, "list the indexes of "+collection, collection)
	}
	var out []bson.D
	for _, index := range listed {
		given := slices.ContainsFunc(index, func(e bson.E) bool { return e.Key == "name" && e.Value == "_id_" || e.Key == "clustered" })
		if !given {
			out = append(out, slices.DeleteFunc(index, func(e bson.E) bool { return e.Key == "ns" || e.Key == "v" && e.Value == usualIndex }))
		}
	}
	return out, nil
}
