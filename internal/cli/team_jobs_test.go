package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/web"
)

const teamService = `version: 1
state: { folder: .state-%s, type: postgres, dsn: %q }
sources: { shop: { type: postgres, dsn: %q, capture: { strategy: xmin, every: 200ms } } }
sinks: { lake: { type: lake, url: lake, roll: { every: 200ms } } }
pipelines: { shop: { from: shop, to: [lake] } }
`

// TestTeamOfServices asks one process for a job while another follows the database: it is handed over. Then that one is killed with a
// job under way: the other ends the job as interrupted, and goes on.
func TestTeamOfServices(t *testing.T) {
	t.Parallel()
	dsn := sharedDatabase(t, "create table orders (id bigint primary key, note text)", "insert into orders select n, md5(n::text) from generate_series(1, 2000) n")
	state := sharedDatabase(t)
	a, b := &jobRun{t: t, dir: t.TempDir()}, &jobRun{t: t}
	b.dir = a.dir
	for name, r := range map[string]*jobRun{"a": a, "b": b} {
		r.file = filepath.Join(r.dir, name+".yaml")
		if err := os.WriteFile(r.file, fmt.Appendf(nil, teamService, name, state, dsn), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := a.start(order{})
	follows := func(c *child) func() bool {
		return func() bool {
			p := c.pipeline("shop")
			return c.over() || p.State == web.Running && p.Holder == ""
		}
	}
	if err := await(t.Context(), follows(first)); err != nil || first.over() {
		t.Fatalf("nobody follows: %v", err)
	}
	second := b.start(order{})
	elsewhere := func(c *child) func() bool {
		return func() bool { p := c.pipeline("shop"); return c.over() || p.State == web.Elsewhere && p.Holder != "" }
	}
	if err := await(t.Context(), elsewhere(second)); err != nil || second.over() {
		t.Fatalf("the second does not see who follows: %v, %+v", err, second.pipeline("shop"))
	}
	var job api.Job
	if status, err := b.ask("POST", "/migrate", &job, "Prefer", "wait=50"); err != nil || status != http.StatusOK || job.State != "succeeded" || job.Report.Databases[0].Rows != 2000 {
		t.Fatalf("the job is not done: %d %v %+v", status, err, job)
	}
	if err := await(t.Context(), follows(second)); err != nil || second.over() {
		t.Fatalf("the second does not go on: %v", err)
	}
	if err := await(t.Context(), elsewhere(first)); err != nil || first.over() {
		t.Fatalf("the first does not see who follows: %v, %+v", err, first.pipeline("shop"))
	}
	if status, err := b.ask("POST", "/migrate", &job); err != nil || status != http.StatusAccepted {
		t.Fatalf("%d %v", status, err)
	}
	if err := second.end(syscall.SIGKILL); err != nil { // the job waits for what follows to stop
		t.Fatal(err)
	}
	failed := func() bool {
		var list api.JobList
		_, err := a.ask("GET", "/v1/jobs", &list)
		return err == nil && len(list.Jobs) == 2 && list.Jobs[0].State == "failed" && list.Jobs[0].Trouble != nil && list.Jobs[0].Trouble.Code == "ACQ-JOB-001"
	}
	if err := await(t.Context(), failed); err != nil {
		t.Errorf("nobody ends the job of a process that is gone: %v", err)
	}
	if err := await(t.Context(), follows(first)); err != nil || first.over() {
		t.Fatalf("the first does not go on: %v", err)
	}
	if status, err := a.ask("POST", "/migrate", &job, "Prefer", "wait=50"); err != nil || status != http.StatusOK || job.State != "succeeded" {
		t.Errorf("asked for again: %d %v %+v", status, err, job)
	}
	for _, args := range [][]string{{"backfill", b.file}, {"state", "rewind", b.file}} { // of a process beside the one that follows, which lets go and goes on
		if code, out, err := once(t.Context(), order{}, args...); err != nil || code != exitOK {
			t.Errorf("%v: %d %v\n%s", args, code, err, out)
		}
	}
	if err := await(t.Context(), follows(first)); err != nil || first.over() {
		t.Fatalf("the first does not go on: %v", err)
	}
	if err := first.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if code, out, err := once(t.Context(), order{}, "run", "--until-idle", b.file); err != nil || code != exitOK { // it reads anew what was to be, if nobody has
		t.Errorf("run: %d %v\n%s", code, err, out)
	}
	if code, out, err := once(t.Context(), order{}, "verify", a.file); err != nil || code != exitOK {
		t.Errorf("verify: %d %v\n%s", code, err, out)
	}
}
