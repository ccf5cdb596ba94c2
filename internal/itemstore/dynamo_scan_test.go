package itemstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// text, number and truth are values of DynamoDB.
func text(v string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: v} }
func number(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
func truth(v bool) types.AttributeValue    { return &types.AttributeValueMemberBOOL{Value: v} }

// byOthers puts an item as somebody does who knows nothing of acequia.
func byOthers(t *testing.T, table string, item map[string]types.AttributeValue) {
	t.Helper()
	if _, err := rawClient(t).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		t.Fatal(err)
	}
}

// scanned are the items of a table by key, with their documents.
func scanned(t *testing.T, d *itemstore.Dynamo, table string, columns ...string) (out []string) {
	t.Helper()
	var mu sync.Mutex
	err := d.Scan(t.Context(), table, columns, func(page []itemstore.Item) error {
		mu.Lock()
		defer mu.Unlock()
		for _, i := range page {
			out = append(out, fmt.Sprintf("%s v%d %s", i.Key, i.Version.Lo, i.Doc))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// A scan gives each item once, whatever the pages and segments, and neither tombstones nor what remembers a truncate. It reads consistently, and asks
// for what is needed.
func TestDynamoScan(t *testing.T) {
	t.Parallel()
	var segments, wrong []string
	f := &faulty{answer: func(operation string, body map[string]any) (int, string) {
		if operation == "Scan" && body["TotalSegments"] != nil {
			body["Limit"] = 3 // pages of 1 MB are too large for a test
			segments = append(segments, fmt.Sprint(body["Segment"], " of ", body["TotalSegments"]))
			if body["ConsistentRead"] != true {
				wrong = append(wrong, "not consistent")
			}
		}
		return 0, ""
	}}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	n := table.Name
	if _, err := d.Write(t.Context(), []itemstore.Put{{Table: n, Version: version(1), Op: record.Truncate}}); err != nil {
		t.Fatal(err)
	}
	all := []itemstore.Put{gone(n, "gone", 9)}
	var want []string
	for i := range 40 {
		all = append(all, film(n, fmt.Sprintf("f%02d", i), 7, `,"title":"t"`))
		want = append(want, fmt.Sprintf(`f%02d v7 {"id":"f%02d","title":"t","year":null,"price":null,"score":null,"poster":null,"seen":null,"genres":null}`, i, i))
	}
	if _, err := d.Write(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	byOthers(t, n, map[string]types.AttributeValue{"id": text("theirs"), "_deleted": truth(false), "year": number("1999")})
	want = append(want, `theirs v0 {"id":"theirs","title":null,"year":1999,"price":null,"score":null,"poster":null,"seen":null,"genres":null}`)
	if got := scanned(t, d, n); !slices.Equal(got, want) {
		t.Errorf("%d items of %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	if got := scanned(t, d, n, "id"); len(got) != 41 || got[0] != strings.ReplaceAll(want[0], `"t"`, "null") {
		t.Errorf("keys alone: %d %s", len(got), got[:1])
	}
	slices.Sort(segments)
	if segments = slices.Compact(segments); len(segments) != 4 || len(wrong) > 0 {
		t.Errorf("segments %v, %v", segments, wrong)
	}
}

// Names of attributes that make a request too long are left out: all come.
func TestDynamoScanOfManyColumns(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	puts(t, d, []itemstore.Outcome{written}, film(table.Name, "a", 1, `,"title":"t"`))
	columns := []string{"id"}
	for i := range 1000 {
		columns = append(columns, fmt.Sprint("column", i))
	}
	if got := scanned(t, d, table.Name, columns...); len(got) != 1 || !strings.Contains(got[0], `"title":"t"`) {
		t.Error(got)
	}
}

// A scan that is throttled goes on at the rate that the table bears, and the error of its caller ends it.
func TestDynamoScanThrottles(t *testing.T) {
	t.Parallel()
	refuse := 3
	f := &faulty{}
	f.answer = func(operation string, body map[string]any) (int, string) {
		if operation == "Scan" && body["TotalSegments"] != nil && refuse > 0 {
			refuse--
			return throttle(fmt.Sprint(body["TableName"]))
		}
		return 0, ""
	}
	var log bytes.Buffer
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	puts(t, d, []itemstore.Outcome{written}, film(table.Name, "a", 1, ""))
	if got := scanned(t, d, table.Name); len(got) != 1 || !strings.Contains(log.String(), "units_per_second") {
		t.Errorf("%v, log %s", got, &log)
	}
	if err := d.Scan(t.Context(), table.Name, nil, func([]itemstore.Item) error { return context.DeadlineExceeded }); err != context.DeadlineExceeded { //nolint:errorlint // it is given as it was
		t.Error(err)
	}
}

// Items are found by keys, of whatever form they are; what is not there is left out.
func TestDynamoGetEach(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	s, err := record.NewSchema("seats", []string{"row", "seat"}, record.Field{Name: "row", Kind: record.String}, record.Field{Name: "seat", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	table := itemstore.Table{Name: tableName(t), Schema: s}
	makeTable(t, d, table)
	put := func(key string, op record.Op, doc string) itemstore.Put {
		return itemstore.Put{Table: table.Name, Key: key, Version: version(3), Op: op, Doc: []byte(doc)}
	}
	puts(t, d, []itemstore.Outcome{written, written}, put(`["A",1]`, record.Insert, `{"row":"A","seat":1}`), put(`["A",2]`, record.Delete, ""))
	var got []string
	err = d.GetEach(t.Context(), table.Name, []string{`["A",1]`, `["A",2]`, `["A",3]`, "no key"}, func(i itemstore.Item) error {
		got = append(got, fmt.Sprint(i.Key, string(i.Doc)))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{`["A",1]{"row":"A","seat":1}`}) {
		t.Errorf("%v %v", got, err)
	}
}
