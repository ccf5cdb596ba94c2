package jobs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/jobs"
)

// The first keys are those of the issue, in its order and format; what is beyond comes after them.
func TestReportOfAMigration(t *testing.T) {
	t.Parallel()
	began := time.Date(2024, 1, 1, 7, 0, 0, 123456789, time.FixedZone("", -5*3600))
	m := jobs.NewMigration(began, jobs.Report{
		Databases: []jobs.Database{{SourceDB: "mysql", State: jobs.Succeeded}, {SourceDB: "postgresql", State: jobs.Succeeded}, {SourceDB: "mongodb", State: jobs.Succeeded}},
		Tables: []jobs.Table{
			{SourceDB: "mysql", Table: "seats", State: jobs.Succeeded, Rows: 1000, Verify: jobs.VerifyEqual},
			{SourceDB: "mysql", Table: "rooms", State: jobs.Succeeded, Rows: 100},
			{SourceDB: "postgresql", Table: "users", State: jobs.Succeeded, Rows: 50},
			{SourceDB: "mongodb", Table: "movies", State: jobs.Succeeded, Rows: 150},
		},
	})
	folder := filepath.Join(t.TempDir(), "analytics", "migration_reports")
	path, err := m.Write(t.Context(), folder, blob.S3Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(path) != "migration_20240101T120000Z.json" {
		t.Error(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var compact strings.Builder
	for line := range strings.Lines(string(text)) {
		compact.WriteString(strings.TrimSpace(line))
	}
	const want = `{"migration_timestamp": "2024-01-01T12:00:00Z","record_counts": {"mongodb": {"movies": 150},"mysql": {"rooms": 100,"seats": 1000},` +
		`"postgresql": {"users": 50}},"total_records_migrated": 1300,"migration_status": "SUCCESS","tables": [{"source": "","source_db": "mongodb","table": "movies",`
	if !strings.HasPrefix(compact.String(), want) {
		t.Errorf("%s\nwant %s", &compact, want)
	}
	// A second report of the same second takes nothing away, and nothing else is left in the folder.
	second, err := m.Write(t.Context(), folder, blob.S3Settings{})
	entries, readErr := os.ReadDir(folder)
	if err != nil || readErr != nil || filepath.Base(second) != "migration_20240101T120000Z-2.json" || len(entries) != 2 {
		t.Error(second, err, readErr, entries)
	}
	var back jobs.Migration
	if err := json.Unmarshal(text, &back); err != nil || back.Total != 1300 || len(back.Databases) != 3 {
		t.Error(err, back)
	}
	if _, err := m.Write(t.Context(), path, blob.S3Settings{}); fault.Code(err) != "ACQ-ENV-012" {
		t.Error(err)
	}
}

// In S3 it is the same, also when the answer to a write is lost; and what the role may not do is told.
func TestReportInS3(t *testing.T) {
	t.Parallel()
	server := blobtest.New(t)
	const folder = "s3://bucket/analytics/migration_reports"
	m := jobs.NewMigration(time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC), jobs.Report{Databases: []jobs.Database{{SourceDB: "mysql", State: jobs.Succeeded}}})
	server.Break(blobtest.Fault{Op: blobtest.Put, Times: 1, Done: true})
	for _, want := range []string{"migration_20240101T120000Z.json", "migration_20240101T120000Z-2.json"} {
		if path, err := m.Write(t.Context(), folder, server.Settings()); err != nil || path != "s3://bucket/analytics/migration_reports/"+want {
			t.Error(path, err)
		}
	}
	var back jobs.Migration
	names := server.Names("")
	if len(names) != 2 || json.Unmarshal(server.Object(names[0]).Body, &back) != nil || back.Status != jobs.MigrationSuccess {
		t.Errorf("%q: %+v", names, back)
	}
	server.Deny(blobtest.Put)
	if _, err := m.Write(t.Context(), folder, server.Settings()); fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "s3:PutObject") {
		t.Error(err)
	}
}

func TestStatusOfAMigration(t *testing.T) {
	t.Parallel()
	up, down := jobs.Database{SourceDB: "mysql", State: jobs.Succeeded}, jobs.Database{SourceDB: "mongodb", State: jobs.Failed, Trouble: &jobs.Trouble{Reason: "connection refused"}}
	table := func(change func(t *jobs.Table)) []jobs.Table {
		one := jobs.Table{SourceDB: "mysql", Table: "rooms", State: jobs.Succeeded, Rows: 3}
		change(&one)
		return []jobs.Table{one}
	}
	for name, c := range map[string]struct {
		databases []jobs.Database
		tables    []jobs.Table
		want      string
	}{
		"all":             {[]jobs.Database{up}, table(func(*jobs.Table) {}), jobs.MigrationSuccess},
		"an empty table":  {[]jobs.Database{up}, table(func(t *jobs.Table) { t.Rows = 0 }), jobs.MigrationSuccess},
		"a database down": {[]jobs.Database{up, down}, table(func(*jobs.Table) {}), jobs.MigrationPartial},
		"dead letters":    {[]jobs.Database{up}, table(func(t *jobs.Table) { t.DeadLetters = 1 }), jobs.MigrationPartial},
		"it differs now":  {[]jobs.Database{up}, table(func(t *jobs.Table) { t.Verify = jobs.VerifyDifferent }), jobs.MigrationSuccess},
		"half a table":    {[]jobs.Database{up}, table(func(t *jobs.Table) { t.State = jobs.Failed }), jobs.MigrationPartial},
		"nothing":         {[]jobs.Database{down}, nil, jobs.MigrationFailed},
	} {
		m := jobs.NewMigration(time.Now(), jobs.Report{Databases: c.databases, Tables: c.tables})
		if m.Status != c.want {
			t.Errorf("%s: %s, want %s", name, m.Status, c.want)
		}
		for _, d := range c.databases {
			if m.Counts[d.SourceDB] == nil {
				t.Errorf("%s: nothing is said of %s", name, d.SourceDB)
			}
		}
	}
}
