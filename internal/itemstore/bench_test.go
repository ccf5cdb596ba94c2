package itemstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// game is a document of the size of a register's record.
const game = `{"id":"018f2b6c-0c1e-7a3e-9c55-3d1c1f4f0a11","title":"The Secret of the Long Canal","platform":"PC",` +
	`"released":"1991-05-04","price":"19.99","players":2,"publisher":"Acequia Games","stock":41,"email":"ana@example.org",` +
	`"notes":"second hand, box damaged, manual complete, tested","created_at":"2026-01-02T03:04:05.000006Z"}`

// Single items from 64 callers: with random keys each of them changes a page of its own, with keys in the order of time
// (UUID version 7) they share pages.
func BenchmarkWrite64Callers(b *testing.B) {
	b.Run("random", func(b *testing.B) {
		writes(b, func(n int64) string { return strconv.FormatUint(uint64(n)*0x9e3779b97f4a7c15, 16) }) //nolint:gosec // spreads
	})
	b.Run("ordered", func(b *testing.B) { writes(b, func(n int64) string { return fmt.Sprintf("018f2b6c-%012x", n) }) })
}

func writes(b *testing.B, key func(n int64) string) {
	b.Helper()
	ctx := context.Background()
	s, err := itemstore.Open(ctx, filepath.Join(b.TempDir(), "items.db"), itemstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Define(ctx, itemstore.Table{Name: "games"}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				_, err := s.Write(ctx, []itemstore.Put{{Table: "games", Key: key(n), Version: record.Version{Lo: uint64(n)}, Op: record.Insert, Doc: []byte(game)}})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func BenchmarkChanges(b *testing.B) {
	const rows = 10_000
	s, err := itemstore.Open(b.Context(), filepath.Join(b.TempDir(), "items.db"), itemstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Define(b.Context(), itemstore.Table{Name: "games"}); err != nil {
		b.Fatal(err)
	}
	puts := make([]itemstore.Put, rows)
	for i := range puts {
		puts[i] = put(strconv.Itoa(i), 1, record.Insert, game)
	}
	if _, err := s.Write(b.Context(), puts); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Changes(b.Context(), "games", 0, rows, func(*itemstore.Change) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "changes/s")
}
