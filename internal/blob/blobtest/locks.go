package blobtest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/acequia-io/acequia/internal/blob"
)

// Locks wants the locks of a bucket to be held by one, or shared by several. one and other are the bucket as two processes have it.
func Locks(t *testing.T, one, other blob.Bucket) {
	t.Helper()
	take := func(try func(context.Context, string) (func(), bool, error), want bool) func() {
		t.Helper()
		unlock, held, err := try(t.Context(), "locks/one")
		if err != nil || held != want {
			t.Fatalf("held %t, %v, want %t", held, err, want)
		}
		return unlock
	}
	first, second := take(one.TryShare, true), take(other.TryShare, true)
	take(one.TryLock, false)
	first()
	take(one.TryLock, false)
	take(other.TryLock, false)
	take(one.TryShare, true)() // who could not have it has left nothing
	second()
	alone := take(one.TryLock, true)
	take(other.TryShare, false)
	take(one.TryShare, false)
	take(other.TryLock, false)
	alone()
	take(other.TryShare, true)()
	take(other.TryLock, true)()
}

// LocksOfMany has many take a lock at once, alone and shared: nobody has it beside one who has it alone.
func LocksOfMany(t *testing.T, all ...blob.Bucket) {
	t.Helper()
	const each = 12
	var sharing, alone, had atomic.Int64
	var work sync.WaitGroup
	for i, b := range all {
		work.Go(func() {
			for n := range each {
				try, count := b.TryShare, &sharing
				if exclusive := (i+n)%2 == 0; exclusive {
					try, count = b.TryLock, &alone
				}
				unlock, held, err := try(t.Context(), "locks/many")
				if err != nil {
					t.Error(err)
					return
				}
				if !held {
					continue
				}
				had.Add(1)
				if mine := count.Add(1); alone.Load() > 0 && (sharing.Load() > 0 || mine > 1) {
					t.Error("somebody has the lock beside one who has it alone")
				}
				if _, err := b.Exists(t.Context(), "something"); err != nil { // a while
					t.Error(err)
				}
				count.Add(-1)
				unlock()
			}
		})
	}
	work.Wait()
	if had.Load() == 0 {
		t.Error("nobody had it")
	}
}

// Folders wants the folders of a bucket to be told, and those that are not there to have none. put puts a file there.
func Folders(t *testing.T, b blob.Bucket, put func(name string)) {
	t.Helper()
	for _, name := range []string{"a/x/one", "a/x/two", "a/y/z/three", "a/four", "a b/five", "six"} {
		put(name)
	}
	for folder, want := range map[string][]string{"": {"a", "a b"}, "a": {"x", "y"}, "a/x": nil, "none": nil} {
		got, err := b.Folders(t.Context(), folder)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", folder, got, err, want)
		}
	}
}
