package messaging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// MostPayload is the largest body that is fetched from S3.
const MostPayload = 64 << 20

// Pointer is where a body stands that was too large for a message.
type Pointer struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
}

// String names the object.
func (p Pointer) String() string { return "s3://" + p.Bucket + "/" + p.Key }

// Body is the message that stands for the object.
func (p Pointer) Body() ([]byte, error) {
	return json.Marshal(struct {
		S3 Pointer `json:"s3"`
	}{p})
}

// pointerClasses are the names under which the Extended Client of AWS writes its pointers:
// https://github.com/awslabs/payload-offloading-java-common-lib-for-aws.
var pointerClasses = []string{"software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"} //nolint:gochecknoglobals // constant

// PointerOf reads a body that is a pointer and nothing else: {"s3":{"bucket":B,"key":K}}, or that of the Extended Client.
func PointerOf(body []byte) (Pointer, bool) {
	text := strings.TrimSpace(string(body[:min(len(body), maxPointer)]))
	switch {
	case len(body) > maxPointer:
	case strings.HasPrefix(text, "{"):
		var whole map[string]json.RawMessage
		var p Pointer
		if json.Unmarshal(body, &whole) == nil && len(whole) == 1 && json.Unmarshal(whole["s3"], &p) == nil && p.Bucket != "" && p.Key != "" {
			return p, true
		}
	case strings.HasPrefix(text, "["):
		var whole []json.RawMessage
		if json.Unmarshal(body, &whole) != nil || len(whole) != 2 {
			break
		}
		var class string
		var p struct {
			Bucket string `json:"s3BucketName"`
			Key    string `json:"s3Key"`
		}
		if json.Unmarshal(whole[0], &class) != nil || class != pointerClasses[0] && class != pointerClasses[1] {
			break
		}
		if json.Unmarshal(whole[1], &p) == nil && p.Bucket != "" && p.Key != "" {
			return Pointer(p), true
		}
	}
	return Pointer{}, false
}

// maxEnvelope is longer than any envelope with a pointer in it.
const maxEnvelope = 64 << 10

// Unfold puts the body in for a pointer, and for one that stands in an envelope of EventBridge or SNS. A body without any is given back
// as it is.
func Unfold(body []byte, get func(Pointer) ([]byte, error)) (unfolded []byte, found bool, err error) {
	if !bytes.Contains(body, []byte("s3")) { // as all pointers do; most bodies need not be read for it
		return body, false, nil
	}
	if p, is := PointerOf(body); is {
		unfolded, err = get(p)
		return unfolded, true, err
	}
	if len(body) > maxEnvelope || body[0] != '{' {
		return body, false, nil
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(body, &outer) != nil {
		return body, false, nil //nolint:nilerr // it is no envelope then
	}
	var inner []byte
	switch {
	case outer["detail-type"] != nil && outer["detail"] != nil:
		if inner, found, err = Unfold(outer["detail"], get); found && err == nil {
			outer["detail"] = inner
		}
	case outer["TopicArn"] != nil && outer["Message"] != nil:
		var text string
		if json.Unmarshal(outer["Message"], &text) != nil || text == "" {
			break
		}
		if inner, found, err = Unfold([]byte(text), get); found && err == nil {
			outer["Message"], err = json.Marshal(string(inner))
		}
	}
	if !found || err != nil {
		return body, found, err
	}
	if unfolded, err = json.Marshal(outer); err != nil {
		return body, true, fault.Poisoned(fmt.Errorf("put a large body into its envelope: %w", err))
	}
	return unfolded, true, nil
}

// maxPointer is longer than any: a key has 1,024 bytes, each of them escaped at most.
const maxPointer = 8 << 10

// Payloads is a bucket in which large bodies stand.
type Payloads struct {
	client *s3.Client
	bucket string
	idle   func()
}

// OpenPayloads takes a bucket.
func OpenPayloads(ctx context.Context, bucket string, at awsconfig.Settings) (*Payloads, error) {
	c, err := awsconfig.Load(ctx, at)
	if err != nil {
		return nil, err
	}
	idle := awsconfig.Connections(&c, connections, answerTime)
	return &Payloads{bucket: bucket, idle: idle, client: s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = at.Endpoint != "" })}, nil
}

// Close ends the connections, when nobody calls any more.
func (p *Payloads) Close() {
	if p != nil {
		p.idle()
	}
}

// Put keeps a body under a key.
func (p *Payloads) Put(ctx context.Context, key string, body []byte) (Pointer, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := p.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &p.bucket, Key: &key, Body: strings.NewReader(string(body)), ContentType: aws.String("application/json")})
	at := Pointer{Bucket: p.bucket, Key: key}
	return at, awsconfig.Explain(err, "keep a large body (s3:PutObject)", at.String())
}

// Get fetches what a pointer names. A pointer that leads elsewhere than to the bucket, to nothing, or to more than MostPayload is
// poison: who may send messages must not choose what is read.
func (p *Payloads) Get(ctx context.Context, at Pointer) ([]byte, error) {
	if p == nil || at.Bucket != p.bucket {
		return nil, badPointer(at, errors.New("its bucket is not the one of the settings"), "set payload_bucket to "+at.Bucket+", if its senders are trusted")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := p.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &p.bucket, Key: &at.Key})
	if awsconfig.Code(err) == "NoSuchKey" || awsconfig.Status(err) == http.StatusNotFound {
		return nil, badPointer(at, errors.New("there is no such object"), "see that the objects are kept longer than the messages")
	}
	if err != nil {
		return nil, awsconfig.Explain(err, "fetch a large body (s3:GetObject)", at.String())
	}
	defer func() { _ = out.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(out.Body, MostPayload+1))
	switch {
	case err != nil:
		return nil, fault.Retry(fmt.Errorf("fetch %s: %w", at, err))
	case len(body) > MostPayload:
		return nil, badPointer(at, fmt.Errorf("it has more than %d MiB", MostPayload>>20), "send smaller bodies")
	}
	return body, nil
}

func badPointer(at Pointer, err error, remedy string) error {
	return &fault.Error{Class: fault.Poison, Code: "ACQ-SQS-004", Place: at.String(), Err: fmt.Errorf("fetch a large body: %w", err), Remedy: remedy}
}
