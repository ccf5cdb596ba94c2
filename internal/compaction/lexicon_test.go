package compaction

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/record"
)

// Texts that stand in dictionaries, a different one a file, in none, or in one for some pages only, come out as they were.
func TestTextsOfManyDictionaries(t *testing.T) {
	t.Parallel()
	few := func(i int) string { return fmt.Sprintf("text %d", i%7) }
	kinds := map[string]func(i int) string{
		"one":      func(int) string { return "the same" },
		"other":    func(int) string { return "another" },
		"few":      few,
		"more":     func(i int) string { return fmt.Sprintf("text %d", i%100) },
		"nulls":    func(int) string { return "" },
		"gaps":     func(i int) string { return []string{"", "text 1", "text 2"}[i%3] },
		"distinct": func(i int) string { return fmt.Sprintf("distinct %d", i) },
		"leaves":   func(i int) string { return few(i) + fmt.Sprint(max(0, i-9000)) }, // its dictionary grows too large
	}
	for _, files := range [][]string{
		{"few", "more", "gaps"},
		{"one", "one"},
		{"one", "other", "few"},
		{"nulls", "nulls"},
		{"nulls", "one", "gaps", "nulls"},
		{"one", "distinct"},
		{"gaps", "distinct", "few"},
		{"gaps", "leaves", "more"},
		{"one", "leaves"},
	} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			t.Parallel()
			w := start(t)
			schema, err := gamesSchema()
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			for _, name := range files {
				rows := 300
				if name == "leaves" {
					rows = 45_000
				}
				b := record.NewBuilder(schema, rows)
				for i := range rows {
					b.Int(0, r.Int64N(100_000))
					if text := kinds[name](i); text != "" {
						b.String(1, text)
					}
					b.Next()
				}
				b.System().EventTimes = []int64{20_000 * day}
				if err := w.commit(t.Context(), "checkpoint", b.Batch(nil)); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := w.live(t, "games")
			if got, err := Compact(t.Context(), w.options()); err != nil || got[0].Outputs != 1 || got[0].Inputs != len(files) {
				t.Fatalf("%+v, %v", got, err)
			}
			if after, _ := w.live(t, "games"); !slices.Equal(before, after) {
				t.Errorf("%d rows became %d, or others", len(before), len(after))
			}
		})
	}
}
