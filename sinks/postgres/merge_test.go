package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/postgres"
)

// world is a warehouse and who writes into it.
type world struct {
	t       *testing.T
	dsn     string
	schema  *record.Schema
	sink    *postgres.Sink
	writers map[string]sinks.Writer
	groups  map[string]int64
}

func newWorld(t *testing.T, schema *record.Schema) *world {
	t.Helper()
	w := &world{t: t, dsn: server.Database(t), schema: schema, writers: map[string]sinks.Writer{}, groups: map[string]int64{}}
	w.begin(postgres.Config{})
	return w
}

// begin makes the sink as another process has it.
func (w *world) begin(c postgres.Config) {
	w.t.Helper()
	c.DSN = config.Secret(w.dsn)
	s, err := postgres.New(c, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	w.sink, w.writers = s, map[string]sinks.Writer{}
}

func mustSchema(t *testing.T, key []string, fields ...record.Field) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("shop.orders", key, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// orders have a key of two columns, and two that may be null.
func orders(t *testing.T) *record.Schema {
	t.Helper()
	return mustSchema(t, []string{"id", "Line"}, record.Field{Name: "note", Kind: record.String, Nullable: true}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "Line", Kind: record.String}, record.Field{Name: "big", Kind: record.String, Nullable: true})
}

// change is a record: what happened, when, and the document; columns that it does not have are absent.
type change struct {
	op      record.Op
	version record.Version
	doc     string
	absent  []string
	event   string
}

func at(n uint64) record.Version { return record.Version{Epoch: 1, Lo: n} }

func (w *world) batch(schema *record.Schema, changes ...change) *record.Batch {
	w.t.Helper()
	b := record.NewBuilder(schema, len(changes))
	sys := b.System()
	named := false
	for _, c := range changes {
		if c.doc == "" {
			b.Next()
		} else if err := b.AppendPartJSON([]byte(c.doc), c.absent); err != nil {
			w.t.Fatal(c.doc, err)
		}
		sys.Ops = append(sys.Ops, c.op)
		v := &sys.Versions
		v.Epoch, v.Hi, v.Lo, v.Index = c.version.Epoch, append(v.Hi, c.version.Hi), append(v.Lo, c.version.Lo), append(v.Index, c.version.Index)
		sys.EventIDs.AppendText([]byte(c.event))
		if c.event == "" {
			sys.EventIDs.SetNull(len(sys.Ops) - 1)
		}
		named = named || c.event != ""
		sys.EventTimes = append(sys.EventTimes, int64(c.version.Lo)) //nolint:gosec // small
	}
	if !named {
		sys.EventIDs = record.Column{}
	}
	sys.Source, sys.IngestTime = "test", 7
	return b.Batch(nil)
}

func (w *world) writer(lane string) sinks.Writer {
	w.t.Helper()
	if w.writers[lane] == nil {
		out, err := w.sink.Open(context.Background(), sinks.Lane{Pipeline: "test", ID: lane, Epoch: 1})
		if err != nil {
			w.t.Fatal(err)
		}
		w.writers[lane] = out
	}
	return w.writers[lane]
}

// write gives batches to a lane, one for each run of records with the same epoch.
func (w *world) write(lane string, schema *record.Schema, changes ...change) {
	w.t.Helper()
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].version.Epoch == changes[0].version.Epoch {
			n++
		}
		if err := w.writer(lane).Write(context.Background(), w.batch(schema, changes[:n]...)); err != nil {
			w.t.Fatal(err)
		}
		changes = changes[n:]
	}
}

// commit writes a group and publishes it, twice.
func (w *world) commit(lane string, changes ...change) {
	w.t.Helper()
	w.write(lane, w.schema, changes...)
	w.publish(lane)
}

func (w *world) publish(lane string) {
	w.t.Helper()
	w.groups[lane]++
	m, err := w.writer(lane).Cut(sinks.Group{Ordinal: w.groups[lane]}).Stage(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for range 2 {
		if err := w.writer(lane).Publish(context.Background(), m); err != nil {
			w.t.Fatal(err)
		}
	}
}

// holds compares what the table has with rows, each its values.
func (w *world) holds(columns string, want ...string) {
	w.t.Helper()
	var got []string
	for _, row := range ask(w.t, w.dsn, "SELECT "+columns+" FROM shop_orders") {
		got = append(got, strings.Join(row, " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("the table holds\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNewestWins gives records of a few keys to three lanes in any order and any groups, with deletes and truncates, and all of them once
// more, and wants what a sort by version gives.
func TestNewestWins(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, orders(t))
		var all []change
		for n := range uint64(150) {
			c := change{op: record.Op("RIUUUUDD"[random.IntN(8)]), version: at(n/3 + 1)}
			c.version.Epoch, c.version.Index = uint16(1+n/100), uint32(n%3) //nolint:gosec // small
			c.doc = fmt.Sprintf(`{"id":%d,"Line":%q,"note":"%d","big":"x"}`, random.IntN(4)-2, string("ab'"[random.IntN(3)]), n)
			if random.IntN(60) == 0 {
				c.op, c.doc = record.Truncate, ""
			}
			all = append(all, c)
		}
		want := newestOf(w, all)
		for round := range 2 {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for rest := all; len(rest) > 0; {
				n := 1 + random.IntN(min(25, len(rest)))
				w.commit(fmt.Sprint("lane", random.IntN(3)), rest[:n]...)
				rest = rest[n:]
			}
			w.holds(`id, "Line", note, _op, _version`, want...)
			if t.Failed() {
				t.Fatalf("seed %d, round %d", seed, round)
			}
		}
	}
}

func newestOf(w *world, all []change) (want []string) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b change) int { return a.version.Compare(b.version) })
	rows := map[string]string{}
	for _, c := range sorted {
		if c.op == record.Truncate {
			clear(rows)
			continue
		}
		b := w.batch(w.schema, c)
		key := fmt.Sprintf("%d %s", b.Columns[1].Int(0), b.Columns[2].Text(0))
		rows[key] = fmt.Sprintf("%s %s %s %s", key, b.Columns[0].Text(0), c.op, c.version)
		if c.op == record.Delete {
			delete(rows, key)
		}
	}
	for _, r := range rows {
		want = append(want, r)
	}
	return want
}

// TestLateCopies has copies and deletes that come after a newer delete: the row stays away until a newer copy comes.
func TestLateCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders(t))
	doc := func(note string) string { return fmt.Sprintf(`{"id":1,"Line":"a","note":%q}`, note) }
	w.commit("log", change{op: record.Insert, version: at(2), doc: doc("first")})
	w.commit("log", change{op: record.Delete, version: at(5), doc: doc("gone")})
	w.commit("backfill", change{op: record.Delete, version: at(3), doc: doc("gone")})
	w.commit("backfill", change{op: record.Snapshot, version: at(4), doc: doc("late")})
	w.holds("note")
	w.commit("backfill", change{op: record.Snapshot, version: at(6), doc: doc("again")})
	w.holds("note, _op", "again R")
	if left := ask(t, w.dsn, "SELECT count(*) FROM acequia.deletes_1"); left[0][0] != "0" {
		t.Error("the delete is remembered, and there is a newer row")
	}
	w.commit("backfill", change{op: record.Delete, version: at(5), doc: doc("gone")}, change{op: record.Truncate, version: at(6)})
	w.holds("note", "again")
	w.commit("log", change{op: record.Truncate, version: at(7)})
	w.commit("backfill", change{op: record.Snapshot, version: at(6), doc: doc("late")})
	w.holds("note")
}

// TestAbsentColumnsStay has updates that lack columns, in the group of what they change, in the next one, and after a delete.
func TestAbsentColumnsStay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, orders(t))
		type row struct{ note, big string }
		rows := map[int]row{}
		var group []change
		for n := range uint64(120) {
			id := random.IntN(5)
			key := fmt.Sprintf(`"id":%d,"Line":"a"`, id)
			have, there := rows[id]
			c := change{op: record.Update, version: at(n + 1)}
			switch pick := random.IntN(10); {
			case !there || pick == 0:
				c.op, have = record.Insert, row{fmt.Sprint("note", n), fmt.Sprint("big", n)}
				c.doc = fmt.Sprintf(`{%s,"note":%q,"big":%q}`, key, have.note, have.big)
			case pick < 5:
				have.note = fmt.Sprint("note", n)
				c.doc, c.absent = fmt.Sprintf(`{%s,"note":%q}`, key, have.note), []string{"big"}
			case pick < 8:
				have.big = fmt.Sprint("big", n)
				c.doc, c.absent = fmt.Sprintf(`{%s,"big":%q}`, key, have.big), []string{"note"}
			default:
				c.op, c.doc = record.Delete, fmt.Sprintf(`{%s}`, key)
			}
			rows[id] = have
			if c.op == record.Delete {
				delete(rows, id)
			}
			group = append(group, c)
			if random.IntN(12) == 0 {
				w.commit("log", group...)
				group = nil
			}
		}
		w.commit("log", group...)
		var want []string
		for id, r := range rows {
			want = append(want, fmt.Sprintf("%d %s %s", id, r.note, r.big))
		}
		w.holds("id, note, big", want...)
		if t.Failed() {
			t.Fatal("seed ", seed)
		}
	}
}

// TestKeyless appends events, each once, until a snapshot is complete, and then shows the newest complete snapshot.
func TestKeyless(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mustSchema(t, nil, record.Field{Name: "v", Kind: record.Int32, Nullable: true}))
	row := func(epoch uint16, n uint64, v int, event string) change {
		return change{op: record.Insert, version: record.Version{Epoch: epoch, Lo: n}, doc: fmt.Sprintf(`{"v":%d}`, v), event: event}
	}
	truncate := func(epoch uint16) change { return change{op: record.Truncate, version: record.Version{Epoch: epoch}} }
	w.commit("a", row(1, 1, 10, "e1"), row(1, 2, 20, "e2"), row(1, 9, 10, "e1"), row(1, 3, 30, ""), row(1, 3, 30, ""))
	w.commit("a", row(1, 7, 20, "e2"), row(1, 8, 80, "e8"))
	w.holds("v", "10", "20", "30", "30", "80")
	// the snapshot of epoch 2 begins, and of epoch 3 a part; then 2 is complete
	w.commit("b", row(2, 1, 1, ""), row(2, 1, 1, ""), row(2, 2, 1, ""))
	w.commit("c", row(3, 1, 100, ""))
	w.commit("b", row(2, 3, 3, ""), truncate(2))
	w.holds("v", "1", "1", "3")
	w.commit("b", row(2, 3, 3, ""), row(2, 4, 4, ""), row(1, 1, 10, "e1")) // again, more, and of before
	w.holds("v", "1", "1", "3", "4")
	w.commit("c", row(3, 2, 200, ""), row(3, 2, 200, ""))
	w.holds("v", "1", "1", "3", "4") // not complete
	w.commit("c", row(3, 1, 100, ""), truncate(3), row(3, 4, 400, ""))
	w.holds("v", "100", "200", "400")
	w.commit("b", truncate(2)) // late
	w.holds("v", "100", "200", "400")
	w.commit("d", truncate(4))
	w.holds("v")
	if left := ask(t, w.dsn, "SELECT count(*) FROM acequia.pending_1"); left[0][0] != "0" {
		t.Errorf("%s rows of snapshots are left over", left[0][0])
	}
}

// TestSnapshotAsView gives random events and snapshots without a key, and wants what the definition of the lake's view says.
func TestSnapshotAsView(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t, mustSchema(t, nil, record.Field{Name: "v", Kind: record.Int32, Nullable: true}))
		var all []change
		since := record.Version{}
		for range 25 {
			var group []change
			for range 1 + random.IntN(8) {
				v := record.Version{Epoch: uint16(1 + random.IntN(4)), Lo: uint64(random.IntN(12))} //nolint:gosec // small
				c := change{op: record.Snapshot, version: v, doc: fmt.Sprintf(`{"v":%d}`, v.Lo+100*uint64(v.Epoch))}
				if random.IntN(25) == 0 {
					c = change{op: record.Truncate, version: record.Version{Epoch: v.Epoch, Lo: uint64(random.IntN(2) * random.IntN(6))}} //nolint:gosec // small
					since = slices.MaxFunc([]record.Version{since, c.version}, record.Version.Compare)
				}
				group = append(group, c)
			}
			slices.SortStableFunc(group, func(a, b change) int { return cmp.Compare(a.version.Epoch, b.version.Epoch) })
			w.commit("a", group...)
			all = append(all, group...)
			var want []string
			seen := map[record.Version]bool{}
			for _, c := range all {
				if c.op == record.Truncate || since != (record.Version{}) && (c.version.Epoch != since.Epoch || c.version.Compare(since) < 0 || seen[c.version]) {
					continue
				}
				seen[c.version] = true
				want = append(want, fmt.Sprint(c.version.Lo+100*uint64(c.version.Epoch)))
			}
			w.holds("v", want...)
			if t.Failed() {
				t.Fatalf("seed %d, since %s", seed, since)
			}
		}
	}
}
