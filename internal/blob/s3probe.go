package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Probe does what a lake does, and names each right that is missing. It leaves nothing behind: what it writes is an upload that it
// aborts. there says that something is there already.
func (b *S3) Probe(ctx context.Context) (there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	list, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &b.prefix, MaxKeys: aws.Int32(1), ExpectedBucketOwner: b.owner})
	if err = b.explain(err, "list objects", "s3:ListBucket", ""); err != nil {
		return false, err // the bucket itself may be what is wrong
	}
	name := "_check-" + rand.Text() // a name that no reader of a lake looks at
	_, uploads := b.uploads(ctx, name)
	_, _, read := b.get(ctx, name)
	if errors.Is(read, fs.ErrNotExist) {
		read = nil
	}
	return len(list.Contents) > 0, errors.Join(uploads, read, b.probeUpload(ctx, name))
}

// probeUpload stages a file and gives it up.
func (b *S3) probeUpload(ctx context.Context, name string) error {
	f, err := b.Stage(ctx, name, name)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(name)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.seal(ctx); err != nil {
		return err
	}
	p := f.Publication()
	t, err := parseTicket(p.Upload)
	if err != nil {
		return err
	}
	return errors.Join(b.staged(ctx, p, t), b.Discard(ctx, p))
}
