package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// leaseFree is in a lock that was let go.
const leaseFree = "free"

// TryLock takes a lease: an object that its holder writes again and again, each time only if it is still the one that it wrote
// before. Who finds it too old, by S3's clock alone, takes it over in the same way. Nobody has it while somebody shares it: who takes it
// looks then for those, and they look for it, so that one of the two sees the other.
func (b *S3) TryLock(ctx context.Context, name string) (unlock func(), held bool, err error) {
	if live, _, err := b.sharers(ctx, name); err != nil || live {
		return nil, false, err // else a short look of one would keep those out that share
	}
	old, err := b.lease(ctx, name)
	if err != nil || old.held {
		return nil, false, err
	}
	unlock, err = b.hold(ctx, name, old.tag, func(ctx context.Context, tag string) {
		_, _ = b.put(ctx, name, kept{tag, ""}, []byte(leaseFree)) // else it is free when it is too old
	})
	if unlock == nil {
		return nil, false, err
	}
	live, gone, err := b.sharers(ctx, name)
	if err == nil {
		err = b.Remove(ctx, gone...)
	}
	if err != nil || live {
		unlock()
		return nil, false, err
	}
	return unlock, true, nil
}

// TryShare has an object of its own in the folder of those that share a lock, and writes it again as a lease.
func (b *S3) TryShare(ctx context.Context, name string) (unlock func(), held bool, err error) {
	if other, err := b.lease(ctx, name); err != nil || other.held {
		return nil, false, err // who waits for it writes nothing
	}
	mine := sharersOf(name) + rand.Text()
	unlock, err = b.hold(ctx, mine, "", func(ctx context.Context, tag string) {
		if b.Remove(ctx, mine) != nil { // the right to delete may be another role's
			_, _ = b.put(ctx, mine, kept{tag, ""}, nil)
		}
	})
	if unlock == nil {
		return nil, false, err
	}
	other, err := b.lease(ctx, name)
	if err != nil || other.held {
		unlock()
		return nil, false, err
	}
	return unlock, true, nil
}

// sharersOf is the folder of those that share a lock.
func sharersOf(name string) string { return name + ".shared/" }

// sharers says whether anybody shares a lock, and gives what those have left that do not any more. An empty object is of one that let go.
func (b *S3) sharers(ctx context.Context, name string) (live bool, gone []string, err error) {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: b.keyOf(sharersOf(name)), ExpectedBucketOwner: b.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, nil, b.explain(err, "list who shares a lock", "s3:ListBucket", name)
		}
		now, ok := awsmiddleware.GetServerTime(page.ResultMetadata)
		if !ok {
			return false, nil, b.timeless(name)
		}
		for _, o := range page.Contents {
			if aws.ToInt64(o.Size) > 0 && now.Sub(aws.ToTime(o.LastModified)) < leaseTime {
				live = true
				continue
			}
			gone = append(gone, strings.TrimPrefix(aws.ToString(o.Key), b.prefix))
		}
	}
	return live, gone, nil
}

// hold writes an object, in the place of the one with the tag if there is one, and again and again until unlock is called, which ends with
// free, unless somebody else has written it since. No unlock and no error: it was not there as expected.
func (b *S3) hold(ctx context.Context, name, old string, free func(ctx context.Context, tag string)) (unlock func(), err error) {
	mine := []byte(rand.Text())
	tag, err := b.put(ctx, name, kept{old, ""}, mine)
	if refused(err) || missing(err) {
		return nil, nil //nolint:nilnil // said above
	}
	if err != nil {
		return nil, b.explain(err, "take lock", "s3:PutObject", name)
	}
	stop := keepBeating(ctx, func(ctx context.Context) (lost bool) {
		next, err := b.put(ctx, name, kept{tag, ""}, mine)
		switch {
		case err == nil:
			tag = next
		case refused(err) || missing(err): // it has been taken over
			tag, lost = "", true
		}
		return lost
	})
	return func() {
		stop()
		if tag != "" {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
			defer cancel()
			free(ctx, tag)
		}
	}, nil
}

type lease struct {
	tag  string // "": there is none
	held bool
}

func (b *S3) lease(ctx context.Context, name string) (lease, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner})
	if err = b.explain(err, "read lock", "s3:GetObject, s3:ListBucket", name); errors.Is(err, fs.ErrNotExist) {
		return lease{}, nil
	}
	if err != nil {
		return lease{}, err
	}
	text, err := io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return lease{}, b.explain(err, "read lock", "s3:GetObject", name)
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok || out.LastModified == nil {
		return lease{}, b.timeless(name)
	}
	return lease{tag: aws.ToString(out.ETag), held: string(text) != leaseFree && now.Sub(*out.LastModified) < leaseTime}, nil
}

func (b *S3) timeless(name string) error {
	return fmt.Errorf("%s: the server does not say what time it is", b.place(name))
}
