package itemstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// A table that throttles now and then is written slower, and completely; the reasons are in the log.
func TestDynamoThrottles(t *testing.T) {
	t.Parallel()
	n := 0
	f := &faulty{}
	f.answer = func(operation string, body map[string]any) (int, string) {
		if n++; operation == "PutItem" && n%4 == 0 {
			return throttle(fmt.Sprint(body["TableName"]))
		}
		return 0, ""
	}
	var log bytes.Buffer
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t), Concurrency: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	var all []itemstore.Put
	for i := range 16 {
		all = append(all, film(table.Name, fmt.Sprint(i), 1, ""))
	}
	if _, err := d.Write(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := len(keysOf(t, d, table.Name)); got != 16 {
		t.Errorf("%d items of 16", got)
	}
	if !strings.Contains(log.String(), "TableWriteKeyRangeThroughputExceeded (arn:aws:dynamodb:eu-west-1:1:table/"+table.Name+")") {
		t.Errorf("the log does not say why: %s", &log)
	}
}

// A table that does nothing but throttle ends the write in time: it is tried again, and the error says why.
func TestDynamoThrottlesForEver(t *testing.T) {
	t.Parallel()
	f := &faulty{answer: func(operation string, body map[string]any) (int, string) {
		if operation == "PutItem" {
			return throttle(fmt.Sprint(body["TableName"]))
		}
		return 0, ""
	}}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := d.Write(ctx, []itemstore.Put{film(table.Name, "a", 1, "")})
	if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-AWS-008" || !strings.Contains(err.Error(), "TableWriteKeyRangeThroughputExceeded") {
		t.Errorf("got %v", err)
	}
}

// A server's failure is tried again; one that stays is told as what passes.
func TestDynamoFails(t *testing.T) {
	t.Parallel()
	failing := 2
	f := &faulty{}
	f.answer = func(operation string, _ map[string]any) (int, string) {
		if failing--; operation == "PutItem" && failing >= 0 {
			return 500, `{"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "no"}`
		}
		return 0, ""
	}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	for _, test := range []struct {
		times int
		class fault.Class
	}{{3, fault.Retryable}, {1000, fault.Retryable}} {
		f.mu.Lock()
		failing = test.times
		f.mu.Unlock()
		_, err := d.Write(t.Context(), []itemstore.Put{film(table.Name, "a", uint64(test.times), "")})
		if good := test.times < 4; good != (err == nil) || err != nil && fault.Of(err) != test.class {
			t.Errorf("%d failures: %v", test.times, err)
		}
	}
}

// requests are those of a batch for a table.
func requests(body map[string]any) (table string, all []any) {
	for name, v := range body["RequestItems"].(map[string]any) { //nolint:errcheck // as DynamoDB has it
		return name, v.([]any) //nolint:errcheck // as DynamoDB has it
	}
	return "", nil
}

// What DynamoDB leaves out of a batch is sent again; a key stands in a batch once, as its newest copy; and what was written before, or
// is anything but a whole item, is written by its version.
func TestDynamoFirstLoad(t *testing.T) {
	t.Parallel()
	var twice, large bool
	sent := 0
	f := &faulty{}
	left := map[string][]any{}
	f.answer = func(operation string, body map[string]any) (int, string) {
		if operation != "BatchWriteItem" {
			return 0, ""
		}
		table, all := requests(body)
		large = large || len(all) > 25
		keys := map[string]bool{}
		for _, r := range all {
			key := fmt.Sprint(r.(map[string]any)["PutRequest"].(map[string]any)["Item"].(map[string]any)["id"]) //nolint:errcheck // as DynamoDB has it
			twice = twice || keys[key]
			keys[key] = true
		}
		if sent++; len(all) > 20 { // all but three are left out
			body["RequestItems"] = map[string]any{table: all[:3]}
			left[fmt.Sprint(all[:3])] = all[3:]
		}
		return 0, ""
	}
	f.after = func(operation string, body, answer map[string]any) {
		if operation == "BatchWriteItem" {
			table, all := requests(body)
			answer["UnprocessedItems"] = map[string]any{}
			if rest := left[fmt.Sprint(all)]; len(rest) > 0 {
				answer["UnprocessedItems"] = map[string]any{table: rest}
			}
		}
	}
	at := f.start(t)
	d := openDynamo(t, itemstore.DynamoOptions{AWS: at, Bulk: true, Concurrency: 2})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	n := table.Name
	var all []itemstore.Put
	var want []string
	for i := range 60 {
		all = append(all, film(n, fmt.Sprint(i), 2, ""))
		want = append(want, fmt.Sprintf("%d v2", i))
	}
	all = append(all, film(n, "7", 3, ""), film(n, "7", 1, ""), gone(n, "new", 4))
	want[7] = "7 v3"
	outcomes, err := d.Write(t.Context(), all)
	if err != nil || outcomes[7] != superseded || outcomes[60] != written || outcomes[61] != superseded {
		t.Fatalf("%v %v", outcomes, err)
	}
	slices.Sort(want)
	if got := keysOf(t, d, n); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if twice || large || f.count("PutItem") != 1 {
		t.Errorf("a key twice: %t, more than 25: %t, %d single puts", twice, large, f.count("PutItem"))
	}
	before := f.count("BatchWriteItem")
	puts(t, d, []itemstore.Outcome{superseded, written, superseded}, film(n, "3", 1, ""), film(n, "4", 9, ""), film(n, "new", 3, ""))
	if f.count("BatchWriteItem") != before {
		t.Error("keys that were written before went into a batch")
	}
	puts(t, d, []itemstore.Outcome{written}, itemstore.Put{Table: n, Version: version(10), Op: record.Truncate})
	puts(t, d, []itemstore.Outcome{written, superseded}, film(n, "x", 11, ""), film(n, "y", 9, ""))
	if f.count("BatchWriteItem") != before {
		t.Error("the load goes on after a truncate")
	}
	again := openDynamo(t, itemstore.DynamoOptions{AWS: at, Bulk: true})
	if err := again.Define(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	puts(t, again, []itemstore.Outcome{written}, film(n, "z", 12, ""))
	if f.count("BatchWriteItem") != before {
		t.Error("a table that is not empty is loaded in batches")
	}
}

// What DynamoDB leaves out for ever is an error, and no success.
func TestDynamoLeavesOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent atomic.Int64
	f := &faulty{after: func(operation string, body, answer map[string]any) {
		if operation == "BatchWriteItem" && answer != nil { // nil: the call was canceled
			maps.Copy(answer, map[string]any{"UnprocessedItems": body["RequestItems"]})
			if sent.Add(1) == 2 {
				cancel()
			}
		}
	}}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t), Bulk: true})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	if _, err := d.Write(ctx, []itemstore.Put{film(table.Name, "a", 1, "")}); err == nil {
		t.Error("an item that was left out counts as written")
	}
	if f.count("BatchWriteItem") < 2 {
		t.Error("it was not sent again")
	}
}

// bad gives the column that Fit names, and why.
func bad(t *testing.T, d *itemstore.Dynamo, table string, s *record.Schema, doc, key string) string {
	t.Helper()
	b := record.NewBuilder(s, 1)
	if err := b.AppendJSON([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	err := d.Fit(&itemstore.Put{Table: table, Key: key, Version: version(1), Op: record.Insert}, b.Batch(nil), 0)
	if err == nil {
		return ""
	}
	return err.Error()
}

// DynamoDB's limits, none of which the server here enforces, are told before anything is sent.
func TestDynamoLimits(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	deep := record.Field{Name: "deep", Kind: record.Int32, Nullable: true}
	for range 33 {
		deep = record.Field{Name: "deep", Kind: record.List, Nullable: true, Fields: []record.Field{deep}}
	}
	s, err := record.NewSchema("s", []string{"id", "sort"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "sort", Kind: record.String},
		record.Field{Name: "f", Kind: record.Float64, Nullable: true}, record.Field{Name: "x", Kind: record.String, Nullable: true}, record.Field{Name: "y", Kind: record.String, Nullable: true},
		deep, record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String}}},
		record.Field{Name: "_ttl", Kind: record.Int64, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	table := itemstore.Table{Name: tableName(t), Schema: s, Indexes: []itemstore.Index{{Name: "by_x", Columns: []string{"x", "y"}}, {Name: "by_tag", Columns: []string{"tags"}, Each: true}}}
	makeTable(t, d, table)
	key := `["a","b"]`
	row := func(more string) string { return `{"id":"a","sort":"b"` + more + `}` }
	long := func(n int) string { return strings.Repeat("x", n) }
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, test := range []struct{ name, doc, key, want string }{
		{"good", row(`,"f":1e125,"x":"x","deep":` + nested(32) + `,"tags":["t"]`), key, ""},
		{"NaN", row(`,"f":"NaN"`), key, "f: DynamoDB has neither NaN nor infinities"},
		{"infinity", row(`,"f":"-Inf"`), key, "f: DynamoDB has neither NaN nor infinities"},
		{"great", row(`,"f":1e126`), key, "f: the number has the exponent 126"},
		{"small", row(`,"f":1e-131`), key, "f: the number has the exponent -131"},
		{"nesting", row(`,"deep":` + nested(33)), key, "deep: it nests deeper than 32"},
		{"item", row(`,"x":"x","y":"y","tags":["` + long(1000) + `"],"deep":null`), key, ""},
		{"size", `{"id":"a","sort":"b","f":1,"tags":["` + strings.Repeat(long(2000)+`","`, 204) + long(2000) + `"]}`, key, "the item has 41"},
		{"partition", `{"id":"` + long(2049) + `","sort":"b"}`, `["` + long(2049) + `","b"]`, "id: the value has 2049 bytes, possible in a key are 2048"},
		{"sort", `{"id":"a","sort":"` + long(1025) + `"}`, `["a","` + long(1025) + `"]`, "sort: the value has 1025 bytes, possible in a key are 1024"},
		{"empty key", `{"id":"","sort":"b"}`, `["","b"]`, "id: a key cannot be empty"},
		{"index", row(`,"x":"` + long(2049) + `"`), key, "x: the value has 2049 bytes, possible in a key are 2048"},
		{"sort of index", row(`,"y":"` + long(1025) + `"`), key, "y: the value has 1025 bytes, possible in a key are 1024"},
		{"element", row(`,"tags":["` + long(2049) + `"]`), key, "tags: the value has 2049 bytes, possible in a key are 2048"},
		{"key in an index of elements", `{"id":"` + long(1020) + `","sort":"b"}`, `["` + long(1020) + `","b"]`, "the key has 1028 bytes, possible in the index by_tag are 1024"},
		{"system", row(`,"_ttl":1`), key, "_ttl: the name of the attribute is taken"},
	} {
		got := bad(t, d, table.Name, s, test.doc, test.key)
		if (got == "") != (test.want == "") || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if err := d.Fit(&itemstore.Put{Table: table.Name, Key: `["` + long(2049) + `","b"]`, Op: record.Delete}, &record.Batch{Schema: s}, 0); err == nil {
		t.Error("a delete of a key that cannot be passes")
	}
}

// An empty or mistyped value of an index's key would have DynamoDB refuse the whole item: it is kept beside, and nothing is lost.
func TestDynamoSparseIndexes(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	declared := itemstore.Table{Name: tableName(t), Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_title", Columns: []string{"title"}}, {Name: "by_genres", Columns: []string{"genres"}}}}
	design := itemstore.Design(declared)
	for i := range design[0].AttributeDefinitions { // as others have made it: a list cannot be its type
		if *design[0].AttributeDefinitions[i].AttributeName == "genres" {
			design[0].AttributeDefinitions[i].AttributeType = "S"
		}
	}
	createTable(t, design[0])
	if err := d.Define(t.Context(), declared); err != nil {
		t.Fatal(err)
	}
	puts(t, d, []itemstore.Outcome{written, written}, film(declared.Name, "a", 1, `,"title":"","genres":["x"]`), film(declared.Name, "b", 1, `,"title":"t"`))
	item, _, err := d.Get(t.Context(), declared.Name, "a")
	if want := `{"id":"a","title":"","year":null,"price":null,"score":null,"poster":null,"seen":null,"genres":["x"]}`; string(item.Doc) != want || err != nil {
		t.Errorf("got %s %v", item.Doc, err)
	}
	stored, err := rawClient(t).GetItem(t.Context(), getInput(declared.Name, "a"))
	if err != nil || stored.Item["title"] != nil || stored.Item["genres"] != nil {
		t.Errorf("the index would refuse %v: %v", stored.Item, err)
	}
	found, err := d.Query(t.Context(), declared.Name, "by_title", []any{"t"}, 10, "")
	if err != nil || len(found) != 1 || found[0].Key != "b" {
		t.Errorf("%v %v", found, err)
	}
}
