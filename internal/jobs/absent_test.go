package jobs_test

import (
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// TestWhatWasNotSentIsNoNull: a value that the source did not send is still none when the dead letter is sent again, unless the
// letter was given one.
func TestWhatWasNotSentIsNoNull(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := checkpoint.Open(ctx, filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	schema, err := record.NewSchema(
		"t", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "large", Kind: record.String, Nullable: true},
		record.Field{Name: "small", Kind: record.String, Nullable: true}, record.Field{Name: "must", Kind: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	lane := checkpoint.Lane{Pipeline: "p", ID: "lane"}
	if _, err := store.Acquire(ctx, lane); err != nil {
		t.Fatal(err)
	}
	letter := func(index int64, row string) checkpoint.DeadLetter {
		return checkpoint.DeadLetter{
			Pipeline: "p", Lane: "lane", Stream: "t", Position: "1", Index: index, Step: "lake", Op: "U", Row: []byte(row), Absent: []string{"large", "must"},
		}
	}
	in := checkpoint.Intent{Group: 1, To: "1", DeadLetters: []checkpoint.DeadLetter{letter(0, `{"id":1}`), letter(1, `{"id":2,"large":"mended","must":""}`)}}
	if err := store.SaveCheckpoint(ctx, lane, 1, in); err != nil {
		t.Fatal(err)
	}
	by, err := store.ChooseDeadLetters(ctx, checkpoint.LetterFilter{Pipeline: "p"})
	if err != nil || len(by) != 1 {
		t.Fatal(by, err)
	}
	_, letters, err := jobs.Retry(routers.Pipeline{Name: "p", Sinks: []routers.NamedSink{{Name: "lake"}}}, store, by[0], schema)
	if err != nil {
		t.Fatal(err)
	}
	r, err := letters.Open(ctx, sources.Lane{}, "")
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := r.Read(ctx)
	if err != nil || len(chunk.Batches) != 1 || chunk.Batches[0].Rows != 2 {
		t.Fatalf("%+v %v", chunk, err)
	}
	for i, want := range [][2]bool{{}, {true, false}, {false, false}, {true, false}} {
		c := &chunk.Batches[0].Columns[i]
		if got := [2]bool{c.IsAbsent(0), c.IsAbsent(1)}; got != want {
			t.Errorf("column %d is absent: %v, want %v", i, got, want)
		}
	}
}
