package itemstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

func open(t *testing.T, path string, o itemstore.Options) *itemstore.Store {
	t.Helper()
	s, err := itemstore.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func games(t *testing.T, o itemstore.Options, indexes ...itemstore.Index) *itemstore.Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "items.db"), o)
	if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: indexes}); err != nil {
		t.Fatal(err)
	}
	return s
}

func put(key string, version uint64, op record.Op, doc string) itemstore.Put {
	return itemstore.Put{Table: "games", Key: key, Version: record.Version{Lo: version}, Op: op, Doc: []byte(doc)}
}

func write(t *testing.T, s *itemstore.Store, puts ...itemstore.Put) []itemstore.Outcome {
	t.Helper()
	outcomes, err := s.Write(t.Context(), puts)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// changes gives a table's log as lines.
func changes(t *testing.T, s *itemstore.Store, table string, after int64) []string {
	t.Helper()
	var lines []string
	err := s.Changes(t.Context(), table, after, 1<<30, func(c *itemstore.Change) error {
		lines = append(lines, fmt.Sprintf("%d %s %s v%d %s->%s", c.Seq, c.Key, c.Op, c.Version.Lo, c.Old, c.New))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestNewestVersionWins(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	const written, superseded, exists = itemstore.Written, itemstore.Superseded, itemstore.Exists
	onlyNew := put("a", 99, record.Insert, `{"n":99}`)
	onlyNew.IfAbsent = true
	got := write(t, s,
		put("a", 2, record.Insert, `{"n":2}`), put("a", 1, record.Update, `{"n":1}`), put("a", 2, record.Update, `{"n":0}`),
		put("a", 3, record.Snapshot, `{"n":3}`), onlyNew, put("a", 5, record.Delete, ""), put("a", 4, record.Update, `{"n":4}`), onlyNew,
		put("a", 6, record.Update, `{"n":6}`), put("never", 1, record.Delete, ""))
	same(t, "outcomes", got, []itemstore.Outcome{
		written, superseded, superseded, written, exists, written, superseded, exists, written, written,
	})
	same(t, "log", changes(t, s, "games", 0), []string{
		`1 a I v2 ->{"n":2}`, `2 a U v3 {"n":2}->{"n":3}`, `3 a D v5 {"n":3}->`, `4 a I v6 ->{"n":6}`,
	})
	same(t, "log after 3", changes(t, s, "games", 3), []string{`4 a I v6 ->{"n":6}`})
	item, ok, err := s.Get(t.Context(), "games", "never")
	if err != nil || !ok || !item.Deleted || item.Doc != nil || item.Version.Lo != 1 {
		t.Errorf("tombstone: %+v %v %v", item, ok, err)
	}
	item, ok, err = s.Get(t.Context(), "games", "a")
	if err != nil || !ok || item.Deleted || string(item.Doc) != `{"n":6}` {
		t.Errorf("item: %+v %v %v", item, ok, err)
	}
	if _, ok, err := s.Get(t.Context(), "games", "b"); ok || err != nil {
		t.Errorf("unknown key: %v %v", ok, err)
	}
	if n, err := s.Count(t.Context(), "games"); n != 1 || err != nil {
		t.Errorf("count: %d %v", n, err)
	}
}

// The greatest version of each key must stand whatever the order and the callers.
func TestAnyOrderConverges(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var puts []itemstore.Put
	for v := range uint64(600) {
		p := put(fmt.Sprint("k", v%20), 0, record.Update, fmt.Sprintf(`{"v":%d}`, v))
		p.Version = record.Version{Epoch: uint16(v / 300), Hi: v % 300 / 100, Lo: v % 100 << 56, Index: uint32(v)} //nolint:gosec // small
		puts = append(puts, p)
	}
	random.Shuffle(len(puts), func(i, j int) { puts[i], puts[j] = puts[j], puts[i] })
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			for i := c; i < len(puts); i += 8 {
				if _, err := s.Write(context.Background(), puts[i:i+1]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	for k := range uint64(20) {
		item, _, err := s.Get(t.Context(), "games", fmt.Sprint("k", k))
		if want := fmt.Sprintf(`{"v":%d}`, 580+k); err != nil || string(item.Doc) != want {
			t.Errorf("k%d: %s %v, want %s", k, item.Doc, err, want)
		}
	}
	last := map[string]record.Version{}
	seq := int64(0)
	err := s.Changes(t.Context(), "games", 0, 1000, func(c *itemstore.Change) error {
		if v, ok := last[c.Key]; ok && v.Compare(c.Version) >= 0 || c.Seq != seq+1 {
			return fmt.Errorf("change %d of %s after %d is out of order", c.Seq, c.Key, seq)
		}
		last[c.Key], seq = c.Version, c.Seq
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestIndexesFollowTheItems(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{}, itemstore.Index{Name: "by_platform", Columns: []string{"platform"}})
	write(t, s, put("a", 1, record.Insert, `{"platform":"PC","year":1991}`), put("b", 1, record.Insert, `{"platform":"PC","year":1992}`),
		put("c", 1, record.Insert, `{"platform":"NES","year":1991}`))
	write(t, s, put("a", 2, record.Update, `{"platform":"NES","year":1991}`), put("c", 2, record.Delete, ""))
	// An index that comes later is filled.
	both := itemstore.Index{Name: "by_both", Columns: []string{"platform", "year"}}
	if err := s.Define(t.Context(), itemstore.Table{Name: "games", Indexes: []itemstore.Index{both}}); err != nil {
		t.Fatal(err)
	}
	write(t, s, put("d", 1, record.Insert, `{"platform":"PC","year":1993}`))
	for _, test := range []struct {
		index  string
		values []any
		limit  int
		after  string
		want   string
	}{
		{"by_platform", []any{"PC"}, 10, "", "b d"},
		{"by_platform", []any{"PC"}, 1, "", "b"},
		{"by_platform", []any{"PC"}, 10, "b", "d"},
		{"by_platform", []any{"NES"}, 10, "", "a"},
		{"by_platform", []any{"x' or 1"}, 10, "", ""},
		{"by_both", []any{"NES", 1991}, 10, "", "a"},
		{"by_both", []any{"PC", 1991}, 10, "", ""},
	} {
		items, err := s.Query(t.Context(), "games", test.index, test.values, test.limit, test.after)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, i := range items {
			keys = append(keys, i.Key)
		}
		same(t, fmt.Sprint(test), strings.Join(keys, " "), test.want)
	}
	if _, err := s.Write(t.Context(), []itemstore.Put{put("e", 1, record.Insert, `{"platform"`)}); err == nil {
		t.Error("a document that is no JSON was taken")
	}
	if _, err := s.Query(t.Context(), "games", "by_year", []any{1}, 1, ""); err == nil {
		t.Error("an unknown index was taken")
	}
	if items, err := s.List(t.Context(), "games", 2, "a"); err != nil || len(items) != 2 || items[0].Key != "b" || items[1].Key != "d" {
		t.Errorf("list: %v %v", items, err)
	}
}

func TestAWriteIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	wrong := put("b", 1, record.Insert, `{}`)
	wrong.Table = "nothing"
	_, err := s.Write(t.Context(), []itemstore.Put{put("a", 1, record.Insert, `{}`), wrong})
	if fault.Code(err) != "ACQ-ITEMS-006" {
		t.Errorf("unknown table: %v", err)
	}
	if n, err := s.Count(t.Context(), "games"); n != 0 || err != nil {
		t.Errorf("%d items after a refused write, %v", n, err)
	}
}

// A file that cannot grow stands for a full disk: see max_page_count of SQLite.
func TestFullDiskIsRetryable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s, err := itemstore.Open(t.Context(), path, itemstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Define(t.Context(), itemstore.Table{Name: "games"}); err != nil {
		t.Fatal(err)
	}
	write(t, s, put("before", 1, record.Insert, `{}`))
	if err := s.LimitPages(t.Context(), 16); err != nil {
		t.Fatal(err)
	}
	big := put("big", 1, record.Insert, `{"x":"`+strings.Repeat("x", 300<<10)+`"}`)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			if _, err := s.Write(context.Background(), []itemstore.Put{big}); fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-ITEMS-003" {
				t.Errorf("full disk: %v", err)
			}
		})
	}
	callers.Wait()
	if err := s.LimitPages(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	same(t, "outcome", write(t, s, big), []itemstore.Outcome{itemstore.Written})
	if got := changes(t, s, "games", 0); len(got) != 2 || !strings.HasPrefix(got[1], "2 big I v1") {
		t.Errorf("log after a full disk: %.80q", got)
	}
}

func TestTrimStaysBehindReaders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s, err := itemstore.Open(t.Context(), path, itemstore.Options{Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"games", "others"} {
		if err := s.Define(t.Context(), itemstore.Table{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Register(t.Context(), "lake", "games", 0); err != nil {
		t.Fatal(err)
	}
	var puts []itemstore.Put
	for v := range uint64(2500) {
		other := put("a", v+1, record.Update, `{}`)
		other.Table = "others"
		puts = append(puts, put("a", v+1, record.Update, `{}`), other)
	}
	write(t, s, puts...)
	keepUp := func(now time.Time) {
		t.Helper()
		if err := s.KeepUp(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	left := func(table string, want int64, from time.Time) {
		t.Helper()
		if n, oldest, err := s.Pending(t.Context(), table, 2500-want); n != want || err != nil || want > 0 && oldest.Before(from) {
			t.Errorf("%s: %d changes left from %s on, want %d: %v", table, n, oldest, want, err)
		}
		if n := len(changes(t, s, table, 0)); int64(n) != want {
			t.Errorf("%s: %d changes in the log, want %d", table, n, want)
		}
	}
	soon, later := time.Now().Add(time.Minute), time.Now().Add(2*time.Hour)
	start := time.Now().Add(-time.Minute)
	keepUp(soon)
	left("games", 2500, start)
	left("others", 2500, start)
	keepUp(later)
	left("games", 2500, start) // the reader has settled nothing
	left("others", 0, start)
	if err := s.Advance(t.Context(), "lake", "games", 2300); err != nil {
		t.Fatal(err)
	}
	keepUp(later)
	left("games", 200, start)
	if err := s.Register(t.Context(), "lake", "games", 2300); err != nil {
		t.Errorf("register where the log begins: %v", err)
	}
	if err := s.Register(t.Context(), "late", "games", 2299); fault.Code(err) != "ACQ-ITEMS-004" || fault.Of(err) != fault.Fatal {
		t.Errorf("register behind the log: %v", err)
	}
	if err := s.Advance(t.Context(), "lake", "games", 2400); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // saves the reader
		t.Fatal(err)
	}
	s = open(t, path, itemstore.Options{Retention: time.Hour})
	keepUp(later)
	left("games", 200, start) // the reader that came late stands at 2300
	if err := s.Advance(t.Context(), "late", "games", 2500); err != nil {
		t.Fatal(err)
	}
	keepUp(later)
	left("games", 100, start)
	next := put("a", 9000, record.Update, `{}`)
	next.Table = "others"
	write(t, s, next)
	same(t, "sequence after everything was trimmed", changes(t, s, "others", 0), []string{"2501 a U v9000 {}->{}"})
}

func TestItemsExpire(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	now := time.Now()
	soon, late := put("soon", 1, record.Insert, `{}`), put("late", 1, record.Insert, `{}`)
	soon.Expires, late.Expires = now.Add(time.Hour).Unix(), now.Add(3*time.Hour).Unix()
	write(t, s, soon, late, put("never", 1, record.Insert, `{}`))
	for _, test := range []struct {
		after time.Duration
		want  int64
	}{{0, 3}, {2 * time.Hour, 2}, {1000 * time.Hour, 1}} {
		if err := s.KeepUp(t.Context(), now.Add(test.after)); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Count(t.Context(), "games"); n != test.want || err != nil {
			t.Errorf("after %s: %d items, want %d: %v", test.after, n, test.want, err)
		}
	}
}

func TestChangedWakes(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	if err := s.Define(t.Context(), itemstore.Table{Name: "keys", NoChanges: true}); err != nil {
		t.Fatal(err)
	}
	quiet, loud := s.Changed("keys"), s.Changed("games")
	key := put("k", 1, record.Insert, `{}`)
	key.Table = "keys"
	write(t, s, key, put("a", 1, record.Insert, `{}`))
	select {
	case <-loud:
	case <-t.Context().Done():
		t.Error("nobody was woken")
	}
	select {
	case <-quiet:
		t.Error("a table without a log woke its readers")
	default:
	}
	same(t, "log of a table without one", changes(t, s, "keys", 0), nil)
}

func TestForeignAndDamagedFilesAreRefused(t *testing.T) {
	t.Parallel()
	file := func(script string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.ExecContext(t.Context(), script); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name, code string
		make       func(t *testing.T, path string)
	}{
		{"foreign", "ACQ-ITEMS-001", file(`create table x(y)`)},
		{"newer", "ACQ-ITEMS-002", file(`pragma application_id = 1633907049; pragma user_version = 4; create table tbl(x)`)},
		{"no database", "ACQ-ITEMS-001", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 400)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut short", "ACQ-ITEMS-001", func(t *testing.T, path string) {
			t.Helper()
			s := open(t, path, itemstore.Options{})
			if err := errors.Join(s.Define(t.Context(), itemstore.Table{Name: "games"}), s.Close(), os.Truncate(path, 4096)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "items.db")
			test.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = itemstore.Open(t.Context(), path, itemstore.Options{})
			if fault.Code(err) != test.code || fault.Of(err) != fault.Fatal {
				t.Errorf("got %v, want %s", err, test.code)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestClosedStoreAnswers(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), []itemstore.Put{put("a", 1, record.Insert, `{}`)}); err == nil {
		t.Error("a closed store took a write")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// TestOpenToRead sees what another store writes meanwhile, and makes no file.
func TestOpenToRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	if _, err := itemstore.OpenToRead(t.Context(), path); fault.Code(err) != "ACQ-ITEMS-001" {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a look made the file: %v", err)
	}
	s := open(t, path, itemstore.Options{})
	if err := s.Define(t.Context(), itemstore.Table{Name: "games"}); err != nil {
		t.Fatal(err)
	}
	other, err := itemstore.OpenToRead(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	for n := range uint64(3) {
		write(t, s, put(fmt.Sprint("k", n), 1, record.Insert, "{}"))
		items, err := other.List(t.Context(), "games", 10, "")
		if len(items) != int(n)+1 || err != nil {
			t.Errorf("%d items, %v", len(items), err)
		}
	}
}
