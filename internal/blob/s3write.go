package blob

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/fault"
)

const (
	// partSize is that of a part; S3 takes 5 MiB to 5 GiB, the last may be smaller, and 10,000 of them:
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.
	partSize = 8 << 20
	// maxInFlight bounds what is on its way to S3, of all files of a bucket together.
	maxInFlight = 16 << 20
	// requestTime bounds one part with its retries.
	requestTime = 2 * time.Minute
	blockSize   = 64 << 10
	// requestSize is what the request of a file will take beside its bytes: 64 files that are open are charged with 32 MiB.
	requestSize = 512 << 10
)

// uploadKey is the metadata of an object that names the upload that made it. Metadata is fixed when an upload begins, so it cannot
// be a digest of what comes later.
const uploadKey = "acequia-upload"

// Stage opens a new staged file. It begins its upload when a part is full, or when it is sealed.
func (b *S3) Stage(ctx context.Context, staged, final string) (*File, error) {
	u := &upload{bucket: b, final: final}
	u.ctx, u.cancel = context.WithCancel(context.WithoutCancel(ctx)) // what is on its way outlives the call that wrote it
	return newFile(staged, final, u), nil
}

// upload is the content of a file of S3.
type upload struct {
	bucket *S3
	ctx    context.Context //nolint:containedctx // of the uploads under way, which end with the file
	cancel context.CancelFunc
	final  string // what the upload was begun as
	token  string
	id     string // of the upload; "": it has not begun
	blocks []*block
	size   int // of the blocks
	sent   int // parts
	all    sync.WaitGroup
	mu     sync.Mutex
	parts  []types.CompletedPart
	flight int // bytes on their way
	err    error
	sealed string
}

// block is a piece of a part. Parts are lists of blocks, so that a small file holds little.
type block [blockSize]byte

func (b *S3) block() *block {
	if free, ok := b.blocks.Get().(*block); ok {
		return free
	}
	return new(block)
}

// Write appends, and sends the parts that are full. It waits while too much is on its way.
func (u *upload) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if u.size == partSize {
			if err := u.send(u.ctx); err != nil {
				return n, err
			}
		}
		at := u.size % blockSize
		if at == 0 {
			u.blocks = append(u.blocks, u.bucket.block())
		}
		k := copy(u.blocks[len(u.blocks)-1][at:], p[n:min(len(p), n+partSize-u.size)])
		n, u.size = n+k, u.size+k
	}
	return n, u.failure()
}

func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// begin begins the upload, as what it will be.
func (u *upload) begin(ctx context.Context) error {
	u.token = rand.Text()
	b := u.bucket
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	out, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.bucket, Key: b.keyOf(u.final), ExpectedBucketOwner: b.owner, ServerSideEncryption: b.sse, SSEKMSKeyId: b.key,
		BucketKeyEnabled: b.bucketKey(), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, Metadata: map[string]string{uploadKey: u.token},
	})
	if err != nil {
		return b.explain(err, "begin upload", "s3:PutObject", u.final)
	}
	u.id = aws.ToString(out.UploadId)
	return nil
}

// send sends what was gathered as the next part.
func (u *upload) send(ctx context.Context) error {
	if err := u.failure(); err != nil {
		return err
	}
	if u.id == "" {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	part := &part{free: &u.bucket.blocks, blocks: u.blocks, size: u.size}
	u.blocks, u.size, u.sent = nil, 0, u.sent+1
	number := u.sent
	weight := max(1, (part.size+1<<20-1)>>20)
	if err := u.bucket.inFlight.take(ctx, weight); err != nil {
		part.release()
		return fault.Retry(fmt.Errorf("wait for uploads: %w", err))
	}
	u.mu.Lock()
	u.flight += part.size
	u.parts = append(u.parts, types.CompletedPart{})
	u.mu.Unlock()
	u.all.Go(func() { //nolint:contextcheck // what is on its way outlives the call
		defer u.bucket.inFlight.give(weight)
		done, err := u.put(number, part)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.flight -= part.size
		part.release()
		if u.parts[number-1] = done; err != nil && u.err == nil {
			u.err = err
		}
	})
	return nil
}

// put sends one part, with its checksum, which S3 compares.
func (u *upload) put(number int, p *part) (types.CompletedPart, error) {
	b := u.bucket
	ctx, cancel := context.WithTimeout(u.ctx, requestTime)
	defer cancel()
	sum, n := p.checksum(), aws.Int32(int32(number)) //nolint:gosec // up to 10,000
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &b.bucket, Key: b.keyOf(u.final), ExpectedBucketOwner: b.owner, UploadId: &u.id, PartNumber: n,
		Body: &partReader{part: p}, ContentLength: aws.Int64(int64(p.size)), ChecksumCRC32: &sum,
	}, s3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)) // the checksum is signed: a SHA-256 more costs CPU for nothing
	if err != nil {
		return types.CompletedPart{}, b.explain(err, fmt.Sprintf("upload part %d", number), "s3:PutObject", u.final)
	}
	return types.CompletedPart{PartNumber: n, ETag: out.ETag, ChecksumCRC32: &sum}, nil
}

// seal sends the rest. An empty file has one empty part: an upload has at least one.
func (u *upload) seal(ctx context.Context, final string) error {
	stop := context.AfterFunc(ctx, u.cancel)
	defer stop()
	defer u.cancel()
	var err error
	switch {
	case u.id == "":
		u.final = final
	case u.final != final:
		err = fault.Retry(fmt.Errorf("the upload began as %s and should become %s: its group has another number than was foreseen", u.final, final))
	}
	if err == nil && (u.size > 0 || u.sent == 0) {
		err = u.send(u.ctx) //nolint:contextcheck // which ends with ctx
	}
	u.all.Wait()
	u.give()
	if err = errors.Join(err, u.failure()); err != nil {
		return err
	}
	u.sealed = ticket{token: u.token, id: u.id, parts: u.parts}.String()
	return nil
}

// Close gives the file up. Its upload is left for recovery to abort.
func (u *upload) Close() error {
	u.cancel()
	u.all.Wait()
	u.give()
	return nil
}

// give gives back the blocks that were not sent.
func (u *upload) give() {
	(&part{free: &u.bucket.blocks, blocks: u.blocks}).release()
	u.blocks, u.size = nil, 0
}

func (u *upload) state() (held int, upload string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sealed != "" {
		return 0, u.sealed
	}
	return len(u.blocks)*blockSize + u.flight + requestSize, ""
}

// part is a part that is on its way.
type part struct {
	free   *sync.Pool
	blocks []*block
	size   int
}

func (p *part) release() {
	for _, b := range p.blocks {
		p.free.Put(b)
	}
	p.blocks = nil
}

// at gives the bytes of the part from an offset to the end of their block.
func (p *part) at(offset int) []byte {
	if offset >= p.size {
		return nil
	}
	i := offset / blockSize
	return p.blocks[i][offset%blockSize : min(blockSize, p.size-i*blockSize)]
}

func (p *part) checksum() string {
	sum := uint32(0)
	for at := 0; at < p.size; at += blockSize {
		sum = crc32.Update(sum, crc32.IEEETable, p.at(at))
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// partReader reads a part, again when the SDK tries again.
type partReader struct {
	part   *part
	offset int
}

func (r *partReader) Read(p []byte) (int, error) {
	if r.offset >= r.part.size {
		return 0, io.EOF
	}
	n := copy(p, r.part.at(r.offset))
	r.offset += n
	return n, nil
}

func (r *partReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += int64(r.offset)
	case io.SeekEnd:
		offset += int64(r.part.size)
	}
	if offset < 0 {
		return 0, errors.New("a place before the part")
	}
	r.offset = int(offset)
	return offset, nil
}

// ticket is what Publish needs to know of an upload. As text: the token, the id, and of each part the tag and the checksum.
type ticket struct {
	token, id string
	parts     []types.CompletedPart
}

func (t ticket) String() string {
	words := []string{t.token, t.id}
	for _, p := range t.parts {
		words = append(words, strings.Trim(aws.ToString(p.ETag), `"`)+":"+aws.ToString(p.ChecksumCRC32))
	}
	return strings.Join(words, " ")
}

var errTicket = errors.New("it names no upload: it is of another kind of bucket")

func parseTicket(text string) (t ticket, err error) {
	words := strings.Fields(text)
	if len(words) < 3 {
		return t, errTicket
	}
	t.token, t.id = words[0], words[1]
	for i, word := range words[2:] {
		tag, sum, ok := strings.Cut(word, ":")
		if !ok {
			return t, errTicket
		}
		t.parts = append(t.parts, types.CompletedPart{ETag: aws.String(`"` + tag + `"`), ChecksumCRC32: &sum, PartNumber: aws.Int32(int32(i) + 1)})
	}
	return t, nil
}

// weights bounds the sum of what is on its way.
type weights struct {
	turn   chan struct{} // one takes at a time, so that two that want much do not wait for each other
	tokens chan struct{}
}

func newWeights(n int) *weights {
	return &weights{turn: make(chan struct{}, 1), tokens: make(chan struct{}, n)}
}

func (w *weights) take(ctx context.Context, n int) error {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-w.turn }()
	for i := range n {
		select {
		case w.tokens <- struct{}{}:
		case <-ctx.Done():
			w.give(i)
			return ctx.Err()
		}
	}
	return nil
}

func (w *weights) give(n int) {
	for range n {
		<-w.tokens
	}
}
