package itemstore_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// found gives the keys that an index finds, by pages of two.
func found(t *testing.T, s *itemstore.Store, index string, values ...any) string {
	t.Helper()
	var keys []string
	for after := ""; ; {
		page, err := s.Query(t.Context(), "games", index, values, 2, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page {
			keys = append(keys, i.Key)
		}
		if len(page) < 2 {
			return strings.Join(keys, " ")
		}
		after = page[1].Key
	}
}

// TestIndexesAreUsed looks at SQLite's plans: a query by an index may not look at the items of its table one by one.
func TestIndexesAreUsed(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "items.db"), itemstore.Options{})
	indexes := []itemstore.Index{
		{Name: "by_genre", Columns: []string{"genre"}}, {Name: "by_both", Columns: []string{"genre", "year"}}, {Name: "by_each", Columns: []string{"genres"}, Each: true},
	}
	if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: indexes}); err != nil {
		t.Fatal(err)
	}
	for i, values := range [][]any{{"Drama"}, {"7", 1999}, {"War"}} { // "7" is the number, too
		plan, err := s.QueryPlan(t.Context(), "games", i, values...)
		if err != nil || strings.Contains(plan, "SCAN") || strings.Contains(plan, "PRIMARY KEY (tbl=? AND key>?)") || i < 2 && !strings.Contains(plan, "item_1_genre") {
			t.Errorf("%s: %s %v", indexes[i].Name, plan, err)
		}
	}
}

func TestAnItemIsFoundByEachElement(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s := open(t, path, itemstore.Options{})
	define := func(indexes ...itemstore.Index) {
		t.Helper()
		if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: indexes}); err != nil {
			t.Fatal(err)
		}
	}
	define()
	write(t, s, put("before", 1, record.Insert, `{"genres":["Drama","War"]}`))
	byGenre := itemstore.Index{Name: "by_genre", Columns: []string{"genres"}, Each: true}
	define(byGenre) // it is filled with what is there
	write(t, s, put("list", 1, record.Insert, `{"genres":["Drama","Comedy","Drama",null]}`), put("text", 1, record.Insert, `{"genres":"[\"Drama\",7]"}`),
		put("one", 1, record.Insert, `{"genres":"Drama"}`), put("number", 1, record.Insert, `{"genres":[7,1.5,true]}`),
		put("none", 1, record.Insert, `{"genres":null}`), put("empty", 1, record.Insert, `{"genres":[]}`), put("absent", 1, record.Insert, `{}`),
		put("bracket", 1, record.Insert, `{"genres":"[Drama"}`))
	same(t, "drama", found(t, s, "by_genre", "Drama"), "before list one text")
	same(t, "war", found(t, s, "by_genre", "War"), "before")
	same(t, "7", found(t, s, "by_genre", "7"), "number text")
	same(t, "7 as a number", found(t, s, "by_genre", 7), "number text")
	same(t, "1.5", found(t, s, "by_genre", "1.5"), "number")
	same(t, "bracket", found(t, s, "by_genre", "[Drama"), "bracket")

	write(t, s, put("before", 2, record.Update, `{"genres":["Western","War"]}`), put("one", 2, record.Delete, ""), put("one", 1, record.Update, `{"genres":["War"]}`))
	same(t, "drama after changes", found(t, s, "by_genre", "Drama"), "list text")
	same(t, "war after changes", found(t, s, "by_genre", "War"), "before")
	// What the file knows of its indexes outlives the process.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, itemstore.Options{})
	same(t, "indexes", s.Tables()[0].Indexes, []itemstore.Index{byGenre})
	same(t, "drama of the file", found(t, s, "by_genre", "Drama"), "list text")
	write(t, s, put("list", 2, record.Update, `{"genres":["Western"]}`))
	same(t, "western", found(t, s, "by_genre", "Western"), "before list")
	write(t, s, truncate(3))
	same(t, "after a truncate", found(t, s, "by_genre", "Western"), "")
}

// An index that has other columns now is made anew, and what another uses stays.
func TestAnIndexIsChanged(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{}, itemstore.Index{Name: "x", Columns: []string{"genres"}, Each: true}, itemstore.Index{Name: "y", Columns: []string{"year"}})
	write(t, s, put("a", 1, record.Insert, `{"genres":["Drama"],"year":1991}`), put("b", 1, record.Insert, `{"genres":["War"],"year":1991}`))
	for _, step := range []struct {
		to          itemstore.Index
		value, want string
	}{
		{itemstore.Index{Name: "x", Columns: []string{"year"}}, "1991", "a b"},
		{itemstore.Index{Name: "x", Columns: []string{"genres"}, Each: true}, "War", "b"},
		{itemstore.Index{Name: "y", Columns: []string{"genres"}, Each: true}, "War", "b"},
		{itemstore.Index{Name: "x", Columns: []string{"year"}, Each: true}, "1991", "a b"},
	} {
		if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: []itemstore.Index{step.to}}); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint(step.to), found(t, s, step.to.Name, step.value), step.want)
	}
	if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: []itemstore.Index{{Name: "two", Columns: []string{"genres", "year"}, Each: true}}}); err == nil {
		t.Error("an index of each element of two columns was taken")
	}
}

// Whatever is written, and however often an index is made anew, it finds what looking at every item does.
func TestElementsFollowTheItems(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 3))
	x := itemstore.Index{Name: "x", Columns: []string{"g"}, Each: true}
	s := games(t, itemstore.Options{}, x)
	held := map[string][]string{}
	for version := uint64(1); version <= 400; version++ {
		key := fmt.Sprintf("k%d", random.IntN(12))
		switch random.IntN(8) {
		case 0:
			write(t, s, put(key, version, record.Delete, ""))
			delete(held, key)
		case 1:
			if random.IntN(8) == 0 {
				write(t, s, truncate(version))
				clear(held)
			}
		default:
			var genres []string
			for range random.IntN(4) {
				genres = append(genres, fmt.Sprintf("g%d", random.IntN(5)))
			}
			write(t, s, put(key, version, record.Update, `{"g":["`+strings.Join(genres, `","`)+`"]}`))
			held[key] = genres
		}
		if version%20 > 0 {
			continue
		}
		for g := range 5 {
			var want []string
			for key, genres := range held {
				if slices.Contains(genres, fmt.Sprintf("g%d", g)) {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			same(t, fmt.Sprintf("g%d after %d", g, version), found(t, s, "x", fmt.Sprintf("g%d", g)), strings.Join(want, " "))
		}
	}
}
