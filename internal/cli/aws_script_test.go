package cli

import (
	"encoding/json"
	"fmt"
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
//	aws item TABLE JSON        puts an item into a table of DynamoDB, in DynamoDB's JSON, as somebody else does
//	aws no-item TABLE KEY      deletes one
//	aws answer FILE            what Athena will answer the next query: column names, types, then rows, a line each, with | between
func aws(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: aws [bucket NAME | put BUCKET/NAME FILE | item TABLE JSON | no-item TABLE KEY | answer FILE]")
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
	case "item":
		send(ts, http.MethodPost, "/", fmt.Sprintf(`{"TableName":%q,"Item":%s}`, args[1], args[2]), "PutItem")
	case "no-item":
		send(ts, http.MethodPost, "/", fmt.Sprintf(`{"TableName":%q,"Key":%s}`, args[1], args[2]), "DeleteItem")
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

// send sends a request; a call of DynamoDB is named.
func send(ts *testscript.TestScript, method, path, body string, call ...string) {
	r, err := http.NewRequest(method, ts.Getenv("AWS")+path, strings.NewReader(body)) //nolint:noctx // the script ends it
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	if len(call) > 0 {
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+call[0])
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/"+ts.Getenv("AWS_REGION")+"/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	}
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
