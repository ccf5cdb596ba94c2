package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

// aws is the command aws of the scripts: a server that speaks the protocols of AWS until the script's end; $AWS is its address.
//
//	aws                        starts it
//	aws bucket NAME            makes a bucket
//	aws put BUCKET/NAME FILE   puts a file into it
//	aws answer FILE            what Athena will answer the next query: column names, types, then rows, a line each, with | between
func aws(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: aws [bucket NAME | put BUCKET/NAME FILE | answer FILE]")
	}
	if len(args) == 0 {
		s, err := awstest.Launch()
		ts.Check(err)
		ts.Defer(func() { ts.Check(s.Close()) })
		ts.Setenv("AWS", s.Settings.Endpoint)
		ts.Setenv("AWS_REGION", s.Settings.Region)
		for name, value := range awstest.Environment() {
			ts.Setenv(name, value)
		}
		return
	}
	switch args[0] {
	case "bucket":
		send(ts, http.MethodPut, "/"+args[1], "")
	case "put":
		send(ts, http.MethodPut, "/"+args[1], ts.ReadFile(args[2]))
	case "answer":
		send(ts, http.MethodPost, "/moto-api/static/athena/query-results", answer(ts, ts.ReadFile(args[1])))
	}
}

// answer writes a result as moto takes it.
func answer(ts *testscript.TestScript, text string) string {
	var columns, rows []any
	lines := strings.Split(strings.TrimSpace(text), "\n")
	types := strings.Split(lines[1], "|")
	for i, name := range strings.Split(lines[0], "|") {
		columns = append(columns, map[string]any{"Name": name, "Label": name, "Type": types[i]})
	}
	for i, line := range lines {
		var data []any
		for value := range strings.SplitSeq(line, "|") {
			data = append(data, map[string]any{"VarCharValue": value})
		}
		if i != 1 {
			rows = append(rows, map[string]any{"Data": data})
		}
	}
	out, err := json.Marshal(map[string]any{"region": ts.Getenv("AWS_REGION"), "results": []any{map[string]any{"rows": rows, "column_info": columns}}})
	ts.Check(err)
	return string(out)
}

func send(ts *testscript.TestScript, method, path, body string) {
	r, err := http.NewRequest(method, ts.Getenv("AWS")+path, strings.NewReader(body)) //nolint:noctx // the script ends it
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	out, err := own.RoundTrip(r)
	ts.Check(err)
	text, _ := io.ReadAll(out.Body)
	_ = out.Body.Close()
	if out.StatusCode >= http.StatusMultipleChoices {
		ts.Fatalf("%s %s: %s %s", method, path, out.Status, text)
	}
}
