package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Publish looks whether every upload is there, and completes each unless its name is taken. It may be repeated, by any process,
// also after it stopped half-way.
func (b *S3) Publish(ctx context.Context, files []Publication) error {
	tickets := make([]ticket, len(files))
	for i, f := range files {
		var err error
		if tickets[i], err = parseTicket(f.Upload); err != nil {
			return fault.Stop(fmt.Errorf("publish %s: %w", b.place(f.Final), err))
		}
	}
	if len(files) > 1 { // a group of which a part is gone can be taken back only as long as none of it can be seen
		if err := b.present(ctx, files, tickets); err != nil {
			return err
		}
	}
	var work workers
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return errors.Join(fmt.Errorf("publish: %w", err), work.wait())
		}
		if work.do(func() error { return b.complete(ctx, f, tickets[i]) }) != nil {
			break
		}
	}
	return work.wait()
}

// present says whether each file is staged or published. A list of uploads is one request for all of a group.
func (b *S3) present(ctx context.Context, files []Publication, tickets []ticket) error {
	uploads, err := b.uploads(ctx, commonPrefix(files))
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, u := range uploads {
		there[aws.ToString(u.UploadId)] = true
	}
	var work workers
	for i, f := range files {
		if there[tickets[i].id] {
			continue
		}
		if work.do(func() error {
			found, err := b.published(ctx, f, tickets[i])
			if found || err != nil {
				return err
			}
			return b.staged(ctx, f, tickets[i])
		}) != nil {
			break
		}
	}
	return work.wait()
}

// staged asks for one upload.
func (b *S3) staged(ctx context.Context, f Publication, t ticket) error {
	_, err := b.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &b.bucket, Key: b.keyOf(f.Final), UploadId: &t.id, ExpectedBucketOwner: b.owner, MaxParts: aws.Int32(1)})
	if missing(err) {
		return b.gone(f)
	}
	return b.explain(err, "look for upload", "s3:ListMultipartUploadParts", f.Final)
}

func (b *S3) gone(f Publication) error {
	return fmt.Errorf("%s (staged as %s): %w", b.place(f.Final), f.Staged, ErrGone)
}

func commonPrefix(files []Publication) string {
	prefix := files[0].Final
	for _, f := range files[1:] {
		n := 0
		for n < min(len(prefix), len(f.Final)) && prefix[n] == f.Final[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return prefix
}

// complete makes one file visible. It has been done before, by us or by another owner, if the object names this upload.
func (b *S3) complete(ctx context.Context, f Publication, t ticket) error {
	_, err := b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.bucket, Key: b.keyOf(f.Final), UploadId: &t.id, ExpectedBucketOwner: b.owner, IfNoneMatch: aws.String("*"),
		MpuObjectSize: aws.Int64(f.Bytes), MultipartUpload: &types.CompletedMultipartUpload{Parts: t.parts},
	})
	if err == nil {
		return nil
	}
	code := awsconfig.Code(err)
	lost := code == "InvalidPart" || code == "InvalidPartOrder" || code == "EntityTooSmall"
	// an answer that was lost is an upload that is no more; some servers then know neither the upload nor what became of it
	if !lost && !refused(err) && !missing(err) && awsconfig.Status(err) < http.StatusInternalServerError {
		return b.explain(err, "complete upload", "s3:PutObject", f.Final)
	}
	found, look := b.published(ctx, f, t)
	switch {
	case found || look != nil:
		return look
	case lost:
		return fmt.Errorf("%w: %w", b.gone(f), err)
	case missing(err):
		return b.gone(f)
	case refused(err): // another one was completing or removing this name at that moment
		return fault.Retry(fmt.Errorf("complete upload of %s: %w", b.place(f.Final), err))
	}
	if look := b.staged(ctx, f, t); errors.Is(look, ErrGone) {
		return look
	}
	return b.explain(err, "complete upload", "s3:PutObject", f.Final)
}

// published says whether a file is visible; ErrTaken when something else has its name.
func (b *S3) published(ctx context.Context, f Publication, t ticket) (bool, error) {
	out, err := b.head(ctx, f.Final)
	switch {
	case missing(err):
		return false, nil
	case err != nil:
		return false, b.explain(err, "look for object", "s3:GetObject", f.Final)
	case out.Metadata[uploadKey] != t.token || aws.ToInt64(out.ContentLength) != f.Bytes:
		return false, fmt.Errorf("%s has %d bytes of upload %q, the manifest says %d of %q: %w",
			b.place(f.Final), aws.ToInt64(out.ContentLength), out.Metadata[uploadKey], f.Bytes, t.token, ErrTaken)
	}
	return true, nil
}

func (b *S3) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	return b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner})
}

// Leftovers lists the uploads below the root by their final names: S3 knows no other.
func (b *S3) Leftovers(ctx context.Context, _ string) ([]Publication, error) {
	uploads, err := b.uploads(ctx, "")
	var found []Publication
	for _, u := range uploads {
		t := ticket{token: "-", id: aws.ToString(u.UploadId), parts: make([]types.CompletedPart, 1)}
		found = append(found, Publication{Final: strings.TrimPrefix(aws.ToString(u.Key), b.prefix), Upload: t.String()})
	}
	return found, err
}

// uploads gives the uploads whose names begin so, by page.
func (b *S3) uploads(ctx context.Context, prefix string) (found []types.MultipartUpload, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: b.keyOf(prefix), ExpectedBucketOwner: b.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err, "list uploads", "s3:ListBucketMultipartUploads", prefix)
		}
		for _, u := range page.Uploads {
			if strings.HasPrefix(aws.ToString(u.Key), b.prefix+prefix) { // not every server filters
				found = append(found, u)
			}
		}
	}
	return found, nil
}

// Discard aborts uploads.
func (b *S3) Discard(ctx context.Context, files ...Publication) error {
	var work workers
	for _, f := range files {
		if work.do(func() error { return b.abort(ctx, f) }) != nil {
			break
		}
	}
	return work.wait()
}

func (b *S3) abort(ctx context.Context, f Publication) error {
	t, err := parseTicket(f.Upload)
	if err != nil {
		return fault.Stop(fmt.Errorf("discard %s: %w", b.place(f.Final), err))
	}
	_, err = b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.bucket, Key: b.keyOf(f.Final), UploadId: &t.id, ExpectedBucketOwner: b.owner})
	if missing(err) {
		return nil
	}
	return b.explain(err, "abort upload", "s3:AbortMultipartUpload", f.Final)
}
