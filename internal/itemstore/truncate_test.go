package itemstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

func truncate(version uint64) itemstore.Put { return put("", version, record.Truncate, "") }

// A truncate deletes what is older, tells the log so, and keeps out what is older and comes later, also of unknown keys.
func TestTruncateTakesWhatIsOlder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s := open(t, path, itemstore.Options{})
	for _, name := range []string{"games", "others"} {
		if err := s.Define(t.Context(), itemstore.Table{Name: name, Indexes: []itemstore.Index{{Name: "by_n", Columns: []string{"n"}}}}); err != nil {
			t.Fatal(err)
		}
	}
	other := put("a", 1, record.Insert, `{"n":1}`)
	other.Table = "others"
	const written, superseded = itemstore.Written, itemstore.Superseded
	got := write(t, s, other, put("a", 1, record.Insert, `{"n":1}`), put("b", 4, record.Insert, `{"n":4}`), put("c", 9, record.Insert, `{"n":9}`),
		put("d", 2, record.Delete, ""), truncate(4), put("e", 3, record.Insert, `{"n":3}`), put("f", 4, record.Insert, `{"n":4}`), truncate(2), truncate(5),
		put("g", 5, record.Insert, `{"n":5}`))
	same(t, "outcomes", got, []itemstore.Outcome{
		written, written, written, written, written, written, superseded, written, superseded, written, written,
	})
	same(t, "log", changes(t, s, "games", 0), []string{
		`1 a I v1 ->{"n":1}`, `2 b I v4 ->{"n":4}`, `3 c I v9 ->{"n":9}`, `4 f I v4 ->{"n":4}`, `5 g I v5 ->{"n":5}`,
		`6 a D v4 {"n":1}->`, `7 b D v5 {"n":4}->`, `8 f D v5 {"n":4}->`,
	})
	same(t, "log of another table", changes(t, s, "others", 0), []string{`1 a I v1 ->{"n":1}`})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, itemstore.Options{}) // the floor is durable
	got = write(t, s, put("new", 4, record.Insert, `{}`), put("a", 4, record.Update, `{}`), put("a", 6, record.Update, `{"n":6}`))
	same(t, "outcomes after it was opened again", got, []itemstore.Outcome{superseded, superseded, written})
	same(t, "items", listed(t, s), []string{`a v6 {"n":6}`, `c v9 {"n":9}`, `g v5 {"n":5}`})
}

func listed(t *testing.T, s *itemstore.Store) []string {
	t.Helper()
	items, err := s.List(t.Context(), "games", 1<<20, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range items {
		out = append(out, fmt.Sprintf("%s v%d %s", i.Key, i.Version.Lo, i.Doc))
	}
	return out
}

// A process that dies in the middle has saved the version first: nothing older gets in, and the same truncate, written again,
// deletes the rest.
func TestTruncateThatWasCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s := open(t, path, itemstore.Options{})
	if err := s.Define(t.Context(), itemstore.Table{Name: "games"}); err != nil {
		t.Fatal(err)
	}
	const many = 1700 // some slices
	var puts []itemstore.Put
	for i := range many {
		puts = append(puts, put(fmt.Sprintf("%04d", i), uint64(1+i%2), record.Insert, `{}`))
	}
	write(t, s, puts...)
	if err := errors.Join(s.TruncateCutOff(t.Context(), truncate(2)), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, itemstore.Options{})
	same(t, "an older one", write(t, s, put("late", 1, record.Insert, `{}`)), []itemstore.Outcome{itemstore.Superseded})
	write(t, s, truncate(2))
	if n, err := s.Count(t.Context(), "games"); n != many/2 || err != nil {
		t.Errorf("%d items, %v", n, err)
	}
	if n := len(changes(t, s, "games", 0)); n != many+many/2 {
		t.Errorf("%d changes", n)
	}
	write(t, s, truncate(2))
	if n := len(changes(t, s, "games", 0)); n != many+many/2 {
		t.Errorf("written once more, it makes %d changes", n)
	}
}

// Whatever the order and the groups: what is left is the newest copy of each key, of those that no newer truncate took.
func TestAnyOrderOfTruncatesConverges(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 10 {
		var puts []itemstore.Put
		newest, floor := map[string]itemstore.Put{}, uint64(0)
		for v := range uint64(60) {
			p := put(fmt.Sprint(rng.IntN(12)), v+1, record.Update, fmt.Sprintf(`{"n":%d}`, v+1))
			switch rng.IntN(9) {
			case 0:
				p = truncate(v + 1)
				floor = v + 1
			case 1:
				p.Op = record.Delete
				newest[p.Key] = p
			default:
				newest[p.Key] = p
			}
			puts = append(puts, p)
		}
		var want []string
		for key, p := range newest {
			if p.Op != record.Delete && p.Version.Lo >= floor {
				want = append(want, fmt.Sprintf("%s v%d %s", key, p.Version.Lo, p.Doc))
			}
		}
		slices.Sort(want)
		rng.Shuffle(len(puts), func(i, j int) { puts[i], puts[j] = puts[j], puts[i] })
		s := games(t, itemstore.Options{})
		for len(puts) > 0 {
			n := min(1+rng.IntN(20), len(puts))
			write(t, s, puts[:n]...)
			puts = puts[n:]
		}
		same(t, fmt.Sprintf("round %d", round), listed(t, s), want)
	}
}

// A put that lacks members keeps those of the stored document.
func TestMembersAreKept(t *testing.T) {
	t.Parallel()
	s := games(t, itemstore.Options{})
	lacks := func(key string, version uint64, doc string, kept ...string) itemstore.Put {
		p := put(key, version, record.Update, doc)
		p.Kept = kept
		return p
	}
	got := write(t, s,
		put("a", 1, record.Insert, `{"id":"a","big":"q\"ñ","n":1e400,"deep":{"x":[1,null]}}`), lacks("a", 2, `{"id":"a","m":5}`, "big", "n", "deep", "never"),
		lacks("a", 1, `{"id":"a"}`, "big"), lacks("none", 1, `{"id":"none"}`, "big"),
		put("gone", 3, record.Delete, ""), lacks("gone", 4, `{"id":"gone"}`, "big"), lacks("gone", 2, `{"id":"gone"}`, "big"),
		put("bad", 1, record.Insert, `no JSON`), lacks("bad", 2, `{}`, "big"),
		put("e", 1, record.Insert, `{"big":"x"}`), lacks("e", 2, `{}`, "big"),
		put("z", 5, record.Insert, `{"big":"x"}`), truncate(6), lacks("z", 7, `{}`, "big"))
	const written, superseded, missing = itemstore.Written, itemstore.Superseded, itemstore.Missing
	same(t, "outcomes", got, []itemstore.Outcome{
		written, written, superseded, missing, written, missing, superseded, written, missing, written, written, written, written, missing,
	})
	log := changes(t, s, "games", 0)
	if want := `2 a U v2 {"id":"a","big":"q\"ñ","n":1e400,"deep":{"x":[1,null]}}->{"id":"a","m":5,"big":"q\"ñ","n":1e400,"deep":{"x":[1,null]}}`; log[1] != want {
		t.Errorf("log %s", log[1])
	}
}

// A file of the first version is copied, and gets what it lacks.
func TestOlderFileIsUpgraded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	s := open(t, path, itemstore.Options{})
	if err := s.Define(t.Context(), itemstore.Table{Name: "games"}); err != nil {
		t.Fatal(err)
	}
	write(t, s, put("a", 1, record.Insert, `{}`))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	script(t, path, `alter table tbl drop column truncated; drop table item_index; drop table entry; pragma user_version = 1`)
	if _, err := itemstore.OpenToRead(t.Context(), path); fault.Code(err) != "ACQ-ITEMS-009" {
		t.Error(err)
	}
	s = open(t, path, itemstore.Options{})
	write(t, s, put("b", 2, record.Insert, `{}`), truncate(2))
	same(t, "items", listed(t, s), []string{`b v2 {}`})
	if _, err := os.Stat(path + ".v1"); err != nil {
		t.Error(err)
	}
	script(t, path+".v1", `select truncated from tbl`, "no such column")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	script(t, path, `pragma user_version = 4`)
	if _, err := itemstore.Open(t.Context(), path, itemstore.Options{}); fault.Code(err) != "ACQ-ITEMS-002" {
		t.Error(err)
	}
}

// script runs statements on a file, and wants them to fail with these words, or not at all.
func script(t *testing.T, path, statements string, fails ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), statements)
	if closed := db.Close(); closed != nil || (err != nil) != (len(fails) > 0) {
		t.Fatal(err, closed)
	}
}
