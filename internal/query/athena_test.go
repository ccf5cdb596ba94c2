//go:build cgo

package query

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/athena/athenatest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// asAthena gives the statement as Athena's grammar understands it, written for DuckDB. That stands in for Athena, which cannot be had: where a
// piece of SQL means different things in the two, as 7/2 does, so do the two texts.
func asAthena(t *testing.T, sql string) string {
	t.Helper()
	parsed := athenatest.Parse(t, athenatest.Statement{Dialect: "athena", SQL: sql, Write: "duckdb"})[0]
	if parsed.Error != "" || parsed.Kind != "select" {
		t.Fatalf("%s: %+v", sql, parsed)
	}
	return parsed.SQL
}

// same compares what a statement gives here and as Athena understands it.
func same(t *testing.T, e *Engine, sql string) string {
	t.Helper()
	here, rows, err := ask(t, e, Request{SQL: sql})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	there, others, err := ask(t, e, Request{SQL: asAthena(t, sql)})
	if err != nil {
		t.Fatalf("%s: %v", asAthena(t, sql), err)
	}
	var names [2][]string
	for i, columns := range [][]Column{rows.Columns(), others.Columns()} {
		for _, c := range columns {
			names[i] = append(names[i], c.Name)
		}
	}
	return cmp.Diff(names[0], names[1]) + cmp.Diff(here, there)
}

// TestSavedQueriesAreAthenas: one file of SQL for both engines.
func TestSavedQueriesAreAthenas(t *testing.T) {
	t.Parallel()
	games := "SELECT 'T' || i AS title, CASE WHEN i % 11 = 0 THEN NULL ELSE 'D' || i % 7 END AS developer, CASE WHEN i % 5 = 0 THEN NULL ELSE 'G' || i % 3 END AS genre, " +
		"CASE WHEN i % 13 = 0 THEN NULL ELSE 1990 + i % 17 END AS year, CASE WHEN i % 19 = 0 THEN NULL ELSE i % 2 = 0 END AS competitive, " +
		"TIMESTAMP '2026-11-24' + INTERVAL (i % 23) HOUR AS _event_ts FROM range(500) t(i)"
	e := newEngine(t, Config{Catalog: oneView("videogames_latest", games)})
	all, err := SavedQueries()
	if err != nil || len(all) == 0 {
		t.Fatal(err)
	}
	for _, q := range all {
		if diff := same(t, e, q.SQL); diff != "" {
			t.Errorf("%s: %s", q.Name, diff)
		}
	}
	if same(t, e, "SELECT 7 / 2 AS half") == "" {
		t.Error("7/2 is 3 in Athena and 3.5 in DuckDB: the two are not told apart")
	}
}

// TestViewsAreAthenas: the views of Athena give what those of DuckDB give, over rows of all operations, several epochs and truncates.
func TestViewsAreAthenas(t *testing.T) {
	t.Parallel()
	rows := "SELECT (i * 7) % 40 AS id, 'T' || i AS title, ['I', 'U', 'D', 'R', 'T'][CASE WHEN i IN (100, 207) THEN 5 ELSE 1 + (i * 13) % 4 END] AS _op, " +
		"printf('%016x', i // 150) || printf('%030x', (i * 31) % 300) AS _version, CASE WHEN i % 9 = 0 THEN NULL ELSE 'e' || i % 180 END AS _event_id, 'test' AS _source, " +
		"TIMESTAMP '2026-11-24' + INTERVAL (i) MINUTE AS _event_ts, TIMESTAMP '2026-11-25' + INTERVAL (i) MINUTE AS _ingest_ts, '2026-11-24' AS dt FROM range(300) t(i)"
	for _, base := range []string{rows, strings.Replace(rows, "i IN (100, 207)", "i < 0", 1)} {
		e := newEngine(t, Config{Catalog: oneView("games", base)})
		for _, key := range [][]string{{"id"}, nil} {
			s, err := record.NewSchema("games", key, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "title", Kind: record.String, Nullable: true})
			if err != nil {
				t.Fatal(err)
			}
			table, err := schemas.NewLakeTable("games", s, nil)
			if err != nil {
				t.Fatal(err)
			}
			here := map[string]string{table.LatestName(): table.DuckDBLatest(), table.DistinctName(): table.DuckDBDistinct()}
			for _, v := range table.AthenaViews() {
				want, _, err := ask(t, e, Request{SQL: "SELECT * FROM (" + here[v.Name] + ") ORDER BY ALL"})
				if err != nil || len(want) == 0 {
					t.Fatal(len(want), err)
				}
				got, columns, err := ask(t, e, Request{SQL: "SELECT * FROM (" + asAthena(t, v.SQL) + ") ORDER BY ALL"})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s with key %v: %s", v.Name, key, diff)
				}
				for i, c := range columns.Columns() {
					if c.Name != v.Columns[i].Name {
						t.Errorf("%s: column %d is %s, and not %s", v.Name, i, c.Name, v.Columns[i].Name)
					}
				}
			}
		}
	}
}

// listed rows are those of another engine.
type listedRows struct {
	rows   [][]Value
	err    error
	closed int
}

func (l *listedRows) Next() bool {
	if len(l.rows) == 0 {
		return false
	}
	l.rows = l.rows[1:]
	return len(l.rows) > 0
}

func (l *listedRows) Values(row []Value) error { copy(row, l.rows[0]); return nil }
func (l *listedRows) Err() error               { return l.err }
func (l *listedRows) Close() error             { l.closed++; return nil }

// TestForeign writes the rows of another engine as those of DuckDB are written, byte for byte, under the same cap.
func TestForeign(t *testing.T) {
	t.Parallel()
	e := newEngine(t, Config{})
	for _, f := range []Format{Table, CSV, JSONList, NDJSON, Markdown} {
		var here, there bytes.Buffer
		own, err := e.Query(t.Context(), Request{SQL: sampler, MaxRows: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(&here, own, f); err != nil {
			t.Fatal(err)
		}
		again, err := e.Query(t.Context(), Request{SQL: sampler})
		if err != nil {
			t.Fatal(err)
		}
		other := &listedRows{rows: [][]Value{nil}}
		for again.Next() {
			other.rows = append(other.rows, append([]Value(nil), again.Row()...))
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		rows := Foreign(again.Columns(), other, 4)
		if err := Write(&there, rows, f); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(here.String(), there.String()); diff != "" || !rows.Truncated() || rows.Limit() != 4 || other.closed != 1 {
			t.Errorf("%s: %s, cut %v, closed %d times", f, diff, rows.Truncated(), other.closed)
		}
	}
	broken := errors.New("the second page is gone")
	rows := Foreign([]Column{{Name: "a"}}, &listedRows{rows: [][]Value{nil, {{Text: "1"}}}, err: broken}, 0)
	if err := Write(&bytes.Buffer{}, rows, CSV); !errors.Is(err, broken) {
		t.Error(err)
	}
}
