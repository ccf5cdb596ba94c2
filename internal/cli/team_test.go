package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/internal/web"
)

// sharedDatabase makes a database for a test, on the server of the scripts.
func sharedDatabase(t *testing.T, sql ...string) string {
	t.Helper()
	d := scriptDatabases
	d.start.Do(func() { d.server, d.err = postgrestest.Start() })
	if d.err != nil {
		t.Fatal(d.err)
	}
	return d.server.Database(t, sql...)
}

// newTeamRun is a folder with files and the same project for several processes, which share the state.
func newTeamRun(t *testing.T, lake string, shared app.SharedState, names ...string) *fileRun {
	t.Helper()
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}, shared: shared}
	for f := range 12 {
		r.grow(t, fmt.Sprintf("part-%02d.csv", f), 20_000)
	}
	r.writeTeam(t, strings.Replace(fileProject, "url: lake,", lake, 1), names...)
	return r
}

// writeTeam writes the same project for each, with the shared state.
func (r *fileRun) writeTeam(t *testing.T, project string, names ...string) {
	t.Helper()
	state := fmt.Sprintf("type: postgres, dsn: %q", string(r.shared.DSN))
	if r.shared.Table != "" {
		state = fmt.Sprintf("type: dynamodb, table: %q, aws: { region: %q, endpoint: %q }", r.shared.Table, r.shared.AWS.Region, r.shared.AWS.Endpoint)
	}
	for _, name := range names {
		r.write(t, name+".yaml", fmt.Appendf([]byte(project), "state: { folder: .state-%s, %s }\n", name, state))
	}
}

func inPostgres(t *testing.T) app.SharedState {
	t.Helper()
	return app.SharedState{DSN: config.Secret(sharedDatabase(t))}
}

func inDynamo(t *testing.T) app.SharedState {
	t.Helper()
	server, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	at := server.InOrder(t)
	return app.SharedState{Table: dynamologtest.Table(t, at), AWS: at}
}

// leases gives the keys of leases that processes have, by owner.
func (r *fileRun) leases(t *testing.T) map[string][]string {
	t.Helper()
	store, err := r.state().OpenToRead(t.Context())
	if err != nil {
		return nil // nothing has run yet
	}
	all, err := store.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, l := range all {
		out[l.Owner] = append(out[l.Owner], l.Key)
	}
	return out
}

// TestTeamOfRuns has four processes share the files of a pipeline: one is killed between intent and publication, one is frozen for longer
// than its leases last. The others take over what they had, and in the end every line is in the lake, or a dead letter, once.
func TestTeamOfRuns(t *testing.T) {
	t.Parallel()
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		r := newTeamRun(t, "url: lake,", inPostgres(t), "a", "b", "c", "d")
		r.killedAndFrozen(t, "lines", "", func() { r.check(t) })
	})
	t.Run("state in DynamoDB", func(t *testing.T) {
		t.Parallel()
		r := newTeamRun(t, "url: lake,", inDynamo(t), "a", "b", "c", "d")
		r.killedAndFrozen(t, "lines", "", func() { r.check(t) })
	})
	t.Run("S3", func(t *testing.T) {
		t.Parallel()
		server := blobtest.New(t)
		aws := fmt.Sprintf("aws: { region: eu-west-1, endpoint: %q },", server.URL)
		r, copies := newTeamRun(t, "url: \"s3://bucket/lake\", "+aws, inPostgres(t), "a", "b", "c", "d"), 0
		r.killedAndFrozen(t, "lines", "", func() { // the check reads files of this machine
			copies++
			r.write(t, "copy.yaml", fmt.Appendf(nil, "version: 1\nstate: copy-%d\nsources: { s3: { type: lake, url: \"s3://bucket/lake\", %s } }\n"+
				"sinks: { lake: { type: lake, url: lake-%d, partition: [century] } }\npipelines: { copies: { from: s3, to: [lake] } }\n", copies, strings.TrimSuffix(aws, ","), copies))
			if code, _, output, err := r.command(t.Context(), order{}, 0, "run", "copy.yaml"); err != nil || code != exitOK {
				t.Fatalf("copy: exit code %d, %v\n%s", code, err, output)
			}
			if err := errors.Join(os.RemoveAll(filepath.Join(r.dir, "lake")), os.Rename(filepath.Join(r.dir, fmt.Sprintf("lake-%d", copies)), filepath.Join(r.dir, "lake"))); err != nil {
				t.Fatal(err)
			}
			r.check(t)
		})
	})
}

// killedAndFrozen checks when those that were left have ended, and when the frozen has. They may lack a protection.
func (r *fileRun) killedAndFrozen(t *testing.T, pipeline string, lacks protection, check func()) {
	t.Helper()
	want := exitOK
	if len(r.bad) > 0 {
		want = exitPartial
	}
	killed := r.start(t, order{KillAt: pipeline + "/after-intent:2"}, "run", "a.yaml")
	killed.until(t, nil)
	left := r.leases(t)
	if len(left) != 1 {
		t.Fatalf("leases of the killed: %v; it said %s", left, killed.said())
	}
	frozen := r.start(t, order{HoldAt: pipeline + "/before-publish:2", Without: lacks}, "run", "b.yaml")
	frozen.until(t, r.isHeld)
	frozen.signal(t, syscall.SIGSTOP)
	for _, c := range []*running{r.startBeside(t, lacks, "run", "c.yaml"), r.startBeside(t, lacks, "run", "d.yaml")} {
		if code := c.until(t, nil); code != want && lacks == "" {
			t.Errorf("exit code %d: %s", code, c.said())
		}
	}
	check()
	frozen.signal(t, syscall.SIGCONT, syscall.SIGCONT) // the program, and the point where it waits
	if code := frozen.until(t, nil); code != want && code != exitOK && lacks == "" {
		t.Errorf("the frozen: exit code %d: %s", code, frozen.said())
	}
	check()
	for owner, keys := range r.leases(t) {
		t.Errorf("%s still has %v", owner, keys)
	}
}

// startBeside starts the program while another waits at a point.
func (r *fileRun) startBeside(t *testing.T, lacks protection, args ...string) *running {
	t.Helper()
	return r.launch(t, order{Dir: filepath.Join(r.dir, "beside"), Without: lacks}, args...)
}

const teamTable = `version: 1
state: { folder: .state-%s, type: postgres, dsn: %q }
sources:
  lines: { type: postgres, dsn: %q, capture: { strategy: xmin, every: 200ms } }
sinks:
  lake: { type: lake, url: lake, roll: { every: 200ms } }
pipelines:
  lines: { from: lines, to: [lake] }
`

// TestTeamFollowsTable has two processes follow the same table: one does, the other takes over when it is killed; status tells who.
func TestTeamFollowsTable(t *testing.T) {
	t.Parallel()
	dsn := sharedDatabase(t, "create table lines (id bigint primary key, name text)", "insert into lines select i, 'x' from generate_series(0, 999) i")
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}, shared: app.SharedState{DSN: config.Secret(dsn)}}
	for _, name := range []string{"a", "b"} {
		r.write(t, name+".yaml", fmt.Appendf(nil, teamTable, name, dsn, dsn))
	}
	has := func(n int) func() bool {
		return func() bool { return len(r.ids(t)) == n }
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "lake", "lines"), 0o750); err != nil {
		t.Fatal(err)
	}
	a := r.start(t, order{}, "run", "a.yaml")
	a.until(t, has(1000))
	b := r.startBeside(t, "", "run", "b.yaml")
	b.until(t, func() bool { return len(r.leases(t)) == 2 })
	var holder string
	for owner, keys := range r.leases(t) {
		if slices.Contains(keys, checkpoint.PipelineLease("lines")) {
			holder = owner
		}
	}
	var out, report bytes.Buffer
	code := run([]string{"status", filepath.Join(r.dir, "b.yaml")}, terminal{out: &out, err: &out, plugins: catalog.Default()})
	if code != exitOK || holder == "" || !strings.Contains(out.String(), holder) {
		t.Errorf("exit code %d, %q has it, and status says: %s", code, holder, out.String())
	}
	code = run([]string{"status", filepath.Join(r.dir, "b.yaml"), "--json"}, terminal{out: &report, err: &out, plugins: catalog.Default()})
	var told web.Report
	if err := json.Unmarshal(report.Bytes(), &told); err != nil || code != exitOK || told.Pipelines[0].State != web.Elsewhere || told.Pipelines[0].Holder != holder {
		t.Errorf("exit code %d, %v: %s", code, err, report.String())
	}
	a.signal(t, syscall.SIGKILL)
	a.until(t, nil)
	if err := runSQL(dsn, "insert into lines select i, 'y' from generate_series(1000, 1999) i"); err != nil {
		t.Fatal(err)
	}
	b.until(t, has(2000))
	b.signal(t, syscall.SIGTERM)
	if code := b.until(t, nil); code != exitOK && code != 130 && code != 143 {
		t.Errorf("exit code %d: %s", code, b.said())
	}
	for id, n := range r.ids(t) {
		if n != 1 {
			t.Errorf("line %d is there %d times", id, n)
		}
	}
	for owner, keys := range r.leases(t) {
		t.Errorf("%s still has %v", owner, keys)
	}
}
