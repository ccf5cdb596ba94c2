package dynamodbstreams_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// fake is a stream of DynamoDB that does what no server at hand does: shards are split and closed, pages of shards have an end, iterators
// expire, changes are trimmed, and calls are throttled.
type fake struct {
	mu        sync.Mutex
	label     string
	status    string
	shards    []*fakeShard
	hidden    map[string]int // shards that so many listings do not show yet
	iterators map[string]iterator
	next      int
	sequence  int

	refuse  func(operation string) (code string) // before a call; "": it may pass
	reading func(f *fake, i iterator)            // before records are read, with the lock held
	calls   map[string]int
	asked   []string // kinds of iterators, each with its shard
	order   []string // shards, as their records were given
}

type fakeShard struct {
	id, parent string
	closed     bool
	records    []fakeRecord
	trimmed    int // so many of its records are gone
}

type fakeRecord struct {
	sequence string
	body     map[string]any
}

type iterator struct {
	shard   string
	at      int
	expired bool
}

func newFake(shards ...string) *fake {
	f := &fake{label: "2026-01-01T00:00:00.000", status: "ENABLED", hidden: map[string]int{}, iterators: map[string]iterator{}, calls: map[string]int{}}
	for _, id := range shards {
		f.shards = append(f.shards, &fakeShard{id: id})
	}
	return f
}

func (f *fake) start(t *testing.T) awsconfig.Settings {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL}
}

func (f *fake) shard(id string) *fakeShard {
	for _, s := range f.shards {
		if s.id == id {
			return s
		}
	}
	return nil
}

// add writes a key: a new item in the shard.
func (f *fake) add(shard, key string) {
	f.sequence++
	sequence := fmt.Sprintf("%021d", 100_000+f.sequence)
	s := f.shard(shard)
	s.records = append(s.records, fakeRecord{sequence, map[string]any{
		"eventID": sequence, "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
		"dynamodb": map[string]any{
			"ApproximateCreationDateTime": 1_790_000_000, "SequenceNumber": sequence, "StreamViewType": "NEW_AND_OLD_IMAGES",
			"Keys": map[string]any{"id": map[string]any{"S": key}}, "NewImage": map[string]any{"id": map[string]any{"S": key}},
		},
	}})
}

// split closes a shard; its children follow.
func (f *fake) split(id string, children ...string) {
	f.shard(id).closed = true
	for _, c := range children {
		f.shards = append(f.shards, &fakeShard{id: c, parent: id})
	}
}

func (f *fake) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

type refusal struct{ code string }

func (r refusal) Error() string { return r.code }

// ServeHTTP speaks JSON 1.0, as the client does.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[operation]++
	var out any
	var err error
	if f.refuse != nil {
		if code := f.refuse(operation); code != "" {
			err = refusal{code}
		}
	}
	if err == nil {
		out, err = f.do(operation, in)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + err.Error(), "message": "no"}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *fake) do(operation string, in map[string]any) (any, error) {
	switch operation {
	case "DescribeTable":
		return map[string]any{"Table": map[string]any{
			"TableName": in["TableName"], "LatestStreamArn": "arn:" + f.label, "LatestStreamLabel": f.label,
			"StreamSpecification": map[string]any{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
		}}, nil
	case "DescribeStream":
		return f.describe(in)
	case "GetShardIterator":
		return f.locate(in)
	case "GetRecords":
		return f.read(in)
	}
	return nil, refusal{"UnknownOperationException"}
}

func (f *fake) describe(in map[string]any) (any, error) {
	const pageSize = 100
	var shown []*fakeShard
	for _, s := range f.shards {
		if f.hidden[s.id] > 0 {
			f.hidden[s.id]--
			continue
		}
		shown = append(shown, s)
	}
	if after, ok := in["ExclusiveStartShardId"].(string); ok {
		shown = shown[1+slices.IndexFunc(shown, func(s *fakeShard) bool { return s.id == after }):]
	}
	page := shown[:min(pageSize, len(shown))]
	list := []any{}
	for _, s := range page {
		numbers := map[string]any{"StartingSequenceNumber": "000000000000000000001"}
		if s.closed {
			numbers["EndingSequenceNumber"] = "000000000000000099999"
			if n := len(s.records); n > 0 {
				numbers["EndingSequenceNumber"] = s.records[n-1].sequence
			}
		}
		one := map[string]any{"ShardId": s.id, "SequenceNumberRange": numbers}
		if s.parent != "" {
			one["ParentShardId"] = s.parent
		}
		list = append(list, one)
	}
	d := map[string]any{"StreamArn": in["StreamArn"], "StreamStatus": f.status, "Shards": list}
	if len(page) < len(shown) {
		d["LastEvaluatedShardId"] = page[len(page)-1].id
	}
	return map[string]any{"StreamDescription": d}, nil
}

func (f *fake) locate(in map[string]any) (any, error) {
	s := f.shard(fmt.Sprint(in["ShardId"]))
	if s == nil {
		return nil, refusal{"ResourceNotFoundException"}
	}
	kind := fmt.Sprint(in["ShardIteratorType"])
	f.asked = append(f.asked, kind+" "+s.id)
	at := s.trimmed
	switch kind {
	case "LATEST":
		at = len(s.records)
	case "TRIM_HORIZON":
	case "AFTER_SEQUENCE_NUMBER":
		after, ok := in["SequenceNumber"].(string)
		if !ok || after == "" {
			return nil, refusal{"ValidationException"}
		}
		i := slices.IndexFunc(s.records, func(r fakeRecord) bool { return r.sequence == after })
		if i < 0 || i+1 < s.trimmed {
			return nil, refusal{"TrimmedDataAccessException"}
		}
		at = i + 1
	}
	return map[string]any{"ShardIterator": f.iterator(iterator{shard: s.id, at: at})}, nil
}

func (f *fake) iterator(i iterator) string {
	f.next++
	name := strconv.Itoa(f.next)
	f.iterators[name] = i
	return name
}

// expire makes all iterators old.
func (f *fake) expire() {
	for name, i := range f.iterators {
		i.expired = true
		f.iterators[name] = i
	}
}

func (f *fake) read(in map[string]any) (any, error) {
	const pageSize = 3
	name := fmt.Sprint(in["ShardIterator"])
	if f.reading != nil {
		f.reading(f, f.iterators[name])
	}
	i, ok := f.iterators[name]
	s := f.shard(i.shard)
	switch {
	case !ok:
		return nil, refusal{"ValidationException"}
	case i.expired:
		return nil, refusal{"ExpiredIteratorException"}
	case s == nil:
		return nil, refusal{"ResourceNotFoundException"}
	case i.at < s.trimmed:
		return nil, refusal{"TrimmedDataAccessException"}
	}
	records := []any{}
	for i.at < len(s.records) && len(records) < pageSize {
		records = append(records, s.records[i.at].body)
		i.at++
		f.order = append(f.order, s.id)
	}
	out := map[string]any{"Records": records}
	if !s.closed || i.at < len(s.records) {
		out["NextShardIterator"] = f.iterator(i)
	}
	return out, nil
}
