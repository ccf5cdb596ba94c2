package verify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/dedupe"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/handlers/mask"
	"github.com/acequia-io/acequia/handlers/project"
	"github.com/acequia-io/acequia/handlers/route"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
)

func step(t *testing.T, name string, h handlers.Handler, err error) routers.Step {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return routers.Step{Name: name, Handler: h}
}

func hashOf(column string) mask.Config {
	return mask.Config{DefaultKey: "0123456789abcdef0123456789abcdef", Columns: config.Ordered[mask.Method]{{Name: column, Value: mask.Method{How: "hash"}}}}
}

func texts(t *testing.T) *record.Schema {
	t.Helper()
	return schemaOf(t, "id", record.Field{Name: "id", Kind: record.String}, record.Field{Name: "v", Kind: record.String, Nullable: true},
		record.Field{Name: "n", Kind: record.Int64, Nullable: true})
}

func lines(from, to int) (docs []string) {
	for i := from; i < to; i++ {
		docs = append(docs, fmt.Sprintf(`{"id":"k%02d","v":"value %d","n":%d}`, i, i, i))
	}
	return docs
}

// TestSteps compares what comes out of a pipeline's steps.
func TestSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	only, err := filter.New(filter.Config{Where: "row.n % 3 != 0"})
	steps := []routers.Step{step(t, "filter", only, err)}
	more, err := derive.New(derive.Config{Columns: config.Ordered[derive.Column]{{Name: "double", Value: derive.Column{Expr: "row.n * 2"}}}})
	steps = append(steps, step(t, "derive", more, err))
	masked, err := mask.New(hashOf("v"))
	steps = append(steps, step(t, "mask", masked, err))
	less, err := project.New(project.Config{Drop: []string{"n"}})
	w.steps = append(steps, step(t, "project", less, err))
	w.source.set(lines(0, 30)...)
	w.write(record.Insert, lines(0, 30)...)
	w.want(20, 0, 0, 0)
	w.source.set(append(lines(0, 29), `{"id":"k29","v":"value 29","n":28}`)...) // it differs in what is derived alone
	for _, table := range w.want(20, 0, 0, 1) {
		if d := table.Differ[0]; len(d.Columns) != 1 || d.Columns[0].Column != "double" || d.Key["id"] != `"k29"` {
			t.Errorf("%+v", d)
		}
	}
	w.source.set(append(lines(0, 29), `{"id":"k29","v":"value 29","n":30}`)...) // it passes no more
	w.want(19, 0, 1, 0)
}

// TestAStepThatChangesTheKey goes by the key that comes out: rows of a range of the source are of any range of the sink.
func TestAStepThatChangesTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	masked, err := mask.New(hashOf("id"))
	w.steps = []routers.Step{step(t, "mask", masked, err)}
	w.source.set(lines(0, 40)...)
	w.write(record.Insert, lines(0, 40)...)
	w.want(40, 0, 0, 0)
	w.write(record.Delete, lines(7, 9)...)
	w.source.set(lines(1, 41)...)
	for _, table := range w.want(40, 3, 1, 0) {
		if len(table.Differ) != 4 || len(table.Differ[0].Key["id"]) < 34 {
			t.Errorf("%+v", table)
		}
	}
	o := verify.Options{Differ: func(context.Context, string, *record.Batch) error { return nil }}
	if _, err := verify.Compare(t.Context(), w.stream(), o); fault.Code(err) != "ACQ-VERIFY-001" {
		t.Errorf("keys that nobody can read again: %v", err)
	}
}

// TestRoutes gives each sink its rows alone.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	w.source.set(lines(0, 40)...)
	w.give(w.batch(w.source.schema, record.Insert, lines(0, 25)...), true, false)
	w.give(w.batch(w.source.schema, record.Insert, lines(20, 40)...), false, true)
	to, err := route.New(route.Config{Sinks: config.Ordered[string]{{Name: "lake", Value: "row.n < 25"}, {Name: "items", Value: "row.n >= 20"}}})
	w.steps = []routers.Step{step(t, "route", to, err)}
	for i, table := range w.compare(verify.Options{}) {
		if want := []int64{25, 20}[i]; !table.Equal() || table.Rows != want {
			t.Errorf("%+v", table)
		}
	}
}

// TestRefusedRows are dead letters: no sink should hold them.
func TestRefusedRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	c := derive.Config{Columns: config.Ordered[derive.Column]{{Name: "q", Value: derive.Column{Expr: "100 / row.n"}}}}
	divided, err := derive.New(c)
	w.steps = []routers.Step{step(t, "derive", divided, err)}
	w.source.set(lines(0, 10)...)
	w.write(record.Insert, lines(0, 10)...)
	for _, table := range w.want(9, 0, 0, 0) {
		if table.Refused != 1 {
			t.Errorf("%+v", table)
		}
	}
	w.steps = nil
	w.write(record.Delete, lines(3, 4)...)
	s := w.stream()
	s.Sinks = s.Sinks[1:]
	s.Sinks[0].Refuses = func(b *record.Batch) error {
		var bad fault.Rows
		for row := range b.Rows {
			if id := string(b.Columns[0].Text(row)); id == "k03" {
				bad.Bad = append(bad.Bad, fault.Row{Index: row})
			}
		}
		return bad.Or()
	}
	w.source.set(lines(1, 10)...)
	w.write(record.Update, lines(1, 10)[0:2]...)
	w.write(record.Update, lines(4, 10)...)
	tables, err := verify.Compare(t.Context(), s, verify.Options{})
	if err != nil || !tables[0].Equal() || tables[0].Refused != 1 {
		t.Errorf("%+v, %v", tables, err)
	}
}

// TestStepsThatCannotBeCompared are refused with the reason.
func TestStepsThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	remembers, err := dedupe.New(dedupe.Config{Key: []string{"v"}, Window: time.Hour, By: "event_time", MaxKeys: 10})
	silent := handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
		return []*record.Batch{b.Retain()}, nil
	})
	for _, s := range []routers.Step{step(t, "dedupe", remembers, err), {Name: "mine", Handler: silent}} {
		w.steps = []routers.Step{s}
		if _, err := verify.Compare(t.Context(), w.stream(), verify.Options{}); fault.Code(err) != "ACQ-VERIFY-001" || !strings.Contains(err.Error(), s.Name) {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

// TestRowsInFlight differ when they are first looked at, and are equal once the sink has caught up.
func TestRowsInFlight(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*world{"ranges": newWorld(t, texts(t)), "hash": newWorld(t, texts(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if w.t = t; name == "hash" {
				w.source.ranged = 0
			}
			w.source.set(lines(0, 40)...)
			w.write(record.Insert, lines(0, 35)...)
			w.write(record.Insert, lines(41, 42)...)
			late := []*record.Batch{w.batch(w.source.schema, record.Insert, lines(35, 40)...), w.batch(w.source.schema, record.Delete, lines(41, 42)...)}
			w.source.before = func(m *memory) {
				if m.lookups > 0 && len(late) > 0 {
					w.give(late[0], true, true)
					late = late[1:]
				}
			}
			for _, table := range w.compare(verify.Options{Settle: time.Minute}) {
				if !table.Equal() || table.Settled != 6 && table.Sink == "lake" {
					t.Errorf("%+v", table)
				}
			}
			if w.source.lookups == 0 {
				t.Error("nothing was looked up again")
			}
		})
	}
}

// TestARowThatChangesAllTheTime is equal when the sink comes to what the source held a moment ago.
func TestARowThatChangesAllTheTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 10, "0")...)
	n := 0
	w.source.before = func(m *memory) {
		n++
		if n > 1 {
			w.give(w.batch(w.source.schema, record.Update, numbered(0, 1, fmt.Sprint(n-1))...), true, true)
		}
		m.docs = append(numbered(0, 1, fmt.Sprint(n)), numbered(1, 10, "0")...)
	}
	for _, table := range w.compare(verify.Options{Settle: time.Minute}) {
		if !table.Equal() {
			t.Errorf("%+v", table)
		}
	}
}

// TestKeysAlone does not see what a row holds.
func TestKeysAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 20, "old")...)
	w.source.set(numbered(3, 22, "new")...)
	for _, table := range w.compare(verify.Options{KeysOnly: true}) {
		if table.Missing != 2 || table.Extra != 3 || table.Different != 0 {
			t.Errorf("%+v", table)
		}
	}
}

// TestDiffer is given the keys that differ, those of either side.
func TestDiffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 20, "x")...)
	w.source.set(append(numbered(3, 7, "x"), append(numbered(7, 8, "y"), numbered(8, 22, "x")...)...)...)
	got := map[string]map[int64]bool{"lake": {}, "items": {}}
	w.compare(verify.Options{Differ: func(_ context.Context, sink string, keys *record.Batch) error {
		for row := range keys.Rows {
			got[sink][keys.Columns[0].Int(row)] = true
		}
		return nil
	}})
	for sink, keys := range got {
		for _, want := range []int64{0, 1, 2, 7, 20, 21} {
			if !keys[want] || len(keys) != 6 {
				t.Errorf("%s: %v", sink, keys)
			}
		}
	}
}
