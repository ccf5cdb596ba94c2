package provision_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/pipes"
	pipetypes "github.com/aws/aws-sdk-go-v2/service/pipes/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/provision"
)

// url finds a queue.
func (s services) url(t *testing.T, name string) *string {
	t.Helper()
	out, err := s.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return out.QueueUrl
}

// spoiledBucket changes all that is set of a bucket, and adds what is others'.
func spoiledBucket(ctx context.Context, s services, lake *string) []func() error {
	foreign := `{"Version":"2012-10-17","Statement":[{"Sid":"Auditors","Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::drift-lake/*"}]}`
	rules := []s3types.LifecycleRule{{ID: aws.String("theirs"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("tmp/")}, Expiration: &s3types.LifecycleExpiration{Days: aws.Int32(3)}}}
	tags := []s3types.Tag{{Key: aws.String("team"), Value: aws.String("games")}, {Key: aws.String(provision.Tag), Value: aws.String("drift")}}
	return []func() error{
		func() error {
			_, err := s.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: lake})
			return err
		},
		func() error {
			_, err := s.s3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: lake, OwnershipControls: &s3types.OwnershipControls{Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipObjectWriter}}}})
			return err
		},
		func() error {
			_, err := s.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: lake, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}})
			return err
		},
		func() error {
			_, err := s.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: lake, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: rules}})
			return err
		},
		func() error {
			_, err := s.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: lake, Policy: &foreign})
			return err
		},
		func() error {
			_, err := s.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: lake, Tagging: &s3types.Tagging{TagSet: tags}})
			return err
		},
	}
}

// spoiledRest changes a property or two of every other kind.
func spoiledRest(t *testing.T, s services, table, pipe, role *string) []func() error {
	t.Helper()
	ctx, off := t.Context(), aws.Bool(false)
	return []func() error{
		func() error {
			_, err := s.dynamodb.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: table, DeletionProtectionEnabled: off})
			return err
		},
		func() error {
			_, err := s.dynamodb.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: table, TimeToLiveSpecification: &dynamotypes.TimeToLiveSpecification{AttributeName: aws.String("_ttl"), Enabled: off}})
			return err
		},
		func() error {
			_, err := s.dynamodb.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: table, PointInTimeRecoverySpecification: &dynamotypes.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: off}})
			return err
		},
		func() error {
			_, err := s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: s.url(t, "drift-out"), Attributes: map[string]string{"VisibilityTimeout": "30", "SqsManagedSseEnabled": "false"}})
			return err
		},
		func() error {
			_, err := s.events.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: pipe, EventBusName: aws.String("drift")})
			return err
		},
		func() error {
			_, err := s.events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: pipe, EventBusName: aws.String("drift"), Ids: []string{"queue"}})
			return err
		},
		func() error {
			_, err := s.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("drift-changes-pipe-eu-west-1"), PolicyName: aws.String("pipe")})
			return err
		},
		func() error {
			_, err := s.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("drift-changes-pipe-eu-west-1"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`)})
			return err
		},
		func() error {
			_, err := s.pipes.UpdatePipe(ctx, &pipes.UpdatePipeInput{Name: pipe, RoleArn: role, DesiredState: pipetypes.RequestedPipeStateStopped, SourceParameters: &pipetypes.UpdatePipeSourceParameters{
				DynamoDBStreamParameters: &pipetypes.UpdatePipeSourceDynamoDBStreamParameters{BatchSize: aws.Int32(1)},
			}})
			return err
		},
	}
}

// TestDriftIsSeenAndMended changes a property of each kind by other means. What others have added stays.
func TestDriftIsSeenAndMended(t *testing.T) {
	t.Parallel()
	w, s, ctx := watch(t), direct(t), t.Context()
	needs := everything(t, w, "drift")
	sound(t, apply(t, w, needs, provision.Options{TLS: true}), provision.Create)
	lake, table, pipe := aws.String("drift-lake"), aws.String("drift-games"), aws.String("drift-changes")
	made, err := s.pipes.DescribePipe(ctx, &pipes.DescribePipeInput{Name: pipe})
	if err != nil {
		t.Fatal(err)
	}
	for i, change := range append(spoiledBucket(ctx, s, lake), spoiledRest(t, s, table, pipe, made.RoleArn)...) {
		if err := change(); err != nil {
			t.Fatal(i, err)
		}
	}
	w.written()
	want := []string{
		"bucket lake change public access, owner of objects, versions, life cycle, TLS 1.2",
		"table games change TTL, recovery to any moment, protection from being deleted",
		"queue out change SqsManagedSseEnabled, VisibilityTimeout, Policy", // the server forgets the policy when another attribute is set
		"rule changes change pattern, target", "role changes-pipe-eu-west-1 change who may take it, rights", "pipe changes change how it reads, state",
	}
	same(t, told(plan(t, w, needs, provision.Options{TLS: true})), want)
	if wrote := w.written(); len(wrote) > 0 {
		t.Errorf("a plan wrote %v", wrote)
	}
	same(t, told(apply(t, w, needs, provision.Options{TLS: true})), want)
	sound(t, plan(t, w, needs, provision.Options{TLS: true}), provision.Same)

	cycle, err := s.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: lake})
	if err != nil || len(cycle.Rules) != 3 || aws.ToString(cycle.Rules[0].ID) != "theirs" || *cycle.Rules[0].Expiration.Days != 3 {
		t.Error(cycle, err)
	}
	policy, err := s.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: lake})
	if err != nil || !strings.Contains(*policy.Policy, "Auditors") || !strings.Contains(*policy.Policy, "TransportIsEncrypted") {
		t.Error(policy, err)
	}
	kept, err := s.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: lake})
	if err != nil || len(kept.TagSet) != 2 {
		t.Error(kept, err)
	}
}

// TestLater adds an index, and a stream for who reads changes, to a table that holds items.
func TestLater(t *testing.T) {
	t.Parallel()
	w, s, ctx := watch(t), direct(t), t.Context()
	table := itemstore.Table{Name: "later-games", Schema: schema(t, "games"), NoChanges: true}
	needs := func() provision.Needs {
		return provision.Needs{Project: "later", Tables: []provision.Table{{Table: table, At: w.settings}}}
	}
	sound(t, apply(t, w, needs(), provision.Options{}), provision.Create)
	_, err := s.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table.Name, Item: map[string]dynamotypes.AttributeValue{
		"id": &dynamotypes.AttributeValueMemberS{Value: "one"}, "year": &dynamotypes.AttributeValueMemberN{Value: "1985"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	table.Indexes = []itemstore.Index{{Name: "by_year", Columns: []string{"year"}}, {Name: "by_genre", Columns: []string{"genre"}}, {Name: "by_tag", Columns: []string{"tags"}, Each: true}}
	table.NoChanges = false
	want := []string{"table games change index by_year, index by_genre, stream", "table games.by_tag create"}
	same(t, told(apply(t, w, needs(), provision.Options{})), want)
	sound(t, plan(t, w, needs(), provision.Options{}), provision.Same)
	if n := len(slices.DeleteFunc(w.written(), func(c string) bool { return c != "dynamodb:UpdateTable" })); n != 3 {
		t.Errorf("%d calls of UpdateTable: DynamoDB takes one index at a time", n)
	}
	found, err := s.dynamodb.Query(ctx, &dynamodb.QueryInput{
		TableName: &table.Name, IndexName: aws.String("by_year"), KeyConditionExpression: aws.String("#y = :y"), ExpressionAttributeNames: map[string]string{"#y": "year"},
		ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":y": &dynamotypes.AttributeValueMemberN{Value: "1985"}},
	})
	if err != nil || found.Count != 1 {
		t.Error(found, err)
	}
}

// TestStreamOfAnothersTable turns on the stream of a table that a source reads and no sink writes: never of one that is not the project's, and it is
// never deleted.
func TestStreamOfAnothersTable(t *testing.T) {
	t.Parallel()
	w := watch(t)
	whole := itemstore.Table{Name: "lent-games", Schema: schema(t, "games"), NoChanges: true}
	stream := provision.Needs{Project: "reader", Tables: []provision.Table{{Table: itemstore.Table{Name: "lent-games"}, At: w.settings}}}
	steps := apply(t, w, stream, provision.Options{})
	same(t, told(steps), []string{"table games create ACQ-SETUP-007"})

	sound(t, apply(t, w, provision.Needs{Project: "lender", Tables: []provision.Table{{Table: whole, At: w.settings}}}, provision.Options{}), provision.Create)
	w.written()
	for _, adopt := range []bool{false, true} {
		steps := apply(t, w, stream, provision.Options{Adopt: adopt})
		same(t, told(steps), []string{"table games blocked !stream"})
		if !strings.Contains(steps[0].Blocked[0].Why, "says lender") || len(w.written()) > 0 {
			t.Errorf("%+v", steps)
		}
	}
	// In one project with who writes it, it is one table.
	stream.Project = "lender"
	both := stream
	both.Tables = append(both.Tables, provision.Table{Table: whole, At: w.settings})
	same(t, told(apply(t, w, both, provision.Options{})), []string{"table games change stream"})
	doomed, err := site(t, w, stream, provision.Options{}).Destroy(t.Context(), true, func(provision.Step) {})
	if err != nil || len(doomed) != 1 || doomed[0].Action != provision.Keep {
		t.Errorf("%+v %v", doomed, err)
	}
}

// TestWhatCannotBeChanged tells why, and changes nothing of it.
func TestWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	w, s, ctx := watch(t), direct(t), t.Context()
	key := func(name string) []dynamotypes.KeySchemaElement {
		return []dynamotypes.KeySchemaElement{{AttributeName: &name, KeyType: dynamotypes.KeyTypeHash}}
	}
	_, err := s.dynamodb.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("fixed-games"), BillingMode: dynamotypes.BillingModePayPerRequest, KeySchema: key("id"), Tags: []dynamotypes.Tag{{Key: aws.String(provision.Tag), Value: aws.String("fixed")}},
		AttributeDefinitions: []dynamotypes.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: dynamotypes.ScalarAttributeTypeN}, {AttributeName: aws.String("genre"), AttributeType: dynamotypes.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexes: []dynamotypes.GlobalSecondaryIndex{
			{IndexName: aws.String("by_year"), KeySchema: key("genre"), Projection: &dynamotypes.Projection{ProjectionType: dynamotypes.ProjectionTypeAll}},
			{IndexName: aws.String("by_genre"), KeySchema: key("genre"), Projection: &dynamotypes.Projection{ProjectionType: dynamotypes.ProjectionTypeKeysOnly}},
		},
		StreamSpecification: &dynamotypes.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: dynamotypes.StreamViewTypeKeysOnly}, DeletionProtectionEnabled: aws.Bool(true),
	})
	if err == nil {
		_, err = s.dynamodb.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: aws.String("fixed-games"), TimeToLiveSpecification: &dynamotypes.TimeToLiveSpecification{AttributeName: aws.String("gone_at"), Enabled: aws.Bool(true)}})
	}
	if err == nil {
		_, err = s.dynamodb.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{TableName: aws.String("fixed-games"), PointInTimeRecoverySpecification: &dynamotypes.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	needs := provision.Needs{
		Project: "fixed", Tables: []provision.Table{{At: w.settings, Table: itemstore.Table{Name: "fixed-games", Schema: schema(t, "games"), Indexes: []itemstore.Index{
			{Name: "by_year", Columns: []string{"year"}}, {Name: "by_genre", Columns: []string{"genre"}},
		}}}},
		Buckets: []provision.Bucket{{Name: "fixed-lake", At: w.settings, Owner: "999999999999"}}, Queues: []provision.Queue{{Name: "arn:aws:sqs:eu-west-1:999999999999:fixed-queue", At: w.settings}},
	}
	steps := apply(t, w, needs, provision.Options{})
	same(t, told(steps), []string{"bucket lake blocked", "table games blocked !key, !index by_year, !index by_genre, !stream, !TTL", "queue queue blocked"})
	if !strings.Contains(steps[0].Note, "999999999999") || !strings.Contains(steps[2].Note, "999999999999") {
		t.Errorf("%+v", steps)
	}
	for _, d := range steps[1].Blocked {
		if len(d.Why) < 40 || d.Is == d.Want {
			t.Errorf("%+v", d)
		}
	}
	if wrote := w.written(); len(wrote) > 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

// TestWhatIsNotTheProjects is never written to: without a tag, or with another's. Adopted, it is.
func TestWhatIsNotTheProjects(t *testing.T) {
	t.Parallel()
	w, s, ctx := watch(t), direct(t), t.Context()
	_, one := s.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("alien-lake"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
	_, two := s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("alien-queue")})
	_, three := s.events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String("alien-bus")})
	_, four := s.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: aws.String("alien-lake"), Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: aws.String("team"), Value: aws.String("games")}}}})
	if err := errors.Join(one, two, three, four); err != nil {
		t.Fatal(err)
	}
	needs := provision.Needs{
		Project: "alien", Buckets: []provision.Bucket{{Name: "alien-lake", At: w.settings}}, Queues: []provision.Queue{{Name: "alien-queue", At: w.settings}}, Buses: []provision.Bus{{Name: "alien-bus", At: w.settings}},
	}
	only := provision.Options{TLS: true, Only: []provision.Kind{provision.KindBucket, provision.KindBus}}
	want := []string{"bucket lake blocked !public access, !owner of objects, !encryption, !life cycle, !TLS 1.2"}
	steps := apply(t, w, needs, only)
	if same(t, told(steps), want); len(w.written()) > 0 || !strings.Contains(steps[0].Blocked[0].Why, "--adopt") || steps[1].Note == "" {
		t.Errorf("%+v", steps)
	}
	whole := apply(t, w, needs, provision.Options{TLS: true})
	if wrote := w.written(); !slices.Equal(wrote, []string{"sqs:CreateQueue"}) { // the dead-letter queue, which was not there
		t.Errorf("it wrote %v: %v", wrote, told(whole))
	}
	doomed, err := site(t, w, needs, provision.Options{TLS: true}).Destroy(ctx, true, func(provision.Step) {})
	if err != nil || provision.Count(doomed, provision.Delete) != 1 || provision.Count(doomed, provision.Keep) != 3 {
		t.Errorf("%v %v", told(doomed), err)
	}
	w.written()
	adopted := told(apply(t, w, needs, provision.Options{Adopt: true, TLS: true}))
	if !slices.Contains(adopted, "bus bus change tag acequia:managed-by") {
		t.Error(adopted)
	}
	if tags, err := s.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String("alien-lake")}); err != nil || len(tags.TagSet) != 2 {
		t.Error("a tag of others is gone", tags, err)
	}
	sound(t, plan(t, w, needs, provision.Options{TLS: true}), provision.Same)
	w.written()
	needs.Project = "other" // what is another's is not adopted
	needs.Buckets[0].Versions = true
	same(t, told(apply(t, w, needs, provision.Options{Adopt: true, TLS: true})), []string{"bucket lake blocked !versions, !life cycle"})
	if wrote := w.written(); len(wrote) > 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

// TestDestroy keeps what holds anything, until it is told to delete that too. What has no tag stays.
func TestDestroy(t *testing.T) {
	t.Parallel()
	w, s, ctx := watch(t), direct(t), t.Context()
	needs := everything(t, w, "doomed")
	sound(t, apply(t, w, needs, provision.Options{}), provision.Create)
	_, one := s.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("doomed-lake"), Key: aws.String("a"), Body: strings.NewReader("a")})
	_, two := s.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("doomed-lake"), Key: aws.String("a")}) // its version is still there
	_, three := s.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("doomed-keys"), Item: map[string]dynamotypes.AttributeValue{"id": &dynamotypes.AttributeValueMemberS{Value: "one"}}})
	_, four := s.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: s.url(t, "doomed-out"), MessageBody: aws.String("one")})
	_, five := s.sqs.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: s.url(t, "doomed-out-dead"), TagKeys: []string{provision.Tag}})
	if err := errors.Join(one, two, three, four, five); err != nil {
		t.Fatal(err)
	}
	w.written()
	steps, err := site(t, w, needs, provision.Options{}).Doomed(ctx, false)
	if err != nil || provision.Count(steps, provision.Delete) != 18 || len(w.written()) > 0 {
		t.Fatal(told(steps), err)
	}
	if steps[0].Kind != provision.KindPipe || steps[len(steps)-1].Kind != provision.KindBucket {
		t.Error("what others are made of goes last", told(steps))
	}
	steps, err = site(t, w, needs, provision.Options{}).Destroy(ctx, false, func(provision.Step) {})
	kept := slices.DeleteFunc(told(steps), func(line string) bool { return !strings.HasSuffix(line, " keep") })
	if err != nil || provision.Failed(steps) > 0 {
		t.Fatal(told(steps), err)
	}
	same(t, kept, []string{"queue out keep", "queue out-dead keep", "table keys keep", "bucket lake keep"})
	held := 0
	for _, step := range steps {
		if step.Held {
			held++
		}
	}
	if held != 3 {
		t.Errorf("%d are held by what they hold", held)
	}
	steps, err = site(t, w, needs, provision.Options{}).Destroy(ctx, true, func(provision.Step) {})
	if err != nil || provision.Failed(steps) > 0 || provision.Count(steps, provision.Delete) != 3 {
		t.Error(told(steps), err)
	}
	out, err := s.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: s.url(t, "doomed-out-dead"), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn}})
	if err != nil || out.Attributes["QueueArn"] == "" {
		t.Error("what has no tag was deleted", err)
	}
	if steps, err = site(t, w, needs, provision.Options{}).Doomed(ctx, true); err != nil || len(steps) != 1 {
		t.Error(told(steps), err)
	}
}
