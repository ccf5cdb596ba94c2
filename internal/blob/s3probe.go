package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// CheckS3 says whether files can be written in a place in S3, for people. It leaves nothing behind.
func CheckS3(ctx context.Context, root string, s S3Settings) (found string, err error) {
	return checkS3(ctx, root, s, (*S3).Probe)
}

// CheckS3Small says it of small files that are written at once, which takes fewer rights.
func CheckS3Small(ctx context.Context, root string, s S3Settings) (found string, err error) {
	return checkS3(ctx, root, s, (*S3).probeSmall)
}

// CheckS3Removing says it of a place whose files are removed too.
func CheckS3Removing(ctx context.Context, root string, s S3Settings) (found string, err error) {
	return checkS3(ctx, root, s, func(b *S3, ctx context.Context) (bool, error) {
		there, err := b.Probe(ctx)
		if err != nil {
			return false, err
		}
		return there, b.Remove(ctx, "_check-"+rand.Text()) // which is not there: S3 asks for the right all the same, and removes nothing
	})
}

func checkS3(ctx context.Context, root string, s S3Settings, probe func(b *S3, ctx context.Context) (bool, error)) (found string, err error) {
	b, err := OpenS3(ctx, root, s)
	if err != nil {
		return "", err
	}
	there, err := probe(b, ctx)
	if err != nil {
		return "", err
	}
	if there {
		return root + " can be written, and holds something", nil
	}
	return root + " can be written, and is empty", nil
}

// Ping asks for one name: whether the bucket is there, and lets this process in.
func (b *S3) Ping(ctx context.Context) error {
	_, err := b.holds(ctx)
	return err
}

// holds says whether there is anything.
func (b *S3) holds(ctx context.Context) (bool, error) {
	list, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &b.prefix, MaxKeys: aws.Int32(1), ExpectedBucketOwner: b.owner})
	if err != nil {
		return false, b.explain(err, "list objects", "s3:ListBucket", "")
	}
	return len(list.Contents) > 0, nil
}

// noTag is a condition that no object meets: what is written under it is refused, by who may write for want of the object.
const noTag = `"00000000000000000000000000000000"`

// probeSmall does what Update does.
func (b *S3) probeSmall(ctx context.Context) (there bool, err error) {
	if there, err = b.holds(ctx); err != nil {
		return false, err // the bucket itself may be what is wrong
	}
	name := "_check-" + rand.Text()
	_, _, read := b.get(ctx, name)
	if errors.Is(read, fs.ErrNotExist) {
		read = nil
	}
	_, write := b.put(ctx, name, kept{tag: noTag}, nil)
	switch {
	case write == nil: // by a server that knows no conditions
		write = b.Remove(ctx, name)
	case refused(write), missing(write):
		write = nil
	}
	return there, errors.Join(read, b.explain(write, "write object", "s3:PutObject", name))
}

// Probe does what a lake does, and names each right that is missing. It leaves nothing behind: what it writes is an upload that it
// aborts. there says that something is there already.
func (b *S3) Probe(ctx context.Context) (there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if there, err = b.holds(ctx); err != nil {
		return false, err // the bucket itself may be what is wrong
	}
	name := "_check-" + rand.Text() // a name that no reader of a lake looks at
	_, uploads := b.uploads(ctx, name)
	_, _, read := b.get(ctx, name)
	if errors.Is(read, fs.ErrNotExist) {
		read = nil
	}
	return there, errors.Join(uploads, read, b.probeUpload(ctx, name))
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
