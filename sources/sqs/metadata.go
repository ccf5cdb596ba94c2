package sqs

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
)

// detail is what a message tells of itself, as a column.
type detail struct {
	kind   record.Kind
	system string // the name that SQS gives it; "": the message's id
}

func details() map[string]detail {
	return map[string]detail{
		"message_id":         {record.String, ""},
		"receive_count":      {record.Int32, "ApproximateReceiveCount"},
		"sent_at":            {record.Timestamp, "SentTimestamp"},
		"first_received_at":  {record.Timestamp, "ApproximateFirstReceiveTimestamp"},
		"group_id":           {record.String, "MessageGroupId"},
		"sequence_number":    {record.String, "SequenceNumber"},
		"sender_id":          {record.String, "SenderId"},
		"dead_letter_source": {record.String, "DeadLetterQueueSourceArn"},
	}
}

func metadataNames() []string { return slices.Sorted(maps.Keys(details())) }

// attributePrefix stands before the name of an attribute that the sender gave.
const attributePrefix = "attribute:"

func metadataKind(what string) (record.Kind, bool) {
	if name, ok := strings.CutPrefix(what, attributePrefix); ok {
		return record.String, name != ""
	}
	d, ok := details()[what]
	return d.kind, ok
}

// metadata writes the columns that come from the message as members of a row, each with a comma behind it.
type metadata struct {
	columns config.Ordered[string]
	details map[string]detail
}

func (d *metadata) append(dst []byte, m *messaging.Message) []byte {
	for _, c := range d.columns {
		value := d.value(c.Value, m)
		if value == nil {
			continue
		}
		dst = append(append(record.AppendJSONString(dst, c.Name), ':'), value...)
		dst = append(dst, ',')
	}
	return dst
}

// value gives the JSON of one; nil: the message does not tell.
func (d *metadata) value(what string, m *messaging.Message) []byte {
	if name, ok := strings.CutPrefix(what, attributePrefix); ok {
		if text, there := m.Attributes[name]; there {
			return record.AppendJSONString(nil, text)
		}
		return nil
	}
	one := d.details[what]
	if one.system == "" {
		return record.AppendJSONString(nil, m.ID)
	}
	text, there := m.System[one.system]
	if !there {
		return nil
	}
	switch one.kind {
	case record.Int32:
		return strconv.AppendInt(nil, m.Number(one.system), 10)
	case record.Timestamp:
		return record.AppendJSONString(nil, stamp(m.Number(one.system)))
	default:
		return record.AppendJSONString(nil, text)
	}
}

// stamp writes milliseconds since 1970 UTC.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
