package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"

	"github.com/acequia-io/acequia/fault"
)

// colour is written as a word.
type colour int

func (c *colour) UnmarshalText(text []byte) error {
	switch string(text) {
	case "red":
		*c = 1
	case "blue":
		*c = 2
	default:
		return fmt.Errorf("%q is no colour", text)
	}
	return nil
}

type base struct {
	Level int `yaml:"level"`
}

type short struct {
	Columns []string `yaml:"columns,scalar" required:"true"`
	Other   bool     `yaml:"other"`
}

type everything struct {
	base                               // not exported: no part of it
	Text     string                    `yaml:"text"`
	Bool     bool                      `yaml:"bool"`
	Int      int                       `yaml:"int"`
	Small    int8                      `yaml:"small"`
	Float    float64                   `yaml:"float"`
	Wait     time.Duration             `yaml:"wait"`
	Size     Size                      `yaml:"size"`
	Share    Share                     `yaml:"share"`
	Secret   Secret                    `yaml:"secret"`
	Texts    []string                  `yaml:"texts"`
	Ints     []int64                   `yaml:"ints"`
	Short    short                     `yaml:"short"`
	Shorts   []short                   `yaml:"shorts"`
	Pointer  *Size                     `yaml:"pointer"`
	Map      map[string]string         `yaml:"map"`
	Deep     map[string]short          `yaml:"deep"`
	Ordered  Ordered[time.Duration]    `yaml:"ordered"`
	Nested   Ordered[Ordered[*colour]] `yaml:"nested"`
	Colour   colour                    `yaml:"colour"`
	Colours  []colour                  `yaml:"colours"`
	Untagged string
	Hidden   chan int `yaml:"-"`
}

// decoded reads the settings of a source.
func decoded(t *testing.T, settings string, into any) Problems {
	t.Helper()
	text := "version: 1\nsources:\n  s:\n    type: t\n"
	for line := range strings.Lines(settings) {
		text += "    " + line
	}
	f, problems := parse("f.yaml", []byte(text), &expander{lookup: env, read: func(path string) ([]byte, error) {
		return []byte("from " + filepath.Base(path) + "\n"), nil
	}})
	if len(f.Sources) != 1 {
		t.Fatalf("no source: %v", problems)
	}
	for _, p := range problems {
		if p.Code == CodeSyntax || p.Code == CodeUnset {
			t.Fatal(p)
		}
	}
	return f.Sources[0].Value.Decode(into)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	size := Size(1 << 10)
	red := colour(1)
	for name, c := range map[string]struct {
		yaml string
		want everything
	}{
		"nothing": {"", everything{}},
		"scalars": {"text: a b\nbool: true\nint: 1_000\nsmall: -0x10\nfloat: 1e3", everything{
			Text: "a b", Bool: true, Int: 1000, Small: -16, Float: 1000,
		}},
		"text of numbers": {"text: 1.10\ntexts: [1, true, 2020-01-01]", everything{Text: "1.10", Texts: []string{"1", "true", "2020-01-01"}}},
		"units":           {"wait: 1m30s\nsize: 64KiB\nshare: 5%", everything{Wait: 90 * time.Second, Size: 65536, Share: 0.05}},
		"quoted numbers":  {"int: \"5\"\nbool: 'false'", everything{Int: 5}},
		"blocks":          {"text: |\n  a\n  b\nsecret: >-\n  a\n  b", everything{Text: "a\nb\n", Secret: "a b"}},
		"lists":           {"texts: [a, b]\nints:\n  - 1\n  - 2", everything{Texts: []string{"a", "b"}, Ints: []int64{1, 2}}},
		"one for a list":  {"texts: a", everything{Texts: []string{"a"}}},
		"empty lists":     {"texts: []\nmap: {}", everything{Texts: []string{}, Map: map[string]string{}}},
		"short": {"short: [a, b]\nshorts: [a, [b], { columns: c, other: true }]", everything{
			Short: short{Columns: []string{"a", "b"}}, Shorts: []short{{Columns: []string{"a"}}, {Columns: []string{"b"}}, {[]string{"c"}, true}},
		}},
		"pointer": {"pointer: 1KiB", everything{Pointer: &size}},
		"maps": {"map: { b: 1, a: x }\ndeep: { k: a }", everything{
			Map: map[string]string{"a": "x", "b": "1"}, Deep: map[string]short{"k": {Columns: []string{"a"}}},
		}},
		"ordered": {"ordered: { z: 1s, a: 2s }\nnested: { x: { y: red } }", everything{
			Ordered: Ordered[time.Duration]{{"z", time.Second}, {"a", 2 * time.Second}},
			Nested:  Ordered[Ordered[*colour]]{{"x", Ordered[*colour]{{"y", &red}}}},
		}},
		"own types": {"colour: blue\ncolours: [red, blue]", everything{Colour: 2, Colours: []colour{1, 2}}},
		"untagged":  {"untagged: x", everything{Untagged: "x"}},
		"merge": {"map: { <<: &m { a: x, b: y }, b: z }\nshort: { <<: [{ columns: [q] }, { other: true, columns: z }] }", everything{
			Map: map[string]string{"a": "x", "b": "z"}, Short: short{[]string{"q"}, true},
		}},
		"aliases": {"text: &t hello\ntexts: [*t, *t]", everything{Text: "hello", Texts: []string{"hello", "hello"}}},
		"references": {`text: "$$5 ${HOME_DIR}/${NO:-a${EMPTY:-b}}${EMPTY}$"` + "\nsecret: ${env:PG_DSN}", everything{
			Text: "$5 /srv/someone/ab$", Secret: "postgres://u:secret@db/x",
		}},
		"file":                {"secret: ${file:/run/key}\ntexts: ['${file:x}']", everything{Secret: "from key", Texts: []string{"from x"}}},
		"no references":       {"text: a$b ^x$\ntexts: ['$', '$1']", everything{Text: "a$b ^x$", Texts: []string{"$", "$1"}}},
		"number by reference": {"int: ${NO:-5}\nwait: ${NO:-5s}\nbool: ${NO:-true}", everything{Int: 5, Wait: 5 * time.Second, Bool: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got everything
			for _, p := range decoded(t, c.yaml, &got) {
				if p.Code != CodeClear {
					t.Error(p)
				}
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(everything{}), cmp.Comparer(func(a, b base) bool { return a == b })); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeFindsMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, want string }{
		"number too large": {"small: 128", "5:12: small: want a whole number, found 128 (it is at most 127)"},
		"infinite":         {"float: 1e999", "5:12: float: want a number, found 1e999"},
		"negative wait":    {"wait: -5s", "5:11: wait: want a duration such as 5s, found -5s"},
		"large size":       {"size: 99999999999TiB", "5:11: size: want a size such as 128MiB, found 99999999999TiB (the units are"},
		"decimal size":     {"size: 64 kb", `5:11: size: want a size such as 128MiB, found "64 kb" (write 64KiB)`},
		"share of more":    {"share: 1.5", "5:12: share: want a share such as 5% or 0.05, found 1.5"},
		"own type":         {"colour: grey", `5:13: colour: "grey" is no colour`},
		"own type, secret": {"colour: ${env:PG_DSN}", `5:13: colour: "${env:PG_DSN}" is no colour`},
		"in a list":        {"ints: [1, x]", "5:15: ints[1]: want a whole number, found x"},
		"list of one":      {"ints: 1", "5:11: ints: want a list, found 1"},
		"in a map":         {"deep: { k: { othr: true } }", `5:18: unknown key "othr" in k (did` + "\n5:13: k has no columns (add columns: ...)"},
		"in an ordered":    {"ordered: { a: 1s, b: x }", "5:26: b: want a duration such as 5s, found x"},
		"ordered":          {"ordered: [a]", "5:14: ordered: want a mapping of names to values, found a list"},
		"short":            {"short: { }", "5:5: short has no columns (add columns: ...)"},
		"on":               {"bool: on", "5:11: bool: want true or false, found on (write true)"},
		"embedded":         {"level: 1", `5:5: unknown key "level" in source s`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got everything
			var text []string
			for _, p := range decoded(t, c.yaml, &got) {
				_, rest, _ := strings.Cut(p.Error(), "f.yaml:")
				text = append(text, rest)
			}
			want := strings.Split(c.want, "\n")
			for _, w := range want {
				if !strings.Contains(strings.Join(text, "\n"), w) {
					t.Errorf("want %s\ngot %s", w, strings.Join(text, "\n"))
				}
			}
			if len(text) != len(want) {
				t.Errorf("%d problems: %q", len(text), text)
			}
		})
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	t.Parallel()
	size := Size(7)
	got := everything{Text: "kept", Pointer: &size, Short: short{Columns: []string{"a"}, Other: true}}
	if p := decoded(t, "int: 1\nshort: { columns: b }", &got); p != nil {
		t.Fatal(p)
	}
	if got.Text != "kept" || *got.Pointer != 7 || got.Int != 1 || !got.Short.Other || got.Short.Columns[0] != "b" {
		t.Errorf("%+v", got)
	}
}

func TestDecodeRefusesWhatItCannotFill(t *testing.T) {
	t.Parallel()
	for name, into := range map[string]any{
		"no pointer": everything{}, "nil": (*everything)(nil), "nothing": nil,
		"function": &struct{ F func() }{}, "keys": &struct{ F map[int]string }{}, "interface": &struct{ F any }{},
	} {
		p := decoded(t, "f: { a: 1 }", into)
		if len(p) != 1 || p[0].Code != CodePlugin {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestGoodFile(t *testing.T) {
	t.Parallel()
	files, problems, err := Load([]string{"testdata/good"}, env)
	if err != nil || len(problems) > 0 || len(files) != 1 {
		t.Fatalf("%v %v", problems, err)
	}
	f := files[0]
	if p := checked(f, nil); p != nil {
		t.Fatal(p)
	}
	if f.Version != 1 || f.State.Folder != ".acequia" || f.Memory != 256<<20 {
		t.Errorf("%+v", f)
	}
	if d := cmp.Diff([]string{"games", "cinema"}, f.Sources.Names()); d != "" {
		t.Error(d)
	}
	var lake lakeSink
	p := f.Sinks[0].Value.Decode(&lake)
	if p != nil || lake.URL != "file:///var/lib/acequia/lake" || lake.Roll.Every != time.Minute || lake.Roll.Rows != 1e6 {
		t.Errorf("%v %+v", p, lake)
	}
	var pg pgSource
	p = f.Sources[1].Value.Decode(&pg)
	if p != nil || pg.DSN != "postgres://u:secret@db/x" || strings.Contains(fmt.Sprint(pg), "u:secret") {
		t.Errorf("%v %+v", p, pg)
	}
	games := f.Pipelines[0]
	if games.Name != "games" || games.From.Name != "games" || len(games.To) != 1 || games.To[0].Name != "lake" || len(games.Steps) != 3 {
		t.Errorf("%+v", games)
	}
	if d := cmp.Diff(Retry{3, 5 * time.Second, 30 * time.Second}, games.Retry); d != "" || games.StopAfter != 0.05 {
		t.Errorf("%s %v", d, games.StopAfter)
	}
	var derive deriveStep
	if p := games.Steps[1].Decode(&derive); p != nil || derive.Columns[1] != (Entry[string]{"price", "$5"}) {
		t.Errorf("%v %+v", p, derive)
	}
	if len(games.Tests) != 1 || games.Tests[0].Name != "old games go" || games.Tests[0].Output == nil {
		t.Fatalf("%+v", games.Tests)
	}
	row := games.Tests[0].Input[0]
	if got := row.AppendJSON(nil, record.Field{Name: "note", Kind: record.String}); string(got) != `"${NOT_EXPANDED}"` {
		t.Errorf("%s", got)
	}
	if p := games.At("errors.stop_after", errors.New("too much")); p.Line != 26 || p.Column == 1 || p.Error() == "" {
		t.Error(p)
	}
	if p := games.At("to", errors.New("x")); p.Line != 25 || p.Column != 5 {
		t.Error(p)
	}
	if p := games.At("tests", errors.New("x")); p.Line != 19 || p.Column != 3 {
		t.Error(p)
	}
}

func TestPlaceTakesErrorsApart(t *testing.T) {
	t.Parallel()
	text := "version: 1\nsources:\n  s: { type: t, list: [a, b], map: { k: 'it''s x' } }\n"
	f, _ := Parse("f.yaml", []byte(text), nil)
	b := f.Sources[0].Value
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nil":   {nil, ""},
		"plain": {bad, "ACQ-CFG-009: f.yaml:3:3: source s: bad"},
		"value": {At(bad, "list", "1"), "ACQ-CFG-009: f.yaml:3:27: list.1: bad"},
		"list":  {At(bad, "list"), "ACQ-CFG-009: f.yaml:3:17: list: bad"},
		"offset": {
			&FieldError{Path: []string{"map", "k"}, Offset: 5, Err: bad, Remedy: "mend it"},
			"ACQ-CFG-009: f.yaml:3:48: map.k: bad (mend it)",
		},
		"beyond":  {&FieldError{Path: []string{"map", "k"}, Offset: 99, Err: bad}, "ACQ-CFG-009: f.yaml:3:49: map.k: bad"},
		"type":    {At(bad, "type"), "ACQ-CFG-009: f.yaml:3:14: type: bad"},
		"missing": {At(bad, "map", "z"), "ACQ-CFG-009: f.yaml:3:31: map.z: bad"},
		"block":   {At(bad), "ACQ-CFG-009: f.yaml:3:3: bad"},
		"coded": {
			&fault.Error{Code: "ACQ-X-001", Err: fmt.Errorf("open: %w", At(bad, "list", "0")), Remedy: "do"},
			"ACQ-X-001: f.yaml:3:24: list.0: bad (do)",
		},
		"wrapped":  {fmt.Errorf("open: %w", bad), "ACQ-CFG-009: f.yaml:3:3: source s: open: bad"},
		"no cause": {&fault.Error{Code: "ACQ-X-001"}, "ACQ-X-001: f.yaml:3:3: source s: ACQ-X-001: fatal"},
		"joined": {
			errors.Join(bad, At(bad, "map"), fmt.Errorf("x: %w", errors.Join(At(bad, "list")))),
			"ACQ-CFG-009: f.yaml:3:3: source s: bad\nACQ-CFG-009: f.yaml:3:17: list: bad\nACQ-CFG-009: f.yaml:3:31: map: bad",
		},
		"many lines": {errors.New("a\n\tb\x1b[2J"), "ACQ-CFG-009: f.yaml:3:3: source s: a b\ufffd[2J"},
	} {
		if got := b.Place(c.err).Error(); got != c.want {
			t.Errorf("%s:\nwant %s\ngot  %s", name, c.want, got)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const one = "version: 1\nmemory: 1GiB\nsources: { s: { type: t, x: \"${file:key}\" } }\n" +
		"sinks: { k: { type: t } }\npipelines: { p: { from: s, to: k } }\n"
	a := write("a.yaml", one)
	b := write("b.yml", strings.Replace(one, "1GiB", "2GiB", 1))
	write("key", "abc\r\n")
	write("ignored.txt", "x")
	files, problems, err := Load([]string{dir, a}, nil)
	if err != nil || len(files) != 2 {
		t.Fatal(len(files), err)
	}
	want := "ACQ-CFG-005: b:2:9: memory differs from that in a (set it in one file: it is of the whole process)\n" +
		"ACQ-CFG-005: b:3:12: source s stands in a:3 too (give one of them another name)\n" +
		"ACQ-CFG-005: b:4:10: sink k stands in a:4 too (give one of them another name)\n" +
		"ACQ-CFG-005: b:5:14: pipeline p stands in a:5 too (give one of them another name)"
	if d := cmp.Diff(want, strings.NewReplacer(a, "a", b, "b").Replace(problems.Error())); d != "" {
		t.Error(d)
	}
	var x struct{ X Secret }
	if p := files[0].Sources[0].Value.Decode(&x); p != nil || x.X != "abc" {
		t.Error(p, len(x.X))
	}
	for _, path := range []string{filepath.Join(dir, "none.yaml"), t.TempDir()} {
		if _, _, err := Load([]string{path}, nil); fault.Code(err) == "" || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", t.TempDir(), "/dev/zero", filepath.Join(t.TempDir(), "none")} {
		if text, err := readSecret(path); err == nil {
			t.Errorf("%s: %d bytes", path, len(text))
		}
	}
}

func TestAliasesAreBounded(t *testing.T) {
	t.Parallel()
	text := "version: 1\nx-a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		text += fmt.Sprintf("x-%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	_, problems := Parse("f.yaml", []byte(text), nil)
	if !strings.Contains(problems.Error(), "aliases make more than") {
		t.Error(problems)
	}
}

func TestLargeFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"bytes": strings.Repeat("#", maxFile+1), "brackets": strings.Repeat("[", 100_000), "braces": strings.Repeat("{a: ", 50_000),
		"dashes": strings.Repeat("- ", 100_000), "questions": strings.Repeat("? ", 100_000),
		"bytes that are no text": "a: \xff", "zero": "a: \x00",
	} {
		_, problems := Parse("f.yaml", []byte(text), nil)
		if len(problems) != 1 || problems[0].Code != CodeSyntax {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestSecretsInClearText wants a warning of each text that is secret, and of a way to connect only when it has a password in it.
func TestSecretsInClearText(t *testing.T) {
	t.Parallel()
	for text, warns := range map[string]bool{
		"hunter2": true, "a2V5=": true, "postgres://u:hunter2@db/x": true, "'host=db user=u password=hunter2'": true,
		"postgres://postgres@127.0.0.1:5432/shop": false, "'host=/run dbname=shop'": false, "'postgres://u:${PW:-x}@db/x'": false,
	} {
		var x struct {
			X Secret `yaml:"x"`
		}
		problems := decoded(t, "x: "+text, &x)
		if warned := len(problems) > 0; warned != warns || problems.Errors() {
			t.Errorf("%s: %v", text, problems)
		}
	}
}
