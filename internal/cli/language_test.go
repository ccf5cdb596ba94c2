package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/jobs"
)

// TestTwoLanguages writes what commands over jobs, schedules and backups print for people, in both languages, as testdata/said.*.txt has it.
func TestTwoLanguages(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"en", "es"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", "said."+lang+".txt")
			got := saidIn(t, spoken{Lang: lang})
			if os.Getenv("ACEQUIA_UPDATE") != "" {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(read(t, golden), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// saidIn is all of it.
func saidIn(t *testing.T, s spoken) []byte {
	t.Helper()
	var out bytes.Buffer
	screen := terminal{out: &out, err: &out}
	at := time.Date(2026, 12, 2, 2, 0, 0, 0, time.Local)
	ended := at.Add(90 * time.Second)
	report := saidReport()
	var all []api.Job
	for _, state := range []string{"queued", "running", "succeeded", "partial", "failed", "canceled"} {
		all = append(all, api.Job{ID: state, Kind: "migrate", State: state, By: "this machine", Created: at, Started: &at, Ended: &ended})
	}
	whole := all[3]
	whole.By, whole.Report = "schedule night", &report
	whole.Trouble = &jobs.Trouble{Code: "ACQ-JOB-001", Reason: "acequia was stopped before the job had ended", Remedy: "ask for it again: what is durable is not done twice"}
	kept := backup.Backup{ID: "20261202T020000-1a2b3c4d5e6f", Source: "shop", Rows: 1304, Bytes: 4096, Seconds: 1.5, NotKept: saidLosses()}
	for _, show := range []func() error{
		func() error { return showSchedule(screen, s, nil, false) },
		func() error {
			return showSchedule(screen, s, []jobs.Entry{
				{Name: "night", Do: "backup", Cron: "0 2 * * *", Zone: "UTC", Next: &at, Last: "01a2"}, {Name: "sync", Do: "sync", Cron: "*/30 * * * *", Zone: "UTC", Paused: true},
			}, false)
		},
		func() error { return showJobs(screen, s, nil) },
		func() error { return showJobs(screen, s, all) },
		func() error { return showJob(screen, s, whole) },
		func() error {
			return modeCmd{spoken: s}.show(screen, &app.Migrated{Report: report}, at)
		},
		func() error {
			backupCreateCmd{backupFlags: backupFlags{spoken: s}}.show(screen, []app.BackupResult{{Source: "shop", Backup: &kept}}, nil)
			return nil
		},
		func() error {
			return backupRestoreCmd{backupFlags: backupFlags{spoken: s}}.show(screen, &backup.Restored{ID: kept.ID, Into: "copy", Rows: 1304, NotKept: kept.NotKept[:1], Seconds: 2})
		},
	} {
		if err := show(); err != nil {
			t.Fatal(err)
		}
		out.WriteString("--\n")
	}
	_ = s.told(screen, errNobody(".acequia"))
	return out.Bytes()
}

// saidReport is of a job that has all there is to tell of.
func saidReport() jobs.Report {
	away := &jobs.Trouble{Code: "ACQ-MY-002", Place: "127.0.0.1:3306", Reason: "dial tcp 127.0.0.1:3306: connect: connection refused", Remedy: "give it a value, or remove the key"}
	return jobs.Report{
		Databases: []jobs.Database{
			{Source: "shop", SourceDB: "postgresql", State: jobs.Succeeded, Rows: 1304, Seconds: 1.5, Backup: "20261202T020000-1a2b3c4d5e6f"},
			{Pipeline: "mysql", Source: "mysql", SourceDB: "mysql", State: jobs.Failed, Seconds: 12, Trouble: away},
		},
		Tables: []jobs.Table{
			{Source: "shop", SourceDB: "postgresql", Table: "orders", State: jobs.Succeeded, Rows: 1000, DeadLetters: 2, Seconds: 1, Verify: jobs.VerifyEqual},
			{Source: "shop", SourceDB: "postgresql", Table: "lines", State: jobs.Running, Rows: 304, Seconds: 1.5, Verify: jobs.VerifyDifferent},
			{Source: "shop", SourceDB: "postgresql", Table: "users", State: jobs.Waiting, Verify: jobs.VerifyNone},
		},
		Notes: []string{
			`shop: not kept: view "public"."looks"`, "shop: 3 more are not kept; GET /backups has all", "shop is not of one moment: the database cannot show one",
			"2 old backups were removed, 7 stay", "old backups were not removed: /b: permission denied",
			"orders has no column of times, so it was swept: in lake 1 rows were missing, 2 too many, 3 different; 6 were sent again",
		},
		File: "analytics/migration_reports/migration_20261202T020000Z.json",
	}
}

// saidLosses are what the databases say of what a backup does not keep.
func saidLosses() []string {
	return []string{`view "public"."looks"`, "trigger told of public.users", "2 functions of schema public", "the history of `a`.`b`", "CREATE INDEX i ON t: it calls f()", "rights of others on t"}
}
