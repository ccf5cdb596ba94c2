package api_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/api"
)

// rooms are the tables of a cinema, one of them without a column of times.
func rooms(t *testing.T) (dsn string) {
	t.Helper()
	return server.Database(t,
		`create table rooms (id int primary key, name text, screen_type text, updated_at timestamptz not null default now())`,
		`insert into rooms select i, 'Sala ' || i, case when i % 2 = 0 then 'IMAX' else '2D' end from generate_series(1, 20) i`,
		`create table seats (id int primary key, room int)`, `insert into seats select i, i % 20 from generate_series(1, 500) i`)
}

const itemsSink = `items: { type: items, tables: { rooms: { name: cinema-rooms, indexes: [ { name: by_screen, columns: [screen_type] } ] } } }`

// resting is a file whose pipeline reads its database when it is asked to.
func resting(dsn string) string {
	return fmt.Sprintf(`version: 1
sources:
  salas: { type: postgres, dsn: %q, capture: { strategy: xmin, every: 200ms } }
sinks:
  %s
  lake: { type: lake, url: lake, roll: { every: 300ms } }
pipelines:
  cine: { from: salas, to: [items, lake], follow: false }
`, dsn, itemsSink)
}

func TestMigrateAndSync(t *testing.T) {
	t.Parallel()
	dsn := rooms(t)
	s := serve(t, t.TempDir(), resting(dsn))
	var ready api.Readiness
	s.call(t, "GET", "/readyz", "", 200, &ready)
	var tables api.TableList
	s.call(t, "GET", "/dynamodb/tables", "", 200, &tables)
	if len(tables.Tables) != 0 {
		t.Errorf("it has read before it was asked to: %v", tables)
	}
	var job api.Job
	answer := s.call(t, "POST", "/migrate", "", 200, &job, "Prefer", "respond-async, wait=40")
	if answer.Header.Get("Location") != "/v1/jobs/"+job.ID || answer.Header.Get("Preference-Applied") != "wait=40" {
		t.Error(answer.Header)
	}
	report := job.Report
	if job.State != "succeeded" || len(report.Databases) != 1 || report.Databases[0].Rows != 520 || report.Databases[0].SourceDB != "postgresql" {
		t.Fatalf("%+v %+v", job, report)
	}
	got := map[string]int64{}
	for _, table := range report.Tables {
		got[table.Table+" "+table.State] = table.Rows
	}
	if fmt.Sprint(got) != "map[rooms succeeded:20 seats succeeded:500]" {
		t.Error(got)
	}
	s.call(t, "GET", "/dynamodb/tables", "", 200, &tables)
	if len(tables.Tables) != 2 || tables.Tables[0].Name != "cinema-rooms" || tables.Tables[0].Items != 20 || tables.Tables[0].Indexes[0].Name != "by_screen" {
		t.Errorf("%+v", tables)
	}

	// what is changed is not read until it is asked for
	sql(t, dsn, `insert into rooms values (21, 'Sala nueva', '4DX')`, `update seats set room = 99 where id = 7`, `delete from seats where id = 8`)
	s.call(t, "POST", "/sync/rooms", "", 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || s.item(t, "cinema-rooms", "21") == nil || s.item(t, "seats", "7")["room"] != 7.0 {
		t.Errorf("%+v %v", job, s.item(t, "seats", "7"))
	}

	// by the column of times
	sql(t, dsn, `update rooms set name = 'of before', updated_at = '2020-01-01' where id = 1`, `update rooms set name = 'of now' where id = 2`)
	s.call(t, "POST", "/sync/rooms", `{"last_sync_time":"2024-01-01T00:00:00Z"}`, 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || s.item(t, "cinema-rooms", "1")["name"] != "Sala 1" || s.item(t, "cinema-rooms", "2")["name"] != "of now" {
		t.Errorf("%+v %v", job, s.item(t, "cinema-rooms", "1"))
	}

	// without one the table is swept, and the job says so
	s.call(t, "POST", "/sync/seats", `{"last_sync_time":"2024-01-01T00:00:00Z"}`, 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || len(job.Report.Notes) == 0 || !strings.Contains(job.Report.Notes[0], "swept") || s.item(t, "seats", "7")["room"] != 99.0 || s.item(t, "seats", "8") != nil {
		t.Errorf("%+v %+v %v", job, job.Report, s.item(t, "seats", "8"))
	}
}

// item gives an item; nil: there is none.
func (s *site) item(t *testing.T, table, key string) map[string]any {
	t.Helper()
	var page api.ItemPage
	s.call(t, "GET", "/dynamodb/"+table+"/items?key="+key, "", 200, &page)
	if len(page.Items) == 0 {
		return nil
	}
	var doc map[string]any
	if err := json.Unmarshal(page.Items[0], &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestItemsArePaged(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), resting(rooms(t)))
	s.call(t, "POST", "/migrate", "", 200, nil, "Prefer", "wait=40")
	seen := map[string]bool{}
	for cursor := ""; ; {
		var page api.ItemPage
		s.call(t, "GET", "/dynamodb/cinema-rooms/items?limit=7&cursor="+cursor, "", 200, &page)
		for _, item := range page.Items {
			seen[string(item)] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d items, want 20", len(seen))
	}
	var page api.ItemPage
	s.call(t, "GET", "/dynamodb/cinema-rooms/items?index=by_screen&key=IMAX", "", 200, &page)
	if page.Count != 10 {
		t.Errorf("%d rooms have IMAX, want 10", page.Count)
	}
	var wrong api.ProblemError
	s.call(t, "GET", "/dynamodb/cinema-rooms/items?index=by_scren&key=IMAX", "", 422, &wrong)
	if wrong.Code != "ACQ-API-013" || wrong.Suggestions[0] != "by_screen" {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "GET", "/dynamodb/cinema-rooms/items?index=by_screen", "", 422, &wrong)
	s.call(t, "GET", "/dynamodb/cinema-rooms/items?limit=0", "", 422, &wrong)
	s.call(t, "GET", "/dynamodb/cinema-rooms/items?cursor=***", "", 422, &wrong)
	s.call(t, "GET", "/dynamodb/cinema-room/items", "", 404, &wrong)
	if wrong.Code != "ACQ-API-009" || wrong.Suggestions[0] != "cinema-rooms" {
		t.Errorf("%+v", wrong)
	}
}

func TestNamesOfTables(t *testing.T) {
	t.Parallel()
	one, two := rooms(t), rooms(t)
	s := serve(t, t.TempDir(), fmt.Sprintf(`version: 1
sources:
  a: { type: postgres, dsn: %q, capture: { strategy: xmin } }
  b: { type: postgres, dsn: %q, capture: { strategy: xmin } }
sinks: { lake_a: { type: lake, url: a }, lake_b: { type: lake, url: b } }
pipelines:
  a: { from: a, to: [lake_a], follow: false }
  b: { from: b, to: [lake_b], follow: false }
`, one, two))
	var wrong api.ProblemError
	s.call(t, "POST", "/sync/room", "", 404, &wrong)
	if wrong.Code != "ACQ-API-009" || wrong.Suggestions[0] != "rooms" {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "POST", "/sync/rooms", "", 409, &wrong)
	if wrong.Code != "ACQ-API-010" || !strings.Contains(wrong.Detail, "a: rooms, b: rooms") {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "POST", "/sync/room", "", 404, &wrong, "Accept-Language", "es")
	if wrong.Code != "ACQ-API-009" || wrong.Detail != "No hay ninguna tabla de ese nombre" || wrong.Remedy != "¿quisiste decir rooms?" || wrong.Title != "No encontrado" {
		t.Errorf("%+v", wrong)
	}
	s.call(t, "POST", "/sync/rooms?source_db=c", "", 422, &wrong)
	s.call(t, "POST", "/sync/rooms", `{"last_sync_time":"yesterday"}`, 422, &wrong)
	if wrong.Errors[0].Location != "body.last_sync_time" {
		t.Errorf("%+v", wrong)
	}
	var job api.Job
	s.call(t, "POST", "/sync/rooms?source_db=b", "", 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || len(job.Report.Databases) != 1 || job.Report.Databases[0].Pipeline != "b" || job.Report.Databases[0].Rows != 20 || len(job.Report.Tables) != 1 {
		t.Errorf("%+v %+v", job, job.Report)
	}
	s.call(t, "POST", "/migrate", `{"only":["none"]}`, 422, &wrong)
	s.call(t, "POST", "/migrate", `{"only":["a"],"tables":["public.rooms"]}`, 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || len(job.Report.Tables) != 1 || job.Report.Tables[0].Rows != 20 {
		t.Errorf("%+v %+v", job, job.Report)
	}
	s.call(t, "GET", "/v1/jobs/01a2325d-b832-7491-9695-9e52954ad129", "", 404, &wrong)
	s.call(t, "GET", "/v1/jobs/no-uuid", "", 422, &wrong)
}

// A database that takes connections and says nothing is tried twice; the other is read meanwhile.
func TestMigrateGoesOnWithoutOneDatabase(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	s := serve(t, t.TempDir(), fmt.Sprintf(`version: 1
sources:
  a: { type: postgres, dsn: %q, capture: { strategy: xmin } }
  mute: { type: postgres, dsn: "postgres://u@%s/d", capture: { strategy: xmin } }
sinks: { lake_a: { type: lake, url: a }, lake_b: { type: lake, url: b } }
pipelines:
  a: { from: a, to: [lake_a], follow: false }
  b: { from: mute, to: [lake_b], follow: false }
`, rooms(t), mute.Addr()))
	began := time.Now()
	var health api.Health
	s.call(t, "GET", "/health", "", 200, &health)
	if took := time.Since(began); health.Status != "degraded" || health.Checks["postgresql"].Status != "error" || health.Checks["s3"].Status != "ok" || took > 2*time.Second {
		t.Errorf("%s: %+v", took, health)
	}
	var ready api.Readiness
	s.call(t, "GET", "/readyz", "", 503, &ready)
	if ready.Ready || ready.AtFault[0].Server != "postgresql" {
		t.Errorf("%+v", ready)
	}
	began = time.Now()
	var job api.Job
	s.call(t, "POST", "/migrate", "", 200, &job, "Prefer", "wait=40")
	if took := time.Since(began); job.State != "partial" || took > 20*time.Second {
		t.Errorf("%s after %s", job.State, took)
	}
	a, b := job.Report.Databases[0], job.Report.Databases[1]
	if a.State != "succeeded" || a.Rows != 520 || a.Attempts != 1 || a.Seconds > 10 || b.State != "failed" || b.Attempts != 2 || b.Trouble.Code != "ACQ-PG-002" {
		t.Errorf("%+v\n%+v\n%+v", a, b, b.Trouble)
	}
	s.call(t, "POST", "/migrate", `{"only":["mute"]}`, 200, &job, "Prefer", "wait=40")
	if job.State != "failed" || job.Trouble.Code != "ACQ-PG-002" {
		t.Errorf("%+v", job)
	}
}

//nolint:paralleltest // a transaction that holds a lock holds back what other tests follow
func TestTheSameWorkIsFound(t *testing.T) {
	dsn := rooms(t)
	s := serve(t, t.TempDir(), resting(dsn))
	release := hold(t, dsn, "rooms")
	var job, again api.Job
	s.call(t, "POST", "/migrate", "", 202, &job, "Idempotency-Key", "one")
	s.call(t, "POST", "/migrate", "", 202, &again, "Idempotency-Key", "one")
	if again.ID != job.ID {
		t.Error("the same key began two jobs")
	}
	var wrong api.ProblemError
	answer := s.call(t, "POST", "/migrate", "", 409, &wrong)
	if wrong.Job == nil || wrong.Job.ID != job.ID || answer.Header.Get("Location") != "/v1/jobs/"+job.ID {
		t.Errorf("%+v %v", wrong, answer.Header)
	}
	s.call(t, "POST", "/migrate", `{"only":["cine"]}`, 422, &wrong, "Idempotency-Key", "one")
	if wrong.Code != "ACQ-API-011" {
		t.Errorf("%+v", wrong)
	}
	// other work of the same pipeline waits for it
	var waits api.Job
	s.call(t, "POST", "/migrate", `{"only":["cine"]}`, 202, &waits, "Prefer", "wait=1")
	if waits.State != "queued" {
		t.Errorf("it is %s while the pipeline is another job's", waits.State)
	}
	events := s.listen(t, job)
	s.call(t, "POST", "/v1/jobs/"+job.ID+"/cancel", "", 202, nil)
	if last := events(); last.State != "canceled" || last.Trouble.Code != "ACQ-JOB-003" {
		t.Errorf("%+v", last)
	}
	s.call(t, "POST", "/v1/jobs/"+job.ID+"/cancel", "", 200, &again)
	release()
	done := s.wait(t, waits, "succeeded")
	if done.Report.Databases[0].Rows != 520 {
		t.Errorf("%+v", done.Report)
	}
	s.call(t, "POST", "/v1/jobs/"+waits.ID+"/cancel", "", 409, &wrong)
	var list api.JobList
	s.call(t, "GET", "/v1/jobs?limit=1&kind=migrate", "", 200, &list)
	if len(list.Jobs) != 1 || list.Jobs[0].ID != waits.ID || list.Next != waits.ID {
		t.Errorf("%+v", list)
	}
	s.call(t, "GET", "/v1/jobs?cursor="+list.Next+"&state=canceled", "", 200, &list)
	if len(list.Jobs) != 1 || list.Jobs[0].ID != job.ID || list.Next != "" {
		t.Errorf("%+v", list)
	}
}

// Of several orders of the same work at once one begins, and the others are given its job.
//
//nolint:paralleltest // a transaction that holds a lock holds back what other tests follow
func TestOneOfManyOrdersBegins(t *testing.T) {
	dsn := rooms(t)
	s := serve(t, t.TempDir(), resting(dsn))
	release := hold(t, dsn, "rooms")
	const orders = 8
	begun, told := make([]string, orders), make([]string, orders) // the place of the job
	errs := make([]error, orders)
	var asking sync.WaitGroup
	for i := range orders {
		asking.Go(func() {
			answer, err := client().Post(s.url+"/migrate", "application/json", http.NoBody) //nolint:noctx // it is on this machine
			if err != nil {
				errs[i] = err
				return
			}
			switch errs[i] = answer.Body.Close(); answer.StatusCode {
			case http.StatusAccepted:
				begun[i] = answer.Header.Get("Location")
			case http.StatusConflict:
				told[i] = answer.Header.Get("Location")
			default:
				errs[i] = fmt.Errorf("it answers %s", answer.Status)
			}
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(begun)
	slices.Sort(told)
	if first := begun[orders-1]; first == "" || begun[orders-2] != "" || told[0] != "" || told[1] != first || told[orders-1] != first {
		t.Errorf("begun %v, told %v", begun, told)
	}
	release()
	var list api.JobList
	if s.call(t, "GET", "/v1/jobs", "", 200, &list); len(list.Jobs) != 1 {
		t.Errorf("%d jobs", len(list.Jobs))
	}
	s.wait(t, list.Jobs[0], "succeeded")
}

// listen reads the events of a job; what it gives waits for the last.
func (s *site) listen(t *testing.T, job api.Job) (last func() api.Job) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/jobs/"+job.ID+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.conforms(http.MethodGet, "/v1/jobs/"+job.ID+"/events", answer, nil); err != nil {
		t.Error(err)
	}
	lines := bufio.NewScanner(answer.Body)
	next := func() (event string, job api.Job) {
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &job); err != nil {
					t.Fatal(err)
				}
				return event, job
			}
		}
		t.Fatal("the events end without an end", lines.Err())
		return "", job
	}
	if event, first := next(); event != "progress" || first.ID != job.ID {
		t.Fatal(event, first)
	}
	return func() api.Job {
		defer func() { _ = answer.Body.Close() }()
		for {
			if event, job := next(); event == "end" {
				return job
			}
		}
	}
}

//nolint:paralleltest // a transaction that holds a lock holds back what other tests follow
func TestInterruptedJobsAreTold(t *testing.T) {
	dsn, dir := rooms(t), t.TempDir()
	s := serve(t, dir, resting(dsn))
	release := hold(t, dsn, "rooms")
	var job api.Job
	s.call(t, "POST", "/migrate", "", 202, &job)
	s.wait(t, job, "running")
	events := s.listen(t, job)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if last := events(); last.State != "failed" || last.Trouble.Code != "ACQ-JOB-001" {
		t.Errorf("%+v", last)
	}
	release()
	s = serve(t, dir, resting(dsn))
	if told := s.wait(t, job, "failed"); told.Trouble.Code != "ACQ-JOB-001" {
		t.Errorf("%+v", told)
	}
	s.call(t, "POST", "/migrate", "", 200, &job, "Prefer", "wait=40")
	if job.State != "succeeded" || job.Report.Databases[0].Rows != 520 {
		t.Errorf("%+v %+v", job, job.Report)
	}
}

// A pipeline that follows goes on to follow when a migration has ended, and nothing is lost of what happened meanwhile.
//
//nolint:paralleltest // a transaction that holds a lock holds back what other tests follow
func TestMigrateBesideFollowing(t *testing.T) {
	dsn := rooms(t)
	s := serve(t, t.TempDir(), strings.Replace(resting(dsn), "follow: false", "follow: true", 1))
	follows := func(id int, name string) {
		t.Helper()
		sql(t, dsn, fmt.Sprintf(`insert into rooms values (%d, '%s', '2D')`, id, name))
		for deadline := time.Now().Add(time.Minute); s.item(t, "cinema-rooms", fmt.Sprint(id)) == nil; {
			if time.Now().After(deadline) {
				t.Fatalf("room %d was not followed", id)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		var tables api.TableList
		if s.call(t, "GET", "/dynamodb/tables", "", 200, &tables); len(tables.Tables) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not follow")
		}
		<-time.After(50 * time.Millisecond)
	}
	follows(30, "before")
	release := hold(t, dsn, "seats")
	var job api.Job
	s.call(t, "POST", "/migrate", "", 202, &job)
	s.wait(t, job, "running")
	sql(t, dsn, `insert into rooms values (31, 'meanwhile', '2D')`)
	release()
	done := s.wait(t, job, "succeeded")
	if done.Report.Databases[0].Rows < 521 {
		t.Errorf("%+v", done.Report)
	}
	follows(32, "after")
	if s.item(t, "cinema-rooms", "31") == nil {
		t.Error("what was inserted while the job ran is lost")
	}
	var ready api.Readiness
	s.call(t, "GET", "/readyz", "", 200, &ready)
}
