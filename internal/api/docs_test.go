package api_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/api"
)

// TestEveryCurlOfTheDocsWorks runs the calls of the pages and of /docs as they are written, but for the port.
func TestEveryCurlOfTheDocsWorks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, t.TempDir(), resting(rooms(t))+"schedule: { sync: \"0 0 1 1 *\", backup: \"0 0 1 1 *\" }\n")
	s.call(t, "POST", "/migrate", "", 200, nil, "Prefer", "wait=40")
	n := 0
	for line := range strings.SplitSeq(string(page), "\n") {
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		n++
		at := strings.ReplaceAll(line, "localhost:3006", strings.TrimPrefix(s.url, "http://"))
		out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(at, "curl ", "curl -sS -w '\\n%{http_code}' ", 1)).CombinedOutput() //nolint:gosec // our own page
		text := strings.TrimSpace(string(out))
		status := text[strings.LastIndexByte(text, '\n')+1:]
		if err != nil || !strings.HasPrefix(status, "2") && status != "409" { // the work of the line before may go on
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	if n < 15 {
		t.Errorf("only %d calls were found", n)
	}
	_, html := s.raw(t, "GET", "/docs", "", nil)
	for _, want := range []string{"curl -X POST " + s.url + "/sync/rooms", "GET /dynamodb/{table_name}/items", "<code>prune</code> (JSON)", "<code>last_sync_time</code> (JSON)", `href="/openapi.json"`} {
		if !strings.Contains(string(html), want) {
			t.Errorf("/docs has no %q", want)
		}
	}
	for _, foreign := range []string{"<script", "https://", "unpkg"} {
		if strings.Contains(string(html), foreign) {
			t.Errorf("/docs has %q", foreign)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	dir, dsn := t.TempDir(), rooms(t)
	// without follow: a schedule with a sync lets the pipeline rest
	file := strings.Replace(resting(dsn), ", follow: false", "", 1) + "schedule: { time_zone: America/Lima, sync: \"0 0 1 1 *\", backup: \"0 2 1 1 *\" }\n"
	s := serve(t, dir, file)
	var status struct{ Pipelines []struct{ State string } }
	_, text := s.raw(t, "GET", "/v1/status", "", nil)
	if err := json.Unmarshal(text, &status); err != nil || status.Pipelines[0].State != "resting" {
		t.Errorf("%v: %s", err, text)
	}
	var list api.ScheduleList
	s.call(t, "GET", "/v1/schedules", "", 200, &list)
	if len(list.Schedules) != 2 || list.Schedules[0].Name != "sync" || list.Schedules[0].Zone != "America/Lima" || list.Schedules[0].Next == nil {
		t.Errorf("%+v", list)
	}
	var job api.Job
	s.call(t, "POST", "/v1/schedules/sync/run", "", 202, &job)
	if done := s.wait(t, job, "succeeded"); done.By != "this machine" || done.Report.Databases[0].Rows != 520 {
		t.Errorf("%+v %+v", done, done.Report)
	}
	s.call(t, "POST", "/v1/schedules/sync/pause", "", 200, &list)
	if !list.Schedules[0].Paused || list.Schedules[0].Last != job.ID {
		t.Errorf("%+v", list)
	}
	var wrong api.ProblemError
	s.call(t, "POST", "/v1/schedules/snyc/pause", "", 404, &wrong)
	s.call(t, "POST", "/v1/schedules/backup/run", "", 202, &job)
	if done := s.wait(t, job, "succeeded"); done.Kind != "backup" || done.Report.Databases[0].Rows != 520 || done.Report.Databases[0].Backup == "" {
		t.Errorf("%+v %+v", done, done.Report)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	s = serve(t, dir, file)
	s.call(t, "GET", "/v1/schedules", "", 200, &list)
	if !list.Schedules[0].Paused {
		t.Error("it begins again after a restart")
	}
	s.call(t, "POST", "/v1/schedules/sync/resume", "", 200, &list)
	if list.Schedules[0].Paused {
		t.Errorf("%+v", list)
	}
}
