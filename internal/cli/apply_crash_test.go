package cli

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

// TestApplyIsKilled kills repairs of a lake at random: whenever it is looked at, each row is there once, and all of them are
// those of before or all are those of after.
func TestApplyIsKilled(t *testing.T) {
	t.Parallel()
	wantsSQL(t)
	r := newReplayRun(t)
	before := strings.ReplaceAll(replayProject, ", items]", "]")
	r.write(t, "lines.yaml", []byte(before))
	if code, _, output, err := r.command(t.Context(), order{}, 0, "replay", "replayed", "-f", "lines.yaml", "--from-lake", "raw"); err != nil || code != exitOK {
		t.Fatal(code, err, output)
	}
	if after := r.repaired(t); after {
		t.Fatal("the rows are those of after already")
	}
	r.write(t, "lines.yaml", []byte(strings.ReplaceAll(before, "{ derive: {", `{ derive: { name: '"new " + row.name',`)))
	var whole time.Duration // of the last one that ended; the end of it is what is of interest: there the files are replaced
	apply := func(life time.Duration) (killed bool) {
		began := time.Now()
		code, killed, output, err := r.command(t.Context(), order{}, life, "replay", "replayed", "-f", "lines.yaml", "--from-lake", "raw", "--diff", "--apply")
		if err != nil || !killed && code != exitOK {
			t.Fatal(code, err, output)
		}
		if !killed {
			whole = time.Since(began)
		}
		return killed
	}
	began := time.Now()
	if code, _, output, err := r.command(t.Context(), order{}, 0, "replay", "replayed", "-f", "lines.yaml", "--from-lake", "raw", "--diff"); err != nil || code != exitOK {
		t.Fatal(code, err, output)
	}
	whole = time.Since(began)
	kills, after := 0, false
	for try := 0; try < 5 || kills == 0 && try < 30; try++ {
		if apply(whole * time.Duration(60+rand.IntN(60)) / 100) {
			kills++
		}
		now := r.repaired(t)
		if after && !now {
			t.Fatal("the rows are those of before again")
		}
		after = now
	}
	apply(0)
	if !r.repaired(t) {
		t.Error("the rows are those of before")
	}
	t.Logf("%d kills", kills)
	if kills == 0 {
		t.Error("no repair was killed")
	}
}

// repaired says whether the rows that count are those of after; they are all there, once, and of one kind.
func (r *fileRun) repaired(t *testing.T) bool {
	t.Helper()
	root := filepath.Join(r.dir, "lake")
	names, err := lakefiles.List(t.Context(), blob.Within(root), "lines")
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		ID   int64  `parquet:"id"`
		Name string `parquet:"name,optional"`
	}
	seen, changed := map[int64]bool{}, 0
	for _, name := range names {
		rows, err := parquet.ReadFile[line](filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range rows {
			if seen[l.ID] || !r.rows[l.ID] {
				t.Fatalf("row %d should not be there, or not twice", l.ID)
			}
			seen[l.ID] = true
			if strings.HasPrefix(l.Name, "new ") {
				changed++
			}
		}
	}
	if len(seen) != len(r.rows) || changed != 0 && changed != len(seen) {
		t.Fatalf("%d rows of %d, of which %d are those of after", len(seen), len(r.rows), changed)
	}
	return changed > 0
}
