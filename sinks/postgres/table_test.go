package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/postgres"
)

var update = flag.Bool("update", false, "write the golden texts")

// refused wants a batch to be refused, and gives the codes by row and column.
func (w *world) refused(lane string, schema *record.Schema, changes ...change) string {
	w.t.Helper()
	err := w.writer(lane).Write(context.Background(), w.batch(schema, changes...))
	rows, ok := errors.AsType[*fault.Rows](err)
	if !ok {
		w.t.Fatalf("it was not refused by rows: %v", err)
	}
	var out []string
	for _, r := range rows.Bad {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Index, fault.Code(r.Err), r.Column)))
	}
	return strings.Join(out, "; ")
}

// TestUnfitRowsAreRefused has a row for each reason, and good ones between them.
func TestUnfitRowsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders(t))
	long := strings.Repeat("k", postgres.MaxKey)
	doc := func(id int, line, note string) string {
		return fmt.Sprintf(`{"id":%d,"Line":%q,"note":"%s"}`, id, line, note)
	}
	got := w.refused("a", w.schema,
		change{op: record.Insert, version: at(1), doc: doc(1, "a", "good")},
		change{op: record.Insert, version: at(2), doc: doc(2, "a", `a\u0000b`)},
		change{op: record.Delete, version: at(3), doc: doc(3, "a", `a\u0000b`)}, // nobody reads it
		change{op: record.Insert, version: at(4), doc: doc(4, long, "")},
		change{op: record.Update, version: at(5), doc: `{"id":5,"Line":"a","note":"x"}`, absent: []string{"big"}})
	if want := "1 ACQ-WH-020 note; 3 ACQ-WH-021"; got != want {
		t.Errorf("refused are %s, want %s", got, want)
	}
	if got := w.refused("a", w.schema, change{op: record.Update, version: at(5), doc: `{"id":5,"Line":"a","note":"x"}`, absent: []string{"big"}}); got != "0 ACQ-WH-022 big" {
		t.Errorf("an update without its row gave %s", got)
	}
	keyless := mustSchema(t, nil, record.Field{Name: "v", Kind: record.Int32, Nullable: true})
	k := newWorld(t, keyless)
	if got := k.refused("a", keyless, change{op: record.Update, version: at(1), doc: `{"v":1}`}, change{op: record.Insert, version: at(2), doc: `{}`, absent: []string{"v"}}); got != "0 ACQ-WH-023; 1 ACQ-WH-022" {
		t.Errorf("without a key refused are %s", got)
	}
}

// TestColumnsEvolve adds a column, takes one away and widens three, while a lane goes on with the old schema; then a type that cannot
// change and another key stop the table.
func TestColumnsEvolve(t *testing.T) {
	t.Parallel()
	field := func(name string, k record.Kind) record.Field {
		return record.Field{Name: name, Kind: k, Nullable: true}
	}
	decimal := func(p, s int) record.Field {
		return record.Field{Name: "sum", Kind: record.Decimal, Precision: p, Scale: s, Nullable: true}
	}
	id := record.Field{Name: "id", Kind: record.Int32}
	old := mustSchema(t, []string{"id"}, id, field("n", record.Int32), field("f", record.Float32), decimal(6, 2), field("gone", record.String))
	id.Kind = record.Int64
	wide := mustSchema(t, []string{"id"}, id, field("n", record.Int64), field("f", record.Float64), decimal(20, 4), field(`ne"w`, record.Bool))
	w := newWorld(t, old)
	w.commit("a", change{op: record.Insert, version: at(1), doc: `{"id":1,"n":2147483647,"f":0.1,"sum":"1234.56","gone":"x"}`}, change{op: record.Delete, version: at(1), doc: `{"id":7}`})
	w.write("b", wide, change{op: record.Insert, version: at(2), doc: `{"id":3000000000,"n":3000000000,"f":0.1,"sum":"1234567890.1234","ne\"w":true}`},
		change{op: record.Update, version: at(3), doc: `{"id":1,"n":5,"f":null,"sum":null,"ne\"w":false}`})
	w.publish("b")
	w.commit("a", change{op: record.Insert, version: at(4), doc: `{"id":2,"n":2,"f":0.1,"sum":"0.01","gone":"y"}`}, change{op: record.Insert, version: at(1), doc: `{"id":7,"n":1}`})
	const columns = `id, n, f, sum, gone, "ne""w"`
	w.holds(columns, "1 5 NULL NULL NULL f", "3000000000 3000000000 0.1 1234567890.1234 NULL t", "2 2 0.10000000149011612 0.0100 y NULL")
	for name, c := range map[string]struct {
		schema *record.Schema
		code   string
	}{
		"another type": {mustSchema(t, []string{"id"}, id, field("n", record.String)), "ACQ-WH-011"},
		"another key":  {mustSchema(t, []string{"n"}, id, record.Field{Name: "n", Kind: record.Int64}), "ACQ-WH-013"},
		"a system's":   {mustSchema(t, []string{"id"}, id, field("_op", record.String)), "ACQ-WH-014"},
		"the server's": {mustSchema(t, []string{"id"}, id, field("xmin", record.String)), "ACQ-WH-014"},
		"a long name":  {mustSchema(t, []string{"id"}, id, field(strings.Repeat("ñ", 32), record.String)), "ACQ-WH-014"},
	} {
		err := w.sink.Declare(context.Background(), []*record.Schema{c.schema})
		if fault.Code(err) != c.code || fault.Of(err) != fault.Fatal || !fault.Concerns(err, "shop.orders") {
			t.Errorf("%s: %v, want %s of the stream", name, err, c.code)
		}
	}
	w.holds("count(*)", "3")
}

// TestForeignTables wants tables that acequia has not made, or that were dropped, to stop their stream, and streams not to share one.
func TestForeignTables(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, orders(t))
	server.Exec(t, w.dsn, "CREATE TABLE shop_orders (id int)", "INSERT INTO shop_orders VALUES (1)")
	if err := w.sink.Declare(ctx, []*record.Schema{w.schema}); fault.Code(err) != "ACQ-WH-012" {
		t.Errorf("a table of somebody else gave %v", err)
	}
	w.holds("id", "1")
	w.begin(postgres.Config{Schema: `My "schema"`, TableName: map[string]string{"shop.orders": `The "orders"`, "other": `The "orders"`}})
	w.commit("a", change{op: record.Insert, version: at(1), doc: `{"id":1,"Line":"a","note":"x"}`})
	if got := ask(t, w.dsn, `SELECT note FROM "My ""schema"""."The ""orders"""`); len(got) != 1 || got[0][0] != "x" {
		t.Errorf("the table with an odd name holds %v", got)
	}
	other, err := record.NewSchema("other", []string{"id"}, record.Field{Name: "id", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sink.Declare(ctx, []*record.Schema{other}); fault.Code(err) != "ACQ-WH-010" {
		t.Errorf("a second stream of the table gave %v", err)
	}
	w.begin(postgres.Config{Schema: `My "schema"`, TableName: map[string]string{"other": `The "orders"`}})
	if err := w.sink.Declare(ctx, []*record.Schema{other}); fault.Code(err) != "ACQ-WH-010" {
		t.Errorf("a second stream of the table, in another process, gave %v", err)
	}
	w.begin(postgres.Config{Schema: `My "schema"`, TableName: map[string]string{"shop.orders": `The "orders"`}})
	w.write("b", w.schema, change{op: record.Insert, version: at(2), doc: `{"id":2,"Line":"a"}`})
	m, err := w.writer("b").Cut(sinks.Group{Ordinal: 1}).Stage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, w.dsn, `ALTER TABLE "My ""schema"""."The ""orders""" RENAME TO away`)
	if err := w.writer("b").Publish(ctx, m); fault.Code(err) != "ACQ-WH-015" || fault.Of(err) != fault.Fatal {
		t.Errorf("a table that is gone gave %v", err)
	}
	server.Exec(t, w.dsn, `ALTER TABLE "My ""schema""".away RENAME TO "The ""orders"""`)
	if err := w.writer("b").Publish(ctx, m); err != nil {
		t.Errorf("the table is back, and its records are not taken: %v", err)
	}
	if got := ask(t, w.dsn, `SELECT count(*) FROM "My ""schema"""."The ""orders"""`); got[0][0] != "2" {
		t.Errorf("the table has %v rows", got)
	}
}

// TestStateOfBefore wants a state that ends before what the warehouse has had to be told.
func TestStateOfBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, orders(t))
	for n := range uint64(3) {
		w.commit("a", change{op: record.Insert, version: at(n), doc: `{"id":1,"Line":"a"}`})
	}
	for _, c := range []struct {
		lane  string
		group int64
		ahead bool
	}{{"a", 2, true}, {"a", 0, true}, {"a", 3, false}, {"a", 4, false}, {"b", 0, false}} {
		err := w.writer(c.lane).(sinks.Prover).Prove(context.Background(), c.group)
		if errors.Is(err, sinks.ErrAhead) != c.ahead || !c.ahead && err != nil {
			t.Errorf("lane %s at group %d: %v", c.lane, c.group, err)
		}
	}
}

// TestLostRow takes a row away between Write and Publish of an update that lacks columns: it is told, and passes when the row is there again.
func TestLostRow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, orders(t))
	w.commit("a", change{op: record.Insert, version: at(1), doc: `{"id":1,"Line":"a","note":"x","big":"kept"}`})
	w.write("a", w.schema, change{op: record.Update, version: at(3), doc: `{"id":1,"Line":"a","note":"y"}`, absent: []string{"big"}})
	m, err := w.writer("a").Cut(sinks.Group{Ordinal: 2}).Stage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, w.dsn, "DELETE FROM shop_orders")
	if err := w.writer("a").Publish(ctx, m); fault.Code(err) != "ACQ-WH-016" || !strings.Contains(err.Error(), "key 1, a") {
		t.Errorf("the update of a row that is gone gave %v", err)
	}
	w.commit("sync", change{op: record.Update, version: at(2), doc: `{"id":1,"Line":"a","note":"read","big":"again"}`})
	if err := w.writer("a").Publish(ctx, m); err != nil {
		t.Error(err)
	}
	w.holds("note, big", "y again")
}

// TestPrivateDSN wants a dsn that leads off loopback to be refused without TLS that is verified, by check and by New.
func TestPrivateDSN(t *testing.T) {
	t.Parallel()
	c := postgres.Config{DSN: "postgres://u:hunter2@db.example/w?sslmode=require"}
	plugin := postgres.Plugin()
	_, err := postgres.New(c, "p", slog.New(slog.DiscardHandler))
	for _, err := range []error{err, plugin.Check(&c, nil)} {
		if err == nil || !strings.Contains(err.Error(), "verify-full") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("it gave %v", err)
		}
	}
	if err := plugin.Check(&postgres.Config{DSN: config.Secret(server.DSN("x")), Schema: "acequia"}, nil); err == nil {
		t.Error("the schema of the books was taken")
	}
}

// TestStatements compares the SQL that the server is given with a golden text.
func TestStatements(t *testing.T) {
	t.Parallel()
	got := []byte(postgres.Statements(orders(t), mustSchema(t, nil, record.Field{Name: "v", Kind: record.Int32, Nullable: true})))
	path := filepath.Join("testdata", "statements.sql")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != string(got) {
		t.Errorf("%v: the statements are (go test ./sinks/postgres -run Statements -update)\n%s", err, got)
	}
}
