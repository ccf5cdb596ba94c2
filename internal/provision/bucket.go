package provision

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// How long a bucket keeps what nobody needs. See deploy/cloudformation/template.yaml.
const (
	uploadDays   = 7
	replacedDays = 30
)

// bucket is one of S3.
type bucket struct {
	Bucket
	*clients
	site *Site
}

func (s *Site) buckets(ctx context.Context, needs Needs) error {
	for _, b := range needs.Buckets {
		c, err := s.at(ctx, b.At)
		if err != nil {
			return err
		}
		s.add(&bucket{b, c, s})
	}
	return nil
}

func (b *bucket) about() about {
	a := about{kind: KindBucket, name: b.Name, region: b.region, rank: rankFirst, is: []string{
		"closed to the public and to plain HTTP, encrypted by " + b.encryption(), "uploads that were left are aborted after " + days(uploadDays),
	}}
	if b.Versions {
		a.is = append(a.is, "versions: what is replaced stays for "+days(replacedDays))
	}
	if b.Expire > 0 {
		a.is = append(a.is, "objects go after "+days(b.Expire))
	}
	if b.Owner != "" && b.Owner != b.account {
		a.refused = "it has to belong to the account " + b.Owner + ", and this is " + b.account
	}
	return a
}

func days(n int) string { return fmt.Sprintf("%d days", n) }

// encryption says by what new objects are encrypted.
func (b *bucket) encryption() string {
	switch b.Key {
	case "":
		return "keys of S3"
	case "kms":
		return "the account's key for S3 in KMS"
	}
	return b.Key
}

func (b *bucket) look(ctx context.Context) (*found, error) {
	_, err := b.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	switch awsconfig.Status(err) {
	case http.StatusNotFound:
		return nil, nil //nolint:nilnil // it is not there
	case http.StatusMovedPermanently: // to HEAD no service says more
		return nil, &fault.Error{Code: "ACQ-AWS-007", Place: b.about().id(), Err: fmt.Errorf("look at the bucket in %s: %w", b.region, err), Remedy: "set the region in which it is: aws: { region: ... }"}
	case http.StatusForbidden:
		return nil, &fault.Error{
			Code: "ACQ-SETUP-001", Place: b.about().id(), Err: fmt.Errorf("look at the bucket (s3:ListBucket): %w", err),
			Remedy: "names of buckets are the same for all accounts of the world: take another name if this one is somebody else's, or give who runs this the right",
		}
	}
	if err != nil {
		return nil, b.explain(err, "look at the bucket (s3:ListBucket)")
	}
	f := &found{claim: b.claim, holds: b.holds}
	tags, err := b.tags(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if aws.ToString(t.Key) == Tag {
			f.owner = aws.ToString(t.Value)
		}
	}
	for _, differs := range []func(context.Context) (*drift, error){b.public, b.ownership, b.encrypted, b.versions, b.lifecycle, b.policy} {
		d, err := differs(ctx)
		if err != nil {
			return nil, err
		}
		if d != nil {
			f.drifts = append(f.drifts, *d)
		}
	}
	return f, nil
}

func (b *bucket) explain(err error, doing string) error { return explain(err, doing, b.about()) }

func (b *bucket) tags(ctx context.Context) ([]types.Tag, error) {
	out, err := b.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	if is(err, "NoSuchTagSet") {
		return nil, nil
	}
	if err != nil {
		return nil, b.explain(err, "read its tags (s3:GetBucketTagging)")
	}
	return out.TagSet, nil
}

// claim adds our tag to those that are there, which are written as a whole.
func (b *bucket) claim(ctx context.Context) error {
	tags, err := b.tags(ctx)
	if err != nil {
		return err
	}
	tags = slices.DeleteFunc(tags, func(t types.Tag) bool { return aws.ToString(t.Key) == Tag })
	tags = append(tags, types.Tag{Key: aws.String(Tag), Value: &b.site.Project})
	return b.soon(ctx, "write its tags (s3:PutBucketTagging)", func(ctx context.Context) error {
		_, err := b.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account, Tagging: &types.Tagging{TagSet: tags}})
		return err
	})
}

// soon does what a bucket that was just made may refuse for a moment.
func (b *bucket) soon(ctx context.Context, doing string, do func(ctx context.Context) error) error {
	return b.explain(b.site.persist(ctx, b.about(), "it was just made or changed", do, "NoSuchBucket", "OperationAborted"), doing)
}

// create makes the bucket. A crash before it has its tag leaves one that --adopt takes over.
func (b *bucket) create(ctx context.Context) error {
	in := &s3.CreateBucketInput{Bucket: &b.Name, ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}
	if b.region != "us-east-1" { // which has no name there: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.region)}
	}
	_, err := b.s3.CreateBucket(ctx, in)
	if is(err, "BucketAlreadyExists") {
		return &fault.Error{
			Code: "ACQ-SETUP-001", Place: b.about().id(), Err: fmt.Errorf("make the bucket (s3:CreateBucket): %w", err),
			Remedy: "names of buckets are the same for all accounts of the world: take another name",
		}
	}
	if err = unless(err, "BucketAlreadyOwnedByYou"); err != nil {
		return b.explain(err, "make the bucket (s3:CreateBucket)")
	}
	return b.claim(ctx)
}

func (b *bucket) public(ctx context.Context) (*drift, error) {
	out, err := b.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	if err != nil && !is(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil, b.explain(err, "read whether it is closed (s3:GetBucketPublicAccessBlock)")
	}
	if err == nil {
		if p := out.PublicAccessBlockConfiguration; p != nil && aws.ToBool(p.BlockPublicAcls) && aws.ToBool(p.BlockPublicPolicy) && aws.ToBool(p.IgnorePublicAcls) && aws.ToBool(p.RestrictPublicBuckets) {
			return nil, nil
		}
	}
	return &drift{what: "public access", is: "not blocked", want: "blocked", mend: func(ctx context.Context) error {
		yes := aws.Bool(true)
		return b.soon(ctx, "close it to the public (s3:PutBucketPublicAccessBlock)", func(ctx context.Context) error {
			_, err := b.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
				Bucket: &b.Name, ExpectedBucketOwner: &b.account,
				PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: yes, BlockPublicPolicy: yes, IgnorePublicAcls: yes, RestrictPublicBuckets: yes},
			})
			return err
		})
	}}, nil
}

func (b *bucket) ownership(ctx context.Context) (*drift, error) {
	out, err := b.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	if err != nil && !is(err, "OwnershipControlsNotFoundError") {
		return nil, b.explain(err, "read who owns its objects (s3:GetBucketOwnershipControls)")
	}
	was := "whoever wrote them"
	if err == nil && out.OwnershipControls != nil && len(out.OwnershipControls.Rules) == 1 {
		if was = string(out.OwnershipControls.Rules[0].ObjectOwnership); was == string(types.ObjectOwnershipBucketOwnerEnforced) {
			return nil, nil
		}
	}
	return &drift{what: "owner of objects", is: was, want: string(types.ObjectOwnershipBucketOwnerEnforced), mend: func(ctx context.Context) error {
		return b.soon(ctx, "have its objects belong to its owner (s3:PutBucketOwnershipControls)", func(ctx context.Context) error {
			_, err := b.s3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{
				Bucket: &b.Name, ExpectedBucketOwner: &b.account,
				OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}},
			})
			return err
		})
	}}, nil
}

func (b *bucket) encrypted(ctx context.Context) (*drift, error) {
	out, err := b.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	if err != nil && !is(err, "ServerSideEncryptionConfigurationNotFoundError") {
		return nil, b.explain(err, "read how it encrypts (s3:GetEncryptionConfiguration)")
	}
	want := &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}
	if b.Key != "" {
		want.SSEAlgorithm = types.ServerSideEncryptionAwsKms
		if strings.HasPrefix(b.Key, "arn:") {
			want.KMSMasterKeyID = &b.Key
		}
	}
	was := "nothing"
	if err == nil && out.ServerSideEncryptionConfiguration != nil {
		for _, r := range out.ServerSideEncryptionConfiguration.Rules {
			if d := r.ApplyServerSideEncryptionByDefault; d != nil {
				was = strings.TrimSpace(string(d.SSEAlgorithm) + " " + aws.ToString(d.KMSMasterKeyID))
				if b.Key == "" || d.SSEAlgorithm == want.SSEAlgorithm && aws.ToString(d.KMSMasterKeyID) == aws.ToString(want.KMSMasterKeyID) {
					return nil, nil // a stricter way than that of S3 is as good
				}
			}
		}
	}
	return &drift{what: "encryption", is: was, want: b.encryption(), mend: func(ctx context.Context) error {
		rule := types.ServerSideEncryptionRule{ApplyServerSideEncryptionByDefault: want, BucketKeyEnabled: aws.Bool(b.Key != "")}
		return b.soon(ctx, "have it encrypt (s3:PutEncryptionConfiguration)", func(ctx context.Context) error {
			_, err := b.s3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{
				Bucket: &b.Name, ExpectedBucketOwner: &b.account,
				ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{rule}},
			})
			return err
		})
	}}, nil
}

func (b *bucket) versions(ctx context.Context) (*drift, error) {
	if !b.Versions {
		return nil, nil
	}
	out, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	if err != nil {
		return nil, b.explain(err, "read whether it keeps versions (s3:GetBucketVersioning)")
	}
	if out.Status == types.BucketVersioningStatusEnabled {
		return nil, nil
	}
	was := string(out.Status)
	if was == "" {
		was = "none"
	}
	return &drift{what: "versions", is: was, want: "Enabled", mend: func(ctx context.Context) error {
		return b.soon(ctx, "have it keep versions (s3:PutBucketVersioning)", func(ctx context.Context) error {
			_, err := b.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
				Bucket: &b.Name, ExpectedBucketOwner: &b.account, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
			})
			return err
		})
	}}, nil
}

// rules are those of our life cycle, known by their ids.
func (b *bucket) rules() []types.LifecycleRule {
	rule := func(id string) types.LifecycleRule {
		return types.LifecycleRule{ID: &id, Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")}}
	}
	uploads := rule("acequia-uploads-that-were-left")
	uploads.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(uploadDays)}
	out := []types.LifecycleRule{uploads}
	if b.Versions {
		replaced := rule("acequia-files-that-were-replaced")
		replaced.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(replacedDays)}
		replaced.Expiration = &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}
		out = append(out, replaced)
	}
	if b.Expire > 0 {
		gone := rule("acequia-objects-that-are-old")
		gone.Expiration = &types.LifecycleExpiration{Days: aws.Int32(int32(b.Expire))} //nolint:gosec // days
		out = append(out, gone)
	}
	return out
}

// ruleText is what a rule does, for comparison and for people.
func ruleText(r types.LifecycleRule) string {
	words := []string{aws.ToString(r.ID), string(r.Status)}
	if u := r.AbortIncompleteMultipartUpload; u != nil {
		words = append(words, "uploads "+days(int(aws.ToInt32(u.DaysAfterInitiation))))
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		words = append(words, "old versions "+days(int(aws.ToInt32(n.NoncurrentDays))))
	}
	if e := r.Expiration; e != nil && e.Days != nil {
		words = append(words, "objects "+days(int(*e.Days)))
	}
	if f := r.Filter; f != nil && (f.And != nil || f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil || aws.ToString(f.Prefix) != "") || aws.ToString(r.Prefix) != "" { //nolint:staticcheck // the older form is read too
		words = append(words, "of a part of the bucket")
	}
	return strings.Join(words, " ")
}

// lifecycle compares our rules. They are written as a whole, so those of others are written again as they were.
func (b *bucket) lifecycle(ctx context.Context) (*drift, error) {
	out, err := b.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	var all []types.LifecycleRule
	switch {
	case err == nil:
		all = out.Rules
	case !is(err, "NoSuchLifecycleConfiguration"):
		return nil, b.explain(err, "read its life cycle (s3:GetLifecycleConfiguration)")
	}
	var was, want []string
	for _, r := range b.rules() {
		i := slices.IndexFunc(all, func(o types.LifecycleRule) bool { return aws.ToString(o.ID) == aws.ToString(r.ID) })
		switch {
		case i < 0:
			want, all = append(want, ruleText(r)), append(all, r)
		case ruleText(all[i]) != ruleText(r):
			was, want = append(was, ruleText(all[i])), append(want, ruleText(r))
			all[i] = r
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	return &drift{what: "life cycle", is: orNone(names(was...)), want: names(want...), mend: func(ctx context.Context) error {
		return b.soon(ctx, "give it a life cycle (s3:PutLifecycleConfiguration)", func(ctx context.Context) error {
			_, err := b.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
				Bucket: &b.Name, ExpectedBucketOwner: &b.account, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: all},
			})
			return err
		})
	}}, nil
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (b *bucket) policy(ctx context.Context) (*drift, error) {
	if !b.site.encrypted(b.s3.Options().BaseEndpoint) {
		return nil, nil
	}
	out, err := b.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	current := ""
	switch {
	case err == nil:
		current = aws.ToString(out.Policy)
	case !is(err, "NoSuchBucketPolicy"):
		return nil, b.explain(err, "read its policy (s3:GetBucketPolicy)")
	}
	arn := "arn:" + partition + ":s3:::" + b.Name
	text, same, err := merged(current, secure("s3", true, arn, arn+"/*"))
	if err != nil {
		return nil, unreadable(err, b.about())
	}
	if same {
		return nil, nil
	}
	return &drift{what: "TLS 1.2", is: "not asked for", want: "asked for by its policy", mend: func(ctx context.Context) error {
		return b.soon(ctx, "give it a policy (s3:PutBucketPolicy)", func(ctx context.Context) error {
			_, err := b.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account, Policy: &text})
			return err
		})
	}}, nil
}

// holds says what is in the bucket: versions that were deleted are data too.
func (b *bucket) holds(ctx context.Context) (string, error) {
	out, err := b.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account, MaxKeys: aws.Int32(1)})
	if err != nil {
		return "", b.explain(err, "look what it holds (s3:ListBucketVersions)")
	}
	for _, v := range out.Versions {
		return "objects, such as " + aws.ToString(v.Key), nil
	}
	for _, v := range out.DeleteMarkers {
		return "versions of what was deleted, such as " + aws.ToString(v.Key), nil
	}
	return "", nil
}

// remove empties the bucket, page by page, and deletes it.
func (b *bucket) remove(ctx context.Context) error {
	if err := b.empty(ctx); err != nil {
		return err
	}
	_, err := b.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	return b.explain(unless(err, "NoSuchBucket"), "delete it (s3:DeleteBucket)")
}

func (b *bucket) empty(ctx context.Context) error {
	pages := s3.NewListObjectVersionsPaginator(b.s3, &s3.ListObjectVersionsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account})
	for deleted := 0; pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return b.explain(err, "list what it holds (s3:ListBucketVersions)")
		}
		var all []types.ObjectIdentifier
		for _, v := range page.Versions {
			all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, v := range page.DeleteMarkers {
			all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		if len(all) == 0 {
			continue
		}
		out, err := b.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.Name, ExpectedBucketOwner: &b.account, Delete: &types.Delete{Objects: all, Quiet: aws.Bool(true)}})
		if err != nil {
			return b.explain(err, "delete what it holds (s3:DeleteObject, s3:DeleteObjectVersion)")
		}
		for _, e := range out.Errors { // the answer is 200 though some failed
			return refused(b.about(), "delete "+aws.ToString(e.Key)+" (s3:DeleteObjectVersion)", aws.ToString(e.Code)+": "+aws.ToString(e.Message))
		}
		deleted += len(all)
		b.site.options.Tell(Progress{Kind: KindBucket, Name: b.Name, State: fmt.Sprintf("%d objects deleted", deleted)})
	}
	return nil
}
