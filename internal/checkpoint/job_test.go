package checkpoint

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestOneJobDoesTheSameWork(t *testing.T) {
	t.Parallel()
	onAll(t, oneJobDoesTheSameWork)
}

func oneJobDoesTheSameWork(t state) {
	s := t.open()
	add := func(id, work, key, digest string) (Job, bool, error) {
		return s.AddJob(t.Context(), Job{ID: id, Kind: "sync", Work: work, State: JobQueued, Created: time.Now(), Key: key, Digest: digest})
	}
	if _, begun, err := add("1", "a", "", ""); err != nil || !begun {
		t.Fatal(begun, err)
	}
	if had, begun, err := add("2", "a", "", ""); err != nil || begun || had.ID != "1" {
		t.Errorf("the same work was begun twice: %v %v %v", had.ID, begun, err)
	}
	if _, begun, err := add("3", "b", "key", "x"); err != nil || !begun {
		t.Error(begun, err)
	}
	now := time.Now()
	if err := s.SaveJob(t.Context(), Job{ID: "3", State: JobSucceeded, Report: []byte(`{"n":1}`), Started: now, Ended: now}); err != nil {
		t.Error(err)
	}
	if had, begun, err := add("4", "b", "key", "x"); err != nil || begun || had.ID != "3" || string(had.Report) != `{"n":1}` || had.State != JobSucceeded {
		t.Errorf("the key did not give its job: %+v %v %v", had, begun, err)
	}
	if _, begun, err := add("5", "c", "key", "y"); !errors.Is(err, ErrKeyUsed) || begun {
		t.Errorf("the key was taken for other work: %v %v", begun, err)
	}
	if had, _, err := add("6", "b", "", ""); err != nil || had.ID != "6" {
		t.Errorf("work that is over cannot be done again: %+v %v", had, err)
	}
	// what is over stays as it is
	if err := s.SaveJob(t.Context(), Job{ID: "3", State: JobFailed}); err != nil {
		t.Error(err)
	}
	if err := s.EndJobs(t.Context(), Job{Ended: now, Code: "X", Reason: "died"}); err != nil {
		t.Error(err)
	}
	all, err := s.Jobs(t.Context(), JobFilter{}, 10)
	got := ""
	for _, j := range all {
		got += j.ID + string(j.State) + j.Reason + " "
	}
	if err != nil || got != "6faileddied 3succeeded 1faileddied " {
		t.Error(got, err)
	}
	if none, err := s.FindJob(t.Context(), "5"); none != nil || err != nil {
		t.Error(none, err)
	}
}

func TestOldJobsAreForgotten(t *testing.T) {
	t.Parallel()
	onAll(t, oldJobsAreForgotten)
}

func oldJobsAreForgotten(t state) {
	s := t.open()
	goes := Job{ID: "0", Kind: "sync", Work: "goes on", State: JobRunning}
	if _, _, err := s.AddJob(t.Context(), goes); err != nil {
		t.Fatal(err)
	}
	add := func(i int) {
		if _, _, err := s.AddJob(t.Context(), Job{ID: fmt.Sprintf("%06d", i), Work: "w", State: JobFailed}); err != nil {
			t.Error(err)
		}
	}
	var adding sync.WaitGroup
	for i := range keptJobs + 4 {
		adding.Go(func() { add(i + 1) }) // side by side: they share transactions
	}
	adding.Wait()
	add(keptJobs + 5)
	all, err := s.Jobs(t.Context(), JobFilter{}, 2*keptJobs)
	if err != nil || len(all) != keptJobs+1 || all[len(all)-1].ID != "0" || all[len(all)-2].ID != "000006" {
		t.Errorf("%d jobs, %v", len(all), err)
	}
}
