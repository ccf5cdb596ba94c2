package sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
)

// row is one record as a body holds it.
type row struct {
	op      record.Op
	version record.Version
	own     bool   // the version is the record's own: no expression gives it another
	id      string // of the event, the same whenever it comes again
	at      int64  // when it happened, in microseconds since 1970 UTC
	object  []byte // its columns, as Batch.AppendJSON writes them
	partial bool   // columns that it lacks were not sent, but for those of the key
}

// envelope is what an enclosing one tells of what is in it.
type envelope struct {
	id    string
	at    int64
	depth int
}

// deepest is how many envelopes stand in each other: Lambda, SNS and EventBridge, twice.
const deepest = 6

var (
	errDeep     = errors.New("too many envelopes stand in each other")
	errNotJSON  = errors.New("the body is no JSON object, and no lines or array of them")
	errNoEvent  = errors.New("the body is no event of EventBridge")
	errNoSNS    = errors.New("the body is no notification of SNS")
	errNoStream = errors.New("the body holds no record of a DynamoDB stream")
	errNoObject = errors.New("the body holds no event of S3")
	errNoRecord = errors.New("it is no record that is known: want eventSource aws:sqs, aws:sns, aws:s3 or aws:dynamodb")
)

// opener takes bodies apart.
type opener struct {
	format string
	images *images
	rows   []row
	bad    func(at envelope, raw []byte, err error)
	count  int // of the rows of the message, for the ids of those that have none
}

// members are those of a JSON object by which an envelope is known. Names are exact: rows may have any of them in small letters.
type members struct {
	notification, topic, message, snsID, stamp []byte // of SNS
	detailType, source, id, time, detail       []byte // of EventBridge
	records                                    []byte // of Lambda and S3
	eventName, image                           []byte // of a record of a stream
	event                                      []byte // of S3's test
	eventSource, body, sqsID, attributes, sns  []byte // of a record of Lambda
	s3                                         []byte // of an event of S3
}

func membersOf(object []byte) (m members, err error) {
	err = record.EachMember(object, func(name []byte, kind record.JSONKind, text []byte) error {
		var into *[]byte
		switch kind {
		case record.JSONString:
			into = m.text(string(name))
		case record.JSONObject:
			into = m.object(string(name))
		case record.JSONArray:
			if string(name) == "Records" {
				into = &m.records
			}
		default:
		}
		if into != nil {
			*into = bytes.Clone(text)
		}
		return nil
	})
	return m, err
}

func (m *members) text(name string) *[]byte {
	switch name {
	case "Type":
		return &m.notification
	case "TopicArn":
		return &m.topic
	case "Message":
		return &m.message
	case "MessageId":
		return &m.snsID
	case "Timestamp":
		return &m.stamp
	case "detail-type":
		return &m.detailType
	case "source":
		return &m.source
	case "id":
		return &m.id
	case "time":
		return &m.time
	case "eventName":
		return &m.eventName
	case "Event":
		return &m.event
	case "eventSource", "EventSource":
		return &m.eventSource
	case "body":
		return &m.body
	case "messageId":
		return &m.sqsID
	}
	return nil
}

func (m *members) object(name string) *[]byte {
	switch name {
	case "detail":
		return &m.detail
	case "dynamodb":
		return &m.image
	case "attributes":
		return &m.attributes
	case "Sns":
		return &m.sns
	case "s3":
		return &m.s3
	}
	return nil
}

// open gives the rows of a body, or says which of it is none.
func (o *opener) open(at envelope, body []byte) {
	if o.format == formatJSON {
		o.plain(at, body)
		return
	}
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) == 0 || trimmed[0] != '{' {
		o.inner(at, trimmed)
		return
	}
	m, err := membersOf(trimmed)
	if at.depth++; at.depth > deepest {
		o.bad(at, body, errDeep)
		return
	}
	switch {
	case err != nil:
		o.inner(at, trimmed)
	case m.notification != nil && m.topic != nil:
		o.notification(at, body, &m)
	case m.detailType != nil && m.source != nil && m.detail != nil:
		o.event(at, body, &m)
	case m.image != nil && m.eventName != nil:
		o.stream(at, trimmed)
	case m.records != nil:
		o.records(at, m.records)
	case string(m.event) == "s3:TestEvent": // S3 sends it when notifications are set up: it says nothing
	default:
		o.inner(at, trimmed)
	}
}

// inner takes a body that is no envelope.
func (o *opener) inner(at envelope, body []byte) {
	switch o.format {
	case formatEvent:
		o.bad(at, body, errNoEvent)
	case formatSNS:
		o.bad(at, body, errNoSNS)
	case formatStream:
		o.bad(at, body, errNoStream)
	case formatS3:
		o.bad(at, body, errNoObject)
	default:
		o.plain(at, body)
	}
}

// plain takes an object, an array of them, or one a line. An object that stands on several lines is alone.
func (o *opener) plain(at envelope, body []byte) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		o.bad(at, body, errNotJSON)
	case body[0] == '[':
		var all []json.RawMessage
		if err := json.Unmarshal(body, &all); err != nil {
			o.bad(at, body, fmt.Errorf("%w: %w", errNotJSON, err))
			return
		}
		for _, one := range all {
			o.row(at, one)
		}
	default:
		first, _, several := bytes.Cut(body, []byte{'\n'})
		if !several || !json.Valid(first) {
			o.row(at, body)
			return
		}
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				o.row(at, line)
			}
		}
	}
}

func (o *opener) row(at envelope, object []byte) {
	r := row{op: record.Insert, id: o.next(at), at: at.at}
	info, rest, there, err := messaging.TakeInfo(object)
	if err != nil {
		o.bad(at, object, err)
		return
	}
	if r.object = rest; there {
		r.tell(info)
	}
	o.rows = append(o.rows, r)
}

// tell puts in what a sink of acequia told beside the row.
func (r *row) tell(of messaging.RecordInfo) {
	r.op, r.version, r.own, r.partial = of.Op, of.Version, true, true
	if of.ID != "" {
		r.id = of.ID
	}
}

// next numbers the rows of a message that have no id of their own.
func (o *opener) next(at envelope) string {
	o.count++
	return at.id + ":" + strconv.Itoa(o.count-1)
}

// notification opens what SNS sends where raw delivery is off:
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
func (o *opener) notification(at envelope, body []byte, m *members) {
	if string(m.notification) != "Notification" || m.message == nil {
		o.bad(at, body, errNoSNS)
		return
	}
	at.id, at.at = orOld(m.snsID, at.id), orThen(m.stamp, at.at)
	if o.format == formatSNS {
		o.plain(at, m.message)
		return
	}
	o.open(at, m.message)
}

// event opens what EventBridge sends: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html.
func (o *opener) event(at envelope, body []byte, m *members) {
	at.id, at.at = orOld(m.id, at.id), orThen(m.time, at.at)
	if string(m.source) == "aws.s3" && o.format != formatEvent {
		o.object(at, body, func(op *record.Op, out *object) error { return objectOfBridge(string(m.detailType), m.detail, op, out) })
		return
	}
	if o.format == formatEvent {
		o.plain(at, m.detail)
		return
	}
	o.open(at, m.detail)
}

// records opens an event of Lambda, or of S3, which has the same form.
func (o *opener) records(at envelope, array []byte) {
	var all []json.RawMessage
	if err := json.Unmarshal(array, &all); err != nil {
		o.bad(at, array, err)
		return
	}
	for _, one := range all {
		m, err := membersOf(one)
		switch {
		case err != nil:
			o.bad(at, one, err)
		case m.image != nil && m.eventName != nil:
			o.stream(at, one)
		case m.s3 != nil && m.eventName != nil:
			o.object(at, one, func(op *record.Op, out *object) error { return objectOfS3(one, op, out) })
		case m.sns != nil:
			if inner, err := membersOf(m.sns); err != nil {
				o.bad(at, one, err)
			} else {
				o.notification(at, one, &inner)
			}
		case m.body != nil && string(m.eventSource) == "aws:sqs":
			var sent struct{ SentTimestamp string }
			if json.Unmarshal(m.attributes, &sent) == nil {
				message := messaging.Message{System: map[string]string{"SentTimestamp": sent.SentTimestamp}}
				if ms := message.Sent(); ms > 0 {
					at.at = ms
				}
			}
			inner := at
			inner.id = orOld(m.sqsID, at.id)
			o.open(inner, m.body)
		default:
			o.bad(at, one, errNoRecord)
		}
	}
}

// stream takes a record of a DynamoDB stream.
func (o *opener) stream(at envelope, text []byte) {
	if o.format == formatS3 {
		o.bad(at, text, errNoObject)
		return
	}
	r, given, err := o.images.row(text)
	if err != nil {
		if r.id != "" {
			at.id, at.at = r.id, r.at
		}
		o.bad(at, text, err)
		return
	}
	if given {
		o.rows = append(o.rows, r)
	}
}

func orOld(id []byte, old string) string {
	if len(id) == 0 {
		return old
	}
	return string(id)
}

func orThen(text []byte, old int64) int64 {
	if t, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
		return t.UnixMicro()
	}
	return old
}
