package blob_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

func TestS3Locks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		blobtest.Locks(t, p, p.again(t))
		if p.fake != nil { // moto looks at a condition and then writes: two threads of it may both find it met
			blobtest.LocksOfMany(t, p, p.again(t), p.again(t))
		}
		if all, err := p.Walk(t.Context(), "locks"); err != nil || len(all) > 2 {
			t.Errorf("left: %v, %v", all, err)
		}
	})
}

func TestS3Folders(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		if p.fake != nil {
			p.fake.Page(1)
		}
		blobtest.Folders(t, p, func(name string) {
			if err := p.Update(t.Context(), name, func([]byte) ([]byte, error) { return []byte("x"), nil }); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// Who shared a lock and was not seen for a minute of the server's clock has it no more, and cannot come back to it.
func TestS3SharedLockOfADeadProcess(t *testing.T) {
	t.Parallel()
	p := faked(t)
	try := func(what string, b *blob.S3, want bool) func() {
		t.Helper()
		unlock, held, err := map[string]func() (func(), bool, error){
			"share": func() (func(), bool, error) { return b.TryShare(t.Context(), "m.lock") },
			"lock":  func() (func(), bool, error) { return b.TryLock(t.Context(), "m.lock") },
		}[what]()
		if err != nil || held != want {
			t.Fatalf("%s: held %t, %v, want %t", what, held, err, want)
		}
		return unlock
	}
	lost := try("share", p.S3, true)
	p.fake.Later(50 * time.Second)
	try("lock", p.again(t), false)
	p.fake.Later(11 * time.Second)
	alone := try("lock", p.again(t), true)
	if names := p.fake.Names("a/lake/m.lock"); len(names) != 1 {
		t.Errorf("what the dead process had is left: %q", names)
	}
	lost() // by who has lost it
	try("share", p.again(t), false)
	p.fake.Later(time.Hour) // and now the other one is dead
	mine := try("share", p.again(t), true)
	try("lock", p.again(t), false)
	alone()
	mine()
	try("lock", p.again(t), true)()
}

// Without the right to delete a shared lock is let go all the same, and with none to write it is an error.
func TestS3SharedLockWithoutRights(t *testing.T) {
	t.Parallel()
	p := faked(t)
	p.fake.Deny(blobtest.Delete)
	unlock, held, err := p.TryShare(t.Context(), "m.lock")
	if !held || err != nil {
		t.Fatal(held, err)
	}
	unlock()
	names := p.fake.Names("a/lake/m.lock.shared/")
	if len(names) != 1 || len(p.fake.Object(names[0]).Body) != 0 {
		t.Errorf("%q", names)
	}
	p.fake.Deny(blobtest.Put)
	if _, held, err := p.TryShare(t.Context(), "m.lock"); held || err == nil {
		t.Error(held, err)
	}
}

// What check looks at leaves nothing behind, and names what is missing; small files take fewer rights.
func TestS3Check(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, p place) {
		t.Helper()
		all := func(want string) {
			t.Helper()
			for _, check := range []func(context.Context, string, blob.S3Settings) (string, error){blob.CheckS3, blob.CheckS3Small, blob.CheckS3Removing} {
				if found, err := check(t.Context(), p.Root(), p.settings); err != nil || found != p.Root()+" can be written, and "+want {
					t.Errorf("%q, %v, want %s", found, err, want)
				}
			}
		}
		all("is empty")
		if err := p.Update(t.Context(), "one", add); err != nil {
			t.Fatal(err)
		}
		all("holds something")
		if there, err := p.Walk(t.Context(), ""); len(there) != 1 || err != nil {
			t.Errorf("left: %v, %v", there, err)
		}
		if p.fake == nil {
			return
		}
		p.fake.Deny(blobtest.Delete)
		_, err := blob.CheckS3Removing(t.Context(), p.Root(), p.settings)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "ACQ-AWS-005" || !strings.Contains(err.Error(), "s3:DeleteObject") || !strings.Contains(f.Remedy, "right") {
			t.Errorf("got %v", err)
		}
		if _, err := blob.CheckS3(t.Context(), p.Root(), p.settings); err != nil {
			t.Error(err)
		}
		p.fake.Deny(blobtest.Create, blobtest.Uploads)
		if _, err := blob.CheckS3(t.Context(), p.Root(), p.settings); fault.Code(err) != "ACQ-AWS-005" {
			t.Errorf("got %v", err)
		}
		small := blob.CheckS3Small
		if _, err := small(t.Context(), p.Root(), p.settings); err != nil {
			t.Error(err)
		}
		p.fake.Deny(blobtest.Put)
		if _, err := small(t.Context(), p.Root(), p.settings); fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "s3:PutObject") {
			t.Errorf("got %v", err)
		}
	})
}
