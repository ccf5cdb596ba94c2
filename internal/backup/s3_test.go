package backup_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

const inS3 = "s3://bucket/kept/backups"

// openS3 opens backups in the bucket of a server.
func openS3(t *testing.T, server *blobtest.Server, o backup.Options) *backup.Store {
	t.Helper()
	o.S3 = server.Settings()
	o.S3.SSE, o.S3.Owner = "s3", blobtest.Account
	return open(t, inS3, o)
}

// TestABackupInS3 makes backups of each kind of database in each format, lists, verifies, restores and prunes them: what is there is what the
// manifests name, encrypted by S3, and no upload is left.
func TestABackupInS3(t *testing.T) {
	t.Parallel()
	key := identity(t)
	for kind, of := range engines(t) {
		for format, o := range map[string]backup.Options{
			"parquet": {}, "ndjson": {Format: backup.NDJSON},
			"encrypted": {Recipients: []age.Recipient{key.Recipient()}, Identities: []age.Identity{key}},
		} {
			t.Run(kind+" "+format, func(t *testing.T) {
				t.Parallel()
				restoresFromS3(t, kind, of, o)
			})
		}
	}
}

func restoresFromS3(t *testing.T, kind string, of engine, o backup.Options) {
	t.Helper()
	bucket := blobtest.New(t)
	bucket.Page(3)
	s := openS3(t, bucket, o)
	if all, bad, err := s.List(t.Context(), backup.Filter{}); len(all)+len(bad) > 0 || err != nil {
		t.Errorf("an empty bucket has %v, %v, %v", all, bad, err)
	}
	first, made := create(t, s, of.from(t)), create(t, s, of.from(t))
	into, holds := of.empty(t)
	verified, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &into})
	if err != nil || !verified.Whole || *verified.Equal {
		t.Errorf("an empty database is verified as %+v, %v", verified, err)
	}
	restored, err := s.Restore(t.Context(), backup.Latest, backup.Filter{}, into, backup.RestoreOptions{})
	if err != nil || restored.ID != made.ID || restored.Rows != made.Rows {
		t.Fatalf("restored %+v, %v", restored, err)
	}
	if got := holds(); !slices.Equal(of.want, got) {
		t.Error(cmp.Diff(of.want, got))
	}
	for _, d := range []backup.Database{of.from(t), into} {
		verified, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{Against: &d})
		if err != nil || !verified.Whole || !*verified.Equal {
			t.Errorf("it is verified as %+v, %v", verified, err)
		}
	}
	pruned, err := s.Prune(t.Context(), backup.PruneOptions{})
	if err != nil || len(pruned.Removed) != 1 || pruned.Removed[0].ID != first.ID || len(pruned.Swept) > 0 {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	all, _, err := s.List(t.Context(), backup.Filter{Table: made.Tables[0].Name})
	if err != nil || len(all) != 1 || all[0].ID != made.ID {
		t.Fatalf("there are %v, %v", all, err)
	}
	namedInS3(t, bucket, kind, made)
}

// namedInS3 wants in a bucket what a backup names, the lock, and nothing else.
func namedInS3(t *testing.T, bucket *blobtest.Server, kind string, made *backup.Backup) {
	t.Helper()
	manifest := "kept/backups/" + kind + "/_backups/" + made.ID + ".json"
	named := []string{manifest, "kept/backups/" + kind + "/_backups/making.lock"}
	for _, table := range made.Tables {
		for _, f := range table.Files {
			named = append(named, "kept/backups/"+f.Name)
		}
	}
	slices.Sort(named)
	if there := bucket.Names(""); !slices.Equal(there, named) || bucket.Staged() > 0 {
		t.Errorf("%d uploads, and there is %s", bucket.Staged(), cmp.Diff(named, there))
	}
	for _, name := range named {
		o := bucket.Object(name)
		if o.SSE != "AES256" || name != manifest && bytes.Contains(o.Body, []byte("@example.com")) && strings.HasSuffix(name, ".age") {
			t.Errorf("%s is kept with %q", name, o.SSE)
		}
	}
}

// TestAFrozenBackupInS3 has a process stand still for longer than its lock lives just before it writes the manifest: what it wrote is
// swept, and then it makes no manifest of files that are gone. The next backup is whole.
func TestAFrozenBackupInS3(t *testing.T) {
	t.Parallel()
	bucket, d := blobtest.New(t), database(t, shop(t))
	plain := openS3(t, bucket, backup.Options{})
	var pruned *backup.Pruned
	var failed error
	frozen := openS3(t, bucket, backup.Options{Probe: func(at string) {
		if at == backup.BeforeManifest && pruned == nil {
			if alive, err := plain.Prune(t.Context(), backup.PruneOptions{}); err != nil || len(alive.Swept) > 0 {
				t.Errorf("of one that is being made there went %+v, %v", alive, err)
			}
			bucket.Later(2 * time.Minute)
			pruned, failed = plain.Prune(t.Context(), backup.PruneOptions{})
		}
	}})
	_, err := frozen.Create(t.Context(), d, backup.CreateOptions{})
	if failed != nil || len(pruned.Swept) < 5 || pruned.Bytes == 0 {
		t.Fatalf("swept %+v, %v", pruned, failed)
	}
	if fault.Code(err) != "ACQ-BACKUP-005" || fault.Of(err) != fault.Retryable {
		t.Errorf("got %v", err)
	}
	if all, bad, err := plain.List(t.Context(), backup.Filter{}); len(all)+len(bad) > 0 || err != nil {
		t.Errorf("there are %v, %v, %v", all, bad, err)
	}
	made := create(t, frozen, d)
	if v, err := plain.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{}); err != nil || !v.Whole {
		t.Errorf("the next one is %+v, %v", v, err)
	}
}

// TestAFrozenBackupComesBack has such a process go on in the middle of that: after the first file is gone.
func TestAFrozenBackupComesBack(t *testing.T) {
	t.Parallel()
	bucket, d := blobtest.New(t), database(t, shop(t))
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	sweeper := openS3(t, bucket, backup.Options{Probe: func(at string) {
		if at == backup.AfterRemove {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
	}})
	var sweeping sync.WaitGroup
	frozen := openS3(t, bucket, backup.Options{Probe: func(at string) {
		if at != backup.BeforeManifest {
			return
		}
		bucket.Later(2 * time.Minute)
		sweeping.Go(func() {
			if _, err := sweeper.Prune(t.Context(), backup.PruneOptions{}); err != nil {
				t.Error(err)
			}
		})
		<-reached
	}})
	_, err := frozen.Create(t.Context(), d, backup.CreateOptions{})
	close(goOn)
	sweeping.Wait()
	if fault.Code(err) != "ACQ-BACKUP-005" {
		t.Errorf("got %v", err)
	}
	if left := bucket.Names("kept/backups/postgresql/"); len(left) != 1 || bucket.Staged() > 0 { // the lock
		t.Errorf("%d uploads and %q are left", bucket.Staged(), left)
	}
}

// TestAFailedBackupInS3 has the bucket fail at each kind of request: there is no backup then, and nothing is left of it.
func TestAFailedBackupInS3(t *testing.T) {
	t.Parallel()
	d := database(t, shop(t))
	for _, op := range []string{blobtest.Create, blobtest.Part, blobtest.Complete} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			bucket := blobtest.New(t)
			s := openS3(t, bucket, backup.Options{})
			bucket.Break(blobtest.Fault{Op: op, Skip: 2, Status: 403, Code: "AccessDenied"})
			if _, err := s.Create(t.Context(), d, backup.CreateOptions{}); fault.Code(err) != "ACQ-AWS-005" {
				t.Errorf("got %v", err)
			}
			bucket.Mend()
			if left := bucket.Names(""); len(left) > 0 || bucket.Staged() > 0 {
				t.Errorf("%d uploads and %q are left", bucket.Staged(), left)
			}
			create(t, s, d)
		})
	}
}

// TestHalfAnUploadIsSwept has a process die in the middle of an upload.
func TestHalfAnUploadIsSwept(t *testing.T) {
	t.Parallel()
	bucket := blobtest.New(t)
	s := openS3(t, bucket, backup.Options{})
	made := create(t, s, database(t, shop(t)))
	b, err := blob.OpenS3(t.Context(), inS3, bucket.Settings())
	if err != nil {
		t.Fatal(err)
	}
	const name = "postgresql/a/20260101T000000-0123456789ab-00001.parquet"
	for _, name := range []string{name, "postgresql/a/other.parquet"} {
		f, err := blob.Begin(t.Context(), b, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 9<<20)); err != nil { // more than a part
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := s.Prune(t.Context(), backup.PruneOptions{Dry: true}); err != nil || !slices.Equal(p.Swept, []string{name}) || bucket.Staged() != 2 {
		t.Errorf("%+v, %v, %d uploads", p, err, bucket.Staged())
	}
	if p, err := s.Prune(t.Context(), backup.PruneOptions{}); err != nil || !slices.Equal(p.Swept, []string{name}) || bucket.Staged() != 1 {
		t.Errorf("%+v, %v, %d uploads", p, err, bucket.Staged())
	}
	if v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{}); err != nil || !v.Whole {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestWhatIsMissingInS3 loses a file and the right to read: the one is damage, and the other none.
func TestWhatIsMissingInS3(t *testing.T) {
	t.Parallel()
	bucket, d := blobtest.New(t), database(t, shop(t))
	s := openS3(t, bucket, backup.Options{})
	made := create(t, s, d)
	bucket.Break(blobtest.Fault{Op: blobtest.Put, Status: 403, Code: "AccessDenied"}) // of a role that only reads
	if v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{}); err != nil || !v.Whole {
		t.Errorf("who only reads finds %+v, %v", v, err)
	}
	bucket.Mend()
	bucket.Break(blobtest.Fault{Op: blobtest.Get, Skip: 4, Status: 403, Code: "AccessDenied"})
	if v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{}); fault.Code(err) != "ACQ-AWS-005" {
		t.Errorf("without the right to read it is %+v, %v", v, err)
	}
	bucket.Mend()
	name := made.Tables[0].Files[0].Name
	bucket.Remove("kept/backups/" + name)
	v, err := s.Verify(t.Context(), made.ID, backup.Filter{}, backup.VerifyOptions{})
	if err != nil || v.Whole || len(v.Tables[0].Problems) != 1 || !strings.Contains(v.Tables[0].Problems[0], name) {
		t.Errorf("got %+v, %v", v, err)
	}
	if _, err := s.Restore(t.Context(), made.ID, backup.Filter{}, database(t, server.Database(t)), backup.RestoreOptions{}); fault.Code(err) != "ACQ-BACKUP-003" {
		t.Errorf("restoring it gives %v", err)
	}
	if p, err := s.Prune(t.Context(), backup.PruneOptions{}); err != nil || len(p.Kept) != 1 || !slices.Equal(p.Kept[0].Why, []string{"damaged"}) {
		t.Errorf("pruned %+v, %v", p, err)
	}
	bucket.Deny(blobtest.List)
	if _, _, err := s.List(t.Context(), backup.Filter{}); fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(errors.Unwrap(err).Error(), "s3:ListBucket") {
		t.Errorf("got %v", err)
	}
}
