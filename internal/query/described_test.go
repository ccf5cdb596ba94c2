//go:build cgo

package query

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

func gamesTable(t *testing.T) *schemas.LakeTable {
	t.Helper()
	s, err := record.NewSchema("videogames", []string{"id"}, record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "title", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	table, err := schemas.NewLakeTable("videogames", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func describe(t *testing.T, lake string, table *schemas.LakeTable) {
	t.Helper()
	text, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(lake, "_tables"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lake, "_tables", table.Name+".json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// gameRow writes one change of a game as a row with system columns.
func gameRow(id, title, op string, version int, day string) string {
	return fmt.Sprintf("SELECT '%s' AS id, '%s' AS title, 1999::INTEGER AS year, '%s' AS _op, '%032x' AS _version, '%d' AS _event_id, "+
		"'form' AS _source, TIMESTAMPTZ '%s 10:00:00+00' AS _event_ts, TIMESTAMPTZ '%s 10:00:01+00' AS _ingest_ts",
		id, title, op, version, version, day, day)
}

func TestDescribedTables(t *testing.T) {
	t.Parallel()
	lake := filepath.Join(t.TempDir(), "it's a lake")
	e := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	if tables, err := e.Tables(t.Context()); err != nil || len(tables) != 0 {
		t.Fatalf("a lake that does not exist: %v, %v", tables, err)
	}
	describe(t, lake, gamesTable(t))
	count := "SELECT count(*), count(year) FROM videogames_latest"
	if got, _, err := ask(t, e, Request{SQL: count}); err != nil || got[0][0] != "0" {
		t.Fatalf("a table without files: %v, %v", got, err)
	}
	writeParquet(t, filepath.Join(lake, "_staging/x.parquet"), gameRow("9", "staged", "I", 9, "2026-11-24"))
	writeParquet(t, filepath.Join(lake, "videogames/dt=2026-11-24/a.parquet"),
		gameRow("1", "Zelda", "I", 1, "2026-11-24")+" UNION ALL "+gameRow("2", "Pong", "I", 2, "2026-11-24"))
	writeParquet(t, filepath.Join(lake, "videogames/dt=2026-11-25/b.parquet"),
		gameRow("1", "Zelda II", "U", 3, "2026-11-25")+" UNION ALL "+gameRow("2", "Pong", "D", 4, "2026-11-25"))
	got, rows, err := ask(t, e, Request{SQL: "SELECT id, title, _event_ts, dt, typeof(dt) FROM videogames_latest"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"1", "Zelda II", "2026-11-25 10:00:00", "2026-11-25", "VARCHAR"}}, got); diff != "" {
		t.Error(diff)
	}
	if rows.Columns()[2].Type != "TIMESTAMP" {
		t.Errorf("columns %v", rows.Columns())
	}
	info, err := e.Table(t.Context(), "videogames_latest")
	if err != nil || info.Name != "videogames" || info.Rows != 4 || info.Last != "dt=2026-11-25" {
		t.Errorf("%+v, %v", info, err)
	}
	_, rows, err = ask(t, e, Request{SQL: "SELECT * FROM videogames"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows.Columns(), info.Columns); diff != "" {
		t.Errorf("described columns are not those of the view: %s", diff)
	}
}

// TestDistinctView has a table without a key: each event is in the view once, and rows without an id all are.
func TestDistinctView(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	e := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	table := gamesTable(t)
	table.Key = nil
	describe(t, lake, table)
	noID := strings.Replace(gameRow("5", "No id", "I", 1, "2026-11-24"), "'1' AS _event_id", "NULL::VARCHAR AS _event_id", 1)
	writeParquet(t, filepath.Join(lake, "videogames/dt=2026-11-24/a.parquet"), gameRow("1", "Zelda", "I", 1, "2026-11-24")+" UNION ALL "+noID)
	writeParquet(t, filepath.Join(lake, "videogames/dt=2026-11-24/b.parquet"), gameRow("1", "Zelda", "I", 1, "2026-11-24")+
		" UNION ALL "+noID+" UNION ALL "+gameRow("2", "Pong", "I", 2, "2026-11-24"))
	got, _, err := ask(t, e, Request{SQL: "SELECT title, count(*) FROM videogames_distinct GROUP BY title ORDER BY title"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"No id", "2"}, {"Pong", "1"}, {"Zelda", "1"}}, got); diff != "" {
		t.Error(diff)
	}
	if ddl := table.AthenaDDL("s3://b/lake", "2026-01-01"); !strings.Contains(ddl, `VIEW "videogames_distinct" AS`) || !strings.Contains(ddl, `VIEW "videogames_latest" AS`) {
		t.Errorf("the DDL is\n%s", ddl)
	}
}

func TestDescribedTablesNameABadDescription(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	describe(t, lake, gamesTable(t))
	if err := os.WriteFile(filepath.Join(lake, "_tables/broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	_, err := e.Query(t.Context(), Request{SQL: "SELECT 1"})
	if fault.Code(err) != "ACQ-QUERY-006" || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("%v", err)
	}
}

// A query sees the files of before or those of after, at every point of a swap, however old the views are that it has.
func TestCountsAreExactWhileFilesAreSwapped(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	describe(t, lake, gamesTable(t))
	day := "videogames/dt=2026-11-24/"
	inputs := []string{day + "a.parquet", day + "b.parquet"}
	one, two := gameRow("1", "Zelda", "I", 1, "2026-11-24"), gameRow("2", "Pong", "I", 2, "2026-11-24")
	writeParquet(t, filepath.Join(lake, inputs[0]), one)
	writeParquet(t, filepath.Join(lake, inputs[1]), two)
	before, err := DescribedTables(t.Context(), lake)
	if err != nil {
		t.Fatal(err)
	}
	old := newEngine(t, Config{Lake: lake, Catalog: func(context.Context, string) ([]LakeTable, error) { return before, nil }})
	now := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	look := func(when string, engines ...*Engine) {
		for i, e := range engines {
			got, _, err := ask(t, e, Request{SQL: "SELECT count(*), count(DISTINCT a.id) FROM videogames a"})
			if err != nil || got[0][0] != "2" || got[0][1] != "2" {
				t.Errorf("%s, engine %d: %v, %v", when, i, got, err)
			}
			if info, err := e.Table(t.Context(), "videogames"); err != nil || info.Rows != 2 {
				t.Errorf("%s, engine %d: %+v, %v", when, i, info, err)
			}
		}
	}
	dir, err := blob.Open(lake)
	if err != nil {
		t.Fatal(err)
	}
	table, err := lakefiles.Lock(t.Context(), dir, "videogames")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	table.Probe = func(point string) {
		if point == lakefiles.BeforeDelete || point == lakefiles.AfterDelete {
			look(point, now)
			return
		}
		look(point, old, now)
	}
	writeParquet(t, filepath.Join(lake, "_swaps/videogames/1.tmp"), one+" UNION ALL "+two)
	output := blob.Publication{Staged: "_swaps/videogames/1.tmp", Final: day + lakefiles.NewID(time.Now()) + ".parquet"}
	if err := table.Swap(t.Context(), "s", inputs, []blob.Publication{output}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if deleted, _, err := table.Sweep(t.Context(), time.Now().Add(2*time.Hour)); deleted != 2 || err != nil {
		t.Fatal(deleted, err)
	}
	look("in the end", now)
}

// epochRow writes one row of a table without a key: of a snapshot when op is R.
func epochRow(title, op string, epoch, index int) string {
	version := record.Version{Epoch: uint16(epoch), Lo: 7, Index: uint32(index)} //nolint:gosec // small
	if op == "T" {
		version = record.Version{Epoch: uint16(epoch)} //nolint:gosec // small
	}
	row := gameRow("0", title, op, 0, "2026-11-24")
	row = strings.Replace(row, fmt.Sprintf("'%032x' AS _version", 0), fmt.Sprintf("'%s' AS _version", version), 1)
	return strings.Replace(row, "'0' AS _event_id", "NULL::VARCHAR AS _event_id", 1)
}

// A truncate takes away what is older, whatever its key; what came later stays, and so does a delete.
func TestLatestAfterATruncate(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	e := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	describe(t, lake, gamesTable(t))
	day := "2026-11-24"
	file := func(name string, rows ...string) {
		writeParquet(t, filepath.Join(lake, "videogames/dt="+day, name), strings.Join(rows, " UNION ALL "))
	}
	look := func(want ...[]string) {
		t.Helper()
		got, _, err := ask(t, e, Request{SQL: "SELECT id, title FROM videogames_latest ORDER BY id"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	file("a.parquet", gameRow("1", "old", "I", 1, day), gameRow("2", "old", "I", 2, day), gameRow("", "", "T", 5, day))
	look()
	file("b.parquet", gameRow("1", "new", "U", 7, day), gameRow("3", "new", "I", 8, day), gameRow("", "late", "I", 4, day), gameRow("2", "at once", "I", 5, day))
	look([]string{"1", "new"}, []string{"2", "at once"}, []string{"3", "new"})
	file("c.parquet", gameRow("3", "new", "D", 9, day), gameRow("", "", "T", 3, day), gameRow("", "", "I", 10, day))
	look([]string{"", ""}, []string{"1", "new"}, []string{"2", "at once"})
}

// A table without a key shows its newest complete snapshot, each row as often as it is there; before there is one, what it has.
func TestLatestWithoutAKey(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	e := newEngine(t, Config{Lake: lake, Catalog: DescribedTables})
	table := gamesTable(t)
	table.Key = nil
	describe(t, lake, table)
	file := func(name string, rows ...string) {
		writeParquet(t, filepath.Join(lake, "videogames/dt=2026-11-24", name), strings.Join(rows, " UNION ALL "))
	}
	look := func(when string, want ...[]string) {
		t.Helper()
		for _, view := range []string{"latest", "distinct"} {
			got, _, err := ask(t, e, Request{SQL: "SELECT title, count(*) FROM videogames_" + view + " GROUP BY title ORDER BY title"})
			if err != nil {
				t.Fatal(err)
			}
			if view == "distinct" && strings.Contains(fmt.Sprint(got), "[ ") {
				t.Errorf("%s, the distinct view shows a truncate: %v", when, got)
			}
			if diff := cmp.Diff(want, got); diff != "" && view == "latest" {
				t.Errorf("%s: %s", when, diff)
			}
		}
	}
	look("no files")
	twice := epochRow("Pong", "R", 1, 2)
	file("a.parquet", epochRow("Zelda", "R", 1, 0), epochRow("Zelda", "R", 1, 1), twice, twice, gameRow("1", "event", "I", 1, "2026-11-24"), gameRow("1", "event", "I", 1, "2026-11-24"))
	look("never truncated", []string{"Pong", "2"}, []string{"Zelda", "2"}, []string{"event", "1"})
	file("b.parquet", epochRow("", "T", 1, 0))
	look("one snapshot", []string{"Pong", "1"}, []string{"Zelda", "2"})
	file("c.parquet", epochRow("Zelda", "R", 2, 0), epochRow("Tetris", "R", 2, 1))
	look("a second one under way", []string{"Pong", "1"}, []string{"Zelda", "2"})
	file("d.parquet", epochRow("", "T", 2, 0))
	look("the second one complete", []string{"Tetris", "1"}, []string{"Zelda", "1"})
	file("e.parquet", epochRow("Doom", "I", 2, 9), epochRow("Tetris", "D", 2, 10))
	look("an insert and a delete", []string{"Doom", "1"}, []string{"Tetris", "1"}, []string{"Zelda", "1"})
}
