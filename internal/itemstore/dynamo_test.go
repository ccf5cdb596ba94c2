package itemstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

func version(n uint64) record.Version { return record.Version{Lo: n} }

func film(table, id string, v uint64, rest string) itemstore.Put {
	return itemstore.Put{Table: table, Key: id, Version: version(v), Op: record.Insert, Doc: fmt.Appendf(nil, `{"id":%q%s}`, id, rest)}
}

func gone(table, id string, v uint64) itemstore.Put {
	return itemstore.Put{Table: table, Key: id, Version: version(v), Op: record.Delete}
}

// puts does the puts in one call and compares what became of each.
func puts(t *testing.T, d *itemstore.Dynamo, want []itemstore.Outcome, all ...itemstore.Put) {
	t.Helper()
	got, err := d.Write(t.Context(), all)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v: %v", got, want, err)
	}
}

func getInput(table, id string) *dynamodb.GetItemInput {
	return &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}}
}

// keysOf are the items of a table by key, each with its version and its title.
func keysOf(t *testing.T, d *itemstore.Dynamo, table string) []string {
	t.Helper()
	var out []string
	for after := ""; ; {
		page, err := d.List(t.Context(), table, 3, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page {
			out = append(out, fmt.Sprintf("%s v%d", i.Key, i.Version.Lo))
		}
		if len(page) < 3 {
			break
		}
		after = page[2].After
	}
	slices.Sort(out)
	return out
}

const (
	written    = itemstore.Written
	superseded = itemstore.Superseded
	exists     = itemstore.Exists
	missing    = itemstore.Missing
)

// The newest version of a key wins, in whatever order they come; deleted items remember theirs.
func TestDynamoVersions(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	n := table.Name
	puts(t, d, []itemstore.Outcome{written, superseded, superseded, written}, film(n, "a", 2, ""), film(n, "a", 1, ""), film(n, "a", 2, ""), film(n, "b", 1, ""))
	puts(t, d, []itemstore.Outcome{written, superseded, written, superseded}, film(n, "a", 3, `,"title":"t"`), film(n, "b", 1, ""), gone(n, "b", 4), film(n, "b", 3, ""))
	puts(t, d, []itemstore.Outcome{written}, gone(n, "never", 9))
	puts(t, d, []itemstore.Outcome{superseded}, film(n, "never", 8, ""))
	absent := film(n, "a", 99, "")
	absent.IfAbsent = true
	fresh := film(n, "c", 1, "")
	fresh.IfAbsent = true
	puts(t, d, []itemstore.Outcome{exists, written}, absent, fresh)
	if got := keysOf(t, d, n); !slices.Equal(got, []string{"a v3", "c v1"}) {
		t.Error(got)
	}
	item, found, err := d.Get(t.Context(), n, "b")
	if err != nil || !found || !item.Deleted || item.Version != version(4) || item.Doc != nil {
		t.Errorf("tombstone: %+v %v %v", item, found, err)
	}
	if _, found, err := d.Get(t.Context(), n, "nothing"); found || err != nil {
		t.Error(found, err)
	}
	out, err := rawClient(t).GetItem(t.Context(), getInput(n, "b"))
	if _, expires := out.Item["_ttl"].(*types.AttributeValueMemberN); err != nil || !expires {
		t.Errorf("the tombstone has no time at which it goes: %v %v", out.Item, err)
	}
}

// What is written comes back as the embedded store gives it, and stands in DynamoDB in its own types.
func TestDynamoValues(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, d, table)
	doc := `{"id":"a","title":"ñandú 日本","year":-7,"price":"123456789012345678901234567890123456.78","score":0.1,"poster":"AP8=","seen":"2024-05-01T10:00:00.123456Z","genres":["drama",null,""]}`
	odd := `{"id":"b","title":{"$base64":"/w=="},"year":null,"price":null,"score":null,"poster":null,"seen":null,"genres":[]}`
	puts(t, d, []itemstore.Outcome{written, written}, itemstore.Put{Table: table.Name, Key: "a", Version: version(1), Op: record.Insert, Doc: []byte(doc)},
		itemstore.Put{Table: table.Name, Key: "b", Version: version(1), Op: record.Insert, Doc: []byte(odd)})
	for key, want := range map[string]string{"a": doc, "b": odd} {
		item, _, err := d.Get(t.Context(), table.Name, key)
		if diff := cmp.Diff(want, string(item.Doc)); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	out, err := rawClient(t).GetItem(t.Context(), getInput(table.Name, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := out.Item["price"].(*types.AttributeValueMemberN); !ok || n.Value != "123456789012345678901234567890123456.78" {
		t.Errorf("price is %#v", out.Item["price"])
	}
	if _, ok := out.Item["poster"].(*types.AttributeValueMemberB); !ok {
		t.Errorf("poster is %#v", out.Item["poster"])
	}
}

// Columns that the source did not send are those of the stored item, also beside a column that an index cannot have.
func TestDynamoMerges(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_title", Columns: []string{"title"}}}}
	makeTable(t, d, table)
	n := table.Name
	part := film(n, "a", 3, `,"year":5`)
	part.Kept = []string{"title", "genres"}
	puts(t, d, []itemstore.Outcome{missing}, part)
	puts(t, d, []itemstore.Outcome{written, written}, film(n, "a", 2, `,"title":"","year":4,"price":"1.00","genres":["x"]`), part)
	old := part
	old.Version = version(1)
	puts(t, d, []itemstore.Outcome{superseded}, old)
	item, _, err := d.Get(t.Context(), n, "a")
	if want := `{"id":"a","title":"","year":5,"price":null,"score":null,"poster":null,"seen":null,"genres":["x"]}`; string(item.Doc) != want || err != nil {
		t.Errorf("got %s, want %s: %v", item.Doc, want, err)
	}
	later := part
	later.Version = version(9)
	puts(t, d, []itemstore.Outcome{written, missing}, gone(n, "a", 5), later)
}

// A truncate takes what is older, also what comes later, and what another process writes.
func TestDynamoTruncate(t *testing.T) {
	t.Parallel()
	for _, kind := range []record.Kind{record.String, record.Int64} {
		d := openDynamo(t, itemstore.DynamoOptions{})
		schema, err := record.NewSchema("s", []string{"id"}, record.Field{Name: "id", Kind: kind}, record.Field{Name: "x", Kind: record.Int64, Nullable: true})
		if err != nil {
			t.Fatal(err)
		}
		table := itemstore.Table{Name: tableName(t) + kind.String(), Schema: schema}
		makeTable(t, d, table)
		put := func(id int, v uint64) itemstore.Put {
			p := itemstore.Put{Table: table.Name, Key: fmt.Sprintf("[%d]", id), Version: version(v), Op: record.Insert, Doc: fmt.Appendf(nil, `{"id":%d}`, id)}
			if kind == record.String {
				p.Key, p.Doc = fmt.Sprint(id), fmt.Appendf(nil, `{"id":"%d"}`, id)
			}
			return p
		}
		truncate := itemstore.Put{Table: table.Name, Version: version(5), Op: record.Truncate}
		puts(t, d, []itemstore.Outcome{written, written}, put(1, 1), put(9, 9))
		puts(t, d, []itemstore.Outcome{written, written, written, superseded}, put(2, 2), truncate, put(3, 6), put(4, 3))
		other := openDynamo(t, itemstore.DynamoOptions{})
		if err := other.Define(t.Context(), table); err != nil {
			t.Fatal(err)
		}
		puts(t, other, []itemstore.Outcome{superseded, written}, put(7, 4), put(8, 8))
		older := truncate
		older.Version = version(4)
		puts(t, other, []itemstore.Outcome{superseded, written}, older, truncate)
		if got := len(keysOf(t, d, table.Name)); got != 3 {
			t.Errorf("%s: %v", kind, keysOf(t, d, table.Name))
		}
	}
}

// An item is found by each element of its list, and by none that it has no more.
func TestDynamoElements(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t), Indexes: []itemstore.Index{
		{Name: "by_genre", Columns: []string{"genres"}, Each: true}, {Name: "by_year", Columns: []string{"year", "title"}},
	}}
	makeTable(t, d, table)
	n := table.Name
	find := func(genre string) string {
		var keys []string
		for after := ""; ; {
			found, err := d.Query(t.Context(), n, "by_genre", []any{genre}, 2, after)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range found {
				keys = append(keys, i.Key)
			}
			if len(found) < 2 {
				return strings.Join(keys, " ")
			}
			after = found[1].After
		}
	}
	puts(t, d, []itemstore.Outcome{written, written, written, written}, film(n, "a", 1, `,"year":1999,"title":"A","genres":["drama","crime"]`), film(n, "b", 1, `,"genres":["drama","drama",""]`),
		film(n, "c", 1, `,"genres":["drama"]`), film(n, "d", 1, ""))
	if got := find("drama") + "|" + find("crime") + "|" + find("none"); got != "a b c|a|" {
		t.Error(got)
	}
	puts(t, d, []itemstore.Outcome{written, written}, film(n, "a", 3, `,"genres":["crime","war"]`), gone(n, "c", 2))
	puts(t, d, []itemstore.Outcome{superseded}, film(n, "a", 2, `,"genres":["late"]`))
	if got := find("drama") + "|" + find("crime") + "|" + find("war") + "|" + find("late"); got != "b|a|a|" {
		t.Error(got)
	}
	entries := itemstore.Entries(n, "by_genre")
	left, err := rawClient(t).Scan(t.Context(), &dynamodb.ScanInput{TableName: &entries})
	if err != nil || len(left.Items) != 4 { // b drama, a crime, a war; and what the late copy left behind
		t.Errorf("entries %v %v", left.Items, err)
	}
	puts(t, d, []itemstore.Outcome{written, written}, film(n, "e", 1, `,"year":1999,"title":"E"`), film(n, "a", 4, `,"year":1999,"title":"A"`))
	found, err := d.Query(t.Context(), n, "by_year", []any{int64(1999), "E"}, 10, "")
	if err != nil || len(found) != 1 || found[0].Key != "e" {
		t.Errorf("by columns: %v %v", found, err)
	}
	puts(t, d, []itemstore.Outcome{written}, itemstore.Put{Table: n, Version: version(50), Op: record.Truncate})
	if got := find("drama") + find("crime"); got != "" {
		t.Errorf("after a truncate: %s", got)
	}
}

// A table that is not there, or is another, is told with what makes it; the command makes a table that is taken.
func TestDynamoTablesThatDoNotFit(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	films := itemstore.Table{Name: tableName(t), Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_year", Columns: []string{"year"}}, {Name: "by_genre", Columns: []string{"genres"}, Each: true}}}
	err := d.Define(t.Context(), films)
	if fault.Code(err) != "ACQ-ITEMS-020" {
		t.Fatal(err)
	}
	for _, want := range []string{
		"aws dynamodb create-table --region eu-west-1 --endpoint-url http://127.0.0.1:", " --table-name " + films.Name + " ", "AttributeName=id,AttributeType=S AttributeName=year,AttributeType=N",
		"--key-schema AttributeName=id,KeyType=HASH", "'IndexName=by_year,KeySchema=[{AttributeName=year,KeyType=HASH}],Projection={ProjectionType=ALL}'",
		"StreamViewType=NEW_AND_OLD_IMAGES", "Enabled=true,AttributeName=_ttl", "--table-name " + films.Name + ".by_genre ", "AttributeName=element,KeyType=HASH AttributeName=item,KeyType=RANGE",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if line, err := d.Survey(t.Context(), films); err != nil || !strings.Contains(line, "is not there; make it: acequia setup apply FILE, or aws dynamodb") {
		t.Error(line, err)
	}
	bare := films
	bare.Indexes = nil
	makeTable(t, d, bare)
	if err := d.Define(t.Context(), films); fault.Code(err) != "ACQ-ITEMS-022" {
		t.Errorf("without the index: %v", err)
	}
	other, err := record.NewSchema("films", []string{"year"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Define(t.Context(), itemstore.Table{Name: films.Name, Schema: other}); fault.Code(err) != "ACQ-ITEMS-021" || !strings.Contains(err.Error(), "id (S)") {
		t.Errorf("of another key: %v", err)
	}
	if line, err := d.Survey(t.Context(), bare); err != nil || !strings.Contains(line, "is there (on demand, 0 items") {
		t.Error(line, err)
	}
	if warning, err := d.Check(t.Context(), bare); err != nil || !strings.Contains(warning, "stay in "+films.Name+" for ever") {
		t.Error(warning, err)
	}
}

// A right that is missing is named.
func TestDynamoRights(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"DescribeTable", "GetItem", "PutItem", "Scan", "DeleteItem"} {
		name := tableName(t) + action
		f := &faulty{answer: func(operation string, body map[string]any) (int, string) {
			if operation == action && (body["TableName"] == name || action == "DeleteItem") {
				return 400, `{"__type": "com.amazon.coral.service#AccessDeniedException", "message": "not authorized"}`
			}
			return 0, ""
		}}
		d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
		table := itemstore.Table{Name: name, Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_genre", Columns: []string{"genres"}, Each: true}}}
		for _, in := range itemstore.Design(table) {
			createTable(t, in)
		}
		_, err := d.Check(t.Context(), table)
		if fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), "dynamodb:"+action) {
			t.Errorf("%s: %v", action, err)
		}
	}
}

// Keys that are no text or number of DynamoDB's, or of more than two columns, are one text.
func TestDynamoKeys(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	fields := []record.Field{
		{Name: "a", Kind: record.Int64}, {Name: "b", Kind: record.Bool}, {Name: "c", Kind: record.Bytes}, {Name: "d", Kind: record.Date}, {Name: "e", Kind: record.Decimal, Precision: 5, Scale: 2},
	}
	doc := []byte(`{"a":7,"b":true,"c":"AP8=","d":"2024-05-01","e":"1.50"}`)
	for _, test := range []struct {
		key  []string
		text string
		pk   string
	}{
		{[]string{"a"}, `[7]`, "a"},
		{[]string{"b"}, `[true]`, "_key"},
		{[]string{"c", "d"}, `["AP8=","2024-05-01"]`, "c"},
		{[]string{"e", "a"}, `["1.50",7]`, "e"},
		{[]string{"a", "c", "d"}, `[7,"AP8=","2024-05-01"]`, "_key"},
	} {
		schema, err := record.NewSchema("s", test.key, fields...)
		if err != nil {
			t.Fatal(err)
		}
		table := itemstore.Table{Name: tableName(t) + strings.Join(test.key, "_"), Schema: schema}
		if pk := *itemstore.Design(table)[0].KeySchema[0].AttributeName; pk != test.pk {
			t.Errorf("%v: partition key %s", test.key, pk)
		}
		makeTable(t, d, table)
		puts(t, d, []itemstore.Outcome{written}, itemstore.Put{Table: table.Name, Key: test.text, Version: version(2), Op: record.Insert, Doc: doc})
		item, found, err := d.Get(t.Context(), table.Name, test.text)
		if err != nil || !found || item.Key != test.text || string(item.Doc) != string(doc) {
			t.Errorf("%v: %+v %v %v", test.key, item, found, err)
		}
		puts(t, d, []itemstore.Outcome{written}, itemstore.Put{Table: table.Name, Key: test.text, Version: version(3), Op: record.Delete})
		puts(t, d, []itemstore.Outcome{superseded}, itemstore.Put{Table: table.Name, Key: test.text, Version: version(2), Op: record.Insert, Doc: doc})
	}
}
