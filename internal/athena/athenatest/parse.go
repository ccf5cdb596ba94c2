// Package athenatest reads SQL by the grammars of Athena, for tests: sqlglot's, in which CREATE TABLE is Hive's and a query Trino's. It knows
// nothing of what Athena does when it runs.
package athenatest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/acequia-io/acequia/internal/servertest"
)

//go:embed parse.py
var program string

// Statement is one that is to be read.
type Statement struct {
	Dialect string `json:"dialect"`         // athena, or another of sqlglot's
	SQL     string `json:"sql"`             // one statement
	Write   string `json:"write,omitempty"` // the dialect in which Parsed.SQL is written; default Dialect
}

// Column is one of a statement that makes a table.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Parsed is what the grammar makes of a statement.
type Parsed struct {
	Error      string            `json:"error"` // why it is none; "": it is one
	Kind       string            `json:"kind"`  // select, create table, create view
	Name       string            `json:"name"`  // of what is made
	Columns    []Column          `json:"columns"`
	Partition  []Column          `json:"partition"`
	Location   string            `json:"location"`
	Properties map[string]string `json:"properties"`
	SQL        string            `json:"sql"` // the statement, written anew
}

// Parse reads statements. Without sqlglot the test fails and says how to get it.
func Parse(t testing.TB, statements ...Statement) []Parsed {
	t.Helper()
	python, err := servertest.Cached("sqlglot", "sqlglot/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(statements)
	if err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	command := exec.CommandContext(t.Context(), python, "-I", "-c", program)
	command.Stdin, command.Stderr = bytes.NewReader(text), &told
	answer, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &told)
	}
	var out []Parsed
	if err := json.Unmarshal(answer, &out); err != nil || len(out) != len(statements) {
		t.Fatalf("%d statements gave %d answers: %v: %s", len(statements), len(out), err, answer)
	}
	return out
}
