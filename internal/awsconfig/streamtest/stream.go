// Package streamtest is a stream of DynamoDB for tests, which does what no server at hand does.
package streamtest

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

// Stream is one that does what no server at hand does: shards are split and closed, pages of shards have an end, iterators expire, changes
// are trimmed, and calls are throttled. Once it is served its fields are used under Locked.
type Stream struct {
	mu        sync.Mutex
	iterators map[string]Iterator
	next      int
	sequence  int

	Label    string
	Status   string
	Shards   []*Shard
	Hidden   map[string]int // shards that so many listings do not show yet
	PageSize int            // of records

	Refuse  func(operation string) (code string) // before a call; "": it may pass
	Reading func(s *Stream, i Iterator)          // before records are read, with the lock held
	Asked   []string                             // kinds of iterators, each with its shard
	Order   []string                             // shards, as their records were given
}

// Shard has records in their order.
type Shard struct {
	ID, Parent string
	Closed     bool
	Records    []Record
	Trimmed    int // so many of its records are gone
}

// Record is a change as the service tells it.
type Record struct {
	Sequence string
	Body     map[string]any
}

// Iterator is a place in a shard.
type Iterator struct {
	Shard   string
	At      int
	expired bool
}

// New makes a stream with open shards.
func New(shards ...string) *Stream {
	s := &Stream{Label: "2026-01-01T00:00:00.000", Status: "ENABLED", PageSize: 3, Hidden: map[string]int{}, iterators: map[string]Iterator{}}
	for _, id := range shards {
		s.Shards = append(s.Shards, &Shard{ID: id})
	}
	return s
}

// Start serves it until the test ends.
func (s *Stream) Start(t *testing.T) awsconfig.Settings {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return awsconfig.Settings{Region: "eu-west-1", Endpoint: server.URL}
}

// Shard finds one by its id; nil: there is none.
func (s *Stream) Shard(id string) *Shard {
	for _, one := range s.Shards {
		if one.ID == id {
			return one
		}
	}
	return nil
}

// Add writes a key: a new item in the shard.
func (s *Stream) Add(shard, key string) {
	item := map[string]any{"id": map[string]any{"S": key}}
	s.Put(shard, item, item)
}

// Put writes a new item.
func (s *Stream) Put(shard string, key, item map[string]any) {
	s.sequence++
	sequence := fmt.Sprintf("%021d", 100_000+s.sequence)
	to := s.Shard(shard)
	to.Records = append(to.Records, Record{sequence, map[string]any{
		"eventID": sequence, "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
		"dynamodb": map[string]any{
			"ApproximateCreationDateTime": 1_790_000_000, "SequenceNumber": sequence, "StreamViewType": "NEW_AND_OLD_IMAGES", "Keys": key, "NewImage": item,
		},
	}})
}

// Split closes a shard; its children follow.
func (s *Stream) Split(id string, children ...string) {
	s.Shard(id).Closed = true
	for _, c := range children {
		s.Shards = append(s.Shards, &Shard{ID: c, Parent: id})
	}
}

// Locked does something while nobody is answered.
func (s *Stream) Locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

type refusal struct{ code string }

func (r refusal) Error() string { return r.code }

// ServeHTTP speaks JSON 1.0, as the client does.
func (s *Stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in map[string]any
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out any
	var err error
	if s.Refuse != nil {
		if code := s.Refuse(operation); code != "" {
			err = refusal{code}
		}
	}
	if err == nil {
		out, err = s.do(operation, in)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + err.Error(), "message": "no"}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *Stream) do(operation string, in map[string]any) (any, error) {
	switch operation {
	case "DescribeTable":
		return map[string]any{"Table": map[string]any{
			"TableName": in["TableName"], "LatestStreamArn": "arn:" + s.Label, "LatestStreamLabel": s.Label,
			"StreamSpecification": map[string]any{"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
		}}, nil
	case "DescribeStream":
		return s.describe(in)
	case "GetShardIterator":
		return s.locate(in)
	case "GetRecords":
		return s.read(in)
	}
	return nil, refusal{"UnknownOperationException"}
}

func (s *Stream) describe(in map[string]any) (any, error) {
	const pageSize = 100
	var shown []*Shard
	for _, one := range s.Shards {
		if s.Hidden[one.ID] > 0 {
			s.Hidden[one.ID]--
			continue
		}
		shown = append(shown, one)
	}
	if after, ok := in["ExclusiveStartShardId"].(string); ok {
		shown = shown[1+slices.IndexFunc(shown, func(one *Shard) bool { return one.ID == after }):]
	}
	page := shown[:min(pageSize, len(shown))]
	list := []any{}
	for _, one := range page {
		numbers := map[string]any{"StartingSequenceNumber": "000000000000000000001"}
		if one.Closed {
			numbers["EndingSequenceNumber"] = "000000000000000099999"
			if n := len(one.Records); n > 0 {
				numbers["EndingSequenceNumber"] = one.Records[n-1].Sequence
			}
		}
		told := map[string]any{"ShardId": one.ID, "SequenceNumberRange": numbers}
		if one.Parent != "" {
			told["ParentShardId"] = one.Parent
		}
		list = append(list, told)
	}
	d := map[string]any{"StreamArn": in["StreamArn"], "StreamStatus": s.Status, "Shards": list}
	if len(page) < len(shown) {
		d["LastEvaluatedShardId"] = page[len(page)-1].ID
	}
	return map[string]any{"StreamDescription": d}, nil
}

func (s *Stream) locate(in map[string]any) (any, error) {
	of := s.Shard(fmt.Sprint(in["ShardId"]))
	if of == nil {
		return nil, refusal{"ResourceNotFoundException"}
	}
	kind := fmt.Sprint(in["ShardIteratorType"])
	s.Asked = append(s.Asked, kind+" "+of.ID)
	at := of.Trimmed
	switch kind {
	case "LATEST":
		at = len(of.Records)
	case "TRIM_HORIZON":
	case "AFTER_SEQUENCE_NUMBER":
		after, ok := in["SequenceNumber"].(string)
		if !ok || after == "" {
			return nil, refusal{"ValidationException"}
		}
		i := slices.IndexFunc(of.Records, func(r Record) bool { return r.Sequence == after })
		if i < 0 || i+1 < of.Trimmed {
			return nil, refusal{"TrimmedDataAccessException"}
		}
		at = i + 1
	}
	return map[string]any{"ShardIterator": s.iterator(Iterator{Shard: of.ID, At: at})}, nil
}

func (s *Stream) iterator(i Iterator) string {
	s.next++
	name := strconv.Itoa(s.next)
	s.iterators[name] = i
	return name
}

// Expire makes all iterators old.
func (s *Stream) Expire() {
	for name, i := range s.iterators {
		i.expired = true
		s.iterators[name] = i
	}
}

func (s *Stream) read(in map[string]any) (any, error) {
	name := fmt.Sprint(in["ShardIterator"])
	if s.Reading != nil {
		s.Reading(s, s.iterators[name])
	}
	i, ok := s.iterators[name]
	of := s.Shard(i.Shard)
	switch {
	case !ok:
		return nil, refusal{"ValidationException"}
	case i.expired:
		return nil, refusal{"ExpiredIteratorException"}
	case of == nil:
		return nil, refusal{"ResourceNotFoundException"}
	case i.At < of.Trimmed:
		return nil, refusal{"TrimmedDataAccessException"}
	}
	records := []any{}
	for i.At < len(of.Records) && len(records) < s.PageSize {
		records = append(records, of.Records[i.At].Body)
		i.At++
		s.Order = append(s.Order, of.ID)
	}
	out := map[string]any{"Records": records}
	if !of.Closed || i.At < len(of.Records) {
		out["NextShardIterator"] = s.iterator(i)
	}
	return out, nil
}
