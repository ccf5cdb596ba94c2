package verify_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	itemsink "github.com/acequia-io/acequia/sinks/items"
)

// inDynamo has the records of a stream in a table of DynamoDB that no other test has, and gives a client to tamper with it.
func inDynamo(t *testing.T, schema *record.Schema, indexes ...itemstore.Index) (*world, *dynamodb.Client) {
	t.Helper()
	w := newWorld(t, schema)
	name := strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
	w.tables = itemsink.Config{Tables: map[string]itemsink.Table{"t": {Name: name, Indexes: indexes}}}
	var err error
	if w.dynamo, err = itemstore.OpenDynamo(t.Context(), itemstore.DynamoOptions{AWS: server.Settings, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.dynamo.Close() })
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(awsconfig.Connections(&c, 4, 0))
	client := dynamodb.NewFromConfig(c, func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true })
	for _, table := range w.tables.Stored([]*record.Schema{schema}) {
		for _, in := range itemstore.Design(table) {
			if _, err := client.CreateTable(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.dynamo.Define(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	return w, client
}

type attributes = map[string]types.AttributeValue

func put(t *testing.T, c *dynamodb.Client, table string, item attributes) {
	t.Helper()
	if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		t.Fatal(err)
	}
}

// layout is how DynamoDB has the items of a key.
type layout struct {
	key   []record.Field
	key2  func(i int) attributes // of DynamoDB
	begin func(i int) string     // of the document
}

func number(i int) types.AttributeValue { return &types.AttributeValueMemberN{Value: fmt.Sprint(i)} }

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// TestDynamo finds in DynamoDB what is there, whatever the layout of the table: what was deleted there, changed and added by others.
func TestDynamo(t *testing.T) {
	t.Parallel()
	whole, words := record.Field{Name: "n", Kind: record.Int64}, record.Field{Name: "w", Kind: record.String}
	for name, c := range map[string]layout{
		"one number": {key: []record.Field{whole}, key2: func(i int) attributes { return attributes{"n": number(i)} }, begin: func(i int) string { return fmt.Sprintf(`"n":%d`, i) }},
		"one text": {
			key: []record.Field{words}, key2: func(i int) attributes { return attributes{"w": text(fmt.Sprintf("ñ %02d", i))} },
			begin: func(i int) string { return fmt.Sprintf(`"w":"ñ %02d"`, i) },
		},
		"partition and sort key": {
			key: []record.Field{words, whole}, key2: func(i int) attributes { return attributes{"w": text(fmt.Sprint(i / 10)), "n": number(i)} },
			begin: func(i int) string { return fmt.Sprintf(`"w":"%d","n":%d`, i/10, i) },
		},
		"one text of three columns": {
			key: []record.Field{words, whole, {Name: "b", Kind: record.Bool}},
			key2: func(i int) attributes {
				return attributes{"_key": text(fmt.Sprintf(`["x",%d,true]`, i)), "w": text("x"), "n": number(i), "b": &types.AttributeValueMemberBOOL{Value: true}}
			},
			begin: func(i int) string { return fmt.Sprintf(`"w":"x","n":%d,"b":true`, i) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.find(t)
		})
	}
}

func (c layout) find(t *testing.T) {
	t.Helper()
	null := func(name string, k record.Kind) record.Field {
		return record.Field{Name: name, Kind: k, Nullable: true}
	}
	rest := []record.Field{null("year", record.Int32), null("title", record.String), null("genres", record.String), null("price", record.Decimal), null("at", record.Timestamp)}
	rest[3].Precision, rest[3].Scale = 12, 2
	var keys []string
	for _, f := range c.key {
		keys = append(keys, f.Name)
	}
	schema, err := record.NewSchema("t", keys, append(append([]record.Field{}, c.key...), rest...)...)
	if err != nil {
		t.Fatal(err)
	}
	w, client := inDynamo(t, schema, itemstore.Index{Name: "by_year", Columns: []string{"year", "title"}}, itemstore.Index{Name: "by_genre", Columns: []string{"genres"}, Each: true})
	table := w.tables.Tables["t"].Name
	var docs []string
	for i := range 30 { // a title that is empty cannot be in an index
		docs = append(docs, fmt.Sprintf(`{%s,"year":%d,"title":"%.*s","genres":"[\"a\",\"b\"]","price":"%d.50","at":"2026-11-29T10:00:00.000001Z"}`, c.begin(i), i%4, i%3, "title", i))
	}
	w.source.set(docs...)
	w.write(record.Insert, docs...)
	w.write(record.Truncate, `{`+c.begin(0)+`}`) // it leaves what remembers it
	w.want(30, 30, 0, 0)
	w.write(record.Insert, docs...)
	w.want(30, 0, 0, 0)
	w.write(record.Delete, docs[7])
	if c.key2(9)["n"] != nil {
		if _, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: dynamoKey(schema, c.key2(9))}); err != nil {
			t.Fatal(err)
		}
		w.want(30, 2, 0, 0)
		w.write(record.Insert, docs[9])
	}
	w.write(record.Insert, docs[7])
	put(t, client, table, c.key2(100)) // by somebody who knows nothing of acequia
	found := w.want(30, 0, 1, 0)
	if len(found[0].Differ) != 1 || found[0].Differ[0].Kind != verify.Extra {
		t.Errorf("%+v", found)
	}
	item := c.key2(3)
	item["price"], item["genres"] = number(9), text(`["a","b"]`)
	item["year"], item["at"] = number(3), text("2026-11-29T10:00:00.000001Z")
	item["title"] = text("")
	delete(item, "title")
	put(t, client, table, item)
	for _, found := range w.want(30, 0, 1, 1) {
		var columns []string
		for _, d := range found.Differ {
			for _, v := range d.Columns {
				columns = append(columns, fmt.Sprint(v))
			}
		}
		if got := strings.Join(columns, ", "); got != `{title "" null}, {price "3.50" "9.00"}` {
			t.Errorf("columns %s", got)
		}
	}
	for _, o := range w.compare(verify.Options{KeysOnly: true}) {
		if o.Extra != 1 || o.Different != 0 || o.Missing != 0 {
			t.Errorf("keys alone: %+v", o)
		}
	}
}

// dynamoKey is the part of an item that is its key.
func dynamoKey(s *record.Schema, item attributes) attributes {
	if len(s.Key) > 2 {
		return attributes{"_key": item["_key"]}
	}
	out := attributes{}
	for _, name := range s.KeyNames() {
		out[name] = item[name]
	}
	return out
}

// TestRefusedByDynamo: what DynamoDB has no place for is a dead letter, and no row that is missing.
func TestRefusedByDynamo(t *testing.T) {
	t.Parallel()
	w, _ := inDynamo(t, schemaOf(t, "id", record.Field{Name: "id", Kind: record.String}, record.Field{Name: "v", Kind: record.Float64, Nullable: true}))
	w.source.set(`{"id":"a","v":1.5}`, `{"id":"b","v":"NaN"}`, `{"id":"c","v":1e200}`)
	w.write(record.Insert, `{"id":"a","v":1.5}`)
	for _, table := range w.compare(verify.Options{}) {
		if !table.Equal() || table.Refused != 2 || table.Rows != 3 || table.SinkRows != 1 {
			t.Errorf("%+v", table)
		}
	}
}

// counted counts the scans of a store, and may do something before each.
type counted struct {
	verify.Items
	scans  atomic.Int64
	before func(n int64)
}

func (c *counted) Scan(ctx context.Context, table string, columns []string, do func([]itemstore.Item) error) error {
	if n := c.scans.Add(1); c.before != nil {
		c.before(n)
	}
	return c.Items.Scan(ctx, table, columns, do)
}

// TestManyGroups reads the items twice, however many groups of ranges differ, with a memory that does not hold what is gathered.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	const rows = 4000
	w := newWorld(t, texts(t))
	w.source.ranged = 500
	docs := make([]string, rows)
	wrong := make([]string, 0, rows)
	pad := strings.Repeat("x", 200) // in the key, so that it needs the disk
	for i := range docs {
		docs[i] = fmt.Sprintf(`{"id":"%s%06d","v":"right","n":1}`, pad, i)
		if i%10 != 3 {
			wrong = append(wrong, fmt.Sprintf(`{"id":"%s%06d","v":"wrong","n":1}`, pad, i))
		}
	}
	w.source.set(docs...)
	w.give(w.batch(w.source.schema, record.Insert, wrong...), false, true)
	s := w.stream()
	s.Sinks = s.Sinks[1:]
	store := &counted{Items: w.store}
	s.Sinks[0].Items = store
	keys := 0
	o := verify.Options{Show: 5, Differ: func(_ context.Context, _ string, b *record.Batch) error { keys += b.Rows; return nil }}
	tables, err := verify.Compare(t.Context(), s, o.Group(1100, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	if got := tables[0]; got.Missing != rows/10 || got.Different != rows-rows/10 || got.Extra != 0 || keys != rows || len(got.Differ) != 5 {
		t.Errorf("%d keys, %+v", keys, got)
	}
	if n := store.scans.Load(); n != 2 {
		t.Errorf("the items were read %d times", n)
	}
}

// TestARowForAMoment: what the source had only while its ranges were read again, and the sink still has, is one too many.
func TestARowForAMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	w.source.ranged = 0
	w.source.set(lines(0, 10)...)
	w.give(w.batch(w.source.schema, record.Insert, lines(1, 10)...), false, true) // the range differs
	scans := 0
	w.source.before = func(m *memory) {
		switch scans++; scans {
		case 2:
			m.docs = lines(0, 500) // some are of the range
		case 3:
			m.docs = lines(0, 10)
			w.give(w.batch(w.source.schema, record.Insert, lines(10, 500)...), false, true)
		}
	}
	s := w.stream()
	s.Sinks = s.Sinks[1:]
	tables, err := verify.Compare(t.Context(), s, verify.Options{})
	if err != nil || tables[0].Extra == 0 || tables[0].Missing != 1 {
		t.Errorf("%+v %v", tables, err)
	}
}
