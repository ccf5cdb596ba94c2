package blob

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// below is the prefix of the names in a folder.
func (b *S3) below(folder string) string {
	if folder == "" || folder == "." {
		return b.prefix
	}
	return b.prefix + strings.TrimSuffix(folder, "/") + "/"
}

// Folders gives what stands between a folder and the next slash, by page.
func (b *S3) Folders(ctx context.Context, folder string) ([]string, error) {
	prefix := b.below(folder)
	var found []string
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix, Delimiter: aws.String("/"), ExpectedBucketOwner: b.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err, "list objects", "s3:ListBucket", folder)
		}
		for _, p := range page.CommonPrefixes {
			found = append(found, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), prefix), "/"))
		}
	}
	return found, nil
}

// Walk gives the objects below a folder, by page.
func (b *S3) Walk(ctx context.Context, folder string) ([]Info, error) {
	prefix := b.below(folder)
	var found []Info
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix, ExpectedBucketOwner: b.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err, "list objects", "s3:ListBucket", folder)
		}
		for _, o := range page.Contents {
			if name := strings.TrimPrefix(aws.ToString(o.Key), b.prefix); !strings.HasSuffix(name, "/") { // consoles make such for folders
				found = append(found, Info{Name: name, size: aws.ToInt64(o.Size), modified: aws.ToTime(o.LastModified)})
			}
		}
	}
	return found, nil
}

// Exists asks for an object.
func (b *S3) Exists(ctx context.Context, name string) (bool, error) {
	_, err := b.head(ctx, name)
	if missing(err) {
		return false, nil
	}
	return err == nil, b.explain(err, "look for object", "s3:GetObject, s3:ListBucket", name)
}

// Read gives the whole of an object.
func (b *S3) Read(ctx context.Context, name string) ([]byte, error) {
	text, _, err := b.get(ctx, name)
	return text, err
}

func (b *S3) get(ctx context.Context, name string) (text []byte, now kept, err error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner})
	if err != nil {
		return nil, now, b.explain(err, "read object", "s3:GetObject, s3:ListBucket", name)
	}
	text, err = io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return nil, now, b.explain(err, "read object", "s3:GetObject", name)
	}
	return text, kept{aws.ToString(out.ETag), out.Metadata[uploadKey]}, nil
}

const (
	windowSize = 512 << 10 // of a range that is read at a time
	windows    = 32        // that an open object keeps: the columns of a Parquet file are read side by side
	tailSize   = 64 << 10  // holds the footer of most files
)

// Open opens an object by reading its end, where a Parquet file has its footer, and its size is told.
func (b *S3) Open(ctx context.Context, name string) (Object, error) {
	tail, tag, size, err := b.rangeOf(ctx, name, "bytes=-"+strconv.Itoa(tailSize), "")
	if err != nil {
		return nil, err
	}
	o := &object{name: name, tag: tag, size: size, tail: tail, known: map[int64]*list.Element{}}
	ctx = context.WithoutCancel(ctx) // an object is read for longer than the call that opens it
	o.read = func(from, to int64) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTime)
		defer cancel()
		part, _, _, err := b.rangeOf(ctx, name, fmt.Sprintf("bytes=%d-%d", from, to-1), tag)
		return part, err
	}
	return o, nil
}

// rangeOf reads a range of an object, of the one with the tag if there is one, and tells the size of the whole.
func (b *S3) rangeOf(ctx context.Context, name, which, tag string) (part []byte, newTag string, size int64, err error) {
	in := &s3.GetObjectInput{Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner, Range: &which}
	if tag != "" {
		in.IfMatch = &tag
	}
	out, err := b.client.GetObject(ctx, in)
	if awsconfig.Status(err) == http.StatusRequestedRangeNotSatisfiable { // an empty object has no last bytes
		return nil, "", 0, nil
	}
	if err != nil {
		return nil, "", 0, b.explain(err, "read object", "s3:GetObject, s3:ListBucket", name)
	}
	part, err = io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return nil, "", 0, b.explain(err, "read object", "s3:GetObject", name)
	}
	size = int64(len(part))
	if _, total, ok := strings.Cut(aws.ToString(out.ContentRange), "/"); ok {
		if size, err = strconv.ParseInt(total, 10, 64); err != nil {
			return nil, "", 0, fmt.Errorf("%s: its range is %q: %w", b.place(name), aws.ToString(out.ContentRange), err)
		}
	}
	return part, aws.ToString(out.ETag), size, nil
}

// fetches is how often an object is begun to be fetched: the SDK does not go on where a body was cut off.
const fetches = 3

// fetch gives an object as a file that has no name any more.
func (b *S3) fetch(ctx context.Context, name string) (_ Object, err error) {
	f, err := os.CreateTemp("", "acequia-object-")
	if err != nil {
		return nil, Classify(os.TempDir(), err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, Classify(f.Name(), errors.Join(err, f.Close()))
	}
	for range fetches {
		var size int64
		if size, err = b.into(ctx, f, name); err == nil {
			return &opened{File: f, size: size}, nil
		}
		if fault.Of(err) != fault.Retryable || ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(err, f.Close())
}

// into writes an object over a file.
func (b *S3) into(ctx context.Context, f *os.File, name string) (int64, error) {
	if err := f.Truncate(0); err != nil {
		return 0, Classify(os.TempDir(), err)
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: b.keyOf(name), ExpectedBucketOwner: b.owner})
	if err != nil {
		return 0, b.explain(err, "read object", "s3:GetObject, s3:ListBucket", name)
	}
	n, err := io.Copy(io.NewOffsetWriter(f, 0), out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return 0, b.explain(err, "read object", "s3:GetObject", name)
	}
	return n, nil
}

// object is an open object. It keeps the ranges that were read last.
type object struct {
	name, tag string
	size      int64
	tail      []byte
	read      func(from, to int64) ([]byte, error)

	mu    sync.Mutex
	known map[int64]*list.Element // by number
	used  list.List               // of *window, the last used first
}

type window struct {
	number int64
	bytes  []byte
}

func (o *object) Size() int64 { return o.size }

// Close lets go of what was read.
func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail, o.known = nil, map[int64]*list.Element{}
	o.used.Init()
	return nil
}

// ReadAt reads from the windows that hold the bytes.
func (o *object) ReadAt(p []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, errors.New("a place before the object")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) {
		if at >= o.size {
			return n, io.EOF
		}
		from, err := o.from(at)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], from)
		n, at = n+k, at+int64(k)
	}
	return n, nil
}

// from gives bytes from a place on, at least one.
func (o *object) from(at int64) ([]byte, error) {
	if start := o.size - int64(len(o.tail)); at >= start {
		return o.tail[at-start:], nil
	}
	number := at / windowSize
	e, ok := o.known[number]
	if !ok {
		start := number * windowSize
		want := min(start+windowSize, o.size)
		bytes, err := o.read(start, want)
		if err != nil {
			return nil, err
		}
		if int64(len(bytes)) != want-start {
			return nil, fmt.Errorf("%s: %d bytes of %d were given: %w", o.name, len(bytes), want-start, io.ErrUnexpectedEOF)
		}
		if o.used.Len() >= windows {
			oldest := o.used.Back()
			if w, ok := o.used.Remove(oldest).(*window); ok {
				delete(o.known, w.number)
			}
		}
		e = o.used.PushFront(&window{number, bytes})
		o.known[number] = e
	}
	o.used.MoveToFront(e)
	w, ok := e.Value.(*window)
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return w.bytes[at%windowSize:], nil
}
