package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/record"
)

// seeds gives the test files to a fuzz target.
func seeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/broken/*.yaml", "testdata/good/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
}

func noFile(string) ([]byte, error) { return nil, errors.New("no file") }

// Whatever the text is, reading it ends without a panic, and every problem has a place in it.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		file, problems := parse("f.yaml", []byte(text), &expander{lookup: env, read: noFile})
		problems = checked(file, problems)
		for _, e := range file.Sources {
			problems = append(problems, e.Value.Place(At(errors.New("x"), "key", "1"))...)
			problems = append(problems, e.Value.Decode(&everything{})...)
		}
		problems = append(problems, rowsAreJSON(t, file)...)
		inside(t, text, problems)
		var out bytes.Buffer
		Render(&out, problems, func(string) []byte { return []byte(text) })
		if strings.ContainsAny(out.String(), "\x1b\x00\r") {
			t.Errorf("%q", out.String())
		}
	})
}

// rowsAreJSON wants each value of a test's rows as JSON, whatever its column is, and gives a problem of each.
func rowsAreJSON(t *testing.T, file *File) Problems {
	t.Helper()
	var problems Problems
	for _, p := range file.Pipelines {
		for _, test := range p.Tests {
			for _, row := range test.Input {
				for _, name := range row.Columns() {
					for _, kind := range []record.Kind{record.Int64, record.Float64, record.Decimal, record.String, record.Bool, record.Date} {
						if text := row.AppendJSON(nil, record.Field{Name: name, Kind: kind}); !json.Valid(text) {
							t.Errorf("%s: %q", name, text)
						}
					}
					problems = append(problems, row.At(name, "", "x"), row.Unknown(name, nil))
				}
			}
			problems = append(problems, test.At("input.0", "", "x"))
		}
	}
	return problems
}

func FuzzExpand(f *testing.F) {
	texts := []string{"${A}", "${A:-b}", "${A:-${B:-c}}", "$${A}", "${A:?m}", "${env:A}", "${", "$", "${:-}", "é${A", "}${A:-}}"}
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := &node{kind: scalar, style: double, line: 1, column: 1, width: 1, text: text, written: text}
		e := &expander{file: newSource("f", text), lookup: env, read: noFile}
		e.all(n)
		if n.broken != (len(e.problems) > 0) || !strings.Contains(text, "$") && n.text != text {
			t.Errorf("%q: %v", n.text, e.problems)
		}
	})
}

// pointed gives what stands above the carets.
func pointed(t *rapid.T, out string) string {
	lines := strings.Split(out, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "> ") && i+1 < len(lines) {
			at := regexp.MustCompile(`^ *(\^+)`).FindStringSubmatchIndex(lines[i+1])
			line := []rune(l)
			if at == nil || at[3] > len(line) {
				t.Fatalf("no caret:\n%s", out)
			}
			return string(line[at[2]:at[3]])
		}
	}
	t.Fatalf("no line:\n%s", out)
	return ""
}

// The caret stands under the whole word that is wrong, wherever and however it is written.
func TestCaretPointsAtTheWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z][a-z_]{0,12}zzq`).Draw(t, "word")
		quote := rapid.SampledFrom([]string{"", "'", `"`}).Draw(t, "quote")
		settings := [][2]string{{"path", "x"}, {"stream", `"a, b: c"`}, {"key", "[a, 'b c', \"d\"]"}, {"schema", "{ a: int64 }"}}
		want := quote + word + quote
		bad := [2]string{"format", want}
		switch rapid.IntRange(0, 2).Draw(t, "mistake") {
		case 0:
			bad = [2]string{want, "1"}
		case 1:
			bad = [2]string{"schema", "{ a: int64, b: [ x ], " + strings.Repeat(" ", rapid.IntRange(0, 5).Draw(t, "spaces")) + want + ": }"}
			settings = settings[:3]
			want = "["
		}
		settings = append(settings, bad)
		settings = rapid.Permutation(settings).Draw(t, "order")
		gap := strings.Repeat(" ", rapid.IntRange(1, 4).Draw(t, "gap"))
		var text strings.Builder
		text.WriteString(strings.Repeat("# a comment\n", rapid.IntRange(0, 12).Draw(t, "comments")) + "version: 1\nsources:\n" + gap + "games:")
		if rapid.Bool().Draw(t, "flow") {
			text.WriteString(" { type: file")
			for _, s := range settings {
				text.WriteString("," + gap + s[0] + ":" + gap + s[1])
			}
			text.WriteString(" }\n")
		} else {
			text.WriteString("\n" + gap + "  type: file")
			for _, s := range settings {
				text.WriteString("\n" + gap + "  " + s[0] + ":" + gap + s[1] + " # said")
			}
		}
		f, problems := Parse("f.yaml", []byte(text.String()), nil)
		if len(f.Sources) != 1 {
			t.Fatalf("%v\n%s", problems, text.String())
		}
		problems = f.Sources[0].Value.Decode(&fileSource{})
		var out strings.Builder
		Render(&out, problems, func(string) []byte { return []byte(text.String()) })
		if len(problems) == 0 || pointed(t, out.String()) != want {
			t.Fatalf("want %s in\n%s\n%s", want, text.String(), out.String())
		}
	})
}

func TestRenderWithoutTheText(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := Problems{{Code: CodeWrong, File: "f.yaml", Line: 9, Column: 2, Width: 1, Message: "it is wrong", Remedy: "mend it"}}
	Render(&out, p, func(string) []byte { return nil })
	Render(&out, p, func(string) []byte { return []byte("short") })
	Render(&out, nil, nil)
	const one = "✗ ACQ-CFG-003 f.yaml:9:2  it is wrong\n  mend it\n"
	if out.String() != one+one {
		t.Error(out.String())
	}
}

// An error inside the text of a value is put at its character, however the text is written.
func TestOffsetsPointAtTheCharacter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := []rune("x" + rapid.StringMatching(`[ -~é€]{0,30}`).Draw(t, "text") + "y")
		at := rapid.IntRange(0, len(text)-1).Draw(t, "offset")
		var written strings.Builder
		block := false
		switch rapid.IntRange(0, 2).Draw(t, "style") {
		case 0:
			written.WriteString("'" + strings.ReplaceAll(string(text), "'", "''") + "'")
		case 1:
			written.WriteByte('"')
			for _, c := range text {
				switch {
				case c == '"' || c == '\\':
					written.WriteString(`\` + string(c))
				case c > 127 && rapid.Bool().Draw(t, "escaped"):
					fmt.Fprintf(&written, `\u%04x`, c)
				default:
					written.WriteRune(c)
				}
			}
			written.WriteByte('"')
		default:
			written.WriteString("|\n      first\n      " + string(text) + "\n      last")
			block = true
		}
		file := "version: 1\nsources:\n  s:\n    type: t\n    v: " + written.String() + "\n"
		f, problems := parse("f.yaml", []byte(strings.ReplaceAll(file, "$", "$$")), &expander{lookup: env})
		if strings.Contains(string(text), "$") {
			t.Skip("a reference moves what comes after it")
		}
		if len(f.Sources) != 1 {
			t.Fatal(problems)
		}
		offset := at
		if block {
			offset += len("first\n")
		}
		p := f.Sources[0].Value.Place(&FieldError{Path: []string{"v"}, Offset: offset, Err: errors.New("x")})[0]
		rest := []rune(strings.Split(file, "\n")[p.Line-1])[p.Column-1:]
		switch c := text[at]; {
		case offset == 0: // the value as a whole
		case rest[0] == c:
		case rest[0] == '\\' && (rest[1] == c || rest[1] == 'u'):
		default:
			t.Fatalf("%q, not %q: %s", string(rest), string(c), file)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, err := os.ReadFile("testdata/good/games.yaml")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if p := checked(Parse("games.yaml", text, env)); p != nil {
			b.Fatal(p)
		}
	}
}
