//go:build cgo

package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeParquet lets a DuckDB without restrictions write the rows of a SELECT as a file of the lake.
func writeParquet(t *testing.T, path, selectSQL string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "COPY ("+selectSQL+") TO "+quote(path)+" (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
}

// oneView is a catalog of one table with one view.
func oneView(table, selectSQL string) Catalog {
	return func(context.Context, string) ([]LakeTable, error) {
		return []LakeTable{{Name: table, Partition: []string{"dt"}, Views: []View{{Name: table, SQL: selectSQL}}}}, nil
	}
}

// handWritten is a catalog of one table whose view is written by hand.
func handWritten(ctx context.Context, lake string) ([]LakeTable, error) {
	glob := filepath.Join(lake, "games", "*", "*.parquet")
	files, err := filepath.Glob(glob)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return oneView("games", "SELECT NULL::BIGINT AS id, NULL::VARCHAR AS title WHERE false")(ctx, lake)
	}
	return oneView("games", "SELECT id, title FROM read_parquet("+quote(glob)+", hive_types_autocast = false)")(ctx, lake)
}

func newEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	if cfg.Lake == "" {
		cfg.Lake = t.TempDir()
		writeParquet(t, filepath.Join(cfg.Lake, "games/dt=2026-11-24/a.parquet"),
			"SELECT i AS id, 'Juego '||i AS title FROM range(10) t(i)")
	}
	if cfg.Catalog == nil {
		cfg.Catalog = handWritten
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ask runs a query and gives its rows as text, NULL as "∅".
func ask(t *testing.T, e *Engine, req Request) ([][]string, *Rows, error) {
	t.Helper()
	rows, err := e.Query(t.Context(), req)
	if err != nil {
		return nil, nil, err
	}
	var out [][]string
	for rows.Next() {
		line := make([]string, len(rows.Row()))
		for i, v := range rows.Row() {
			line[i] = v.Text
			if v.Null {
				line[i] = "∅"
			}
		}
		out = append(out, line)
	}
	return out, rows, rows.Close()
}

func TestQueryGivesTypedColumnsAndText(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	got, rows, err := ask(t, e, Request{SQL: `SELECT 1::TINYINT AS a, 2.50::DECIMAL(10,2) AS a, 'ñ, "x"' AS s, true AS b,
		DATE '2026-11-24' AS d, TIMESTAMPTZ '2026-11-24 10:00:00-05' AS z, [1, NULL] AS l, {'k': 'v'} AS st, NULL AS n,
		170141183460469231731687303715884105727::HUGEINT AS h, 'nan'::DOUBLE AS f, MAP {'a': 1} AS m; -- end`})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{
		"1", "2.50", `ñ, "x"`, "true", "2026-11-24", "2026-11-24 15:00:00+00", "[1,null]", `{"k":"v"}`, "∅",
		"170141183460469231731687303715884105727", "nan", `{"a":1}`,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantColumns := []Column{
		{"a", "TINYINT", Number},
		{"a", "DECIMAL(10,2)", Number},
		{"s", "VARCHAR", Text},
		{"b", "BOOLEAN", Bool},
		{"d", "DATE", Text},
		{"z", "TIMESTAMP WITH TIME ZONE", Text},
		{"l", "INTEGER[]", JSON},
		{"st", "STRUCT(k VARCHAR)", JSON},
		{"n", "INTEGER", Number},
		{"h", "HUGEINT", Number},
		{"f", "DOUBLE", Number},
		{"m", "MAP(VARCHAR, INTEGER)", JSON},
	}
	if diff := cmp.Diff(wantColumns, rows.Columns()); diff != "" {
		t.Error(diff)
	}
}

func TestQueryReads(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	for _, text := range []string{
		"SELECT count(*) FROM games", "FROM games", "DESCRIBE games", "SUMMARIZE games", "SHOW TABLES", "VALUES (1), (2)",
		"WITH a AS (SELECT 1 AS x) SELECT * FROM a", "SELECT * FROM range(3)", "SELECT unnest([1, 2])",
		"SELECT * FROM (PIVOT games ON id IN (1, 2) USING count(*))", "EXPLAIN SELECT * FROM games",
		"explain analyze select count(*) from games;", "SELECT 1;", "SELECT ';' AS x -- ; DROP", "/* a */ SELECT 1",
		"SELECT g.title FROM games g JOIN games h USING (id) QUALIFY row_number() OVER (ORDER BY g.id) = 1",
		"SELECT id FROM games UNION ALL SELECT 1 ORDER BY 1", "TABLE games",
	} {
		got, _, err := ask(t, e, Request{SQL: text})
		if err != nil || len(got) == 0 {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestQueryRefusesAllButReading(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.txt")
	if err := os.WriteFile(secret, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Config{})
	inLake := filepath.Join(e.cfg.Lake, "written")
	before := listed(t, e.cfg.Lake, outside)
	for _, text := range []string{
		"COPY games TO '" + inLake + "'", "COPY (SELECT 1) TO '" + outside + "/x.csv'", "EXPORT DATABASE '" + inLake + "'",
		"EXPLAIN ANALYZE COPY games TO '" + inLake + "'", "EXPLAIN (ANALYZE) COPY games TO '" + inLake + "'",
		"/**/ EXPLAIN ANALYZE COPY games TO '" + inLake + "'",
		"ATTACH '" + inLake + "'", "ATTACH ':memory:' AS m", "SELECT * FROM read_text('" + secret + "')",
		"SELECT * FROM '" + secret + "'", "SELECT * FROM read_csv('" + secret + "')", "SELECT * FROM sniff_csv('" + secret + "')",
		"SELECT * FROM read_blob('" + e.cfg.Lake + "/games/dt=2026-11-24/a.parquet')", "SELECT * FROM glob('/etc/*')",
		"SELECT (SELECT content FROM read_text('" + secret + "'))", "WITH a AS (SELECT * FROM read_text('" + secret + "')) FROM a",
		"SELECT * FROM query('SELECT * FROM read_text(''" + secret + "'')')", "SELECT * FROM query_table('games')",
		"SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))", "SELECT * FROM duckdb_secrets()",
		"SELECT * FROM enable_logging(storage = 'file', storage_path = '" + outside + "')", "CALL enable_logging()",
		"SELECT write_log('x')", "SELECT * FROM checkpoint()", "SELECT * FROM duckdb_settings()",
		"SELECT current_setting('temp_directory')", "INSTALL httpfs", "LOAD httpfs", "SET threads = 8", "RESET threads",
		"PRAGMA threads = 8", "PRAGMA database_list", "SET VARIABLE a = 1", "CREATE TABLE a (i INT)", "CREATE VIEW v AS SELECT 1",
		"CREATE MACRO f() AS 1", "CREATE OR REPLACE VIEW games AS SELECT 1", "DROP VIEW games", "INSERT INTO games VALUES (1)",
		"DELETE FROM games", "UPDATE games SET id = 1", "BEGIN", "COMMIT", "VACUUM", "CHECKPOINT", "USE memory", "PREPARE p AS SELECT 1",
		"CREATE SECRET s (TYPE s3)", "SELECT 1; SELECT 2", "SELECT 1; DROP VIEW games", "DROP VIEW games; SELECT 1", "", "  ", "-- x",
		"SELECT 1\x00; DROP VIEW games", "SELECT $1", "PIVOT games ON id", "SELECT * FROM read_parquet('s3://b/x.parquet')",
		"SELECT '" + strings.Repeat("x", MaxSQL) + "'", "FROM parquet_metadata('" + e.cfg.Lake + "/games/*/*.parquet')",
		"SELECT * FROM duckdb_logs()", "EXECUTE p", "DETACH memory", "COMMENT ON VIEW games IS 'x'", "IMPORT DATABASE '" + outside + "'",
	} {
		got, _, err := ask(t, e, Request{SQL: text})
		if err == nil {
			t.Errorf("%.60s was run: %v", text, got)
			continue
		}
		if code := fault.Code(err); code != "ACQ-QUERY-002" && code != "ACQ-QUERY-003" {
			t.Errorf("%.60s: code %q of %v", text, code, err)
		}
	}
	if diff := cmp.Diff(before, listed(t, e.cfg.Lake, outside)); diff != "" {
		t.Errorf("files changed: %s", diff)
	}
	got, _, err := ask(t, e, Request{SQL: "SELECT count(*) FROM games"})
	if err != nil || got[0][0] != "10" {
		t.Errorf("games after all that: %v, %v", got, err)
	}
}

// TestDatabaseIsLocked shows that the settings alone keep SQL from other files, were the check ever passed.
func TestDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Lake: t.TempDir()}
	cfg.setDefaults()
	base, err := open(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = base.close() }()
	for _, text := range []string{
		"SELECT * FROM read_text('" + outside + "')", "COPY (SELECT 1) TO '" + outside + ".csv'", "ATTACH '" + outside + ".db'",
		"SET threads = 3", "SET allowed_directories = ['/']", "SET enable_external_access = true", "INSTALL httpfs",
	} {
		if _, err := base.pool.ExecContext(t.Context(), text); err == nil {
			t.Errorf("%s was run", text)
		}
	}
	var zone string
	if err := base.pool.QueryRowContext(t.Context(), "SELECT current_setting('TimeZone')").Scan(&zone); err != nil || zone != "UTC" {
		t.Errorf("time zone %q, %v", zone, err)
	}
}

func listed(t *testing.T, dirs ...string) []string {
	t.Helper()
	var out []string
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			out = append(out, path)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestQueryErrorHasExcerptAndCaret(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	for text, want := range map[string]string{
		"SELECT 1,\n  nope FROM games": "LINE 2:   nope FROM games\n          ^",
		"SELEC 1":                      "LINE 1: SELEC 1\n        ^",
	} {
		_, _, err := ask(t, e, Request{SQL: text})
		found, ok := errors.AsType[*SQLError](err)
		if !ok {
			t.Fatalf("%s: %v", text, err)
		}
		if found.Excerpt() != want || found.Line == 0 || strings.Contains(found.Summary(), "LINE") || fault.Code(err) != "ACQ-QUERY-002" {
			t.Errorf("%s: line %d, summary %q, excerpt:\n%s", text, found.Line, found.Summary(), found.Excerpt())
		}
	}
	if _, _, err := ask(t, e, Request{SQL: "SELECT CAST(title AS INTEGER) FROM games"}); fault.Code(err) != "ACQ-QUERY-002" {
		t.Errorf("failing while running: %v", err)
	}
}

func TestQueryCaps(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{MaxRows: 5})
	for asked, want := range map[int]int{0: 5, 3: 3, 99: 5} {
		got, rows, err := ask(t, e, Request{SQL: "SELECT id FROM games ORDER BY id DESC", MaxRows: asked})
		if err != nil || len(got) != want || !rows.Truncated() || rows.Limit() != want || got[0][0] != "9" {
			t.Errorf("asked for %d: %d rows, truncated %v, %v", asked, len(got), rows.Truncated(), err)
		}
	}
	got, rows, err := ask(t, e, Request{SQL: "SELECT id FROM games LIMIT 5"})
	if err != nil || len(got) != 5 || rows.Truncated() {
		t.Errorf("as many rows as may be: %d, truncated %v, %v", len(got), rows.Truncated(), err)
	}
	const endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c"
	if _, _, err := ask(t, e, Request{SQL: endless, Timeout: 50 * time.Millisecond}); fault.Code(err) != "ACQ-QUERY-004" {
		t.Errorf("time cap: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := e.Query(ctx, Request{SQL: endless}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got, _, err := ask(t, e, Request{SQL: "SELECT 1"}); err != nil || got[0][0] != "1" {
		t.Errorf("after a cancelled query: %v, %v", got, err)
	}
}

func TestQueryMemoryCap(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{Memory: 32 << 20, Spill: 1 << 20})
	_, _, err := ask(t, e, Request{SQL: "SELECT count(DISTINCT hash(i)) FROM range(20000000) t(i)"})
	if fault.Code(err) != "ACQ-QUERY-005" {
		t.Errorf("memory cap: %v", err)
	}
}

func TestQuerySeesNewFilesAndEmptyTables(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	e := newEngine(t, Config{Lake: lake})
	for n := range 4 {
		got, _, err := ask(t, e, Request{SQL: "SELECT count(*) FROM games"})
		if err != nil || got[0][0] != fmt.Sprint(n*2) {
			t.Fatalf("after %d files: %v, %v", n, got, err)
		}
		writeParquet(t, filepath.Join(lake, fmt.Sprintf("games/dt=2026-11-2%d/f%d.parquet", n%2, n)),
			"SELECT i AS id, 'x' AS title FROM range(2) t(i)")
	}
}

func TestDatabaseClosesWhenIdle(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{Idle: time.Nanosecond})
	for range 3 {
		if _, _, err := ask(t, e, Request{SQL: "SELECT 1"}); err != nil {
			t.Fatal(err)
		}
		if !eventually(func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.base == nil
		}) {
			t.Fatal("the idle database stays open")
		}
	}
}

// eventually asks again and again for at most ten seconds.
func eventually(ok func() bool) bool {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			return false
		}
	}
	return true
}

func TestCloseRefusesAndWaitsForRows(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	rows, err := e.Query(t.Context(), Request{SQL: "SELECT * FROM games"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if !rows.Next() || rows.Row()[1].Text != "Juego 0" {
		t.Error("the rows of a running query are gone")
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Query(t.Context(), Request{SQL: "SELECT 1"}); fault.Code(err) != "ACQ-QUERY-006" {
		t.Errorf("after Close: %v", err)
	}
	if e.base != nil {
		t.Error("the database was left open")
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	for n := range 3 {
		tables, err := e.Tables(t.Context())
		if err != nil || len(tables) != 1 {
			t.Fatalf("%v, %v", tables, err)
		}
		got := tables[0]
		if got.Rows != int64(10+n) || got.Files != 1+n || got.Bytes < 100 || got.First != "dt=2026-11-24" ||
			got.Last != fmt.Sprintf("dt=2026-11-2%d", 4+n) || !cmp.Equal(got.Views, []string{"games"}) {
			t.Errorf("after %d files more: %+v", n, got)
		}
		writeParquet(t, filepath.Join(e.cfg.Lake, fmt.Sprintf("games/dt=2026-11-2%d/b.parquet", 5+n)), "SELECT 1 AS id, 'x' AS title")
	}
	if got, err := e.Table(t.Context(), "games"); err != nil || got.Rows != 13 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := e.Table(t.Context(), "nope"); fault.Code(err) != "ACQ-QUERY-011" || !strings.Contains(err.Error(), "games") {
		t.Errorf("nope: %v", err)
	}
	empty := newEngine(t, Config{Lake: t.TempDir()})
	if got, err := empty.Table(t.Context(), "games"); err != nil || got.Rows != 0 || got.First != "" {
		t.Errorf("empty: %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(e.cfg.Lake, "games/dt=2026-11-24/torn.parquet"), []byte("PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Tables(t.Context()); err == nil || !strings.Contains(err.Error(), "torn.parquet") {
		t.Errorf("a torn file: %v", err)
	}
}

// TestCancelAtAnyMoment cancels before, while and after DuckDB starts to work: a query that was started but not yet
// waited for once kept its connection for ever.
func TestCancelAtAnyMoment(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	var wait sync.WaitGroup
	for worker := range 4 {
		wait.Go(func() {
			for n := range 8 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(worker+4*n)*300*time.Microsecond)
				if _, err := e.Query(ctx, Request{SQL: "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c"}); err == nil {
					t.Error("an endless query ended")
				}
				cancel()
			}
		})
	}
	wait.Wait()
	if got, _, err := ask(t, e, Request{SQL: "SELECT 1"}); err != nil || got[0][0] != "1" {
		t.Errorf("after the cancelled queries: %v, %v", got, err)
	}
}
