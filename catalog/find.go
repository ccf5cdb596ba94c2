package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Join gives one catalog of several, each kind in the order of its types. A type that is there twice is an error.
func Join(catalogs ...Catalog) (Catalog, error) {
	var all Catalog
	for _, c := range catalogs {
		all.Sources = append(all.Sources, c.Sources...)
		all.Handlers = append(all.Handlers, c.Handlers...)
		all.Sinks = append(all.Sinks, c.Sinks...)
	}
	err := errors.Join(
		sorted("source", all.Sources, func(p sources.Plugin) string { return p.Type }),
		sorted("handler", all.Handlers, func(p handlers.Plugin) string { return p.Type }),
		sorted("sink", all.Sinks, func(p sinks.Plugin) string { return p.Type }),
	)
	return all, err
}

// sorted puts plugins in the order of their types, and refuses two of one type.
func sorted[P any](kind string, plugins []P, typeOf func(P) string) error {
	slices.SortStableFunc(plugins, func(a, b P) int { return strings.Compare(typeOf(a), typeOf(b)) })
	for i := 1; i < len(plugins); i++ {
		if name := typeOf(plugins[i]); name == typeOf(plugins[i-1]) {
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-CATALOG-002", Err: fmt.Errorf("there are two %ss of type %q", kind, name),
				Remedy: "give the plugin of your own another type",
			}
		}
	}
	return nil
}

// Source finds a source by its type. The error of a type that is not there names the nearest, or all.
func (c Catalog) Source(name string) (sources.Plugin, error) {
	return find("source", name, c.Sources, func(p sources.Plugin) string { return p.Type })
}

// Handler finds a handler as Source finds a source.
func (c Catalog) Handler(name string) (handlers.Plugin, error) {
	return find("handler", name, c.Handlers, func(p handlers.Plugin) string { return p.Type })
}

// Sink finds a sink as Source finds a source.
func (c Catalog) Sink(name string) (sinks.Plugin, error) {
	return find("sink", name, c.Sinks, func(p sinks.Plugin) string { return p.Type })
}

func find[P any](kind, name string, plugins []P, typeOf func(P) string) (P, error) {
	types := make([]string, len(plugins))
	nearest, least := "", 1+len(name)/3 // a third of the letters may be wrong
	for i, p := range plugins {
		if types[i] = typeOf(p); types[i] == name {
			return p, nil
		}
		if d := distance(name, types[i]); d <= least {
			nearest, least = types[i], d
		}
	}
	remedy := "there are: " + strings.Join(types, ", ")
	if nearest != "" {
		remedy = "did you mean " + nearest + "?"
	}
	var none P
	return none, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-CATALOG-001", Err: fmt.Errorf("there is no %s of type %q", kind, name), Remedy: remedy,
	}
}

// distance counts the letters to insert, remove or change between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
