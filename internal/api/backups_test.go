package api_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

func TestBackups(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), resting(rooms(t))+"backup: { keep: { daily: 1, weekly: 1, monthly: 1 } }\n")
	var list api.BackupList
	s.call(t, "GET", "/backups", "", 200, &list)
	if len(list.Backups) != 0 || list.Total != 0 {
		t.Errorf("%+v", list)
	}
	var job api.Job
	s.call(t, "POST", "/backup", "", 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || job.Kind != "backup" || len(job.Report.Databases) != 1 || len(job.Report.Tables) != 2 {
		t.Fatalf("%+v %+v", job, job.Report)
	}
	db := job.Report.Databases[0]
	if db.Source != "salas" || db.SourceDB != "postgresql" || db.Pipeline != "" || db.Rows != 520 || db.Attempts != 1 || db.Backup == "" {
		t.Errorf("%+v", db)
	}
	for _, table := range job.Report.Tables {
		if table.Hash == "" || table.Bytes == 0 || table.State != "succeeded" {
			t.Errorf("%+v", table)
		}
	}
	s.call(t, "GET", "/backups?source_db=postgresql&table_name=rooms", "", 200, &list)
	if len(list.Backups) != 1 || list.Backups[0].ID != db.Backup || !list.Backups[0].Consistent || len(list.Backups[0].Tables) != 2 || list.Backups[0].Tables[0].Files[0].SHA256 == "" {
		t.Errorf("%+v", list)
	}
	s.call(t, "GET", "/backups?source_db=mysql", "", 200, &list)
	if len(list.Backups) != 0 {
		t.Errorf("%+v", list)
	}
	var wrong api.ProblemError
	s.call(t, "GET", "/backups?table_name=room", "", 404, &wrong)
	if wrong.Code != "ACQ-API-009" || wrong.Suggestions[0] != "rooms" {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "GET", "/backups?source_db=oracle", "", 422, &wrong)
	s.call(t, "POST", "/backup", `{"only":["salsa"]}`, 422, &wrong)
	if wrong.Code != "ACQ-API-004" || wrong.Remedy != "did you mean salas?" {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "POST", "/backup", `{"format":"csv"}`, 422, &wrong)

	// some tables, in another format; a table that is there and in no backup is no unknown one
	s.call(t, "POST", "/backup", `{"only":["cine"],"tables":["public.seats"],"format":"ndjson"}`, 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || len(job.Report.Tables) != 1 || job.Report.Databases[0].Rows != 500 {
		t.Errorf("%+v %+v", job, job.Report)
	}
	s.call(t, "GET", "/backups?limit=1", "", 200, &list)
	if len(list.Backups) != 1 || list.Total != 2 || list.Backups[0].Format != "ndjson" || list.Backups[0].Selection[0] != "public.seats" {
		t.Errorf("%+v", list)
	}
	// a second one of the day takes the place of the first where it is asked to
	s.call(t, "POST", "/backup", `{"prune":true}`, 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || !strings.Contains(fmt.Sprint(job.Report.Notes), "1 old backups were removed") {
		t.Errorf("%+v %+v", job, job.Report)
	}
	s.call(t, "GET", "/backups?table_name=rooms", "", 200, &list)
	if len(list.Backups) != 1 || list.Backups[0].ID != job.Report.Databases[0].Backup {
		t.Errorf("%+v", list)
	}
	s.call(t, "POST", "/backup", `{"tables":["public.nothing"]}`, 200, &job, "Prefer", "wait=40")
	if job.State != "failed" || job.Trouble.Code != "ACQ-PG-032" {
		t.Errorf("%+v", job)
	}
}

// ledger is a database of which nobody has written how it is backed up.
type ledger struct{}

func (ledger) Lanes(context.Context) ([]sources.Lane, error) { return nil, nil }

func (ledger) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return nil, context.Canceled // it has no lane
}

// A database that cannot be backed up, or does not answer, keeps no other from its backup, and is never passed over.
func TestBackupSaysWhatHasNone(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	plugins, err := catalog.Join(catalog.Default(), catalog.Catalog{Sources: []sources.Plugin{{
		Type: "ledger", Doc: "A ledger.", Server: "ledger", Config: func() any { return &struct{}{} },
		New: func(context.Context, any, sources.Host) (sources.Source, error) { return ledger{}, nil },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := serveWith(t, app.LiveOptions{Plugins: plugins}, t.TempDir(), fmt.Sprintf(`version: 1
sources:
  a: { type: postgres, dsn: %q, capture: { strategy: xmin } }
  mute: { type: postgres, dsn: "postgres://u@%s/d", capture: { strategy: xmin } }
  books: { type: ledger }
sinks: { lake_a: { type: lake, url: a }, lake_b: { type: lake, url: b }, lake_c: { type: lake, url: c } }
pipelines:
  a: { from: a, to: [lake_a], follow: false }
  b: { from: mute, to: [lake_b], follow: false }
  c: { from: books, to: [lake_c] }
`, rooms(t), mute.Addr()))
	began := time.Now()
	var job api.Job
	s.call(t, "POST", "/backup", `{"prune":true}`, 200, &job, "Prefer", "wait=40")
	if strings.Contains(fmt.Sprint(job.Report.Notes), "old backups") {
		t.Error("backups are removed while some database has no new one")
	}
	if took := time.Since(began); job.State != "partial" || took > 20*time.Second || len(job.Report.Databases) != 3 {
		t.Fatalf("%s after %s: %+v", job.State, took, job.Report)
	}
	for i, want := range []string{"a succeeded 1 ", "mute failed 2 ACQ-PG-002", "books failed 0 ACQ-BACKUP-008"} {
		db := job.Report.Databases[i]
		got := fmt.Sprintf("%s %s %d ", db.Source, db.State, db.Attempts)
		if db.Trouble != nil {
			got += db.Trouble.Code
		}
		if got != want {
			t.Errorf("%q, want %q: %+v", got, want, db.Trouble)
		}
	}
	var list api.BackupList
	if s.call(t, "GET", "/backups", "", 200, &list); len(list.Backups) != 1 || list.Backups[0].Source != "a" {
		t.Errorf("%+v", list)
	}
	s.call(t, "POST", "/backup", `{"only":["ledger"]}`, 200, &job, "Prefer", "wait=40")
	if job.State != "failed" || job.Trouble.Code != "ACQ-BACKUP-008" {
		t.Errorf("%+v", job)
	}
}

// A backup takes no turn: a migration that has the pipeline does not hold it back.
func TestBackupTakesNoTurn(t *testing.T) {
	t.Parallel()
	read, copied := make(chan struct{}), make(chan struct{}) // closed to let the migration, and the second backup, go on
	var snapshots atomic.Int64
	s := serveWith(t, app.LiveOptions{Plugins: catalog.Default(), Service: app.ServiceOptions{
		Wire: func(_ *routers.Pipeline, o *routers.Options) {
			o.Probe = func(point string) {
				if point == "accepted" {
					<-read
				}
			}
		},
		Probe: func(point string) {
			if point == backup.AfterSnapshot && snapshots.Add(1) == 2 {
				<-copied
			}
		},
	}}, t.TempDir(), resting(rooms(t)))
	var migrating, job api.Job
	s.call(t, "POST", "/migrate", "", 202, &migrating)
	s.wait(t, migrating, "running")
	s.call(t, "POST", "/backup", "", 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || job.Report.Databases[0].Rows != 520 {
		t.Errorf("%+v %+v", job, job.Report)
	}
	s.wait(t, migrating, "running")
	close(read)

	// one that goes on is found, can be canceled, and then leaves no backup
	s.call(t, "POST", "/backup", "", 202, &job)
	s.wait(t, job, "running")
	var wrong api.ProblemError
	s.call(t, "POST", "/backup", "", 409, &wrong)
	if wrong.Job == nil || wrong.Job.ID != job.ID {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "POST", "/v1/jobs/"+job.ID+"/cancel", "", 202, nil)
	close(copied)
	if job = s.wait(t, job, "canceled"); job.Report.Databases[0].State != "canceled" {
		t.Errorf("%+v", job.Report)
	}
	s.wait(t, migrating, "succeeded")
	var list api.BackupList
	if s.call(t, "GET", "/backups", "", 200, &list); len(list.Backups) != 1 {
		t.Errorf("%+v", list)
	}
}

// Metrics tell of jobs, tables and connections.
func TestMetricsOfJobs(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), resting(rooms(t))
	s := serve(t, dir, file)
	s.call(t, "POST", "/migrate", "", 200, nil, "Prefer", "wait=40")
	s.call(t, "POST", "/backup", `{"tables":["public.nothing"]}`, 200, nil, "Prefer", "wait=40")
	_, text := s.raw(t, "GET", "/metrics", "", nil)
	for _, want := range []string{
		`acequia_jobs_total{kind="migrate",state="succeeded"} 1`, `acequia_jobs_total{kind="backup",state="failed"} 1`, `acequia_job_last_seconds{kind="migrate"}`,
		`acequia_job_last_success_timestamp_seconds{kind="migrate"}`, `acequia_table_rows_total{pipeline="cine",table="rooms"} 20`,
		`acequia_table_rows_total{pipeline="cine",table="seats"} 500`, `acequia_connection_up{server="postgresql"} 1`, `acequia_connection_up{server="dynamodb"} 1`,
		`acequia_retries_total{pipeline="cine"} 0`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(string(text), `acequia_job_last_success_timestamp_seconds{kind="backup"}`) {
		t.Error("a backup that failed is told as one that succeeded")
	}
	// when one last succeeded is known after a restart
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = serve(t, dir, file)
	if _, text = s.raw(t, "GET", "/metrics", "", nil); !strings.Contains(string(text), `acequia_job_last_success_timestamp_seconds{kind="migrate"}`) {
		t.Error("a restart forgets when a migration succeeded")
	}
}
