package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/sinks"
)

func TestTypesAreUniqueAndSorted(t *testing.T) {
	t.Parallel()
	types := map[string][]string{}
	for _, p := range catalog.Default().Sources {
		types["sources"] = append(types["sources"], p.Type)
	}
	for _, p := range catalog.Default().Handlers {
		types["handlers"] = append(types["handlers"], p.Type)
	}
	for _, p := range catalog.Default().Sinks {
		types["sinks"] = append(types["sinks"], p.Type)
	}
	for kind, names := range types {
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("%s are %q: sort them, each once", kind, names)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	if p, err := catalog.Default().Source("form"); err != nil || p.Type != "form" {
		t.Errorf("form: got %q, %v", p.Type, err)
	}
	if p, err := catalog.Default().Sink("lake"); err != nil || p.Type != "lake" {
		t.Errorf("lake: got %q, %v", p.Type, err)
	}
	for name, want := range map[string]string{
		"normalise": `ACQ-CATALOG-001: there is no handler of type "normalise" (did you mean normalize?)`,
		"cannonica": `ACQ-CATALOG-001: there is no handler of type "cannonica" (did you mean canonical?)`,
		"kafka":     `ACQ-CATALOG-001: there is no handler of type "kafka" (there are: canonical, cast, dedupe, derive, filter, flatten, mask, normalize, project, route)`,
		"":          `ACQ-CATALOG-001: there is no handler of type "" (there are: canonical, cast, dedupe, derive, filter, flatten, mask, normalize, project, route)`,
	} {
		if _, err := catalog.Default().Handler(name); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	own := catalog.Catalog{Handlers: []handlers.Plugin{{Type: "shout"}, {Type: "double"}}}
	all, err := catalog.Join(catalog.Default(), own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Handler("shout"); err != nil {
		t.Error(err)
	}
	if !slices.IsSortedFunc(all.Handlers, func(a, b handlers.Plugin) int { return strings.Compare(a.Type, b.Type) }) || len(all.Handlers) != len(catalog.Default().Handlers)+2 {
		t.Errorf("got %d handlers, or they are not in order", len(all.Handlers))
	}
	again := catalog.Catalog{Sinks: []sinks.Plugin{{Type: "lake"}}}
	if _, err := catalog.Join(catalog.Default(), again); fault.Code(err) != "ACQ-CATALOG-002" {
		t.Errorf("a second lake: got %v", err)
	}
}
