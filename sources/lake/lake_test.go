package lake_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources/lake"
)

// row is a record of the table games, as a lake holds it.
type row struct {
	id      int64
	country string // "": null
	op      record.Op
	version record.Version
	source  string
	at      string
}

func gamesTable(tb testing.TB, partition ...string) (*schemas.LakeTable, *record.Schema) {
	tb.Helper()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "country", Kind: record.String, Nullable: true})
	if err != nil {
		tb.Fatal(err)
	}
	t, err := schemas.NewLakeTable("games", s, partition)
	if err != nil {
		tb.Fatal(err)
	}
	return t, s
}

// games writes a file for each folder, of batches of one source and epoch each.
func games(tb testing.TB, root, name string, s *record.Schema, rows ...row) {
	tb.Helper()
	b := record.NewBuilder(s, len(rows))
	sys := b.System()
	for _, r := range rows {
		b.Int(0, r.id)
		if r.country == "" {
			b.Null(1)
		} else {
			b.String(1, r.country)
		}
		b.Next()
		at, err := lake.ParseTime(r.at)
		if err != nil {
			tb.Fatal(err)
		}
		sys.Ops, sys.EventTimes = append(sys.Ops, r.op), append(sys.EventTimes, at.UnixMicro())
		v := &sys.Versions
		v.Epoch, v.Hi, v.Lo, v.Index = r.version.Epoch, append(v.Hi, r.version.Hi), append(v.Lo, r.version.Lo), append(v.Index, r.version.Index)
		sys.Source = r.source
	}
	if err := put(root, name, b.Batch(nil)); err != nil {
		tb.Fatal(err)
	}
}

// read gives all rows of a source as text, sorted, and what was refused.
func read(tb testing.TB, s *lake.Source) (rows []string, refused []record.Refused, err error) {
	tb.Helper()
	lanes, err := s.Lanes(tb.Context())
	if err != nil {
		return nil, nil, err
	}
	for _, l := range lanes {
		r, err := s.Open(tb.Context(), l, "")
		if err != nil {
			return rows, refused, err
		}
		for {
			c, err := r.Read(tb.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return rows, refused, errors.Join(err, r.Close())
			}
			refused = append(refused, c.Refused...)
			for _, b := range c.Batches {
				for i := range b.Rows {
					sys := &b.System
					rows = append(rows, fmt.Sprintf("%s %s %s %s %s %s", b.AppendJSON(nil, i), sys.Op(i), sys.Versions.At(i), sys.EventIDs.Text(i), sys.Source,
						time.UnixMicro(sys.EventTime(i)).UTC().Format(time.RFC3339)))
				}
			}
		}
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	}
	slices.Sort(rows)
	return rows, refused, nil
}

func newSource(tb testing.TB, c lake.Config) *lake.Source {
	tb.Helper()
	s, err := lake.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// ids are the keys of rows as read gives them.
func ids(rows []string) string {
	var out []string
	for _, r := range rows {
		id, _, _ := strings.Cut(strings.TrimPrefix(r, `{"id":`), ",")
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return strings.Join(out, " ")
}

// A compacted file holds rows of several sources and epochs side by side: each comes back as it was.
func TestSystemColumnsComeBack(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	merged := row{id: 1, op: record.Update, version: record.Version{Epoch: 3, Hi: 1, Lo: 2, Index: 4}, source: "a", at: "2026-11-24T10:00:00Z"}
	games(t, root, "games/dt=2026-11-24/a.parquet", s, merged)
	games(t, root, "games/dt=2026-11-24/b.parquet", s, row{id: 2, country: "ES", op: record.Delete, version: record.Version{Epoch: 4, Lo: 9}, source: "b", at: "2026-11-24"})
	if err := mix(root, "games/dt=2026-11-24/c.parquet", table); err != nil {
		t.Fatal(err)
	}
	got, refused, err := read(t, newSource(t, lake.Config{URL: root}))
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	v := func(epoch uint16, hi, lo uint64, index uint32) string {
		return record.Version{Epoch: epoch, Hi: hi, Lo: lo, Index: index}.String()
	}
	want := []string{
		`{"id":1,"country":null} U ` + v(3, 1, 2, 4) + ` games/dt=2026-11-24/a.parquet:0 a 2026-11-24T10:00:00Z`,
		`{"id":2,"country":"ES"} D ` + v(4, 0, 9, 0) + ` games/dt=2026-11-24/b.parquet:0 b 2026-11-24T00:00:00Z`,
	}
	for i := range int64(20) {
		source := []string{"x", "y", "y"}[i%3]
		want = append(want, fmt.Sprintf(`{"id":%d,"country":"C"} I %s e%d %s 2026-11-24T00:00:00Z`, 100+i, v(uint16(i%2), 7, uint64(i), 1), i, source)) //nolint:gosec // small
	}
	slices.Sort(want)
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// mix writes a file whose rows change source and epoch all the time.
func mix(root, name string, table *schemas.LakeTable) error {
	fields := append(append([]record.Field{}, table.Columns...), schemas.SystemFields()...)
	fields[len(table.Columns)+1].Kind = record.String // as text: a batch of versions has one epoch
	columns := make([]record.Column, len(fields))
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC).UnixMicro()
	for i := range int64(20) {
		columns[0].Ints = append(columns[0].Ints, 100+i)
		version := record.Version{Epoch: uint16(i % 2), Hi: 7, Lo: uint64(i), Index: 1} //nolint:gosec // small
		for at, text := range []string{1: "C", 2: "I", 3: version.String(), 4: fmt.Sprint("e", i), 5: []string{"x", "y", "y"}[i%3]} {
			if at > 0 {
				columns[at].AppendText([]byte(text))
			}
		}
		columns[6].Ints, columns[7].Ints = append(columns[6].Ints, day), append(columns[7].Ints, day)
	}
	return writeFile(root, name, fields, columns, 20)
}

// What is left out: files of partitions that cannot match, rows of other times, rows that the expression refuses. Deletes
// and truncates are read wherever a file is, and the folder of nulls, where truncates are, is read for every expression.
func TestWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t, "country")
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	for i, folder := range []string{"ES", "FR", "a%20b", "__HIVE_DEFAULT_PARTITION__"} {
		country, id := []string{"ES", "FR", "a b", ""}[i], int64(10*i)
		removal := record.Delete
		if country == "" {
			removal = record.Truncate
		}
		games(t, root, "games/country="+folder+"/f.parquet", s, row{id: id, country: country, op: record.Insert, at: "2026-11-24"},
			row{id: id + 1, country: country, op: record.Insert, at: "2026-11-25"}, row{id: id + 2, country: country, op: removal, at: "2026-11-26"})
	}
	for name, c := range map[string]struct {
		config lake.Config
		ids    string
		files  int
	}{
		"all":                {lake.Config{}, "0 1 2 10 11 12 20 21 22 30 31 32", 4},
		"times":              {lake.Config{From: "2026-11-25", To: "2026-11-26T00:00:00Z"}, "1 11 21 31", 4},
		"from":               {lake.Config{From: "2026-11-26"}, "2 12 22 32", 4},
		"one partition":      {lake.Config{Where: `row.country == "ES"`}, "0 1 2 32", 2},
		"escaped":            {lake.Config{Where: `row.country == "a b" && row.id > 20`}, "21 22 32", 2},
		"within":             {lake.Config{Where: `row.id % 10 == 1 && (row.country == "FR" || row.country == "ES")`}, "1 2 11 12 32", 3},
		"quoted":             {lake.Config{Where: `row.country == "ES && false"`}, "32", 1},
		"not a partition's":  {lake.Config{Where: `row.country == "ES" || row.id == 11`}, "0 1 2 11 12 22 32", 4},
		"nulls":              {lake.Config{Where: `row.country == null`}, "30 31 32", 1},
		"tables":             {lake.Config{Tables: []string{"g*"}}, "0 1 2 10 11 12 20 21 22 30 31 32", 4},
		"where and a time":   {lake.Config{Where: `row.id < 20`, To: "2026-11-25"}, "0 10", 4},
		"a choice":           {lake.Config{Where: `row.country == "ES" ? true : row.id == 11`}, "0 1 2 11 12 22 32", 4},
		"nothing in a month": {lake.Config{From: "2026-12-01"}, "", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.URL = "file://" + root
			source := newSource(t, c.config)
			got, refused, err := read(t, source)
			if err != nil || len(refused) > 0 {
				t.Fatal(err, refused)
			}
			files, err := source.Files(t.Context())
			if have := ids(got); err != nil || have != c.ids || len(files) != c.files {
				t.Errorf("%s, want %s; %d files, want %d; %v", have, c.ids, len(files), c.files, err)
			}
		})
	}
}

// Of a table by days, the days outside of the times are not read.
func TestDaysAreLeftOut(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	for _, day := range []string{"2026-11-23", "2026-11-24", "2026-11-25"} {
		games(t, root, "games/dt="+day+"/f.parquet", s, row{id: 1, op: record.Insert, at: day + "T12:00:00Z"})
	}
	for want, c := range map[int]lake.Config{
		3: {}, 2: {From: "2026-11-24"}, 1: {From: "2026-11-24", To: "2026-11-24T00:00:01Z"}, 0: {To: "2026-11-23"},
	} {
		c.URL = root
		if files, err := newSource(t, c).Files(t.Context()); len(files) != want || err != nil {
			t.Errorf("%+v: %v, %v", c, files, err)
		}
	}
}

// Files that were replaced are not read, and those that replace them are, once.
func TestReplacedFilesAreNotRead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	one, two := row{id: 1, op: record.Insert, at: "2026-11-24"}, row{id: 2, op: record.Insert, at: "2026-11-24"}
	inputs := []string{"games/dt=2026-11-24/a.parquet", "games/dt=2026-11-24/b.parquet"}
	games(t, root, inputs[0], s, one)
	games(t, root, inputs[1], s, two)
	games(t, root, "_swaps/games/1.tmp", s, one, two)
	dir, err := blob.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	swaps, err := lakefiles.Lock(t.Context(), dir, "games")
	if err != nil {
		t.Fatal(err)
	}
	defer swaps.Close()
	games(t, root, "_swaps/games/1.tmp", s, one, two)
	output := blob.Publication{Staged: "_swaps/games/1.tmp", Final: "games/dt=2026-11-24/" + lakefiles.NewID(time.Now()) + ".parquet"}
	if err := swaps.Swap(t.Context(), "s", inputs, []blob.Publication{output}, time.Hour); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, newSource(t, lake.Config{URL: root}))
	if ids(got) != "1 2" || err != nil {
		t.Error(got, err)
	}
}

// Fixed files stay what is read, whatever comes to the lake later; small ones share a lane, which resumes in any of them.
func TestFixedFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	name := func(i int) string { return fmt.Sprintf("games/dt=2026-11-24/f%d.parquet", i) }
	for i := range 4 {
		games(t, root, name(i), s, row{id: int64(2 * i), op: record.Insert, at: "2026-11-24"}, row{id: int64(2*i + 1), op: record.Insert, at: "2026-11-24"})
	}
	first := newSource(t, lake.Config{URL: root})
	files, err := first.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	games(t, root, name(9), s, row{id: 99, op: record.Insert, at: "2026-11-24"})
	source := newSource(t, lake.Config{URL: root})
	source.Fix("replay/x", files)
	lanes, err := source.Lanes(t.Context())
	if err != nil || len(lanes) != 1 || lanes[0].ID != "replay/x/00000" {
		t.Fatal(lanes, err)
	}
	got, _, err := read(t, source)
	if ids(got) != "0 1 2 3 4 5 6 7" || err != nil {
		t.Fatal(got, err)
	}
	r, err := source.Open(t.Context(), lanes[0], "")
	if err != nil {
		t.Fatal(err)
	}
	for left := 6; left >= 0; left -= 2 {
		c, err := r.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rest, err := source.Open(t.Context(), lanes[0], c.To)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for {
			c, err := rest.Read(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			rows += c.Batches[0].Rows
		}
		if err := rest.Close(); rows != left || err != nil {
			t.Errorf("after %s: %d rows, want %d; %v", c.To, rows, left, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestLakeMistakes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	file := "games/dt=2026-11-24/f.parquet"
	games(t, root, file, s, row{id: 1, op: record.Insert, at: "2026-11-24"})
	for name, c := range map[string]struct {
		config lake.Config
		want   []string
	}{
		"url":          {lake.Config{URL: "ftp://x"}, []string{"ftp://x", "no place of a lake"}},
		"tables":       {lake.Config{URL: root, Tables: []string{"gamez"}}, []string{`no table "gamez"`}},
		"pattern":      {lake.Config{URL: root, Tables: []string{"[a"}}, []string{"no pattern"}},
		"where":        {lake.Config{URL: root, Where: "row.id =="}, []string{"mismatched input"}},
		"where column": {lake.Config{URL: root, Where: "row.year == 1"}, []string{"year"}},
		"where kind":   {lake.Config{URL: root, Where: "row.id"}, []string{"a bool is wanted"}},
		"from":         {lake.Config{URL: root, From: "yesterday"}, []string{`"yesterday" is no time`}},
		"to":           {lake.Config{URL: root, From: "2026-11-25", To: "2026-11-24"}, []string{"is not after"}},
		"no lake":      {lake.Config{URL: root + "/nothing"}, []string{"ACQ-LAKE-030", "_tables"}},
	} {
		source, err := lake.New(c.config)
		if err == nil {
			_, err = source.Describe(t.Context())
		}
		for _, want := range c.want {
			if err == nil || !strings.Contains(fmt.Sprint(err, fault.Code(err)), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	whole, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		code    string
	}{
		"cut off": {whole[:len(whole)-9], "ACQ-LAKE-032"},
		"a page":  {append(append(bytes.Clone(whole[:20]), whole[20]^0x55, whole[21]^0x55), whole[22:]...), "ACQ-LAKE-032"},
		"whole":   {whole, ""},
	} {
		if err := os.WriteFile(filepath.Join(root, file), c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := read(t, newSource(t, lake.Config{URL: root}))
		if fault.Code(err) != c.code || c.code != "" && !strings.Contains(err.Error(), "f.parquet") {
			t.Errorf("%s: %v", name, err)
		}
	}
	table.Columns[1].Kind = record.Bool
	if err := errors.Join(described(root, table), os.WriteFile(filepath.Join(root, file), whole, 0o600)); err != nil {
		t.Fatal(err)
	}
	source := newSource(t, lake.Config{URL: root})
	if _, _, err := read(t, source); fault.Code(err) != "ACQ-LAKE-034" || !strings.Contains(err.Error(), "country") || source.Check(t.Context()) == nil {
		t.Error(err)
	}
}

// Rows that the expression fails for are refused with what they were.
func TestRowsThatTheExpressionFailsFor(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	table, s := gamesTable(t)
	if err := described(root, table); err != nil {
		t.Fatal(err)
	}
	games(t, root, "games/dt=2026-11-24/f.parquet", s, row{id: 5, op: record.Insert, at: "2026-11-24"},
		row{id: 0, op: record.Insert, at: "2026-11-24", version: record.Version{Epoch: 2}}, row{id: 0, op: record.Delete, at: "2026-11-24"})
	got, refused, err := read(t, newSource(t, lake.Config{URL: root, Where: "10 / row.id == 2"}))
	if err != nil || ids(got) != "0 5" || len(refused) != 1 {
		t.Fatal(got, refused, err)
	}
	if r := refused[0]; string(r.Raw) != `{"id":0,"country":null}` || r.Column != "id" || !strings.Contains(r.Err.Error(), "f.parquet, row 2") {
		t.Errorf("%+v", r)
	}
}

// FuzzFile wants rows or an error of whatever a file holds.
func FuzzFile(f *testing.F) {
	root := f.TempDir()
	table, s := gamesTable(f)
	if err := described(root, table); err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(root, "games/dt=2026-11-24/f.parquet")
	games(f, root, "games/dt=2026-11-24/f.parquet", s, row{id: 5, country: "ES", op: record.Insert, at: "2026-11-24"})
	whole, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		source := newSource(t, lake.Config{URL: root})
		lanes, err := source.Lanes(context.Background())
		if err != nil {
			return
		}
		for _, l := range lanes {
			r, err := source.Open(context.Background(), l, "")
			if err != nil {
				return
			}
			for rows := 0; err == nil && rows < 10_000; {
				var c record.Chunk
				if c, err = r.Read(context.Background()); err == nil {
					rows++
					c.Release()
				}
			}
			_ = r.Close() // of a file that may be damaged
		}
	})
}
