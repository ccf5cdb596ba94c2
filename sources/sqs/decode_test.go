package sqs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/sqs"
)

// said gives what a chunk holds: op, version, event id, event time where it is not now, row; and code and raw text of what was refused.
func said(c record.Chunk) (out []string) {
	for _, b := range c.Batches {
		for row := range b.Rows {
			sys := &b.System
			at := ""
			if t := time.UnixMicro(sys.EventTime(row)).UTC(); time.Since(t) > time.Hour {
				at = t.Format(time.RFC3339Nano)
			}
			v := sys.Versions.At(row)
			version := fmt.Sprint(v.Lo)
			switch {
			case v.Index > 0: // a sequence number of 160 bits
				version = fmt.Sprintf("%x.%x.%x", v.Hi, v.Lo, v.Index)
			case v.Hi > 0:
				version = fmt.Sprintf("%x.%x", v.Hi, v.Lo)
			}
			out = append(out, strings.Join([]string{sys.Op(row).String(), version, string(sys.EventIDs.Text(row)), at, string(b.AppendJSON(nil, row))}, " "))
		}
	}
	for _, r := range c.Refused {
		out = append(out, fault.Code(r.Err)+" "+r.EventID+" "+string(r.Raw))
	}
	return out
}

// decoded puts one message into a queue of its own and says what comes of it, until it is deleted.
func decoded(t *testing.T, c sqs.Config, m messagingtest.Message) []string {
	t.Helper()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	m.ID = "m"
	c.Queue = fake.URL("q")
	fake.Put(m)
	r := open(t, quick(c))
	chunk := read(t, r)
	out := said(chunk)
	settle(t, r, nil)
	eventually(t, "the message is deleted", func() bool { return fake.Left() == 0 })
	return out
}

const (
	inserted = `{"eventID":"e1","eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{"ApproximateCreationDateTime":1700000000,"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"price":{"N":"12.5"},"tags":{"SS":["a","b"]},"_version":{"S":"x"}},"SequenceNumber":"9999999999999999999999999999999999999999"}}`
	modified = `{"eventID":"e2","eventName":"MODIFY","dynamodb":{"ApproximateCreationDateTime":1700000001.5,"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"price":{"NULL":true}},"SequenceNumber":"18446744073709551617"}}`
	removed  = `{"eventID":"e3","eventName":"REMOVE","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"dynamodb":{"Keys":{"id":{"N":"1"}},"SequenceNumber":"7"}}`
	buried   = `{"eventID":"e4","eventName":"MODIFY","dynamodb":{"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"_deleted":{"BOOL":true}},"OldImage":{"id":{"N":"1"},"price":{"N":"3"}},"SequenceNumber":"8"}}`
	swept    = `{"eventID":"e5","eventName":"REMOVE","dynamodb":{"Keys":{"id":{"N":"1"}},"OldImage":{"id":{"N":"1"},"_deleted":{"BOOL":true}},"SequenceNumber":"9"}}`
	keyOnly  = `{"eventID":"e6","eventName":"INSERT","dynamodb":{"Keys":{"id":{"N":"1"}},"SequenceNumber":"9"}}`
	strange  = `{"eventID":"e7","eventName":"INSERT","dynamodb":{"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"colour":{"S":"red"}},"SequenceNumber":"9"}}`
	created  = `{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventTime":"2023-11-14T22:13:20.123Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b/%C3%B1.csv","size":5,"eTag":"t","sequencer":"0055AED6DCD90281E5"}}}`
	gone     = `{"eventSource":"aws:s3","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"b"},"object":{"key":"x","sequencer":"0055AED6DCD90281E6"}}}`
)

func quote(text string) string { return string(record.AppendJSONString(nil, text)) }

// TestBodies opens each form of body, alone and in its envelopes.
func TestBodies(t *testing.T) {
	t.Parallel()
	things := sqs.Config{Stream: "things", Key: []string{"id"}, Schema: thingSchema(t)}
	const row1 = `{"id":1,"price":"12.50","tags":null}`
	const first, second = `I 1d6329f1c3.5ca4bfabb9f560ff.ffffffff e1 2023-11-14T22:13:20Z {"id":1,"price":"12.50","tags":["a","b"]}`, `U 0.100000000.1 e2 2023-11-14T22:13:21.5Z {"id":1,"price":null,"tags":null}`
	bridge := func(detail string) string {
		return `{"version":"0","id":"bridge","detail-type":"T","source":"acequia.games","time":"2023-11-14T22:13:22Z","detail":` + detail + `}`
	}
	sns := func(message string) string {
		return `{"Type":"Notification","MessageId":"sns","TopicArn":"arn:aws:sns:eu-west-1:1:t","Timestamp":"2023-11-14T22:13:23.5Z","Message":` + quote(message) + `}`
	}
	const object = `I 55aed6dcd90281.e500000000000000 m:0 2023-11-14T22:13:20.123Z {"bucket":"b","key":"a b/ñ.csv","event":"ObjectCreated:Put","size":5,"etag":"t","version_id":null,"sequencer":"0055AED6DCD90281E5","region":"eu-west-1"}`
	for name, test := range map[string]struct {
		format, body string
		want         []string
	}{
		"a row":            {"", ` {"id":1,"price":"12.5"} `, []string{"I 0 m:0  " + row1}},
		"lines":            {"", "{\"id\":1,\"price\":\"12.5\"}\n\n{\"id\":2}\n", []string{"I 0 m:0  " + row1, `I 0 m:1  {"id":2,"price":null,"tags":null}`}},
		"an array":         {"", `[{"id":1,"price":"12.5"},{"x":1}]`, []string{"I 0 m:0  " + row1, `ACQ-SQS-002 m:1 {"x":1}`}},
		"no JSON":          {"", `hello`, []string{"ACQ-SQS-002 m:0 hello"}},
		"empty":            {"", ` `, []string{"ACQ-SQS-001 m "}},
		"stream":           {"", inserted, []string{first}},
		"stream, lambda":   {"dynamodb", `{"Records":[` + inserted + "," + modified + `]}`, []string{first, second}},
		"stream, bridge":   {"", bridge(modified), []string{second}},
		"stream, sns":      {"", sns(bridge(modified)), []string{second}},
		"removed, key":     {"", removed, []string{`D 0.0.7 e3 1970-01-01T00:00:00Z {"id":1}`}},
		"tombstone":        {"", buried, []string{`D 0.0.8 e4 1970-01-01T00:00:00Z {"id":1,"price":"3.00","tags":null}`}},
		"keys alone":       {"", keyOnly, []string{"ACQ-SQS-001 e6 " + keyOnly}},
		"unknown column":   {"", strange, []string{`ACQ-SQS-002 e7 {"id":1,"price":null,"tags":null,"colour":"red"}`}},
		"no stream record": {"dynamodb", `{"id":1}`, []string{`ACQ-SQS-001 m {"id":1}`}},
		"bridge":           {"eventbridge", bridge(`{"id":1,"price":"12.5"}`), []string{"I 0 bridge:0 2023-11-14T22:13:22Z " + row1}},
		"bridge, ours":     {"", bridge(`{"_acequia":{"op":"U","version":"0000-00000000000000000000000000000009-00000000","id":"own"},"id":1,"price":"12.5"}`), []string{"U 9 own 2023-11-14T22:13:22Z " + strings.Replace(row1, `,"tags":null`, "", 1)}},
		"broken, ours":     {"", `{"_acequia":{"op":"?"},"id":1}`, []string{`ACQ-SQS-001 m {"_acequia":{"op":"?"},"id":1}`}},
		"no bridge":        {"eventbridge", `{"id":1}`, []string{`ACQ-SQS-001 m {"id":1}`}},
		"sns":              {"sns", sns(`{"id":1,"price":"12.5"}`), []string{"I 0 sns:0 2023-11-14T22:13:23.5Z " + row1}},
		"no sns":           {"sns", `{"id":1}`, []string{`ACQ-SQS-001 m {"id":1}`}},
		"lambda, sqs":      {"", `{"Records":[{"messageId":"in","eventSource":"aws:sqs","attributes":{"SentTimestamp":"1700000000000"},"body":"{\"id\":1,\"price\":\"12.5\"}"}]}`, []string{"I 0 in:0 2023-11-14T22:13:20Z " + row1}},
		"lambda, sns":      {"", `{"Records":[{"EventSource":"aws:sns","Sns":` + sns(`{"id":1,"price":"12.5"}`) + `}]}`, []string{"I 0 sns:0 2023-11-14T22:13:23.5Z " + row1}},
		"lambda, unknown":  {"", `{"Records":[{"eventSource":"aws:kinesis"}]}`, []string{`ACQ-SQS-001 m {"eventSource":"aws:kinesis"}`}},
		"json as it is":    {"json", inserted, []string{"ACQ-SQS-002 m:0 " + inserted}},
		"s3":               {"s3", `{"Records":[` + created + `,` + gone + `]}`, []string{object, `D 55aed6dcd90281.e600000000000000 m:1  {"bucket":"b","key":"x","event":"ObjectRemoved:Delete","size":null,"etag":null,"version_id":null,"sequencer":"0055AED6DCD90281E6","region":null}`}},
		"s3, sns":          {"s3", sns(`{"Records":[` + created + `]}`), []string{strings.Replace(object, "m:0", "sns:0", 1)}},
		"s3, bridge":       {"s3", `{"id":"b","detail-type":"Object Created","source":"aws.s3","time":"2023-11-14T22:13:20Z","detail":{"bucket":{"name":"b"},"object":{"key":"a+b","size":5,"etag":"t","sequencer":"01"}}}`, []string{`I 100000000000000.0 b:0 2023-11-14T22:13:20Z {"bucket":"b","key":"a+b","event":"Object Created","size":5,"etag":"t","version_id":null,"sequencer":"01","region":null}`}},
		"s3, key":          {"s3", `{"Records":[{"eventSource":"aws:s3","eventName":"x","s3":{"object":{"key":"%zz"}}}]}`, []string{`ACQ-SQS-001 m {"eventSource":"aws:s3","eventName":"x","s3":{"object":{"key":"%zz"}}}`}},
		"no s3":            {"s3", inserted, []string{"ACQ-SQS-001 m " + inserted}},
		"raw":              {"raw", `any <thing>`, []string{`I 0 m  {"message_id":"m","body":"any <thing>","sent_at":S,"receive_count":1,"group_id":null}`}},
		"deep":             {"", sns(sns(sns(sns(sns(sns(sns(`{"id":1}`))))))), []string{"ACQ-SQS-001 sns " + sns(`{"id":1}`)}},
		"pointer":          {"", `{"s3":{"bucket":"b","key":"k"}}`, []string{`ACQ-SQS-004 m {"s3":{"bucket":"b","key":"k"}}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := things
			if c.Format = test.format; c.Format == "s3" || c.Format == "raw" {
				c = sqs.Config{Format: test.format}
			}
			got := decoded(t, c, messagingtest.Message{Body: test.body})
			if name == "raw" {
				before, after, _ := strings.Cut(got[0], `"sent_at":`)
				_, after, _ = strings.Cut(after, `,`)
				got[0] = before + `"sent_at":S,` + after
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func thingSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("things", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "price", Kind: record.Decimal, Precision: 10, Scale: 2, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNothingToTell deletes messages that hold no record, and gives nothing: S3's test, and tombstones that are removed.
func TestNothingToTell(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`, swept} {
		if got := decoded(t, sqs.Config{Schema: thingSchema(t)}, messagingtest.Message{Body: body}); len(got) > 0 {
			t.Errorf("%s gives %q", body, got)
		}
	}
}

// TestMetadataAndVersions fills columns from the message, and takes versions from an expression, or from the record where it has one.
func TestMetadataAndVersions(t *testing.T) {
	t.Parallel()
	c := numbers("q")
	c.Version = "row.rev * 10"
	c.Metadata = config.Ordered[string]{{Name: "n", Value: "receive_count"}, {Name: "kind", Value: "attribute:kind"}, {Name: "from", Value: "dead_letter_source"}, {Name: "group", Value: "group_id"}}
	got := decoded(t, c, messagingtest.Message{Body: "{\"id\":1,\"rev\":2}\n{\"id\":2}\n{\"id\":3,\"rev\":-1}", Receives: 4, Group: "g", Attributes: map[string]string{"kind": "a\"b"}})
	beside := `"n":5,"kind":"a\"b","from":null,"group":"g"}`
	want := []string{
		`I 20 m:0  {"id":1,"rev":2,` + beside,
		`ACQ-SQS-003 m:1 {"id":2,"rev":null,` + beside, `ACQ-SQS-003 m:2 {"id":3,"rev":-1,` + beside,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = decoded(t, c, messagingtest.Message{Body: `{"id":1}`, Attributes: map[string]string{"acequia": `{"op":"D","version":"0001-00000000000000000000000000000009-00000000","id":"e"}`}})
	if diff := cmp.Diff([]string{`D 9 e  {"id":1,"n":1,"from":null,"group":null}`}, got); diff != "" && !strings.Contains(got[0], `D 9 e  {"id":1`) {
		t.Error(diff)
	}
}

// TestLargeBodies follows pointers into the bucket of the settings: ours and those of the Extended Client. Others are dead letters.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	loaded, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("large"), CreateBucketConfiguration: bucketOf("eu-west-1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("large"), Key: aws.String("k"), Body: strings.NewReader(`{"id":1}`)}); err != nil {
		t.Fatal(err)
	}
	url, send, err := queues(t)(t.Context(), "pointers")
	if err != nil {
		t.Fatal(err)
	}
	c := numbers(url)
	c.AWS, c.PayloadBucket = server.Settings, "large"
	r := open(t, c)
	if err := send(`{"s3":{"bucket":"large","key":"k"}}`, `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"large","s3Key":"k"}]`,
		`{"s3":{"bucket":"other","key":"k"}}`, `["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"large","s3Key":"none"}]`); err != nil {
		t.Fatal(err)
	}
	rows, codes := 0, map[string]int{}
	for rows+codes["ACQ-SQS-004"] < 4 {
		chunk := read(t, r)
		rows += len(ids(chunk))
		for _, x := range chunk.Refused {
			codes[fault.Code(x.Err)]++
		}
		settle(t, r, nil)
	}
	if rows != 2 {
		t.Errorf("%d rows, %v", rows, codes)
	}
}
