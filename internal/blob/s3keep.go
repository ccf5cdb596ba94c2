package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/fault"
)

const (
	updateTries = 20
	updatePause = 50 * time.Millisecond // grows with each try
)

// Update changes an object if it is still the one that was read, and reads it again if it is not
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
func (b *S3) Update(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	var tried string // the token of the last write
	for try := range updateTries {
		old, now, err := b.get(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if tried != "" && now.token == tried {
			return nil // it was written, and the answer was lost
		}
		next, err := change(old)
		if err != nil || next == nil {
			return err
		}
		tried = rand.Text()
		if _, err = b.put(ctx, name, kept{now.tag, tried}, next); err == nil {
			return nil
		}
		if !refused(err) && !missing(err) { // missing: it was removed in between
			return b.explain(err, "write object", "s3:PutObject", name)
		}
		if err := pause(ctx, updatePause*time.Duration(try+1)); err != nil {
			return err
		}
	}
	return fault.Retry(fmt.Errorf("write %s: others wrote it each time", b.place(name)))
}

// pause waits for half of the time to all of it, so that two do not meet again.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + mathrand.N(d/2)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kept is the state of a small object: the tag that S3 gives its content, and the token of who wrote it.
type kept struct{ tag, token string }

// put writes an object, with a token, if it has the tag; without one, if there is none. It gives the new tag.
func (b *S3) put(ctx context.Context, name string, k kept, content []byte) (string, error) {
	in := &s3.PutObjectInput{
		Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner, Body: bytes.NewReader(content),
		ServerSideEncryption: b.sse, SSEKMSKeyId: b.key, BucketKeyEnabled: b.bucketKey(), IfNoneMatch: aws.String("*"),
	}
	if k.token != "" {
		in.Metadata = map[string]string{uploadKey: k.token}
	}
	if k.tag != "" {
		in.IfNoneMatch, in.IfMatch = nil, &k.tag
	}
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// atATime is how many objects one request may delete.
const atATime = 1000

// Remove deletes objects.
func (b *S3) Remove(ctx context.Context, names ...string) error {
	for len(names) > 0 {
		now := names[:min(atATime, len(names))]
		names = names[len(now):]
		var which types.Delete
		for _, name := range now {
			which.Objects = append(which.Objects, types.ObjectIdentifier{Key: b.keyOf(name)})
		}
		which.Quiet = aws.Bool(true)
		out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.bucket, Delete: &which, ExpectedBucketOwner: b.owner})
		if err != nil {
			return b.explain(err, "delete objects", "s3:DeleteObject", now[0])
		}
		for _, e := range out.Errors { // the request has succeeded all the same
			err := fmt.Errorf("delete object (s3:DeleteObject): %s: %s", aws.ToString(e.Code), aws.ToString(e.Message))
			if code := aws.ToString(e.Code); code == "InternalError" || code == "SlowDown" {
				err = fault.Retry(err)
			}
			return &fault.Error{Class: fault.Of(err), Code: "ACQ-AWS-005", Place: "s3://" + b.bucket + "/" + aws.ToString(e.Key), Err: err, Remedy: "give the role the right that is named, on this resource"}
		}
	}
	return nil
}

// SyncFolder does nothing: what S3 has answered is durable.
func (b *S3) SyncFolder(string) error { return nil }
