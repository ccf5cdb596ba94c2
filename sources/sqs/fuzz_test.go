package sqs

import (
	"testing"

	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
)

// FuzzBody opens any body in every format: each row is in a batch or refused, with an id, and nothing else happens.
func FuzzBody(f *testing.F) {
	schema, err := record.NewSchema("things", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "price", Kind: record.Decimal, Precision: 10, Scale: 2, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		`{"id":1,"price":"1.5"}`, "{\"id\":1}\n{\"id\":2}", `[{"id":1},{}]`, `{"_acequia":{"op":"D","version":"0001-00000000000000000000000000000009-00000000"},"id":1}`,
		`{"detail-type":"T","source":"s","id":"e","time":"2023-11-14T22:13:22Z","detail":{"id":1}}`, `{"Type":"Notification","TopicArn":"t","MessageId":"n","Message":"{\"id\":1}"}`,
		`{"Records":[{"eventID":"e","eventName":"MODIFY","dynamodb":{"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"price":{"N":"1e1"},"tags":{"SS":["a"]}},"SequenceNumber":"7"}}]}`,
		`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b","sequencer":"0A"}}}]}`, `{"s3":{"bucket":"b","key":"k"}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, format := range []string{formatAuto, formatJSON, formatStream, formatEvent, formatSNS, formatS3, formatRaw} {
			c := Config{Queue: "q", Format: format, Schema: schema}
			d, err := c.filled().decoder()
			if err != nil {
				t.Fatal(err)
			}
			d.add(&messaging.Message{ID: "m", Body: body})
			chunk, err := d.take()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range chunk.Refused {
				if r.EventID == "" || r.Err == nil {
					t.Errorf("%s: refused %+v", format, r)
				}
			}
			for _, b := range chunk.Batches {
				for row := range b.Rows {
					if len(b.System.EventIDs.Text(row)) == 0 {
						t.Errorf("%s: row %d has no id", format, row)
					}
				}
			}
			chunk.Release()
		}
	})
}
