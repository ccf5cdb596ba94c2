package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// S3Settings is what a configuration may say of a bucket of S3.
type S3Settings struct {
	AWS   awsconfig.Settings
	SSE   string // how objects are encrypted: "", as the bucket says; s3; kms, by the account's key for S3; or the ARN of a key of KMS
	Owner string // the account that the bucket must belong to, twelve digits; "": any
}

// sseKinds are the words of S3Settings.SSE that are no key.
const (
	sseS3  = "s3"
	sseKMS = "kms"
)

// Validate says what is wrong with the settings: a field as the configuration names it, and the reason.
func (s S3Settings) Validate() (field string, err error) {
	switch {
	case s.SSE != "" && s.SSE != sseS3 && s.SSE != sseKMS && !strings.HasPrefix(s.SSE, "arn:"):
		return "sse", fmt.Errorf("%q is neither s3, kms nor the ARN of a key", s.SSE)
	case s.Owner != "" && (len(s.Owner) != 12 || strings.Trim(s.Owner, "0123456789") != ""):
		return "owner", fmt.Errorf("%q is no account: it has twelve digits", s.Owner)
	}
	return "", nil
}

// S3 is a bucket, or what is below a prefix of one. A staged file is a multipart upload that is not completed: nobody can see
// it, and completing it is one step that either happens or does not
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html).
type S3 struct {
	client   *s3.Client
	bucket   string
	prefix   string // "" or ends with a slash
	owner    *string
	sse      types.ServerSideEncryption
	key      *string // of KMS
	inFlight *weights
	blocks   sync.Pool // of *block: memory of parts, used again
}

var _ Bucket = (*S3)(nil)

// ParseURL reads s3://bucket/prefix; false: it is no such address.
func ParseURL(text string) (bucket, prefix string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	prefix = strings.Trim(u.Path, "/")
	if prefix != "" && !fs.ValidPath(prefix) {
		return "", "", false
	}
	return u.Host, prefix, true
}

// At gives the bucket of an address: s3://bucket/prefix, or the path of a directory, which need not be there.
func At(ctx context.Context, root string, s S3Settings) (Bucket, error) {
	if _, _, ok := ParseURL(root); ok {
		return OpenS3(ctx, root, s)
	}
	return Within(root), nil
}

// OpenAt is At, with the directory made if need be.
func OpenAt(ctx context.Context, root string, s S3Settings) (Bucket, error) {
	if _, _, ok := ParseURL(root); ok {
		return OpenS3(ctx, root, s)
	}
	return Open(root)
}

// answerTime is how long S3 may say nothing in the middle of a call: one that takes long sends blanks. connections are kept open.
const (
	answerTime  = 20 * time.Second
	connections = 32
)

// OpenS3 opens a bucket of S3 without asking it anything.
func OpenS3(ctx context.Context, address string, s S3Settings) (*S3, error) {
	bucket, prefix, ok := ParseURL(address)
	if !ok {
		return nil, &fault.Error{Code: "ACQ-CFG-003", Place: "url", Err: fmt.Errorf("%q is no place in S3", address), Remedy: "write s3://bucket/prefix"}
	}
	if field, err := s.Validate(); err != nil {
		return nil, &fault.Error{Code: "ACQ-CFG-003", Place: field, Err: err}
	}
	c, err := awsconfig.Load(ctx, s.AWS)
	if err != nil {
		return nil, err
	}
	awsconfig.Connections(&c, connections, answerTime)
	b := &S3{bucket: bucket, inFlight: newWeights(maxInFlight >> 20)}
	if prefix != "" {
		b.prefix = prefix + "/"
	}
	if s.Owner != "" {
		b.owner = &s.Owner
	}
	switch s.SSE {
	case "":
	case sseS3:
		b.sse = types.ServerSideEncryptionAes256
	default:
		b.sse = types.ServerSideEncryptionAwsKms
		if s.SSE != sseKMS {
			b.key = &s.SSE
		}
	}
	b.client = s3.NewFromConfig(c, func(o *s3.Options) {
		o.DisableLogOutputChecksumValidationSkipped = true // what was written by others may have none
		o.UsePathStyle = o.BaseEndpoint != nil             // a server that is not AWS has no name for each bucket
	})
	return b, nil
}

// Root is the address.
func (b *S3) Root() string { return strings.TrimSuffix("s3://"+b.bucket+"/"+b.prefix, "/") }

func (b *S3) place(name string) string { return "s3://" + b.bucket + "/" + b.prefix + name }

func (b *S3) keyOf(name string) *string { return aws.String(b.prefix + name) }

// bucketKey makes KMS be asked once a bucket, not once an object.
func (b *S3) bucketKey() *bool {
	if b.sse == types.ServerSideEncryptionAwsKms {
		return aws.Bool(true)
	}
	return nil
}

// explain classifies an error; right is what the role needs for what was tried.
func (b *S3) explain(err error, doing, right, name string) error {
	if err == nil {
		return nil
	}
	code := awsconfig.Code(err)
	if code == "NoSuchKey" || code == "NotFound" {
		return fmt.Errorf("%s: %w: %w", b.place(name), fs.ErrNotExist, err)
	}
	// An upload that somebody has aborted, such as who took the lane over or a rule of the bucket, is begun anew.
	if errors.Is(err, context.DeadlineExceeded) || code == "NoSuchUpload" {
		return fault.Retry(fmt.Errorf("%s: %s: %w", b.place(name), doing, err))
	}
	return awsconfig.Explain(err, doing+" ("+right+")", b.place(name))
}

// missing says that S3 has no such object or upload.
func missing(err error) bool {
	code := awsconfig.Code(err)
	return code == "NoSuchKey" || code == "NotFound" || code == "NoSuchUpload" || code == "" && awsconfig.Status(err) == http.StatusNotFound
}

// refused says that a condition was not met, or that somebody else did the same at that moment.
func refused(err error) bool {
	status := awsconfig.Status(err)
	return status == http.StatusPreconditionFailed || status == http.StatusConflict
}
