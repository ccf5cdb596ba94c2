package messaging

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// RecordAttribute is the name of the attribute in which sinks/sqs tells what is known of a row beside its columns. It is one, for a
// message has ten at most.
const RecordAttribute = "acequia"

// RecordInfo is what is known of a row beside its columns.
type RecordInfo struct {
	Op      record.Op
	Version record.Version
	ID      string // of the event; "": it has none
	Source  string // where the record came from
}

type recordInfo struct {
	Op      string `json:"op"`
	Version string `json:"version"`
	ID      string `json:"id,omitempty"`
	Source  string `json:"source,omitempty"`
}

// InfoOf is what a batch knows of a row.
func InfoOf(b *record.Batch, row int) RecordInfo {
	sys := &b.System
	i := RecordInfo{Op: sys.Op(row), Version: sys.Versions.At(row), Source: sys.Source}
	if len(sys.EventIDs.Offsets) > 0 && sys.EventIDs.IsValid(row) {
		i.ID = string(sys.EventIDs.Text(row))
	}
	return i
}

// infoMember is the name of the member of a row in which sinks/eventbridge tells the same: an event has no attributes.
const infoMember = "_acequia"

// AppendTo puts what is known of a row before its columns.
func (i RecordInfo) AppendTo(object []byte) []byte {
	out := append(append([]byte(`{"`+infoMember+`":`), i.String()...), ',')
	return append(bytes.TrimSuffix(out, bytes.Repeat([]byte{','}, map[bool]int{true: 1}[len(object) == len("{}")])), object[1:]...)
}

// TakeInfo takes what is known of a row out of it. there is false of a row that does not tell.
func TakeInfo(object []byte) (info RecordInfo, rest []byte, there bool, err error) {
	if !bytes.Contains(object, []byte(`"`+infoMember+`"`)) {
		return info, object, false, nil
	}
	rest = []byte{'{'}
	err = record.EachMember(object, func(name []byte, kind record.JSONKind, text []byte) (err error) {
		if string(name) == infoMember && kind == record.JSONObject {
			there = true
			info, err = ParseRecordInfo(string(text))
			return err
		}
		rest = append(record.AppendJSONString(rest, name), ':')
		if kind == record.JSONString {
			rest = record.AppendJSONString(rest, text)
		} else {
			rest = append(rest, text...)
		}
		rest = append(rest, ',')
		return nil
	})
	if err != nil || !there {
		return info, object, false, err
	}
	return info, append(bytes.TrimSuffix(rest, []byte{','}), '}'), true, nil
}

// String is the value of the attribute.
func (i RecordInfo) String() string {
	text, err := json.Marshal(recordInfo{Op: i.Op.String(), Version: i.Version.String(), ID: i.ID, Source: i.Source})
	if err != nil { // texts always can be
		return ""
	}
	return string(text)
}

// ParseRecordInfo reads the value of the attribute.
func ParseRecordInfo(text string) (RecordInfo, error) {
	var in recordInfo
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return RecordInfo{}, fmt.Errorf("attribute %s: %w", RecordAttribute, err)
	}
	v, err := record.ParseVersion(in.Version)
	if err != nil {
		return RecordInfo{}, fmt.Errorf("attribute %s: %w", RecordAttribute, err)
	}
	if len(in.Op) != 1 || !record.Op(in.Op[0]).Valid() || record.Op(in.Op[0]) == record.Truncate {
		return RecordInfo{}, fmt.Errorf("attribute %s: %q is no operation of a row", RecordAttribute, in.Op)
	}
	return RecordInfo{Op: record.Op(in.Op[0]), Version: v, ID: in.ID, Source: in.Source}, nil
}
