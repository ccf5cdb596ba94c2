package checkpoint

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/acequia-io/acequia/fault"
)

func leasesOf(t state, owner string) (*Store, *Leases) {
	t.Helper()
	s := t.open()
	return s, s.Leases(owner)
}

// held gives who has a lease, and who asks for it.
func held(t *testing.T, s *Store, key string) (Lease, bool) {
	t.Helper()
	all, err := s.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Key == key {
			return l, true
		}
	}
	return Lease{}, false
}

func TestLeaseIsOnes(t *testing.T) {
	t.Parallel()
	onShared(t, leaseIsOnes)
}

func leaseIsOnes(t state) {
	a, la := leasesOf(t, "a")
	b, lb := leasesOf(t, "b")
	key := LaneLease(lane)
	var mine atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			got, err := []*Leases{la, lb}[i%2].Take(t.Context(), key, nil)
			if err != nil {
				t.Error(err)
			}
			if got {
				mine.Add(1)
			}
		})
	}
	all.Wait()
	if mine.Load() != 1 {
		t.Fatalf("%d took it", mine.Load())
	}
	one, _ := held(t.T, a, key)
	mineStore, mineLeases, other, otherLeases := a, la, b, lb
	if one.Owner == "b" {
		mineStore, mineLeases, other, otherLeases = b, lb, a, la
	}
	if st, err := mineStore.Acquire(t.Context(), lane); st.Epoch != 1 || err != nil {
		t.Fatal(st, err)
	}
	if _, err := other.Acquire(t.Context(), lane); !errors.Is(err, ErrFenced) {
		t.Error("a lane was acquired whose lease is another's", err)
	}
	if _, err := mineLeases.Look(t.Context()); err != nil { // it moves
		t.Fatal(err)
	}
	if got, err := otherLeases.Take(t.Context(), key, &one); got || err != nil {
		t.Error("a lease was taken whose owner lives", got, err)
	}
	still, _ := held(t.T, a, key)
	if got, err := otherLeases.Take(t.Context(), key, &still); !got || err != nil {
		t.Fatal("a lease that stands still is not taken", got, err)
	}
	now, _ := held(t.T, a, key)
	if now.Epoch <= one.Epoch {
		t.Errorf("epoch %d after %d", now.Epoch, one.Epoch)
	}
	// Who had it comes back: it renews nothing, gives nothing up, and cannot acquire; what it has acquired goes on until it is acquired anew.
	if _, err := mineLeases.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := mineLeases.Release(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if again, _ := held(t.T, a, key); again != now {
		t.Errorf("%+v became %+v", now, again)
	}
	if _, err := mineStore.Acquire(t.Context(), lane); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if st, err := other.Acquire(t.Context(), lane); st.Epoch != 2 || err != nil {
		t.Fatal(st, err)
	}
	if err := mineStore.SaveIntent(t.Context(), lane, 1, Intent{Group: 1}); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if err := mineStore.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 1}); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	plain := t.open() // of a command that takes no leases
	if _, err := plain.Acquire(t.Context(), lane); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
}

func TestLeaseIsHandedOver(t *testing.T) {
	t.Parallel()
	onShared(t, leaseIsHandedOver)
}

func leaseIsHandedOver(t state) {
	s, a := leasesOf(t, "a")
	other, b := leasesOf(t, "b")
	key, here := PipelineLease("p"), "member/p/b"
	if got, err := a.Take(t.Context(), key, nil); !got || err != nil {
		t.Fatal(got, err)
	}
	if got, err := b.Take(t.Context(), here, nil); !got || err != nil {
		t.Fatal(got, err)
	}
	if err := errors.Join(a.Want(t.Context(), key), b.Want(t.Context(), key)); err != nil {
		t.Fatal(err)
	}
	if l, _ := held(t.T, s, key); l.Owner != "a" || l.Wanted != "b" {
		t.Errorf("%+v", l)
	}
	if _, err := a.Under(key).Acquire(t.Context(), lane); err != nil {
		t.Error(err)
	}
	if _, err := b.Under(key).Acquire(t.Context(), lane); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if err := other.Rewind(t.Context(), "p", []string{lane.ID}, nil); fault.Code(err) != "ACQ-STATE-011" {
		t.Error(err)
	}
	if err := a.Release(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if l, _ := held(t.T, s, key); l.Owner != "b" || l.Wanted != "" {
		t.Errorf("%+v", l)
	}
	if _, err := a.Under(key).Acquire(t.Context(), lane); !errors.Is(err, ErrFenced) {
		t.Error("a lane of a pipeline that is another's", err)
	}
	if _, err := other.Acquire(t.Context(), Lane{Pipeline: "p", ID: "retry/s/x"}); err != nil { // of nobody's lease
		t.Error(err)
	}
	if err := a.Want(t.Context(), key); err != nil { // and leaves: it has no lease
		t.Fatal(err)
	}
	if err := b.Release(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if l, there := held(t.T, s, key); there {
		t.Errorf("%+v", l)
	}
	file := opened(t.T, statePath(t.T))
	if all, err := file.Held(t.Context()); file.Leases("a") != nil || all != nil || err != nil {
		t.Error("a state file has leases", all, err)
	}
}

// TestLaneUnderPipeline has lanes acquired, and a note saved, by who has the pipeline; a lane with a lease of its own by who has that.
func TestLaneUnderPipeline(t *testing.T) {
	t.Parallel()
	onShared(t, func(t state) {
		_, la := leasesOf(t, "a")
		b, lb := leasesOf(t, "b")
		key := PipelineLease(lane.Pipeline)
		take := func(l *Leases, key string) {
			t.Helper()
			if got, err := l.Take(t.Context(), key, nil); !got || err != nil {
				t.Fatal(got, err)
			}
		}
		may := func(l *Leases, want error) {
			t.Helper()
			if _, err := l.Under(key).Acquire(t.Context(), lane); !errors.Is(err, want) {
				t.Errorf("%s acquires the lane: %v, want %v", l.Owner(), err, want)
			}
		}
		take(la, key)
		may(la, nil)
		may(lb, ErrFenced)
		take(lb, LaneLease(lane))
		may(la, ErrFenced)
		may(lb, nil)
		if err := lb.Under(key).SaveNote(t.Context(), lane.Pipeline, "offered", []byte("old")); !errors.Is(err, ErrFenced) {
			t.Errorf("a note of who has not the pipeline: %v", err)
		}
		if err := la.Under(key).SaveNote(t.Context(), lane.Pipeline, "offered", []byte("new")); err != nil {
			t.Error(err)
		}
		if got, err := b.Note(t.Context(), lane.Pipeline, "offered"); err != nil || string(got) != "new" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
