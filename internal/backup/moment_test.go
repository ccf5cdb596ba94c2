package backup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
)

// TestABackupIsOfOneMoment moves money between two tables in each transaction while backups are made: in every backup the sum is the same,
// and what is written after its snapshot is not in it.
func TestABackupIsOfOneMoment(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table a (id int primary key, v int, pad text); insert into a select n, 100, repeat('x', 500) from generate_series(1, 3000) n",
		"create table b (id int primary key, v int); insert into b select n, 100 from generate_series(1, 3000) n")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 3 {
		writing.Go(func() {
			for n := w; ; n += 3 {
				select {
				case <-stop:
					return
				default:
					server.Exec(t, from, fmt.Sprintf("begin; update a set v = v - 1 where id = %d; update b set v = v + 1 where id = %d; commit", n%3000+1, (n*7)%3000+1))
				}
			}
		})
	}
	var late sync.Once
	root := t.TempDir()
	s := open(t, root, backup.Options{Probe: func(at string) {
		if at == backup.AfterSnapshot {
			late.Do(func() { server.Exec(t, from, "insert into a values (-1, 1000000, '')") })
		}
	}})
	d := database(t, from)
	var made []*backup.Backup
	for range 3 {
		made = append(made, create(t, s, d))
	}
	close(stop)
	writing.Wait()
	for i, b := range made {
		to := server.Database(t)
		if _, err := s.Restore(t.Context(), b.ID, backup.Filter{}, database(t, to), backup.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		want := []string{"600000"}
		if i > 0 {
			want[0] = "1600000"
		}
		if sum := queried(t, to, "select (select sum(v) from a) + (select sum(v) from b) || ''"); sum[0] != want[0] {
			t.Errorf("backup %d: the sum is %s, want %s", i+1, sum[0], want[0])
		}
	}
}

// TestTablesHoldStillWhileTheyAreKept tries to truncate and to rewrite a table after the snapshot, which an older snapshot would see
// through: both have to wait.
func TestTablesHoldStillWhileTheyAreKept(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table a (id int); insert into a values (1), (2)")
	tried := 0
	s := open(t, t.TempDir(), backup.Options{Probe: func(at string) {
		if at != backup.AfterSnapshot {
			return
		}
		for _, sql := range []string{"truncate a", "alter table a alter id type bigint", "drop table a"} {
			server.Exec(t, from, "do $$ begin set local lock_timeout = '50ms'; "+sql+"; raise 'it did not wait'; exception when lock_not_available then null; end $$")
			tried++
		}
	}})
	if b := create(t, s, database(t, from)); b.Rows != 2 || tried != 3 {
		t.Errorf("%d rows, %d tried", b.Rows, tried)
	}
}

// TestWhatCannotBeReadIsNoBackup wants an error, with the GRANT, where a table may not be read, and no backup.
func TestWhatCannotBeReadIsNoBackup(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table open (id int)", "create table shut (id int)")
	role := "keeper" + from[strings.LastIndexByte(from, '/')+1:]
	role, _, _ = strings.Cut(role, "?")
	server.Exec(t, from, "create role "+role+" login", "grant select on open to "+role)
	as := strings.Replace(from, "postgres://postgres@", "postgres://"+role+"@", 1)
	if as == from {
		t.Fatal(from)
	}
	s := open(t, t.TempDir(), backup.Options{})
	_, err := s.Create(t.Context(), database(t, as), backup.CreateOptions{})
	if fault.Code(err) != "ACQ-PG-005" || !strings.Contains(err.Error(), `GRANT SELECT ON "public"."shut"`) {
		t.Errorf("it says %v", err)
	}
	if all, bad, err := s.List(t.Context(), backup.Filter{}); len(all)+len(bad) > 0 || err != nil {
		t.Errorf("there are %v, %v, %v", all, bad, err)
	}
	for _, b := range []*backup.Backup{create(t, s, database(t, as, "public.open")), create(t, s, database(t, as), "open")} { // the other is not asked for
		if len(b.Tables) != 1 {
			t.Errorf("it has %v", b.Tables)
		}
	}
}

// TestDamageIsSeen changes, cuts and removes files, and changes rows behind a right hash: nothing of it is restored, and the database
// stays empty.
func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table a (id int, t text); insert into a select n, md5(n::text) from generate_series(1, 1000) n", "create table b (id int); insert into b values (1)")
	key, d := identity(t), database(t, from)
	damage := map[string]func(path string) error{
		"a byte": func(path string) error { return patch(path, 5000) }, "cut": func(path string) error { return os.Truncate(path, 5000) }, "gone": os.Remove,
	}
	for name, o := range map[string]backup.Options{
		"parquet": {}, "ndjson": {Format: backup.NDJSON}, "encrypted": {Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
	} {
		for what, do := range damage {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				s := open(t, root, o)
				b := create(t, s, d)
				if err := do(filepath.Join(root, b.Tables[0].Files[0].Name)); err != nil {
					t.Fatal(err)
				}
				v, err := s.Verify(t.Context(), b.ID, backup.Filter{}, backup.VerifyOptions{})
				if err != nil || v.Whole || len(v.Tables[0].Problems) == 0 || len(v.Tables[1].Problems) > 0 {
					t.Errorf("it is verified as %+v, %v", v, err)
				}
				to := server.Database(t)
				_, err = s.Restore(t.Context(), b.ID, backup.Filter{}, database(t, to), backup.RestoreOptions{})
				if code := fault.Code(err); code != "ACQ-BACKUP-003" && code != "ACQ-BACKUP-007" {
					t.Errorf("restoring it gives %v", err)
				}
				if left := queried(t, to, "select relname::text from pg_class where relnamespace = 'public'::regnamespace"); len(left) > 0 {
					t.Errorf("the database has %v", left)
				}
			})
		}
	}
}

// patch changes a byte.
func patch(path string, at int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 0x55
	_, err = f.WriteAt(b[:], at)
	return err
}

// TestWhatIsInUseStays holds a backup in a restore while it is pruned, and one that is being made while what is left of others is swept.
func TestWhatIsInUseStays(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table a (id int); insert into a values (1)")
	root, d := t.TempDir(), database(t, from)
	plain := open(t, root, backup.Options{})
	first := create(t, plain, d)
	last := create(t, plain, d)
	var pruned *backup.Pruned
	var failed error
	prune := backup.Options{Probe: func(at string) {
		if at == backup.AfterTable || at == backup.BeforeManifest {
			pruned, failed = plain.Prune(t.Context(), backup.PruneOptions{})
		}
	}}
	s := open(t, root, prune)
	if _, err := s.Restore(t.Context(), first.ID, backup.Filter{}, database(t, server.Database(t)), backup.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if failed != nil || len(pruned.InUse) != 1 || pruned.InUse[0].ID != first.ID || len(pruned.Removed) > 0 {
		t.Errorf("pruned %+v, %v", pruned, failed)
	}
	made := create(t, s, d)
	if failed != nil || len(pruned.Swept) > 0 || len(pruned.Removed) != 1 || pruned.Removed[0].ID != first.ID || pruned.Kept[0].ID != last.ID {
		t.Errorf("pruned %+v, %v", pruned, failed)
	}
	v, err := plain.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{})
	if err != nil || !v.Whole {
		t.Errorf("the one that was being made is %+v, %v", v, err)
	}
}

// TestOtherRowsAreNotRestored has a manifest name a whole file of another backup: all hashes of files are right, and the rows are others.
func TestOtherRowsAreNotRestored(t *testing.T) {
	t.Parallel()
	from := server.Database(t, "create table a (id int, v int); insert into a values (1, 1), (2, 2)")
	root, d := t.TempDir(), database(t, from)
	s := open(t, root, backup.Options{})
	right := create(t, s, d)
	server.Exec(t, from, "update a set v = 3 where id = 2")
	other := create(t, s, d)
	path := filepath.Join(root, "postgresql", "_backups", right.ID+".json")
	text, err := os.ReadFile(path)
	if err == nil {
		text, err = backup.Reseal(text, func(b *backup.Backup) { b.Tables[0].Files = other.Tables[0].Files })
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	to := server.Database(t)
	if _, err := s.Restore(t.Context(), right.ID, backup.Filter{}, database(t, to), backup.RestoreOptions{}); fault.Code(err) != "ACQ-BACKUP-007" {
		t.Errorf("restoring it gives %v", err)
	}
	if left := queried(t, to, "select relname::text from pg_class where relnamespace = 'public'::regnamespace"); len(left) > 0 {
		t.Errorf("the database has %v", left)
	}
	v, err := s.Verify(t.Context(), right.ID, backup.Filter{}, backup.VerifyOptions{})
	if err != nil || v.Whole {
		t.Errorf("it is verified as %+v, %v", v, err)
	}
}
