package cli

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

const backupProject = `version: 1
sources:
  shop: { type: postgres, dsn: "%s" }
  copy: { type: postgres, dsn: "%s" }
sinks: { out: { type: discard } }
pipelines: { shop: { from: shop, to: [out] } }
backup: { url: %s, sources: [shop], keep: { daily: 1 } }
`

// backupRun is a folder with a project over a database, and an empty one beside it.
type backupRun struct {
	t                  *testing.T
	file, root         string
	shop, copy, engine string
	bucket             *blob.S3 // nil: root is a directory
}

func newBackupRun(t *testing.T) *backupRun {
	t.Helper()
	return newBackupRunAt(t, filepath.Join(t.TempDir(), "kept"))
}

// newBackupRunAt keeps backups at a URL, which settings may follow.
func newBackupRunAt(t *testing.T, url string) *backupRun {
	t.Helper()
	d := scriptDatabases
	d.start.Do(func() { d.server, d.err = postgrestest.Start() })
	if d.err != nil {
		t.Fatal(d.err)
	}
	r := &backupRun{t: t, engine: "postgresql"}
	r.shop = d.server.Database(t, "create table orders (id serial primary key, note text); insert into orders (note) select md5(n::text) from generate_series(1, 20000) n",
		"create table lines (order_id int references orders (id), n int); insert into lines select n, n % 7 from generate_series(1, 20000) n", "create type mood as enum ('sad'); create table moods (m mood)")
	r.copy = d.server.Database(t)
	r.file, r.root = filepath.Join(t.TempDir(), "shop.yaml"), url
	if err := os.WriteFile(r.file, fmt.Appendf(nil, backupProject, r.shop, r.copy, r.root), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a command to its end.
func (r *backupRun) run(o order, args ...string) (code int, out string) {
	r.t.Helper()
	code, out, err := once(r.t.Context(), o, append([]string{"backup"}, args...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	return code, out
}

// must runs a command that succeeds.
func (r *backupRun) must(args ...string) string {
	r.t.Helper()
	code, out := r.run(order{}, args...)
	if code != exitOK {
		r.t.Fatalf("%v: exit code %d: %s", args, code, out)
	}
	return out
}

// dies runs a command that is killed at a point.
func (r *backupRun) dies(at string, args ...string) {
	r.t.Helper()
	if code, out := r.run(order{KillAt: "backup/" + at}, args...); code != -1 {
		r.t.Fatalf("%v did not come to %s: exit code %d: %s", args, at, code, out)
	}
}

// listed gives the backups that count.
func (r *backupRun) listed() []backup.Backup {
	r.t.Helper()
	var l listed
	if err := json.Unmarshal([]byte(r.must("list", r.file, "--json")), &l); err != nil {
		r.t.Fatal(err)
	}
	return l.Backups
}

// files gives the files of rows there are.
func (r *backupRun) files() (out []string) {
	r.t.Helper()
	if r.bucket != nil {
		return r.objects()
	}
	err := filepath.WalkDir(r.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			name, _ := filepath.Rel(r.root, path)
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// whole wants every backup that is listed to be whole, and after a prune no file that none of them names.
func (r *backupRun) whole(after string, want int) {
	r.t.Helper()
	all := r.listed()
	if len(all) != want {
		r.t.Errorf("after %s there are %d backups, want %d", after, len(all), want)
	}
	for _, b := range all {
		r.must("verify", b.ID, "-f", r.file)
	}
	r.must("prune", r.file)
	var named []string
	for _, b := range r.listed() {
		for _, t := range b.Tables {
			for _, f := range t.Files {
				named = append(named, f.Name)
			}
		}
	}
	slices.Sort(named)
	if there := r.files(); !slices.Equal(there, named) {
		r.t.Errorf("after %s and a prune there are the files %v, and the backups name %v", after, there, named)
	}
}

// TestBackupIsKilled kills the making of a backup at each point: it is there whole, or does not count, and what was left goes.
func TestBackupIsKilled(t *testing.T) {
	t.Parallel()
	r := newBackupRun(t)
	r.must("create", r.file)
	for _, at := range []string{backup.AfterSnapshot + ":1", backup.AfterFile + ":1", backup.AfterFile + ":2", backup.BeforeManifest + ":1"} {
		r.dies(at, "create", r.file)
		if at != backup.AfterSnapshot+":1" && len(r.files()) < 3 {
			t.Errorf("%s: nothing was left to sweep: %v", at, r.files())
		}
		r.whole(at, 1)
	}
	r.dies(backup.AfterManifest+":1", "create", r.file)
	r.whole(backup.AfterManifest, 2)
	for _, at := range []string{backup.AfterForget + ":1", backup.AfterRemove + ":1"} {
		r.must("create", r.file)
		r.dies(at, "prune", r.file)
		if files := len(r.files()); files < 3 {
			t.Errorf("%s: %d files", at, files)
		}
		r.whole(at, 1)
	}
}

// TestRestoreIsKilled kills restores at each point: the database is empty, or all is there, and then it can be restored.
func TestRestoreIsKilled(t *testing.T) {
	t.Parallel()
	r := newBackupRun(t)
	r.must("create", r.file)
	empty := func(after string) {
		t.Helper()
		if err := runSQL(r.copy, "do $$ begin if exists (select from pg_class where relnamespace = 'public'::regnamespace) or to_regtype('mood') is not null then "+
			"raise 'something is there'; end if; end $$"); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	for _, at := range []string{backup.AfterBegin + ":1", backup.AfterTable + ":1", backup.AfterTable + ":2", backup.BeforeFinish + ":1"} {
		r.dies(at, "restore", "-f", r.file, "--into", "copy")
		empty(at)
	}
	r.dies(backup.AfterFinish+":1", "restore", "-f", r.file, "--into", "copy")
	r.same()
	for _, table := range []string{"lines", "orders", "moods"} {
		if err := runSQL(r.copy, "drop table "+table); err != nil {
			t.Fatal(err)
		}
	}
	if err := runSQL(r.copy, "drop type mood"); err != nil {
		t.Fatal(err)
	}
	empty("the tables were dropped")
	r.must("restore", "-f", r.file, "--into", "copy")
	r.same()
}

// same compares the backup with the database that it was restored into.
func (r *backupRun) same() {
	r.t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	other := r.file + ".copy.yaml"
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), r.shop, r.copy, 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.must("verify", "-f", other, "--against-source")
	if err := runSQL(r.copy, "insert into lines values (0, 0)"); err == nil {
		r.t.Error("a foreign key is missing")
	}
}

// TestBackupOnAFullDisk fills the disk of the backups: it is said, nothing is left of the backup, and the next is whole when there is space.
func TestBackupOnAFullDisk(t *testing.T) {
	t.Parallel()
	r := newBackupRun(t)
	kept := filepath.Join(t.TempDir(), "kept")
	if err := runSQL(r.shop, "insert into orders (note) select md5(n::text) from generate_series(1, 20000) n"); err != nil {
		t.Fatal(err)
	}
	c, err := command(t.Context(), order{Disks: []disk{{Path: r.root, Size: "64k", Keep: kept}}}, "backup", "create", r.file)
	if err != nil {
		t.Fatal(err)
	}
	c.SysProcAttr = ownMounts()
	if err := c.Start(); err != nil {
		without(t, "a namespace of mounts cannot be made here: ", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = c.Process.Signal(syscall.SIGKILL)
		<-done
	}
	switch code := c.ProcessState.ExitCode(); {
	case code == exitUnmounted:
		without(t, "a disk cannot be mounted here: ", c.out.String())
	case code != exitEnvironment || !strings.Contains(c.out.String(), "ACQ-BACKUP-011") || !strings.Contains(c.out.String(), "acequia backup prune"):
		t.Errorf("exit code %d: %s", code, c.out.String())
	}
	r.root = kept
	if left := r.files(); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}
