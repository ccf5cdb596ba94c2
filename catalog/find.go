package catalog

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Source finds a source by its type. The error of a type that is not there names the nearest, or all.
func Source(name string) (sources.Plugin, error) {
	return find("source", name, Sources(), func(p sources.Plugin) string { return p.Type })
}

// Handler finds a handler as Source finds a source.
func Handler(name string) (handlers.Plugin, error) {
	return find("handler", name, Handlers(), func(p handlers.Plugin) string { return p.Type })
}

// Sink finds a sink as Source finds a source.
func Sink(name string) (sinks.Plugin, error) {
	return find("sink", name, Sinks(), func(p sinks.Plugin) string { return p.Type })
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
