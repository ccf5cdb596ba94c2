package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// days gives backups at noon of days, each with a file.
func days(t interface{ Fatal(...any) }, s *Store, dates ...string) []*manifest {
	out := make([]*manifest, len(dates))
	for i, date := range dates {
		at, err := time.Parse(time.DateTime, date+" 12:00:00")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("postgresql/a/%d.parquet", i)
		if err := os.MkdirAll(filepath.Join(s.Root(), "postgresql/a"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Root(), name), []byte("rows"), 0o600); err != nil {
			t.Fatal(err)
		}
		out[i] = &manifest{Backup: Backup{ID: date, At: at, Tables: []Table{{Files: []File{{Name: name, Bytes: 4}}}}}}
	}
	return out
}

// files are those of the databases in the tests.
func files(t interface{ Fatal(...any) }, s *Store) map[string]int64 {
	there, err := s.sizes(context.Background(), "postgresql")
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func decided(t *testing.T, s *Store, all []*manifest, k Keep) string {
	t.Helper()
	var out []string
	for i, why := range decide(all, k, files(t, s)) {
		if len(why) > 0 {
			out = append(out, strings.TrimPrefix(all[i].ID, "2026-")+" "+strings.Join(why, "+"))
		}
	}
	return strings.Join(out, ", ")
}

func TestKeep(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := days(t, s, "2026-08-31", "2026-09-30", "2026-10-30", "2026-11-15", "2026-11-16", "2026-11-22", "2026-11-23", "2026-11-28", "2026-11-29", "2026-11-30", "2026-11-30")
	for _, c := range []struct {
		keep Keep
		want string
	}{
		{Keep{}, "11-30 newest"},
		{Keep{Daily: 2}, "11-29 daily, 11-30 daily+newest"},
		{Keep{Weekly: 3}, "11-22 weekly, 11-29 weekly, 11-30 weekly+newest"},
		{Keep{Monthly: 3}, "09-30 monthly, 10-30 monthly, 11-30 monthly+newest"},
		{Keep{Daily: 1, Weekly: 2, Monthly: 9}, "08-31 monthly, 09-30 monthly, 10-30 monthly, 11-29 weekly, 11-30 daily+weekly+monthly+newest"},
	} {
		if got := decided(t, s, all, c.keep); got != c.want {
			t.Errorf("%+v keeps %s, want %s", c.keep, got, c.want)
		}
	}
	// The newest has lost a file: it stays to be looked at, and counts for nothing.
	if err := os.Remove(filepath.Join(s.Root(), "postgresql/a/10.parquet")); err != nil {
		t.Fatal(err)
	}
	if got, want := decided(t, s, all[8:], Keep{}), "11-30 newest, 11-30 damaged"; got != want {
		t.Errorf("keeps %s, want %s", got, want)
	}
}

// TestTheLastGoodOneStays tries any rules over any backups, whole and damaged: the newest whole one stays, and each rule keeps as many
// periods as there are at most.
func TestTheLastGoodOneStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		folder, err := os.MkdirTemp(root, "kept") //nolint:usetesting // rapid.T has no TempDir
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(context.Background(), folder, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var dates []string
		for _, day := range rapid.SliceOfN(rapid.IntRange(0, 100), 1, 12).Draw(t, "days") {
			dates = append(dates, time.Date(2026, 1, 1+day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))
		}
		slices.Sort(dates)
		all := days(t, s, dates...)
		good := -1
		for i := range all {
			if rapid.Bool().Draw(t, "damaged") {
				if err := os.Remove(filepath.Join(folder, all[i].Tables[0].Files[0].Name)); err != nil {
					t.Fatal(err)
				}
				continue
			}
			good = i
		}
		k := Keep{rapid.IntRange(0, 5).Draw(t, "daily"), rapid.IntRange(0, 3).Draw(t, "weekly"), rapid.IntRange(0, 3).Draw(t, "monthly")}
		count := map[string]int{}
		why := decide(all, k, files(t, s))
		for i := range why {
			for _, w := range why[i] {
				count[w]++
			}
		}
		if good >= 0 && !slices.Contains(why[good], "newest") {
			t.Fatalf("the newest whole one goes: %v", why)
		}
		if count["daily"] > k.Daily || count["weekly"] > k.Weekly || count["monthly"] > k.Monthly {
			t.Fatalf("%+v keeps %v", k, count)
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, table := range []string{"orders", "sales.orders", "Odd name", "_backups", ".hidden", "../up", "a/b", "ñ", "%C3%B1", strings.Repeat("ñ", 100), strings.Repeat("ñ", 101)} {
		name := folderOf("postgresql", table)
		base := strings.TrimPrefix(name, "postgresql/")
		if strings.ContainsAny(base, "/\\ ") || len(base) > longestName || strings.HasPrefix(base, ".") || base == manifests || seen[name] != "" {
			t.Errorf("%q has the folder %q", table, name)
		}
		seen[name] = table
	}
}
