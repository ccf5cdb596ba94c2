package project_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/project"
	"github.com/acequia-io/acequia/internal/config"
)

func TestShape(t *testing.T) {
	t.Parallel()
	rename := func(pairs ...string) (o config.Ordered[string]) {
		for i := 0; i < len(pairs); i += 2 {
			o = append(o, config.Entry[string]{Name: pairs[i], Value: pairs[i+1]})
		}
		return o
	}
	for name, c := range map[string]struct {
		config    project.Config
		want, key string
		errs      []string
	}{
		"keep":           {project.Config{Keep: []string{"year", "platform", "id"}}, "id platform year", "id platform", nil},
		"drop":           {project.Config{Drop: []string{"title", "year"}}, "id publisher platform tags", "id platform", nil},
		"rename the key": {project.Config{Rename: rename("id", "game", "platform", "on")}, "title game publisher on tags year", "game on", nil},
		"swap":           {project.Config{Rename: rename("id", "platform", "platform", "id")}, "title platform publisher id tags year", "platform id", nil},
		"order":          {project.Config{Order: []string{"year", "id"}}, "year id title publisher platform tags", "id platform", nil},
		"order renamed": {
			project.Config{Keep: []string{"id", "platform", "year"}, Rename: rename("year", "y"), Order: []string{"y"}}, "y id platform", "id platform", nil,
		},
		"a dropped name is free": {
			project.Config{Drop: []string{"title"}, Rename: rename("publisher", "title")}, "id title platform tags year", "id platform", nil,
		},
		"unknown": {
			config: project.Config{Drop: []string{"year", "publishr"}, Rename: rename("genre", "g")},
			errs:   []string{"drop.1: no column is named publishr (did you mean publisher?)", "rename.genre: no column is named genre"},
		},
		"key dropped": {
			config: project.Config{Drop: []string{"id", "platform"}},
			errs:   []string{"drop.0: id is a column of the key", "drop.1: platform is a column of the key"},
		},
		"key not kept":     {config: project.Config{Keep: []string{"id", "year"}}, errs: []string{"keep: platform is a column of the key and is not among them"}},
		"dropped, renamed": {config: project.Config{Drop: []string{"year"}, Rename: rename("year", "y")}, errs: []string{"rename.year: year is dropped"}},
		"one name twice":   {config: project.Config{Rename: rename("year", "title")}, errs: []string{"rename.year: another column is named title"}},
		"old name in order": {
			config: project.Config{Rename: rename("title", "titles"), Order: []string{"id", "title"}},
			errs:   []string{"order.1: no column is named title (did you mean titles?)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := project.New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			out, err := h.Shape(games(t))
			if c.errs != nil {
				if err == nil || fault.Code(err) != "ACQ-PROJECT-001" || fault.Of(err) != fault.Fatal {
					t.Fatalf("got %v", err)
				}
				if _, ok := errors.AsType[*config.FieldError](err); !ok {
					t.Errorf("no config.FieldError in %v", err)
				}
				for _, want := range c.errs {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want %q in it", err, want)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range out.Fields {
				names = append(names, f.Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("columns: %s, want %s", got, c.want)
			}
			if got := strings.Join(out.KeyNames(), " "); got != c.key {
				t.Errorf("key: %s, want %s", got, c.key)
			}
		})
	}
}

func TestPlugin(t *testing.T) {
	t.Parallel()
	p := project.Plugin()
	c := p.Config()
	c.(*project.Config).Drop = []string{"title"}
	h, err := p.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := h.(*project.Handler); !ok || p.Type != "project" {
		t.Errorf("%s makes a %T", p.Type, h)
	}
	keys := config.Describe(c)
	for _, k := range keys {
		if k.Doc == "" {
			t.Errorf("%s is not described", k.Name)
		}
	}
	if len(keys) != 4 {
		t.Errorf("%d keys are described", len(keys))
	}
}
