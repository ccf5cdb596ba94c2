package catalog_test

import (
	"slices"
	"testing"

	"github.com/acequia-io/acequia/catalog"
)

func TestTypesAreUniqueAndSorted(t *testing.T) {
	t.Parallel()
	types := map[string][]string{}
	for _, p := range catalog.Sources() {
		types["sources"] = append(types["sources"], p.Type)
	}
	for _, p := range catalog.Handlers() {
		types["handlers"] = append(types["handlers"], p.Type)
	}
	for _, p := range catalog.Sinks() {
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
	if p, err := catalog.Source("form"); err != nil || p.Type != "form" {
		t.Errorf("form: got %q, %v", p.Type, err)
	}
	if p, err := catalog.Sink("lake"); err != nil || p.Type != "lake" {
		t.Errorf("lake: got %q, %v", p.Type, err)
	}
	for name, want := range map[string]string{
		"normalise": `ACQ-CATALOG-001: there is no handler of type "normalise" (did you mean normalize?)`,
		"cannonica": `ACQ-CATALOG-001: there is no handler of type "cannonica" (did you mean canonical?)`,
		"kafka":     `ACQ-CATALOG-001: there is no handler of type "kafka" (there are: canonical, cast, derive, filter, flatten, mask, normalize, project)`,
		"":          `ACQ-CATALOG-001: there is no handler of type "" (there are: canonical, cast, derive, filter, flatten, mask, normalize, project)`,
	} {
		if _, err := catalog.Handler(name); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}
