package athena_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// told has moto answer the next query in a region with these rows, as Athena gives them: the names of the columns first.
func told(t *testing.T, at awsconfig.Settings, columns []athena.ResultColumn, rows ...[]string) {
	t.Helper()
	one := canned(columns, rows...)
	text, err := json.Marshal(map[string]any{"region": at.Region, "results": []any{map[string]any{"rows": one["Rows"], "column_info": one["ResultSetMetadata"].(map[string]any)["ColumnInfo"]}}}) //nolint:forcetypeassert // made by canned
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, moto.Settings.Endpoint+"/moto-api/static/athena/query-results", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	out, err := own.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Body.Close() }()
	if out.StatusCode != http.StatusCreated {
		t.Fatal(out.Status)
	}
}

// null stands for a value that is not there.
const null = "\x00"

// canned is a result as the protocol has it.
func canned(columns []athena.ResultColumn, rows ...[]string) map[string]any {
	info, data := []any{}, []any{}
	for _, c := range columns {
		info = append(info, map[string]any{"Name": c.Name, "Label": c.Name, "Type": c.Type})
	}
	for _, row := range rows {
		values := []any{}
		for _, v := range row {
			if v == null {
				values = append(values, map[string]any{})
				continue
			}
			values = append(values, map[string]any{"VarCharValue": v})
		}
		data = append(data, map[string]any{"Data": values})
	}
	return map[string]any{"Rows": data, "ResultSetMetadata": map[string]any{"ColumnInfo": info}}
}

// all reads the rows.
func all(t *testing.T, r *athena.Rows) (out [][]string) {
	t.Helper()
	for {
		row, ok := r.Next()
		if !ok {
			break
		}
		one := make([]string, len(row))
		for i, v := range row {
			if one[i] = null; v != nil {
				one[i] = *v
			}
		}
		out = append(out, one)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	return out
}

// in gives the place of a test in a region of its own, in which moto keeps results.
func in(f *fake, region string) athena.Place {
	s := f.settings()
	s.Region = region
	return place(s)
}

// TestQuery asks moto, which answers what it was told beforehand.
func TestQuery(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := in(f, "eu-west-2")
	c := open(t, p)
	apply(t, everything(t, c, nil))
	columns := []athena.ResultColumn{{"genre", "varchar"}, {"games", "bigint"}}
	told(t, p.AWS, columns, []string{"genre", "games"}, []string{"Puzzle", "3"}, []string{null, "1"}, []string{"", "0"})
	rows, err := c.Query(t.Context(), athena.Request{SQL: "SELECT genre, count(*) AS games FROM videogames_latest WHERE year > ? AND genre <> ? GROUP BY genre", Params: []string{"2000", "O'Brien"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(columns, rows.Columns()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"Puzzle", "3"}, {null, "1"}, {"", "0"}}, all(t, rows)); diff != "" {
		t.Error(diff)
	}
	started := f.asked("StartQueryExecution")
	if len(started) != 1 || started[0]["WorkGroup"] != p.Workgroup || !strings.Contains(fmt.Sprint(started[0]["QueryString"]), "year > ? AND genre <> ?") ||
		fmt.Sprint(started[0]["ExecutionParameters"]) != "[2000 'O''Brien']" || fmt.Sprint(started[0]["QueryExecutionContext"]) != "map[Catalog:AwsDataCatalog Database:"+p.Database+"]" {
		t.Errorf("%v", started)
	}
}

// execution is how a query stands.
func execution(state string, more map[string]any) answer {
	status := map[string]any{"State": state}
	q := map[string]any{"QueryExecutionId": "q", "Status": status, "ResultConfiguration": map[string]any{"OutputLocation": "s3://results/q.csv"}}
	for name, value := range more {
		if name == "StateChangeReason" || name == "AthenaError" {
			status[name] = value
			continue
		}
		q[name] = value
	}
	return answer{status: 200, body: map[string]any{"QueryExecution": q}}
}

// TestQueryInPages reads a result of several pages, of which only the first begins with the names, and is told what it cost.
func TestQueryInPages(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := open(t, place(f.settings()))
	apply(t, everything(t, c, nil))
	columns := []athena.ResultColumn{{"n", "varchar"}}
	page := func(next string, rows ...[]string) answer {
		body := map[string]any{"ResultSet": canned(columns, rows...)}
		if next != "" {
			body["NextToken"] = next
		}
		return answer{status: 200, body: body}
	}
	f.refuse("GetQueryExecution", execution("SUCCEEDED", map[string]any{"Statistics": map[string]any{"DataScannedInBytes": 12345678, "TotalExecutionTimeInMillis": 1500}}))
	f.refuse("GetQueryResults", page("two", []string{"n"}, []string{"1"}), page("three", []string{"n"}, []string{"2"}), page("four"), page("", []string{"3"}))
	rows, err := c.Query(t.Context(), athena.Request{SQL: "SELECT n FROM t"})
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, rows); fmt.Sprint(got) != "[[1] [n] [2] [3]]" {
		t.Errorf("%q", got)
	}
	var tokens []any
	for _, asked := range f.asked("GetQueryResults") {
		tokens = append(tokens, asked["NextToken"])
	}
	if fmt.Sprint(tokens) != "[<nil> two three four]" {
		t.Errorf("%v", tokens)
	}
	want := athena.Execution{ID: "q", Results: "s3://results/q.csv", Scanned: 12345678, Duration: 1500 * time.Millisecond}
	if diff := cmp.Diff(want, rows.Execution()); diff != "" {
		t.Error(diff)
	}
}

// TestQueryGoesOn when Athena has no time to say how the query stands.
func TestQueryGoesOn(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := in(f, "eu-west-3")
	c := open(t, p)
	apply(t, everything(t, c, nil))
	told(t, p.AWS, []athena.ResultColumn{{"n", "bigint"}}, []string{"n"}, []string{"7"})
	f.refuse("GetQueryExecution", slices.Repeat([]answer{refusal(400, "ThrottlingException", "Rate exceeded"), refusal(503, "InternalServerException", "")}, 3)...)
	rows, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 7 AS n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, rows); fmt.Sprint(got) != "[[7]]" || f.called("StopQueryExecution") > 0 || f.called("StartQueryExecution") != 1 {
		t.Error(got, f.called("StopQueryExecution"), f.called("StartQueryExecution"))
	}
}

// TestQueryFails with the reason that Athena gives, by its kind.
func TestQueryFails(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := open(t, place(f.settings()))
	apply(t, everything(t, c, nil))
	syntax := map[string]any{"StateChangeReason": "SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved", "AthenaError": map[string]any{"ErrorCategory": 2, "ErrorType": 1006, "Retryable": false}}
	passing := map[string]any{"StateChangeReason": "GENERIC_INTERNAL_ERROR", "AthenaError": map[string]any{"ErrorCategory": 1, "ErrorType": 1, "Retryable": true}}
	system := map[string]any{"StateChangeReason": "HIVE_BAD_DATA", "AthenaError": map[string]any{"ErrorCategory": 3, "ErrorType": 2, "Retryable": false}}
	limit := map[string]any{"StateChangeReason": "Query cancelled! : Bytes scanned limit was exceeded"}
	for _, one := range []struct {
		name   string
		with   []answer
		code   string
		class  fault.Class
		says   string
		starts int
	}{
		{"a mistake", []answer{execution("FAILED", syntax)}, "ACQ-ATHENA-012", fault.Poison, "line 1:8", 1},
		{"what passes", []answer{execution("FAILED", passing), execution("FAILED", passing), execution("FAILED", passing)}, "ACQ-ATHENA-013", fault.Retryable, "GENERIC_INTERNAL_ERROR", 3},
		{"a file", []answer{execution("FAILED", system)}, "ACQ-ATHENA-017", fault.Fatal, "HIVE_BAD_DATA", 1},
		{"too much", []answer{execution("CANCELLED", limit)}, "ACQ-ATHENA-014", fault.Fatal, "cutoff", 1},
		{"stopped", []answer{execution("CANCELLED", nil)}, "ACQ-ATHENA-016", fault.Fatal, "somebody", 1},
		{"no right", []answer{refusal(400, "AccessDeniedException", "no")}, "ACQ-AWS-005", fault.Fatal, "athena:GetQueryExecution", 1},
	} {
		f.refuse("GetQueryExecution", one.with...)
		before, stopped := f.called("StartQueryExecution"), f.called("StopQueryExecution")
		_, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 1"})
		if fault.Code(err) != one.code || fault.Of(err) != one.class || !strings.Contains(err.Error(), one.says) || f.called("StartQueryExecution")-before != one.starts {
			t.Errorf("%s: %v of class %v after %d starts", one.name, err, fault.Of(err), f.called("StartQueryExecution")-before)
		}
		if left := f.called("StopQueryExecution") - stopped; left != 0 && one.name != "no right" || left != 1 && one.name == "no right" {
			t.Errorf("%s: stopped %d times", one.name, left)
		}
	}
	f.refuse("GetQueryExecution", execution("FAILED", passing))
	rows, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 1"})
	if err != nil {
		t.Fatal(err)
	}
	rows.Close()
}

// TestQueryIsNotBegun where it cannot be, or must not.
func TestQueryIsNotBegun(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := open(t, place(f.settings()))
	if _, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 1"}); fault.Code(err) != "ACQ-ATHENA-001" || !strings.Contains(err.Error(), "acequia tables apply") {
		t.Error(err)
	}
	apply(t, everything(t, c, nil))
	f.refuse("StartQueryExecution", refusal(400, "InvalidRequestException", "line 1:1: mismatched input"), refusal(400, "InvalidRequestException", "No output location provided."))
	for _, code := range []string{"ACQ-ATHENA-012", "ACQ-ATHENA-001"} {
		if _, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 1"}); fault.Code(err) != code {
			t.Error(err)
		}
	}
	before := f.called("StartQueryExecution")
	for _, sql := range []string{"", "DROP TABLE games", "-- SELECT\nINSERT INTO a SELECT 1", "/* select */ delete from a", "EXPLAIN ANALYZE INSERT INTO a SELECT 1", "selected", "EXPLAIN (TYPE IO) DROP TABLE a"} {
		if _, err := c.Query(t.Context(), athena.Request{SQL: sql}); fault.Code(err) != "ACQ-ATHENA-011" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if f.called("StartQueryExecution") != before {
		t.Error("something was begun")
	}
	for _, sql := range []string{"-- how many\nselect 1", "(SELECT 1) UNION (SELECT 2)", "WITH a AS (SELECT 1) SELECT * FROM a", "EXPLAIN (TYPE IO) SELECT 1", "show tables", "/* a */ explain analyze select 1"} {
		rows, err := c.Query(t.Context(), athena.Request{SQL: sql})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		rows.Close()
	}
}

// TestQueryIsStopped in Athena when nobody waits for it any more, however it comes about.
func TestQueryIsStopped(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := open(t, place(f.settings()))
	apply(t, everything(t, c, nil))
	running := slices.Repeat([]answer{execution("RUNNING", nil)}, 1000)
	f.refuse("GetQueryExecution", running...)
	ctx, cancel := context.WithCancel(t.Context())
	f.meanwhile("StartQueryExecution", cancel)                                                                                   // Athena has the call, and its answer comes too late
	if _, err := c.Query(ctx, athena.Request{SQL: "SELECT 1"}); err != context.Canceled || f.called("StopQueryExecution") != 1 { //nolint:errorlint // as it is
		t.Error(err, f.called("StopQueryExecution"))
	}
	ctx, cancel = context.WithCancel(t.Context())
	f.refuse("StopQueryExecution", refusal(500, "InternalServerException", ""))
	f.meanwhile("GetQueryExecution", cancel)
	f.relent("GetQueryExecution")
	if _, err := c.Query(ctx, athena.Request{SQL: "SELECT 1"}); err != context.Canceled || f.called("StopQueryExecution") != 3 { //nolint:errorlint // as it is
		t.Error(err, f.called("StopQueryExecution"))
	}
	f.refuse("GetQueryExecution", running...)
	_, err := c.Query(t.Context(), athena.Request{SQL: "SELECT 1", Timeout: time.Millisecond})
	if fault.Code(err) != "ACQ-ATHENA-015" || !strings.Contains(err.Error(), "after 1ms") || f.called("StopQueryExecution") != 4 {
		t.Error(err, f.called("StopQueryExecution"))
	}
}

// TestLiteral: whatever a value is, it is one literal and nothing else.
func TestLiteral(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "''", "Puzzle": "'Puzzle'", "O'Brien": "'O''Brien'", "7": "7", "-7.50": "-7.50", "1e3": "1e3", "true": "true", "null": "null", "'7'": "'7'", "''": "''", "'": "''''",
		"'a' OR '1'='1'": "'a'' OR ''1''=''1'", "1; DROP TABLE a": "'1; DROP TABLE a'", "0x1": "'0x1'", "(SELECT 1)": "'(SELECT 1)'", `a\'b`: `'a\''b'`, "[1]": "'[1]'", "7 ": "'7 '", "TRUE": "'TRUE'",
	} {
		if got := athena.Literal(value); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}
