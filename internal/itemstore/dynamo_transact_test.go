package itemstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

const transact = "TransactWriteItems"

// with gives puts the number of a transaction.
func with(n uint32, all ...itemstore.Put) []itemstore.Put {
	for i := range all {
		all[i].Together = n
	}
	return all
}

// absent lets a put be done only where there is no copy.
func absent(p itemstore.Put) itemstore.Put {
	p.IfAbsent = true
	return p
}

// canceled is how DynamoDB says why a transaction was canceled: a reason for each action.
func canceled(codes ...string) (int, string) {
	reasons := make([]string, len(codes))
	for i, c := range codes {
		reasons[i] = fmt.Sprintf(`{"Code": %q, "Message": "because of %d"}`, c, i)
	}
	return http.StatusBadRequest, fmt.Sprintf(`{"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "Transaction cancelled", "CancellationReasons": [%s]}`,
		strings.Join(reasons, ", "))
}

// pair makes two tables, whose names begin with that of the test.
func pair(t *testing.T, d *itemstore.Dynamo) (a, b string) {
	t.Helper()
	for _, name := range []string{tableName(t) + "-a", tableName(t) + "-b"} {
		makeTable(t, d, itemstore.Table{Name: name, Schema: filmSchema(t)})
	}
	return tableName(t) + "-a", tableName(t) + "-b"
}

// What belongs together is one call; what the versions do not let in is left out of it alone, and nothing is done where a copy is that must not be.
func TestDynamoTogether(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	a, b := pair(t, d)
	ofA, ofB := d.CountUnits(a), d.CountUnits(b)
	all := slices.Concat(with(1, film(a, "1", 2, ""), film(b, "1", 2, "")), with(2, film(a, "2", 2, "")), with(3, absent(film(a, "3", 2, ""))), with(3, gone(b, "3", 2)), with(0, film(b, "4", 2, "")))
	puts(t, d, []itemstore.Outcome{written, written, written, written, written, written}, all...)
	if n, single := f.count(transact), f.count("PutItem"); n != 2 || single != 2 {
		t.Errorf("%d transactions and %d single puts, want 2 and 2", n, single)
	}
	if got, want := []float64{ofA(), ofB()}, []float64{5, 5}; !slices.Equal(got, want) {
		t.Errorf("units %v, want %v: a transaction costs twice as much", got, want)
	}
	puts(t, d, []itemstore.Outcome{superseded, superseded, superseded, exists, exists, superseded}, all...)
	puts(t, d, []itemstore.Outcome{superseded, written, written, written}, with(1, film(a, "1", 1, ""), film(a, "5", 1, ""), film(b, "5", 1, ""), film(b, "1", 3, ""))...)
	puts(t, d, []itemstore.Outcome{superseded, written}, with(1, film(a, "1", 1, ""), film(b, "6", 1, ""))...)
	puts(t, d, []itemstore.Outcome{exists, exists}, with(7, absent(film(a, "3", 9, "")), film(b, "7", 9, ""))...)
	puts(t, d, []itemstore.Outcome{superseded, written, written}, with(8, film(a, "8", 1, ""), film(a, "8", 2, ""), film(b, "8", 1, ""))...)
	puts(t, d, []itemstore.Outcome{written, superseded, written}, append([]itemstore.Put{{Table: a, Version: version(5), Op: record.Truncate}}, with(9, film(a, "9", 4, ""), film(b, "9", 4, ""))...)...)
	if got := keysOf(t, d, a); len(got) > 0 {
		t.Errorf("after the truncate there is %v", got)
	}
	if got, want := keysOf(t, d, b), []string{"1 v3", "4 v2", "5 v1", "6 v1", "8 v1", "9 v4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Whatever cancels a transaction for now is tried again: the table that throttles is used slower, and no other; who conflicts waits.
func TestDynamoTransactionIsCanceled(t *testing.T) {
	t.Parallel()
	var why [][]string
	single := 0
	tokens := map[string]int{}
	f := &faulty{}
	f.answer = func(operation string, body map[string]any) (int, string) {
		if operation == "PutItem" && single > 0 {
			single--
			return http.StatusBadRequest, `{"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "message": "a transaction has the item"}`
		}
		if operation != transact || len(why) == 0 {
			return 0, ""
		}
		tokens[fmt.Sprint(body["ClientRequestToken"])]++
		codes := why[0]
		if why = why[1:]; len(codes) == 1 {
			return http.StatusBadRequest, fmt.Sprintf(`{"__type": "com.amazonaws.dynamodb.v20120810#%s", "message": "later"}`, codes[0])
		}
		return canceled(codes...)
	}
	var log bytes.Buffer
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	a, b := pair(t, d)
	for i, test := range []struct {
		why    []string
		slower string
	}{
		{[]string{"None", "ThrottlingError"}, b},
		{[]string{"ProvisionedThroughputExceeded", "None"}, a},
		{[]string{"TransactionConflict", "None"}, ""},
		{[]string{"TransactionInProgressException"}, ""},
	} {
		log.Reset()
		f.mu.Lock()
		why = [][]string{test.why, test.why}
		clear(tokens)
		f.mu.Unlock()
		puts(t, d, []itemstore.Outcome{written, written}, with(1, film(a, fmt.Sprint(i), 1, ""), film(b, fmt.Sprint(i), 1, ""))...)
		for _, name := range []string{a, b} {
			if told := strings.Contains(log.String(), "table="+name); told != (name == test.slower) {
				t.Errorf("%v: %s is used slower: %t\n%s", test.why, name, told, &log)
			}
		}
		if len(tokens) != 1 {
			t.Errorf("%v: the same transaction was sent with %d tokens", test.why, len(tokens))
		}
	}
	f.mu.Lock()
	single = 2
	f.mu.Unlock()
	puts(t, d, []itemstore.Outcome{written}, film(a, "single", 1, ""))
}

// Why a transaction is canceled stays known when it is for ever: what passes is told as such, and the refusal of an item as that item's.
func TestDynamoTransactionNeverPasses(t *testing.T) {
	t.Parallel()
	var why []string
	var asked int
	var giveUp context.CancelFunc
	f := &faulty{answer: func(operation string, _ map[string]any) (int, string) {
		if operation == transact {
			if asked++; asked == 3 {
				giveUp()
			}
			return canceled(why...)
		}
		return 0, ""
	}}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	a, b := pair(t, d)
	for _, test := range []struct {
		why   []string
		class fault.Class
		code  string
		text  string
	}{
		{[]string{"None", "ThrottlingError"}, fault.Retryable, "ACQ-AWS-008", "ThrottlingError (because of 1)"},
		{[]string{"TransactionConflict", "None"}, fault.Retryable, "", "a transaction has the items all the time"},
		{[]string{"None", "ValidationError"}, fault.Fatal, "ACQ-ITEMS-023", b + ", key k: the item cannot be written: ValidationError: because of 1"},
		{[]string{"ItemCollectionSizeLimitExceeded", "ConditionalCheckFailed"}, fault.Fatal, "ACQ-ITEMS-023", a + ", key k: the item cannot be written: ItemCollectionSize"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f.mu.Lock()
		why, asked, giveUp = test.why, 0, cancel
		f.mu.Unlock()
		_, err := d.Write(ctx, with(1, film(a, "k", 1, ""), film(b, "k", 1, "")))
		cancel()
		if err == nil || fault.Of(err) == fault.Retryable != (test.class == fault.Retryable) || fault.Code(err) != test.code || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v: %v %s: %v", test.why, fault.Of(err), fault.Code(err), err)
		}
	}
	if got := slices.Concat(keysOf(t, d, a), keysOf(t, d, b)); len(got) > 0 || f.count("PutItem") > 0 {
		t.Errorf("%v is there, %d single puts", got, f.count("PutItem"))
	}
}

// A transaction whose answer is lost is sent again with its token, which DynamoDB knows, and is not taken for the write of another.
func TestDynamoTransactionAnswerIsLost(t *testing.T) {
	t.Parallel()
	done := map[string]bool{}
	f := &faulty{}
	f.answer = func(operation string, body map[string]any) (int, string) {
		if token := fmt.Sprint(body["ClientRequestToken"]); operation == transact && done[token] {
			return http.StatusOK, "{}"
		}
		return 0, ""
	}
	f.lose = func(operation string, body map[string]any) bool {
		lost := operation == transact && len(done) == 0
		if operation == transact {
			done[fmt.Sprint(body["ClientRequestToken"])] = true
		}
		return lost
	}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	a, b := pair(t, d)
	puts(t, d, []itemstore.Outcome{written, written}, with(1, film(a, "k", 1, ""), film(b, "k", 1, ""))...)
	if n := f.count(transact); n != 2 {
		t.Errorf("it was sent %d times", n)
	}
	puts(t, d, []itemstore.Outcome{superseded, superseded}, with(1, film(a, "k", 1, ""), film(b, "k", 1, ""))...) // as after a crash
}

// What a transaction cannot hold is told before it is sent.
func TestDynamoTransactionLimits(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	a, _ := pair(t, d)
	many := make([]itemstore.Put, 101)
	for i := range many {
		many[i] = film(a, fmt.Sprint(i), 1, "")
	}
	large := slices.Clone(many[:11])
	for i := range large {
		large[i] = film(a, fmt.Sprint(i), 1, fmt.Sprintf(`,"title":%q`, strings.Repeat("x", 390<<10)))
	}
	part := film(a, "0", 2, "")
	part.Kept = []string{"title"}
	for name, all := range map[string][]itemstore.Put{"has 101 items": many, "has 11 items of 4": large, "depends on another put": {many[0], part}} {
		if _, err := d.Write(t.Context(), with(1, all...)); fault.Code(err) != "ACQ-ITEMS-023" || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.count(transact) > 0 || f.count("PutItem") > 0 {
		t.Error("it was sent")
	}
	outcomes, err := d.Write(t.Context(), with(1, many[:100]...))
	if err != nil || slices.ContainsFunc(outcomes, func(o itemstore.Outcome) bool { return o != written }) {
		t.Error(outcomes, err)
	}
}

// In a transaction too, columns that the source did not send stay, and entries of elements follow their item, though others change it meanwhile.
func TestDynamoTogetherWithEntries(t *testing.T) {
	t.Parallel()
	table := itemstore.Table{Name: tableName(t), Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_genre", Columns: []string{"genres"}, Each: true}}}
	var meanwhile func()
	f := &faulty{}
	f.answer = func(operation string, _ map[string]any) (int, string) {
		if operation == transact && meanwhile != nil {
			meanwhile()
			meanwhile = nil
		}
		return 0, ""
	}
	d := openDynamo(t, itemstore.DynamoOptions{AWS: f.start(t)})
	makeTable(t, d, table)
	n := table.Name
	puts(t, d, []itemstore.Outcome{written, written}, with(1, film(n, "a", 1, `,"genres":["x","y"]`), film(n, "b", 1, `,"title":"old"`))...)
	part := film(n, "b", 4, `,"year":5`)
	part.Kept = []string{"title"}
	f.mu.Lock()
	meanwhile = func() { // by another process, whose entries are there
		item := map[string]types.AttributeValue{
			"id": &types.AttributeValueMemberS{Value: "b"}, "title": &types.AttributeValueMemberS{Value: "new"},
			"_version": &types.AttributeValueMemberS{Value: version(3).String()},
		}
		if _, err := rawClient(t).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &n, Item: item}); err != nil {
			t.Error(err)
		}
	}
	f.mu.Unlock()
	puts(t, d, []itemstore.Outcome{written, written}, with(1, film(n, "a", 2, `,"genres":["y"]`), part)...)
	item, _, err := d.Get(t.Context(), n, "b")
	if err != nil || !strings.Contains(string(item.Doc), `"title":"new","year":5`) {
		t.Errorf("got %s %v", item.Doc, err)
	}
	entries, err := rawClient(t).Scan(t.Context(), &dynamodb.ScanInput{TableName: new(itemstore.Entries(n, "by_genre"))})
	if err != nil || len(entries.Items) != 1 {
		t.Errorf("entries: %v %v", entries.Items, err)
	}
	lone := film(n, "none", 5, "")
	lone.Kept = []string{"title"}
	puts(t, d, []itemstore.Outcome{missing, written}, with(1, lone, film(n, "c", 5, ""))...)
	puts(t, d, []itemstore.Outcome{exists, exists}, with(1, absent(film(n, "c", 6, "")), film(n, "d", 6, ""))...)
	puts(t, d, []itemstore.Outcome{superseded, superseded}, with(1, film(n, "c", 5, ""), film(n, "a", 1, ""))...)
}

// The first load does not go over what a transaction has written.
func TestDynamoTogetherInTheFirstLoad(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{Bulk: true})
	a, b := pair(t, d)
	puts(t, d, []itemstore.Outcome{written, written, superseded}, append(with(1, film(a, "k", 5, ""), film(b, "k", 5, "")), film(a, "k", 4, ""))...)
	puts(t, d, []itemstore.Outcome{superseded}, film(b, "k", 4, ""))
}

// The embedded store does what is together as DynamoDB does.
func TestStoreTogether(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/items.db", itemstore.Options{})
	for _, name := range []string{"a", "b"} {
		if err := s.Define(t.Context(), itemstore.Table{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		want []itemstore.Outcome
		puts []itemstore.Put
	}{
		{[]itemstore.Outcome{written, written, written, written}, slices.Concat(with(1, absent(film("a", "k", 1, "")), film("b", "k", 1, "")), with(2, absent(film("a", "l", 1, "")), film("b", "l", 1, "")))},
		{[]itemstore.Outcome{exists, exists, superseded, written}, slices.Concat(with(1, absent(film("a", "k", 2, "")), film("b", "m", 2, "")), with(2, film("a", "l", 1, ""), film("b", "n", 1, "")))},
	} {
		if got, err := s.Write(t.Context(), test.puts); !slices.Equal(got, test.want) || err != nil {
			t.Errorf("got %v, want %v: %v", got, test.want, err)
		}
	}
	if _, found, err := s.Get(t.Context(), "b", "m"); found || err != nil {
		t.Errorf("what is together with a copy that is there was written: %v", err)
	}
}
