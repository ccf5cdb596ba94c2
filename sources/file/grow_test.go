package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/file"
)

// TestGrows appends to files that were read to their end: what was added is read, and nothing else.
func TestGrows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, before, after string
		rows                []string // of after
		code                string
		none                bool // there is nothing more
	}{
		"csv":                {"a.csv", "id\n1\n", "id\n1\n2\n3\n", []string{`{"id":2}`, `{"id":3}`}, "", false},
		"ndjson":             {"a.ndjson", "{\"id\":1}\n", "{\"id\":1}\n{\"id\":2}\n", []string{`{"id":2}`}, "", false},
		"the same":           {"a.csv", "id\n1\n", "id\n1\n", nil, "", true},
		"blank lines":        {"a.csv", "id\n1\n\n\n", "id\n1\n\n\n2\n", []string{`{"id":2}`}, "", false},
		"only a header":      {"a.csv", "id\n", "id\n1\n", []string{`{"id":1}`}, "", false},
		"empty":              {"a.ndjson", "", "{\"id\":1}\n", []string{`{"id":1}`}, "", false},
		"last line, no end":  {"a.csv", "id\n1", "id\n1\n2", []string{`{"id":2}`}, "", false},
		"last line, longer":  {"a.csv", "id\n1", "id\n12\n", nil, "ACQ-FILE-007", false},
		"rewritten":          {"a.csv", "id\n1\n2\n", "id\n3\n4\n5\n", nil, "ACQ-FILE-007", false},
		"of the same size":   {"a.csv", "id\n1\n2\n", "id\n3\n4\n", nil, "ACQ-FILE-007", false},
		"shorter":            {"a.csv", "id\n1\n2\n", "id\n1\n", nil, "ACQ-FILE-007", false},
		"more in its middle": {"a.ndjson", "{\"id\":1}\n{\"id\":2}\n", "{\"id\":1}\n{\"id\":3}\n{\"id\":2}\n", nil, "ACQ-FILE-007", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(folder(t, map[string]string{c.file: c.before}), c.file)
			config := file.Config{Path: path, Schema: types("id int64")}
			first := source(t, config)
			g := all(t, first)
			if g.err != nil {
				t.Fatal(g.err)
			}
			var at record.Position
			if n := len(g.chunks); n > 0 {
				at = g.chunks[n-1].To
			}
			lane := sources.Lane{ID: c.file}
			if more, err := first.More(t.Context(), lane, at); more || err != nil {
				t.Errorf("at the end there is more: %v, %v", more, err)
			}
			if err := os.WriteFile(path, []byte(c.after), 0o600); err != nil {
				t.Fatal(err)
			}
			next := source(t, config)
			if more, err := next.More(t.Context(), lane, at); more == c.none || err != nil {
				t.Fatalf("more: %v, %v", more, err)
			}
			rest := &got{}
			rest.readLane(t.Context(), next, lane, at)
			if fault.Code(rest.err) != c.code {
				t.Fatalf("got %v, want %q", rest.err, c.code)
			}
			if d := cmp.Diff(c.rows, rest.rows); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOthersDoNotGrow asks of files that cannot be read on.
func TestOthersDoNotGrow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t, map[string]string{"a.csv": "id\n" + strings.Repeat("1\n", 9)}), "a.csv")
	s := source(t, file.Config{Path: path, Schema: types("id int64"), Compression: "gzip"})
	if more, err := s.More(t.Context(), sources.Lane{ID: "a.csv"}, "t:3:1:0"); more || err != nil {
		t.Errorf("a compressed file: %v, %v", more, err)
	}
	if more, err := s.More(t.Context(), sources.Lane{ID: "a.csv"}, "p:3:1:99"); more || err != nil {
		t.Errorf("a Parquet file: %v, %v", more, err)
	}
}
