//go:build cgo

package query

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag

const sampler = `SELECT * FROM (VALUES
	(1, 'Pokémon', 12.50::DECIMAL(9,2), true, DATE '1996-02-27', [1, 2], 'nan'::DOUBLE),
	(-20, '龍が如く', NULL, false, NULL, [], 1e300),
	(300, 'a "b", c' || chr(10) || 'd | *e* <b>', 0, NULL, DATE '2026-11-24', NULL, -0.5),
	(NULL, '', 1, true, DATE '2000-01-01', [NULL], 0),
	(5, ' \x ' || chr(27) || '[31m' || chr(8238), 2, true, DATE '2000-01-01', [3], 'inf'),
	(6, '👾 e' || chr(769) || ', NULL', 3, true, DATE '2000-01-01', [3], 1)
) t(id, title, price, ok, day, list, "a_b|c")`

func TestFormats(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	for name, text := range map[string]string{
		"sampler": sampler, "empty": "SELECT 1 AS a, 'x' AS b WHERE false", "one": "SELECT 'x' AS a, 2 AS a",
		"cut": "SELECT * FROM range(100) t(n)",
	} {
		for _, f := range []Format{Table, CSV, JSONList, NDJSON, Markdown} {
			rows, err := e.Query(t.Context(), Request{SQL: text, MaxRows: 6})
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := Write(&out, rows, f); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+string(f), out.Bytes())
			checkParses(t, f, out.Bytes(), rows.Count())
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// checkParses reads the output back with another program's reader.
func checkParses(t *testing.T, f Format, got []byte, rows int) {
	t.Helper()
	switch f {
	case CSV:
		lines, err := csv.NewReader(bytes.NewReader(got)).ReadAll()
		if err != nil || len(lines) != rows+1 {
			t.Errorf("csv: %d lines, %v", len(lines), err)
		}
	case JSONList:
		var list []map[string]any
		if err := json.Unmarshal(got, &list); err != nil || len(list) != rows {
			t.Errorf("json: %d objects, %v", len(list), err)
		}
	case NDJSON:
		for line := range strings.Lines(string(got)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("ndjson: %s", line)
			}
		}
	case Table, Markdown:
		if bytes.ContainsRune(got, 27) {
			t.Errorf("%s passes an escape on to the terminal", f)
		}
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	if f, err := ParseFormat("md"); f != Markdown || err != nil {
		t.Errorf("md: %s, %v", f, err)
	}
	if _, err := ParseFormat("xml"); fault.Code(err) != "ACQ-QUERY-009" {
		t.Errorf("xml: %v", err)
	}
}

func TestSavedQueriesRun(t *testing.T) {
	t.Parallel()
	games := "SELECT * FROM (VALUES ('A', 'N/A', 'Misc', 1999, true, TIMESTAMP '2026-11-24'), " +
		"('B', 'Nintendo', 'Sports', 1999, false, TIMESTAMP '2026-11-23'), ('C', 'Nintendo', 'Sports', 2001, true, TIMESTAMP '2026-11-25')) " +
		"t(title, developer, genre, year, competitive, _event_ts)"
	e := newEngine(t, Config{Catalog: oneView("videogames_latest", games)})
	want := map[string][]string{
		"games-by-genre": {"Sports", "2"}, "games-by-year": {"1999", "2"}, "games-by-developer": {"Nintendo", "2"},
		"competitive-share": {"1999", "50.0", "2"}, "games-count": {"3"},
		"newest-games": {"2026-11-25 00:00:00", "C", "Nintendo", "Sports", "2001", "true"},
	}
	all, err := SavedQueries()
	if err != nil || len(all) != len(want) {
		t.Fatalf("%d saved queries, %v", len(all), err)
	}
	for _, q := range all {
		got, rows, err := ask(t, e, Request{SQL: q.SQL})
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		if diff := cmp.Diff(want[q.Name], got[0]); diff != "" {
			t.Errorf("%s: %s", q.Name, diff)
		}
		names := map[string]bool{"": q.Plot.Kind == ""}
		for _, c := range rows.Columns() {
			names[c.Name] = true
		}
		if !names[q.Plot.X] || !names[q.Plot.Y] {
			t.Errorf("%s plots %v, which it does not give", q.Name, q.Plot)
		}
	}
	if _, err := FindSaved("nope"); fault.Code(err) != "ACQ-QUERY-007" {
		t.Errorf("nope: %v", err)
	}
	if q, err := FindSaved("games-count"); err != nil || q.Title.In("es") == q.Title.In("en") {
		t.Errorf("games-count: %v, %v", q, err)
	}
}

func TestSaveResult(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	dir := filepath.Join(t.TempDir(), "results")
	const text = "SELECT id, title FROM games ORDER BY id"
	rows, err := e.Query(t.Context(), Request{SQL: text, MaxRows: 2})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.SaveResult(dir, text, rows)
	if err != nil || r.Rows != 2 || !r.Truncated || r.SQL != text {
		t.Fatalf("%+v, %v", r, err)
	}
	got, err := os.ReadFile(r.Path)
	if err != nil || string(got) != "id,title\n0,Juego 0\n1,Juego 1\n" {
		t.Errorf("%q, %v", got, err)
	}
	note, err := os.ReadFile(strings.TrimSuffix(r.Path, ".csv") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var read Receipt
	if err := json.Unmarshal(note, &read); err != nil || read.File != filepath.Base(r.Path) || read.Rows != 2 {
		t.Errorf("%s, %v", note, err)
	}
	if n := len(listed(t, dir)); n != 3 {
		t.Errorf("%d entries where the folder and two files should be", n)
	}
}

func TestSaveResultRefusesTheLake(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(e.cfg.Lake, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, code := range map[string]string{
		e.cfg.Lake: "ACQ-QUERY-008", filepath.Join(e.cfg.Lake, "games"): "ACQ-QUERY-008", link: "ACQ-QUERY-008",
		filepath.Join(link, "new"): "ACQ-QUERY-008", file: "ACQ-QUERY-010",
	} {
		rows, err := e.Query(t.Context(), Request{SQL: "SELECT 1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.SaveResult(dir, "SELECT 1", rows); fault.Code(err) != code {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(e.cfg.Lake, "new")); err == nil {
		t.Error("a refused results folder was made in the lake")
	}
}
