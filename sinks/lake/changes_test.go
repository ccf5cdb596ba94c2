//go:build cgo

package lake_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

// asked asks the lake, as acequia query does: a line a row.
func asked(t *testing.T, root, text string) []string {
	t.Helper()
	e, err := query.New(query.Config{Lake: root})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := e.Query(t.Context(), query.Request{SQL: text})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		var line []string
		for _, v := range rows.Row() {
			if line = append(line, "null"); !v.Null {
				line[len(line)-1] = v.Text
			}
		}
		out = append(out, strings.Join(line, " "))
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// paths are the files of the lake's table.
func paths(t *testing.T, root string) []string {
	t.Helper()
	names, err := lakefiles.List(t.Context(), blob.Within(root), "games")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// change makes one row of a schema: its key, its other columns null or zero, its operation and version.
func change(s *record.Schema, id int64, op record.Op, v record.Version, fill ...func(*record.Builder)) *record.Batch {
	b := record.NewBuilder(s, 1)
	b.Int(0, id)
	for _, f := range fill {
		f(b)
	}
	b.Next()
	sys := b.System()
	sys.Ops, sys.Versions, sys.EventTimes, sys.Source = []record.Op{op}, record.One(v), []int64{20_000 * day}, "test"
	return b.Batch(nil)
}

func number(lo uint64) record.Version { return record.Version{Lo: lo} }

// A truncate that reaches the lake hides what is older, whatever the partition of the table, and its row is never seen in
// the latest view; in the table it is there for replays.
func TestTruncateHidesWhatIsOlder(t *testing.T) {
	t.Parallel()
	dated, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "day", Kind: record.Date}, record.Field{Name: "city", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	on := func(b *record.Builder) { b.Int(1, 20_000); b.String(2, "Bilbo") }
	for _, partition := range [][]string{nil, {"id"}, {"day"}, {"city"}, {"day", "city"}} {
		root := t.TempDir()
		l := open(t, lake.Config{URL: root, Partition: partition})
		commit(t, l, sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1}, 1, change(dated, 1, record.Insert, number(1), on), change(dated, 2, record.Insert, number(9), on),
			change(dated, 0, record.Insert, number(2), on), change(dated, 0, record.Truncate, number(5)), change(dated, 3, record.Snapshot, number(4), on))
		want := []string{"2 I"}
		if diff := cmp.Diff(want, asked(t, root, "select id, _op from games_latest order by id")); diff != "" {
			t.Errorf("partition %v: %s", partition, diff)
		}
		if got := asked(t, root, "select count(*) from games where _op = 'T'"); !slices.Equal(got, []string{"1"}) {
			t.Errorf("partition %v: %v truncates", partition, got)
		}
		if files := paths(t, root); len(partition) > 0 && !slices.ContainsFunc(files, func(name string) bool {
			return strings.Contains(name, "__HIVE_DEFAULT_PARTITION__")
		}) {
			t.Errorf("partition %v: the truncate is in none of %v", partition, files)
		}
	}
}

// Columns that are added, dropped and widened between batches of one group: each file has its own columns, SQL sees all of
// them, side by side and through the sorter.
func TestColumnsChangeInsideAGroup(t *testing.T) {
	t.Parallel()
	fields := func(extra ...record.Field) []record.Field {
		return append([]record.Field{{Name: "id", Kind: record.Int64}}, extra...)
	}
	schema := func(f []record.Field) *record.Schema {
		s, err := record.NewSchema("games", []string{"id"}, f...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	small := record.Field{Name: "n", Kind: record.Int32}
	ratio := record.Field{Name: "ratio", Kind: record.Float32, Nullable: true}
	price := record.Field{Name: "price", Kind: record.Decimal, Precision: 5, Scale: 2, Nullable: true}
	wide := []record.Field{
		{Name: "n", Kind: record.Int64},
		{Name: "ratio", Kind: record.Float64, Nullable: true},
		{Name: "price", Kind: record.Decimal, Precision: 30, Scale: 4, Nullable: true},
		{Name: "n__raw", Kind: record.String, Nullable: true},
	}
	first, second, third := schema(fields(small, ratio, price)), schema(fields(wide...)), schema(fields(wide[0]))
	for _, days := range []int64{1, 5, 70} { // one file, side by side, through the sorter
		root := t.TempDir()
		l := open(t, lake.Config{URL: root})
		var batches []*record.Batch
		for i := range int64(210) {
			var b *record.Batch
			switch i % 3 {
			case 0:
				b = change(first, i, record.Insert, number(1), func(b *record.Builder) { b.Int(1, 7); b.Float(2, 0.5); b.Int(3, 12345) })
			case 1:
				b = change(second, i, record.Insert, number(1), func(b *record.Builder) {
					b.Int(1, 1<<40)
					b.Float(2, 0.1)
					b.Wide(3, record.Int128{Lo: 1_234_567})
					b.String(4, "infinity")
				})
			default:
				b = change(third, i, record.Insert, number(1), func(b *record.Builder) { b.Int(1, 9) })
			}
			b.System.EventTimes = []int64{(20_000 + i%days) * day}
			batches = append(batches, b)
		}
		m := commit(t, l, sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1}, 1, batches...)
		if most := 3 * int(days); len(m.Files) > most {
			t.Errorf("%d days: %d files, want %d at most", days, len(m.Files), most)
		}
		got := asked(t, root, "select n, ratio, price, n__raw, count(*) from games_latest group by all order by n")
		want := []string{"7 0.5 123.4500 null 70", "9 null null null 70", "1099511627776 0.1 123.4567 infinity 70"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d days: %s", days, diff)
		}
	}
}

// A change that no table can follow is refused before a row of it is written, and the group keeps what it has.
func TestChangeThatIsRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := open(t, lake.Config{URL: root})
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), games(t, 0, 10, 1)); err != nil {
		t.Fatal(err)
	}
	other, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "year", Kind: record.Bool})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), change(other, 11, record.Insert, number(1))); fault.Code(err) != "ACQ-LAKE-011" || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit(t, l, sinks.Lane{Pipeline: "p", ID: "other", Epoch: 1}, 1, games(t, 0, 10, 1)) // other lanes go on
	if got := asked(t, root, "select count(*) from games"); !slices.Equal(got, []string{"10"}) {
		t.Error(got)
	}
}

// A file cannot keep the value of before: an update that lacks a column is refused, a delete that does passes.
func TestAbsentValuesAreRefused(t *testing.T) {
	t.Parallel()
	l, err := lake.New(t.Context(), lake.Config{URL: t.TempDir()}, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := games(t, 1, 5, 1)
	b.System.Ops = []record.Op{record.Update, record.Delete, record.Update, record.Update}
	b.Columns[1].SetAbsent(0)
	b.Columns[1].SetAbsent(1)
	b.Columns[2].SetAbsent(3)
	err = w.Write(t.Context(), b)
	rows, ok := err.(*fault.Rows) //nolint:errorlint // it is one
	if !ok || fmt.Sprintf("%d %d %s %d", len(rows.Bad), rows.Bad[0].Index, rows.Bad[0].Column, rows.Bad[1].Index) != "2 0 Title 3" || fault.Code(rows.Bad[0].Err) != "ACQ-LAKE-014" {
		t.Errorf("%v", err)
	}
	if err := w.Write(t.Context(), b.Without([]int{0, 3})); err != nil {
		t.Error(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
