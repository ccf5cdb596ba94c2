package sqs

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/record"
)

// object is what S3 tells of one: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html.
type object struct {
	Bucket    string  `json:"bucket"`
	Key       string  `json:"key"`
	Event     string  `json:"event"`
	Size      *int64  `json:"size"`
	ETag      *string `json:"etag"`
	VersionID *string `json:"version_id"`
	Sequencer *string `json:"sequencer"`
	Region    *string `json:"region"`
}

// objectFields are the columns of format s3.
func objectFields() []record.Field {
	text := func(name string) record.Field { return record.Field{Name: name, Kind: record.String, Nullable: true} }
	return []record.Field{
		{Name: "bucket", Kind: record.String},
		{Name: "key", Kind: record.String},
		{Name: "event", Kind: record.String},
		{Name: "size", Kind: record.Int64, Nullable: true},
		text("etag"),
		text("version_id"),
		text("sequencer"),
		text("region"),
	}
}

// rawFields are the columns of format raw.
func rawFields() []record.Field {
	return []record.Field{
		{Name: "message_id", Kind: record.String},
		{Name: "body", Kind: record.String},
		{Name: "sent_at", Kind: record.Timestamp, Nullable: true},
		{Name: "receive_count", Kind: record.Int32, Nullable: true},
		{Name: "group_id", Kind: record.String, Nullable: true},
	}
}

// object takes an event of S3.
func (o *opener) object(at envelope, raw []byte, read func(op *record.Op, out *object) error) {
	if o.format == formatStream {
		o.bad(at, raw, errNoStream)
		return
	}
	r := row{op: record.Insert, id: o.next(at), at: at.at}
	var out object
	err := read(&r.op, &out)
	if err == nil {
		r.version, r.own, err = sequenced(out.Sequencer)
	}
	if err == nil {
		r.at = eventTime(raw, r.at)
		r.object, err = json.Marshal(&out)
	}
	if err != nil {
		o.bad(at, raw, err)
		return
	}
	o.rows = append(o.rows, r)
}

func eventTime(raw []byte, then int64) int64 {
	var t struct {
		At time.Time `json:"eventTime"`
	}
	if json.Unmarshal(raw, &t) == nil && !t.At.IsZero() {
		return t.At.UnixMicro()
	}
	return then
}

// objectOfS3 reads a record of a notification, whose key is written as in a URL.
func objectOfS3(text []byte, op *record.Op, out *object) error {
	var in struct {
		Region *string `json:"awsRegion"`
		Name   string  `json:"eventName"`
		S3     struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key       string  `json:"key"`
				Size      *int64  `json:"size"`
				ETag      *string `json:"eTag"`
				VersionID *string `json:"versionId"`
				Sequencer *string `json:"sequencer"`
			} `json:"object"`
		} `json:"s3"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	key, err := url.QueryUnescape(in.S3.Object.Key)
	if err != nil {
		return fmt.Errorf("key %q: %w", in.S3.Object.Key, err)
	}
	if strings.HasPrefix(in.Name, "ObjectRemoved:") || strings.HasPrefix(in.Name, "LifecycleExpiration:") {
		*op = record.Delete
	}
	x := in.S3.Object
	*out = object{Bucket: in.S3.Bucket.Name, Key: key, Event: in.Name, Size: x.Size, ETag: x.ETag, VersionID: x.VersionID, Sequencer: x.Sequencer, Region: in.Region}
	return nil
}

// objectOfBridge reads the detail of S3's events in EventBridge, whose key is as it is.
func objectOfBridge(detailType string, text []byte, op *record.Op, out *object) error {
	var in struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key       string  `json:"key"`
			Size      *int64  `json:"size"`
			ETag      *string `json:"etag"`
			VersionID *string `json:"version-id"`
			Sequencer *string `json:"sequencer"`
		} `json:"object"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	if detailType == "Object Deleted" {
		*op = record.Delete
	}
	x := in.Object
	*out = object{Bucket: in.Bucket.Name, Key: x.Key, Event: detailType, Size: x.Size, ETag: x.ETag, VersionID: x.VersionID, Sequencer: x.Sequencer}
	return nil
}

// sequencerDigits are those of the longest that a version can hold.
const sequencerDigits = 32

// sequenced makes a version of the sequencer of an event of S3: of two of one key the later has the greater text, the shorter one
// being padded with zeros on its right.
func sequenced(text *string) (v record.Version, own bool, err error) {
	if text == nil || *text == "" {
		return v, false, nil
	}
	if len(*text) > sequencerDigits {
		return v, false, fmt.Errorf("the sequencer %q has more than %d digits", *text, sequencerDigits)
	}
	digits := *text + strings.Repeat("0", sequencerDigits-len(*text))
	if v.Hi, err = strconv.ParseUint(digits[:16], 16, 64); err == nil {
		v.Lo, err = strconv.ParseUint(digits[16:], 16, 64)
	}
	if err != nil {
		return record.Version{}, false, fmt.Errorf("the sequencer %q is not hexadecimal", *text)
	}
	return v, true, nil
}
