package blobtest

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Bucket makes a bucket with a name of its own on a server.
func Bucket(t testing.TB, on awsconfig.Settings) string {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), on)
	if err != nil {
		t.Fatal(err)
	}
	name := "lake-" + strings.ToLower(rand.Text())
	where := &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(c.Region)}
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: where}); err != nil {
		t.Fatal(err)
	}
	return name
}
