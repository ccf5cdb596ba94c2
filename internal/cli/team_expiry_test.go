package cli

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/lakefiles"
)

// kept says whether the lines of today count, each once, and how many of the day that is over do.
func (r *choreRun) kept(t *testing.T) (today bool, old int) {
	t.Helper()
	seen := r.counted(t)
	for id := range r.rows {
		switch n := seen[int64(id)]; {
		case n > 1:
			t.Fatalf("line %d counts %d times", id, n)
		case id%2 == 0:
			old += n
		case n == 0:
			return false, 0
		}
	}
	return true, old
}

// TestTeamTakesAnExpiryOver freezes the process that drops the partition of a day that is over, for longer than its lease. The other takes
// the chore over, and drops what came meanwhile too; then the first goes on. No line of today is lost, or counts twice.
//
// It is part of make torture, as the test of compaction is.
func TestTeamTakesAnExpiryOver(t *testing.T) {
	if os.Getenv("ACEQUIA_KILLS") == "" {
		t.Skip("it is part of make torture")
	}
	t.Parallel()
	for _, place := range []string{"S3", "a directory"} {
		for _, point := range []string{lakefiles.BeforePending, lakefiles.AfterPending, lakefiles.AfterPublish, lakefiles.BeforeDelete} {
			t.Run(place+"/"+point, func(t *testing.T) {
				t.Parallel()
				r := newChoreRun(t, place, "partition: [day]\n    expire: { after: 240h, every: 200ms, grace: 1ms }")
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
					return today && (old == 0 || strings.Contains(b.said(), lakefiles.CodeLocked))
				})
				r.later()
				b.until(t, func() bool {
					today, old := r.kept(t)
					return today && old == 0 && strings.Contains(b.said(), "lake table is kept")
				})
				a.signal(t, syscall.SIGCONT, syscall.SIGCONT) // the program, and the point where it waits
				a.until(t, func() bool {
					said := a.said()
					return strings.Contains(said, "another process has taken") || strings.Contains(said, lakefiles.CodeLocked) ||
						point == lakefiles.BeforeDelete && strings.Contains(said, "lake table is kept")
				})
				r.add(t)
				b.until(t, func() bool {
					today, old := r.kept(t)
					return today && old == 0
				})
				for _, c := range []*running{a, b} {
					c.signal(t, syscall.SIGTERM)
					if code := c.until(t, nil); code != exitOK && code != 130 && code != 143 {
						t.Errorf("exit code %d: %s", code, c.said())
					}
				}
				if today, _ := r.kept(t); !today { // of what is over the last file may have come when it was looked
					t.Error("lines of today are gone in the end")
				}
			})
		}
	}
}
