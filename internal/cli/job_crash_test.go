package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

const jobProject = `version: 1
sources: { shop: { type: postgres, dsn: "%s", capture: { strategy: xmin } } }
sinks:
  lake: { type: lake, url: lake }
  items: { type: items }
pipelines: { shop: { from: shop, to: [lake, items], follow: false } }
`

// jobRun is a folder with a project whose database is read when a job asks for it.
type jobRun struct {
	t              *testing.T
	dir, file, url string
}

func newJobRun(t *testing.T, dsn string) *jobRun {
	t.Helper()
	r := &jobRun{t: t, dir: t.TempDir()}
	r.file = filepath.Join(r.dir, "shop.yaml")
	if err := os.WriteFile(r.file, fmt.Appendf(nil, jobProject, dsn), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// start serves the project, and waits until it answers.
func (r *jobRun) start(o order) *child {
	r.t.Helper()
	port := freePort(r.t)
	o.Dir = r.dir
	c, err := command(r.t.Context(), o, "serve", r.file, "--port", port, "--json")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(c.died)
		_ = c.Wait() // end looks at what it left
	}()
	c.url = "http://127.0.0.1:" + port
	r.url = c.url
	if err := await(r.t.Context(), func() bool { return c.over() || c.get("/livez", nil) == nil }); err != nil || c.over() {
		r.t.Fatalf("it does not answer: %v", err)
	}
	return c
}

// ask gives the answer to a request; its error is of a process that has died.
func (r *jobRun) ask(method, path string, to any, header ...string) (status int, err error) {
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil {
		err = json.Unmarshal(text, to)
	}
	return answer.StatusCode, err
}

// TestKilledWithAJob kills the service while a job goes on, at places of the commit protocol and of backups. The next start tells the job as
// one that was interrupted, its key still gives it, the same work can be asked for again, and then nothing is lost.
func TestKilledWithAJob(t *testing.T) {
	t.Parallel()
	d := scriptDatabases
	d.start.Do(func() { d.server, d.err = postgrestest.Start() })
	if d.err != nil {
		t.Fatal(d.err)
	}
	dsn := d.server.Database(t, "create table orders (id bigint primary key, note text); insert into orders select n, md5(n::text) from generate_series(1, 2000) n")
	for place, path := range map[string]string{
		"shop/accepted:1": "/migrate", "shop/after-intent:1": "/migrate", "shop/after-publish:1": "/migrate", "shop/after-checkpoint:1": "/migrate",
		"backup/after-snapshot:1": "/backup", "backup/after-file:1": "/backup", "backup/after-manifest:1": "/backup",
	} {
		t.Run(strings.ReplaceAll(place, "/", " "), func(t *testing.T) {
			t.Parallel()
			r := newJobRun(t, dsn)
			c := r.start(order{KillAt: place})
			var job api.Job
			_, _ = r.ask("POST", path, &job, "Idempotency-Key", "one") // it may die before it answers
			if err := await(t.Context(), c.over); err != nil {
				t.Fatalf("%s was not passed", place)
			}
			if err := c.failure(); err != nil {
				t.Fatal(err)
			}
			c = r.start(order{})
			r.interrupted(path)
			if status, err := r.ask("POST", path, &job, "Prefer", "wait=50"); err != nil || status != http.StatusOK || job.State != "succeeded" || job.Report.Databases[0].Rows != 2000 {
				t.Errorf("asked for again: %d %v %+v", status, err, job)
			}
			if err := c.end(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			for _, args := range map[string][][]string{
				"/migrate": {{"verify", r.file}}, "/backup": {{"backup", "verify", "-f", r.file, "--against-source"}, {"backup", "prune", r.file}},
			}[path] {
				if code, out, err := once(t.Context(), order{}, args...); err != nil || code != exitOK {
					t.Errorf("%v: %d %v\n%s", args, code, err, out)
				}
			}
		})
	}
}

// interrupted wants the job of before to be told as one that was, and given again for its key.
func (r *jobRun) interrupted(path string) {
	r.t.Helper()
	var list api.JobList
	if status, err := r.ask("GET", "/v1/jobs", &list); err != nil || status != http.StatusOK || len(list.Jobs) != 1 {
		r.t.Fatalf("%d %v %+v", status, err, list)
	}
	was := list.Jobs[0]
	if was.State != "failed" || was.Trouble == nil || was.Trouble.Code != "ACQ-JOB-001" || was.Ended == nil {
		r.t.Errorf("the job that was cut off is told as %+v %+v", was, was.Trouble)
	}
	var again api.Job
	if status, err := r.ask("POST", path, &again, "Idempotency-Key", "one"); err != nil || status != http.StatusAccepted || again.ID != was.ID {
		r.t.Errorf("its key gives another: %d %v %+v", status, err, again)
	}
}
