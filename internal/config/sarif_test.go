package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSARIF compares with the golden file, and looks at what the standard demands of what is there.
func TestSARIF(t *testing.T) {
	t.Parallel()
	problems := Problems{
		{Code: CodeUnknown, File: "pipelines/a b.yaml", Line: 3, Column: 5, Width: 3, Message: `unknown key "ulr"`, Remedy: "did you mean url?"},
		{Code: "ACQ-FILTER-001", File: "pipelines/a b.yaml", Line: 9, Column: 1, Width: 1, Message: "there is no column «año»"},
		{Code: CodeClear, File: "/etc/acequia/c.yaml", Line: 1, Column: 2, Width: 4, Message: "a secret in clear text", Warning: true},
		{Code: CodeUnknown, File: "b.yaml", Line: 1, Column: 1, Width: 1, Message: "unknown key"},
	}
	text, err := json.MarshalIndent(problems.SARIF("v1.2.3"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "problems.sarif")
	if *update {
		if err := os.WriteFile(golden, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)+"\n"); diff != "" {
		t.Error(diff)
	}
	var log sarifLog
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || log.Runs[0].Tool.Driver.Name == "" {
		t.Fatalf("%+v", log)
	}
	run := log.Runs[0]
	if !slices.Contains([]string{"utf16CodeUnits", "unicodeCodePoints"}, run.ColumnKind) || len(run.Results) != len(problems) {
		t.Errorf("columns in %s, %d results", run.ColumnKind, len(run.Results))
	}
	ids := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		if r.ID == "" || ids[r.ID] {
			t.Errorf("rule %q is empty or there twice", r.ID)
		}
		ids[r.ID] = true
	}
	for i, r := range run.Results {
		if r.RuleIndex < 0 || r.RuleIndex >= len(ids) || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result %d: rule %d is not %s", i, r.RuleIndex, r.RuleID)
		}
		if !slices.Contains([]string{"none", "note", "warning", "error"}, r.Level) || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Errorf("result %d: %+v", i, r)
		}
		if at := r.Locations[0].Physical.Region; at.StartLine < 1 || at.StartColumn < 1 || at.EndColumn < at.StartColumn {
			t.Errorf("result %d: region %+v", i, at)
		}
	}
	if empty, err := json.Marshal(Problems(nil).SARIF("")); err != nil || !json.Valid(empty) || slices.Contains(run.Tool.Driver.Rules, sarifRule{}) {
		t.Errorf("%s, %v", empty, err)
	}
}
