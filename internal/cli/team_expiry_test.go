package cli

import (
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/lakefiles"
)

// kept says whether the lines of today count, each once, and which of the day that is over do.
func (r *choreRun) kept(t *testing.T) (today bool, old []int) {
	t.Helper()
	seen := r.counted(t)
	today = true
	for id := range r.rows {
		switch n := seen[int64(id)]; {
		case n > 1:
			t.Fatalf("line %d counts %d times", id, n)
		case id%2 == 1:
			today = today && n == 1
		case n == 1:
			old = append(old, id)
		}
	}
	return today, old
}

// TestTeamTakesAnExpiryOver freezes the process that drops the partition of a day that is over, for longer than its lease. The other takes
// the chore over, and drops what came meanwhile too; then the first goes on. No line of today is lost, or counts twice, and none that was
// dropped comes back.
func TestTeamTakesAnExpiryOver(t *testing.T) {
	t.Parallel()
	takeOvers(t, "partition: [day]\n    expire: { after: 240h, every: 200ms, grace: 1ms }", (*choreRun).expireOver)
}

func (r *choreRun) expireOver(t *testing.T, point string) {
	t.Helper()
	a := r.start(t, order{HoldAt: "lake/" + point + ":1"}, "run", "a.yaml")
	a.until(t, func() bool {
		today, _ := r.kept(t)
		return today && r.isHeld()
	})
	a.signal(t, syscall.SIGSTOP)
	b := r.startBeside(t, "", "run", "b.yaml")
	r.add(t)
	b.until(t, func() bool {
		today, old := r.kept(t)
		return today && (len(old) == 0 || strings.Contains(b.said(), lakefiles.CodeLocked))
	})
	r.later()
	b.until(t, func() bool {
		today, old := r.kept(t)
		return today && len(old) == 0 && strings.Contains(b.said(), "lake table is kept")
	})
	goOn(t, a, point)
	r.add(t)
	b.until(t, func() bool {
		today, old := r.kept(t)
		return today && len(old) == 0
	})
	end(t, a, b)
	// The old lines of the last insert may come after those of today, and be left to the next run.
	if today, old := r.kept(t); !today || len(old) > 0 && old[0] < r.rows-100 {
		t.Errorf("in the end: all of today %t; of what is over %v", today, old)
	}
}
