// Package messagingtest is a server of SQS and EventBridge that fails as AWS does and emulators do not: entries of a batch, throttling,
// too many messages in flight, deletes that are lost, messages that come twice, answers that are late.
package messagingtest

import (
	"crypto/md5" //nolint:gosec // as SQS does
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Faults are what goes wrong. Each may be nil, and is asked with the server's lock held.
type Faults struct {
	Call   func(action string) *Refusal // the whole call
	Entry  func(action string, index int) bool
	Lose   func(id string) bool // a delete: it is answered, and does nothing
	Twice  func(id string) bool // a message is given though it is in flight
	Late   time.Duration        // of each answer, after what it tells was done
	Flight int                  // messages that may be in flight; 0: any
}

// Refusal is how a call is refused.
type Refusal struct {
	Status int
	Code   string
}

// Server has one queue, whatever the name, and one bus.
type Server struct {
	Settings awsconfig.Settings
	Faults   Faults

	http    *httptest.Server
	mu      sync.Mutex
	all     []*Message
	serial  int
	calls   map[string]int
	events  []Event
	changed chan struct{}
}

// Message is one in the queue.
type Message struct {
	ID, Body, Group, Dedup string
	Attributes             map[string]string
	Receives               int
	Gone                   bool
	Hidden                 time.Time // until then
	sent                   time.Time
	handle                 string
}

// Event is one that the bus got.
type Event struct {
	Source, DetailType, Detail, EventBusName string
	Time                                     float64
	Resources                                []string
}

// Start starts a server for a test.
func Start(t *testing.T, f Faults) *Server {
	t.Helper()
	s := &Server{Faults: f, calls: map[string]int{}, changed: make(chan struct{})}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	s.Settings = awsconfig.Settings{Region: "eu-west-1", Endpoint: s.http.URL}
	return s
}

// URL is that of a queue.
func (s *Server) URL(name string) string { return s.http.URL + "/000000000000/" + name }

// Put puts messages into the queue.
func (s *Server) Put(all ...Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range all {
		s.put(&all[i])
	}
}

func (s *Server) put(m *Message) {
	s.serial++
	if m.ID == "" {
		m.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial)
	}
	m.sent = time.Now()
	s.all = append(s.all, m)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Messages gives those that were ever there, as they stand.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Message, len(s.all))
	for i, m := range s.all {
		out[i] = *m
	}
	return out
}

// Left counts the messages that were not deleted.
func (s *Server) Left() (n int) {
	for _, m := range s.Messages() {
		if !m.Gone {
			n++
		}
	}
	return n
}

// Events gives what the bus got.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Calls counts the calls of an action.
func (s *Server) Calls(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[action]
}

// entry is one of a batch, of any action.
type entry struct {
	ID                     string `json:"Id"`
	ReceiptHandle          string
	VisibilityTimeout      int
	MessageBody            string
	MessageGroupID         string `json:"MessageGroupId"`
	MessageDeduplicationID string `json:"MessageDeduplicationId"`
	MessageAttributes      map[string]struct{ StringValue, DataType string }
	Event
}

type request struct {
	Entries             []entry
	MaxNumberOfMessages int
	WaitTimeSeconds     int
	VisibilityTimeout   int
	QueueName           string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	action := path.Base(strings.ReplaceAll(r.Header.Get("X-Amz-Target"), ".", "/"))
	var in request
	err := json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	s.calls[action]++
	late := s.Faults.Late
	var refusal *Refusal
	if s.Faults.Call != nil {
		refusal = s.Faults.Call(action)
	}
	s.mu.Unlock()
	var out any
	if err == nil && refusal == nil {
		out, refusal, err = s.answer(r, action, in)
	}
	if late > 0 {
		select {
		case <-time.After(late):
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"__type":"ValidationException","message":%q}`, err.Error())
	case refusal != nil && refusal.Status == http.StatusOK: // an answer that says nothing
		_, _ = w.Write([]byte("{}"))
	case refusal != nil:
		w.Header().Set("X-Amzn-Query-Error", refusal.Code+";Sender")
		w.WriteHeader(refusal.Status)
		_, _ = fmt.Fprintf(w, `{"__type":%q,"message":"refused"}`, refusal.Code)
	default:
		_ = json.NewEncoder(w).Encode(out)
	}
}

var errAction = errors.New("no such action")

func (s *Server) answer(r *http.Request, action string, in request) (any, *Refusal, error) {
	switch action {
	case "ReceiveMessage":
		return s.receive(r, in)
	case "GetQueueUrl":
		return map[string]any{"QueueUrl": s.URL(in.QueueName)}, nil, nil
	case "GetQueueAttributes":
		return map[string]any{"Attributes": map[string]string{"ApproximateNumberOfMessages": strconv.Itoa(s.Left()), "MessageRetentionPeriod": "345600"}}, nil, nil
	case "StartMessageMoveTask":
		return map[string]any{"TaskHandle": "task"}, nil, nil
	case "PutEvents":
		return s.putEvents(in), nil, nil
	case "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
		return s.batch(action, in)
	}
	return nil, nil, errAction
}

// receive gives messages that nobody has; of a message group none while one is in flight.
func (s *Server) receive(r *http.Request, in request) (any, *Refusal, error) {
	late := time.After(time.Duration(in.WaitTimeSeconds) * time.Second)
	tick := time.NewTicker(20 * time.Millisecond) // hidden messages come back by themselves
	defer tick.Stop()
	for {
		out, over, changed := s.ready(in)
		if over {
			return nil, &Refusal{http.StatusForbidden, "OverLimit"}, nil
		}
		if len(out) > 0 {
			return map[string]any{"Messages": out}, nil, nil
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-late:
			return map[string]any{}, nil, nil
		case <-r.Context().Done():
			return map[string]any{}, nil, nil
		}
	}
}

func (s *Server) ready(in request) (out []map[string]any, over bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, flying, locked := time.Now(), 0, map[string]bool{}
	for _, m := range s.all {
		if !m.Gone && m.Hidden.After(now) {
			flying++
			locked[m.Group] = m.Group != ""
		}
	}
	if s.Faults.Flight > 0 && flying >= s.Faults.Flight {
		return nil, true, nil
	}
	for _, m := range s.all {
		twice := s.Faults.Twice != nil && m.Receives == 1 && s.Faults.Twice(m.ID)
		if m.Gone || len(out) == max(1, in.MaxNumberOfMessages) || !twice && (m.Hidden.After(now) || locked[m.Group]) {
			continue
		}
		m.Receives++
		m.Hidden = now.Add(time.Duration(in.VisibilityTimeout) * time.Second)
		m.handle = m.ID + "#" + strconv.Itoa(m.Receives)
		attributes := map[string]any{}
		for name, v := range m.Attributes {
			attributes[name] = map[string]string{"DataType": "String", "StringValue": v}
		}
		system := map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.Receives), "SentTimestamp": strconv.FormatInt(m.sent.UnixMilli(), 10)}
		if m.Group != "" {
			system["MessageGroupId"] = m.Group
		}
		out = append(out, map[string]any{"MessageId": m.ID, "ReceiptHandle": m.handle, "Body": m.Body, "Attributes": system, "MessageAttributes": attributes})
	}
	return out, false, s.changed
}

// The limits that emulators do not enforce.
const (
	mostEntries = 10
	mostBytes   = 1 << 20
)

func (s *Server) batch(action string, in request) (any, *Refusal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := 0
	for _, e := range in.Entries {
		size += len(e.MessageBody)
		for name, a := range e.MessageAttributes {
			size += len(name) + len(a.DataType) + len(a.StringValue)
		}
	}
	switch {
	case len(in.Entries) == 0 || len(in.Entries) > mostEntries:
		return nil, &Refusal{http.StatusBadRequest, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"}, nil
	case size > mostBytes:
		return nil, &Refusal{http.StatusBadRequest, "AWS.SimpleQueueService.BatchRequestTooLong"}, nil
	}
	good, failed := []map[string]string{}, []map[string]any{}
	for i, e := range in.Entries {
		if s.Faults.Entry != nil && s.Faults.Entry(action, i) {
			failed = append(failed, map[string]any{"Id": e.ID, "SenderFault": false, "Code": "InternalError", "Message": "try again"})
			continue
		}
		ok := map[string]string{"Id": e.ID}
		if action == "SendMessageBatch" {
			m := &Message{Body: e.MessageBody, Group: e.MessageGroupID, Dedup: e.MessageDeduplicationID, Attributes: map[string]string{}}
			for name, a := range e.MessageAttributes {
				m.Attributes[name] = a.StringValue
			}
			s.put(m)
			sum := md5.Sum([]byte(m.Body)) //nolint:gosec // as SQS does
			ok["MessageId"], ok["MD5OfMessageBody"] = m.ID, hex.EncodeToString(sum[:])
		} else if !s.change(action, e) {
			failed = append(failed, map[string]any{"Id": e.ID, "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "no such receipt"})
			continue
		}
		good = append(good, ok)
	}
	return map[string]any{"Successful": good, "Failed": failed}, nil, nil
}

// change deletes or hides a message, by the handle of its last receipt alone.
func (s *Server) change(action string, e entry) bool {
	for _, m := range s.all {
		if m.handle != e.ReceiptHandle || m.Gone {
			continue
		}
		if action == "DeleteMessageBatch" {
			if s.Faults.Lose != nil && s.Faults.Lose(m.ID) {
				m.Hidden = time.Time{}
				return true
			}
			m.Gone = true
			return true
		}
		m.Hidden = time.Now().Add(time.Duration(e.VisibilityTimeout) * time.Second)
		return true
	}
	return false
}

func (s *Server) putEvents(in request) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, failed := []map[string]string{}, 0
	for i, e := range in.Entries {
		if s.Faults.Entry != nil && s.Faults.Entry("PutEvents", i) {
			failed++
			results = append(results, map[string]string{"ErrorCode": "InternalFailure", "ErrorMessage": "try again"})
			continue
		}
		s.events = append(s.events, e.Event)
		results = append(results, map[string]string{"EventId": strconv.Itoa(len(s.events))})
	}
	return map[string]any{"FailedEntryCount": failed, "Entries": results}
}
