package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag

// The configurations of some plugins, as the catalog would have them.
type (
	fileSource struct {
		Path   string          `yaml:"path" required:"true" doc:"Files to read."`
		Format string          `yaml:"format" enum:"csv,jsonl,parquet"`
		Stream string          `yaml:"stream"`
		Key    []string        `yaml:"key"`
		Schema Ordered[string] `yaml:"schema"`
	}
	pgSource struct {
		DSN      Secret   `yaml:"dsn" required:"true" doc:"Where the server is."`
		Password Secret   `yaml:"password"`
		Token    string   `yaml:"api_token"`
		Host     string   `yaml:"host"`
		Port     int16    `yaml:"port"`
		Workers  uint     `yaml:"workers"`
		Weight   float64  `yaml:"weight"`
		Tables   []string `yaml:"tables"`
		TLS      bool     `yaml:"tls"`
		Slot     *string  `yaml:"slot"`
		Poll     struct {
			Every   time.Duration `yaml:"every"`
			Overlap time.Duration `yaml:"overlap"`
		} `yaml:"poll"`
	}
	lakeSink struct {
		URL       string   `yaml:"url" required:"true" doc:"Where the files stand."`
		Partition []string `yaml:"partition"`
		Roll      struct {
			Rows  int64         `yaml:"rows"`
			Size  Size          `yaml:"size"`
			Every time.Duration `yaml:"every"`
		} `yaml:"roll"`
	}
	filterStep struct {
		Where string `yaml:"where,scalar" required:"true" doc:"Records to keep."`
		Keep  bool   `yaml:"keep"`
	}
	deriveStep struct {
		Columns Ordered[string] `yaml:",inline" required:"true"`
	}
	maskStep struct {
		Columns Ordered[mask] `yaml:",inline" required:"true"`
	}
	mask struct {
		With string `yaml:"with,scalar" enum:"hash,drop,last4"`
		Salt Secret `yaml:"salt"`
	}
)

// nope is a mistake that a plugin finds in an expression.
func nope(text string, path ...string) error {
	before, _, found := strings.Cut(text, "nope")
	if !found {
		return nil
	}
	return &fault.Error{Err: &FieldError{
		Path: path, Offset: utf8.RuneCountInString(before), Err: errors.New("undeclared reference to 'nope'"),
	}}
}

// check is what a plugin finds in what was decoded.
func check(settings any) error {
	switch c := settings.(type) {
	case *filterStep:
		return nope(c.Where, "where")
	case *deriveStep:
		var errs []error
		for _, e := range c.Columns {
			errs = append(errs, nope(e.Value, e.Name))
		}
		return errors.Join(errs...)
	case *lakeSink:
		if i := slices.Index(c.Partition, "missing"); i >= 0 {
			return At(errors.New(`games has no column "missing"`), "partition", string(rune('0'+i)))
		}
		if c.URL == "fail:" {
			return &fault.Error{Code: "ACQ-LAKE-007", Err: errors.New("no lake can be here"), Remedy: "look elsewhere"}
		}
	}
	return nil
}

// checked decodes and checks all blocks of a file, as the app does.
func checked(f *File, p Problems) Problems {
	one := func(b *Block, plugins map[string]func() any) {
		plugin, ok := plugins[b.Type]
		if !ok {
			known := make([]string, 0, len(plugins))
			for name := range plugins {
				known = append(known, name)
			}
			slices.Sort(known)
			p = append(p, b.UnknownType(known))
			return
		}
		settings := plugin()
		found := b.Decode(settings)
		p = append(p, found...)
		if !found.Errors() {
			p = append(p, b.Place(check(settings))...)
		}
	}
	for _, e := range f.Sources {
		one(e.Value, map[string]func() any{"file": func() any { return &fileSource{} }, "postgres": func() any { return &pgSource{Port: 5432} }})
	}
	for _, e := range f.Sinks {
		one(e.Value, map[string]func() any{"lake": func() any { return &lakeSink{} }, "items": func() any { return &struct{}{} }})
	}
	for _, pipeline := range f.Pipelines {
		for _, b := range pipeline.Steps {
			one(b, map[string]func() any{
				"filter": func() any { return &filterStep{} }, "derive": func() any { return &deriveStep{} }, "mask": func() any { return &maskStep{} },
			})
		}
	}
	p.Sort()
	return p
}

// env are the variables of the tests.
func env(name string) (string, bool) {
	text, ok := map[string]string{"PG_DSN": "postgres://u:secret@db/x", "HOME_DIR": "/srv/someone", "EMPTY": ""}[name]
	return text, ok
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			problems := checked(Parse(filepath.Base(path), text, env))
			inside(t, string(text), problems)
			if len(problems) == 0 {
				t.Error("no problem was found")
			}
			var out bytes.Buffer
			Render(&out, problems, func(string) []byte { return text })
			if strings.Contains(out.String(), "u:secret") || strings.Contains(out.String(), "hunter2") {
				t.Errorf("a secret is printed:\n%s", out.String())
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), out.String()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// inside fails when a problem has no place in the text.
func inside(t *testing.T, text string, problems Problems) {
	t.Helper()
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for _, p := range problems {
		if p.Line < 1 || p.Line > len(lines) {
			t.Fatalf("line of %v", p)
		}
		length := utf8.RuneCountInString(strings.TrimSuffix(lines[p.Line-1], "\r"))
		if p.Column < 1 || p.Column > length+1 || p.Width < 1 || p.Column+p.Width-1 > max(length, p.Column) || p.Message == "" || p.Code == "" {
			t.Fatalf("place of %#v in a line of %d", p, length)
		}
	}
}
