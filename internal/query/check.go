package query

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tableFunctions are the functions that may stand in a FROM. Those that read files, change settings, write logs or
// run other SQL are left out: the views are the way to the lake.
//
//nolint:gochecknoglobals // a constant table
var tableFunctions = []string{
	"duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_types", "duckdb_views",
	"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest",
}

// scalarFunctions may not be called: they act, or tell of the machine.
//
//nolint:gochecknoglobals // a constant table
var scalarFunctions = []string{"current_setting", "currval", "getenv", "nextval", "setseed", "write_log"}

var explainPattern = regexp.MustCompile(`(?i)^\s*explain(\s+analyze)?\s`)

// splitExplain takes a leading EXPLAIN [ANALYZE] off a statement: what is explained must read, too.
func splitExplain(text string) (explain, body string) {
	at := explainPattern.FindStringIndex(text)
	if at == nil {
		return "", text
	}
	return strings.TrimSpace(text[:at[1]]), text[at[1]:]
}

// syntaxTree is what json_serialize_sql gives.
type syntaxTree struct {
	Error      bool              `json:"error"`
	Type       string            `json:"error_type"`
	Message    string            `json:"error_message"`
	Statements []json.RawMessage `json:"statements"`
}

// checkReads refuses every statement but a single SELECT (DESCRIBE, SHOW, SUMMARIZE and VALUES are SELECTs to DuckDB)
// that calls only functions which read tables. It looks at DuckDB's own syntax tree, so that no spelling gets past
// it; a syntax error passes, because preparing the statement tells of it better.
func checkReads(ctx context.Context, conn *sql.Conn, body string) error {
	const remedy = "write one SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN over the tables listed"
	var text string
	if err := conn.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", body).Scan(&text); err != nil {
		return fmt.Errorf("parse statement: %w", err)
	}
	var tree syntaxTree
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return fmt.Errorf("read syntax tree: %w", err)
	}
	switch {
	case tree.Error && (tree.Type == "parser" || tree.Type == "syntax"):
		return nil
	case tree.Error:
		return refused("only statements that read may be run: "+tree.Message, remedy)
	case len(tree.Statements) != 1:
		return refused(fmt.Sprintf("%d statements were given", len(tree.Statements)), "run them one at a time")
	}
	var root any
	if err := json.Unmarshal(tree.Statements[0], &root); err != nil {
		return fmt.Errorf("read syntax tree: %w", err)
	}
	if name := forbidden(root, false); name != "" {
		return refused("the function "+name+" may not be used here", remedy)
	}
	return nil
}

// forbidden gives the first function of a syntax tree that may not be called, or "".
func forbidden(node any, inFrom bool) string {
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			if name := forbidden(child, false); name != "" {
				return name
			}
		}
	case map[string]any:
		if name, ok := n["function_name"].(string); ok {
			name = strings.ToLower(name)
			if inFrom && !slices.Contains(tableFunctions, name) || slices.Contains(scalarFunctions, name) {
				return name
			}
		}
		isTableFunction := n["type"] == "TABLE_FUNCTION"
		for key, child := range n {
			if name := forbidden(child, isTableFunction && key == "function"); name != "" {
				return name
			}
		}
	}
	return ""
}
