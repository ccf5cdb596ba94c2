package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/file"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]file.Config{
		"path: which files":              {},
		"path: ** is not known":          {Path: "a/**/*.csv"},
		"no pattern":                     {Path: "a[.csv"},
		"format: is needed":              {Path: "-"},
		`format: "xml"`:                  {Path: "a", Format: "xml"},
		`compression: "zip"`:             {Path: "a", Compression: "zip"},
		"read from its end":              {Path: "a", Format: "parquet", Compression: "gzip"},
		`delimiter: ";;"`:                {Path: "a", Delimiter: ";;"},
		"sample: must":                   {Path: "a", Sample: -1},
		"schema.b":                       {Path: "a", Schema: types("a int64", "b text")},
		"schema.A: a and A":              {Path: "a", Schema: types("a int64", "A int64")},
		`key.0: there is no column "idd`: {Path: "a", Key: []string{"idd"}, Schema: types("id int64")},
		"did you mean id?":               {Path: "a", Key: []string{"idd"}, Schema: types("id int64")},
		"key.1: ID stands twice":         {Path: "a", Key: []string{"id", "ID"}, Schema: types("id int64")},
	} {
		_, err := file.New(c)
		if _, ok := errors.AsType[*config.FieldError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestStreamNames(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"data/Games.csv": "games", "data/*.csv": "data", "data/games-*.csv.gz": "games", "a/b.c/x[0-9]?.ndjson.zst": "x0_9", "*": "files",
		"2024.csv":              "_2024",
		"data/part-00?.parquet": "part_00",
	} {
		schemas, err := source(t, file.Config{Path: path, Schema: types("id int64")}).Describe(t.Context())
		if err != nil || schemas[0].Stream != want {
			t.Errorf("%s: %v %v, want %s", path, schemas, err, want)
		}
	}
}

func lanes(tb testing.TB, s sources.Source) []string {
	tb.Helper()
	lanes, err := s.Lanes(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var ids []string
	for _, l := range lanes {
		ids = append(ids, l.ID)
	}
	return ids
}

func TestLanes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("{\"id\":1}\n", 30)
	dir := folder(t, map[string]string{
		"b/2.csv": "id\n1\n", "b/1.csv": "id\n1\n", "a/1.csv": long, "a/x.ndjson": long, "a/y.ndjson.gz": string(pack([]byte(long))),
		"a/sub.csv/z": "",
	})
	s := source(t, file.Config{Path: dir + "/*/*.csv", Schema: types("id int64")})
	s.Cut(100, 8<<20)
	if d := cmp.Diff([]string{"a/1.csv", "b/1.csv", "b/2.csv"}, lanes(t, s)); d != "" {
		t.Error(d)
	}
	s = source(t, file.Config{Path: dir + "/a/*.nd*", Format: "ndjson", Schema: types("id int64")})
	s.Cut(100, 8<<20)
	if d := cmp.Diff([]string{"x.ndjson", "x.ndjson#100", "x.ndjson#200", "y.ndjson.gz"}, lanes(t, s)); d != "" {
		t.Error(d)
	}
}

// Each mistake is told with its code, what was looked at, and what to do.
func TestMistakes(t *testing.T) {
	t.Parallel()
	csv := "id,global_sales,name\n1,2,a\n"
	for name, c := range map[string]struct {
		files map[string]string
		path  string
		want  []string
	}{
		"no file":   {nil, "/*.csv", []string{"ACQ-FILE-001", "/*.csv: no file matches, looked in ", "check the path"}},
		"no folder": {nil, "/none/*.csv", []string{"ACQ-FILE-001", "there is no such folder"}},
		"a folder":  {map[string]string{"d/a.csv": csv}, "/d", []string{"ACQ-FILE-001", "it is a folder"}},
		"no format": {map[string]string{"a.dat": csv}, "/a.dat", []string{"ACQ-FILE-003", "a.dat", "set format"}},
		"no column": {map[string]string{"a.csv": "id,globalsales,x\n"}, "/*.csv", []string{
			"ACQ-FILE-004", "a.csv:1",
			`"Global_Sales"`, `did you mean "globalsales"?`, "id, globalsales, x",
		}},
		"in a later file": {map[string]string{"a.csv": csv, "b.csv": "id\n"}, "/*.csv", []string{"ACQ-FILE-004", "b.csv:1", `"Global_Sales"`}},
		"two columns": {map[string]string{"a.csv": "id,Global Sales,GLOBAL-SALES\n"}, "/*.csv", []string{
			"ACQ-FILE-005",
			`"Global Sales" and "GLOBAL-SALES" are both the column global_sales`,
		}},
		"quotes of header": {map[string]string{"a.csv": "id,\"x\"y\n"}, "/*.csv", []string{"ACQ-FILE-022", "a.csv:1"}},
		"UTF-16":           {map[string]string{"a.csv": "\xff\xfei\x00d\x00\n\x00"}, "/*.csv", []string{"ACQ-FILE-009", "a.csv", "UTF-16"}},
		"UTF-16, NDJSON":   {map[string]string{"a.ndjson": "\xfe\xff\x00{\x00}"}, "/*.ndjson", []string{"ACQ-FILE-009"}},
		"no gzip": {map[string]string{"a.csv.gz": "\x1f\x8bno gzip, but text that is long enough"}, "/*", []string{
			"ACQ-FILE-008",
			"a.csv.gz", "damaged",
		}},
		"no Parquet": {map[string]string{"a.parquet": csv}, "/*", []string{"ACQ-FILE-008", "a.parquet", "footer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, c.files)
			s := source(t, file.Config{Path: dir + c.path, Schema: types("id int64", "Global_Sales int64")})
			for what, err := range map[string]error{"check": s.Check(t.Context()), "read": all(t, s).err} {
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) || fault.Of(err) != fault.Fatal {
						t.Errorf("%s: %v, want %s", what, err, want)
					}
				}
			}
		})
	}
}

func TestCheckAndIgnored(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.csv": "ID,Extra,Name\n1,x,a\n", "b.csv": "id,name,more\n",
		"c.ndjson": "{\"id\":1,\"other\":{\"x\":1}}\n", "d.csv": "",
	})
	for path, want := range map[string][]string{"/*.csv": {"Extra", "more"}, "/*.ndjson": {"other"}} {
		s := source(t, file.Config{Path: dir + path, Schema: types("id int64", "name string")})
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, s.Ignored()); d != "" {
			t.Error(d)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.csv": "ID,Extra\n1,x\n", "b.csv": "id,more\n", "c.csv": "id\n", "d.csv": "id\n",
		"bad/a.csv": "name\n",
	})
	for path, want := range map[string][]string{
		"/*.csv":     {"reads 4 files of 27 B, about ", " rows in 4 lanes: ", "/a.csv, ", "... ", "/d.csv\n", "leaves out the columns Extra, more"},
		"/none":      {"ACQ-FILE-001"},
		"/bad/*.csv": {"reads 1 file of", "ACQ-FILE-004"},
	} {
		lines := strings.Join(file.Plugin().Plan(t.Context(), &file.Config{Path: dir + path, Schema: types("id int64")}), "\n")
		for _, w := range want {
			if !strings.Contains(lines, w) {
				t.Errorf("%s: %s, want %s", path, lines, w)
			}
		}
	}
}

// TestPlanEstimatesRows wants the number of rows within a tenth, of texts whose beginning alone is read, and the exact one of Parquet.
func TestPlanEstimatesRows(t *testing.T) {
	t.Parallel()
	const rows = 200_000
	var csv, ndjson bytes.Buffer
	csv.WriteString("id,name\n")
	for i := range rows {
		fmt.Fprintf(&csv, "%d,name %x\n", 100_000+i, i*7919)
		fmt.Fprintf(&ndjson, "{\"id\":%d,\"name\":\"name %x\"}\n", 100_000+i, i*7919)
	}
	dir := folder(t, map[string]string{
		"a.csv": csv.String(), "a.csv.gz": string(pack(csv.Bytes())), "a.csv.zst": string(zstandard(csv.Bytes())), "a.ndjson": ndjson.String(),
		"two/a.csv": csv.String(), "two/b.csv.gz": string(pack([]byte("id,name\n1,x\n"))), "bad/a.csv.gz": "\x1f\x8bno gzip",
		"empty/a.csv": "",
	})
	for path, want := range map[string]float64{"/a.csv": rows, "/a.csv.gz": rows, "/a.csv.zst": rows, "/a.ndjson": rows, "/two/*": rows, "/empty/*": 0, "/bad/*": -1} {
		lines := strings.Join(file.Plugin().Plan(t.Context(), &file.Config{Path: dir + path, Schema: types("id int64")}), "\n")
		got := -1.0
		if m := regexp.MustCompile(`, (?:about )?(\d+) rows in`).FindStringSubmatch(lines); m != nil {
			got, _ = strconv.ParseFloat(m[1], 64)
		}
		if math.Abs(got-want) > math.Abs(want)/10 {
			t.Errorf("%s: %g rows, want %g: %s", path, got, want, lines)
		}
	}
}

// What stands before the place where a compressed file is cut off is read; then it is an error that no retry mends.
func TestDamagedCompression(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("id,name\n")
	for i := range 30_000 {
		fmt.Fprintf(&b, "%d,name %x\n", i, i*7919)
	}
	gz, zst := pack(b.Bytes()), zstandard(b.Bytes())
	middle := bytes.Clone(gz)
	middle[len(middle)/2] ^= 0xff
	for name, c := range map[string]struct {
		text []byte
		want string
		rows int
	}{
		"cut.csv.gz":  {gz[:len(gz)/2], "cut off", 10_000},
		"sum.csv.gz":  {gz[:len(gz)-5], "cut off", 30_000},
		"flip.csv.gz": {middle, "damaged", 1000},
		"two.csv.gz":  {append(bytes.Clone(gz), pack([]byte("30000,x\n"))...), "", 30_001},
		"junk.csv.gz": {append(bytes.Clone(gz), "junk that is no gzip"...), "damaged", 30_000},
		"cut.csv.zst": {zst[:len(zst)*2/3], "cut off", 0},
		"two.csv.zst": {append(bytes.Clone(zst), zstandard([]byte("30000,x\n"))...), "", 30_001},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := text(t, file.Config{Schema: types("id int64", "name string")}, name, string(c.text))
			if c.want == "" && g.err != nil || c.want != "" && (fault.Code(g.err) != "ACQ-FILE-008" || fault.Of(g.err) != fault.Fatal) {
				t.Error(g.err)
			}
			if c.want != "" && !strings.Contains(g.err.Error(), c.want) {
				t.Error(g.err)
			}
			if len(g.rows) < c.rows {
				t.Errorf("%d rows, want %d at least", len(g.rows), c.rows)
			}
			for i, row := range g.rows[:min(len(g.rows), 30_000)] {
				if c.want != "damaged" && row != fmt.Sprintf(`{"id":%d,"name":"name %x"}`, i, i*7919) {
					t.Fatalf("row %d is %s", i, row)
				}
			}
		})
	}
}

// A lane goes on where it stood, in every format, with the same events, lines and dead letters.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	var csv, json bytes.Buffer
	csv.WriteString("id,name\n")
	for i := range 25_000 {
		id := fmt.Sprint(i)
		if i%1000 == 500 {
			id = `"?"`
		}
		fmt.Fprintf(&csv, "%s,\"two\nlines, %d\"\n", id, i)
		fmt.Fprintf(&json, "{\"id\":%s,\"name\":\"n%d\"}\n", id, i)
	}
	files := map[string]string{
		"a.csv": csv.String(), "b.csv.gz": string(pack(csv.Bytes())), "c.ndjson": json.String(),
		"d.ndjson.zst": string(zstandard(json.Bytes())),
	}
	dir := folder(t, files)
	for name := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := file.Config{Path: filepath.Join(dir, name), Schema: types("id int64", "name string")}
			s := source(t, c)
			whole := all(t, s)
			if whole.err != nil || len(whole.rows) != 24_975 || len(whole.refused) != 25 || len(whole.chunks) != 3 {
				t.Fatal(whole.err, len(whole.rows), len(whole.refused), len(whole.chunks))
			}
			lanes, err := s.Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rows, refused := 0, 0
			for i, chunk := range whole.chunks {
				rows, refused = rows+chunk.Batches[0].Rows, refused+len(chunk.Refused)
				rest := &got{}
				rest.readLane(t.Context(), source(t, c), lanes[0], chunk.To)
				if rest.err != nil {
					t.Fatal(rest.err)
				}
				for what, pair := range map[string][2][]string{
					"rows": {whole.rows[rows:], rest.rows}, "events": {whole.events[rows:], rest.events}, "refused": {
						whole.refused[refused:],
						rest.refused,
					},
				} {
					if strings.Join(pair[0], "|") != strings.Join(pair[1], "|") {
						t.Errorf("after chunk %d: %s differ", i, what)
					}
				}
			}
		})
	}
}

// Files that changed under a position are found out; one that grew is read on.
func TestChangedFiles(t *testing.T) {
	t.Parallel()
	before := strings.Repeat("{\"id\":1}\n", 12_000)
	for name, c := range map[string]struct {
		after string
		rows  int
		code  string
	}{
		"grown":     {before + "{\"id\":2}\n", 2001, ""},
		"shorter":   {before[:len(before)/2], 0, "ACQ-FILE-007"},
		"empty":     {"", 0, "ACQ-FILE-007"},
		"rewritten": {strings.ReplaceAll(before, "1", "3"), 0, "ACQ-FILE-007"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(folder(t, map[string]string{"a.ndjson": before}), "a.ndjson")
			s := source(t, file.Config{Path: path, Schema: types("id int64")})
			g := all(t, s)
			if g.err != nil || len(g.chunks) != 2 {
				t.Fatal(g.err)
			}
			if err := os.WriteFile(path, []byte(c.after), 0o600); err != nil {
				t.Fatal(err)
			}
			lanes, err := s.Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rest := &got{}
			rest.readLane(t.Context(), s, lanes[0], g.chunks[0].To)
			if fault.Code(rest.err) != c.code || len(rest.rows) != c.rows {
				t.Error(len(rest.rows), rest.err)
			}
		})
	}
	for _, position := range []record.Position{"x", "t:1:2", "t:1:2:-3", "q:1:1:1", "p:0:0:0"} {
		s := source(t, file.Config{Path: filepath.Join(folder(t, map[string]string{"a.csv": "id\n1\n"}), "a.csv"), Schema: types("id int64")})
		g := &got{}
		g.readLane(t.Context(), s, sources.Lane{ID: "a.csv"}, position)
		if fault.Code(g.err) != "ACQ-FILE-006" {
			t.Errorf("%s: %v", position, g.err)
		}
	}
}

func TestSystemColumns(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t, map[string]string{"a.csv": "id\n1\n2\n"}), "a.csv")
	at := time.Date(2020, 2, 3, 4, 5, 6, 789_000, time.UTC)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	g := all(t, source(t, file.Config{Path: path, Stream: "shop.games", Key: []string{"id"}}))
	b := g.chunks[0].Batches[0]
	if b.System.Source != "file.shop.games" || b.System.Op(1) != record.Snapshot || b.System.EventTime(1) != at.UnixMicro() {
		t.Errorf("%+v", b.System)
	}
	if v := b.System.Versions.At(1); v.Hi != uint64(at.UnixMicro()) || v.Lo != 3 {
		t.Error(v)
	}
}

func TestStandardInput(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config file.Config
		text   string
		rows   []string
	}{
		"declared": {file.Config{Format: "csv", Schema: types("id int64")}, "id,x\n1,a\n2,b\n", []string{`{"id":1}`, `{"id":2}`}},
		"inferred": {file.Config{Format: "csv"}, "id,x\n1,a\n2,b\n", []string{`{"id":1,"x":"a"}`, `{"id":2,"x":"b"}`}},
		"sampled":  {file.Config{Format: "ndjson", Sample: 1}, "{\"id\":1}\n{\"id\":2}\n", []string{`{"id":1}`, `{"id":2}`}},
		"gzip":     {file.Config{Format: "csv"}, string(pack([]byte("id\n1\n2\n"))), []string{`{"id":1}`, `{"id":2}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Path = "-"
			s := source(t, c.config)
			s.SetStdin(strings.NewReader(c.text))
			g := all(t, s)
			if d := cmp.Diff(c.rows, g.rows); d != "" || g.err != nil {
				t.Error(d, g.err)
			}
			lanes, err := s.Lanes(t.Context())
			if err != nil || lanes[0].ID != "stdin" || lanes[0].Replayable {
				t.Error(lanes, err)
			}
			for _, from := range []record.Position{"", g.chunks[0].To} {
				if _, err := s.Open(t.Context(), lanes[0], from); fault.Code(err) != "ACQ-FILE-012" {
					t.Error(err)
				}
			}
		})
	}
}

// A read of an input that gives nothing ends with its context, and with the reader.
func TestStandardInputWaits(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	s := source(t, file.Config{Path: "-", Format: "ndjson", Schema: types("id int64")})
	s.SetStdin(in)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Read(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ended := make(chan error)
	go func() {
		_, err := r.Read(t.Context())
		ended <- err
	}()
	if _, err := io.WriteString(out, "{\"id\":1}\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}

// A list of many lanes is not looked up each time, but a new file is found before long.
func TestManyLanes(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 150 {
		files[fmt.Sprintf("%03d.csv", i)] = "id\n1\n"
	}
	dir := folder(t, files)
	s := source(t, file.Config{Path: dir + "/*.csv", Schema: types("id int64")})
	if n := len(lanes(t, s)); n != 150 {
		t.Fatal(n)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.csv"), []byte("id\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(20 * time.Second); len(lanes(t, s)) != 151; {
		if time.Now().After(late) {
			t.Fatal("the new file was not found")
		}
	}
	if g := all(t, s); len(g.rows) != 151 || g.err != nil {
		t.Error(len(g.rows), g.err)
	}
}
