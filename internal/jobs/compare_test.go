//go:build cgo

package jobs_test

import (
	"log/slog"
	"testing"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

// side makes a lake of rows, each a key, its operation and its version.
func side(t *testing.T, rows ...record.Op) (jobs.Side, *schemas.LakeTable) {
	t.Helper()
	root := t.TempDir()
	l, err := lake.New(t.Context(), lake.Config{URL: root}, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, len(rows))
	for i, op := range rows {
		if op != record.Truncate {
			b.Int(0, int64(i+1))
		}
		b.Next()
		b.System().Ops = append(b.System().Ops, op)
		b.System().Versions.Lo = append(b.System().Versions.Lo, uint64(i+1)) //nolint:gosec // small
	}
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
	if err == nil {
		err = w.Write(t.Context(), b.Batch(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err == nil {
		err = w.Publish(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := lakefiles.List(t.Context(), blob.Within(root), "games")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := query.ReadDescriptions(t.Context(), blob.Within(root))
	if err != nil {
		t.Fatal(err)
	}
	return jobs.Side{Root: root, Files: files}, tables[0]
}

// What a truncate took is gone on both sides, also where only one of them has come to it; the truncate is no row.
func TestTruncatesAreCompared(t *testing.T) {
	t.Parallel()
	const in, cut, del = record.Insert, record.Truncate, record.Delete
	with, table := side(t, in, in, cut, in)
	without, _ := side(t, in, in, del, in)
	for _, c := range []struct {
		name      string
		now, then jobs.Side
	}{{"in the lake", with, without}, {"in the replay", without, with}, {"in both", with, with}} {
		got, err := jobs.Compare(t.Context(), table, c.now, c.then, c.now)
		if want := (jobs.Counts{Equal: 1}); err != nil || got.Counts != want {
			t.Errorf("%s: %+v, %v", c.name, got.Counts, err)
		}
	}
}
