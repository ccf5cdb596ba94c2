package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// leaseTime is after how long without a sign of life a lock is free, by the clock of S3.
	leaseTime = time.Minute
	leaseBeat = leaseTime / 4
	leaseFree = "free"
)

// TryLock takes a lease: an object that its holder writes again and again, each time only if it is still the one that it wrote
// before. Who finds it too old, by S3's clock alone, takes it over in the same way. A holder that was frozen for longer does not
// know: what it does after that must be fenced by what it writes.
func (b *S3) TryLock(ctx context.Context, name string) (unlock func(), held bool, err error) {
	old, err := b.lease(ctx, name)
	if err != nil || old.held {
		return nil, false, err
	}
	mine := []byte(rand.Text())
	tag, err := b.put(ctx, name, kept{old.tag, ""}, mine)
	if refused(err) || missing(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, b.explain(err, "take lock", "s3:PutObject", name)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() {
		again := time.NewTicker(leaseBeat)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			next, err := b.put(ctx, name, kept{tag, ""}, mine)
			switch {
			case err == nil:
				tag = next
			case refused(err) || missing(err): // it has been taken over
				tag = ""
				return
			}
		}
	})
	return func() {
		cancel()
		all.Wait()
		if tag != "" {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
			defer cancel()
			_, _ = b.put(ctx, name, kept{tag, ""}, []byte(leaseFree)) // else it is free when it is too old
		}
	}, true, nil
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
		return lease{}, fmt.Errorf("%s: the server does not say what time it is", b.place(name))
	}
	return lease{tag: aws.ToString(out.ETag), held: string(text) != leaseFree && now.Sub(*out.LastModified) < leaseTime}, nil
}
