package provision_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/pipes"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/provision"
	"github.com/acequia-io/acequia/record"
)

// services are those of the server, without what stands before it.
type services struct {
	s3       *s3.Client
	dynamodb *dynamodb.Client
	sqs      *sqs.Client
	events   *eventbridge.Client
	iam      *iam.Client
	pipes    *pipes.Client
}

func direct(t *testing.T) services {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	return services{
		s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }), dynamodb.NewFromConfig(c), sqs.NewFromConfig(c), eventbridge.NewFromConfig(c), iam.NewFromConfig(c), pipes.NewFromConfig(c),
	}
}

func schema(t *testing.T, stream string) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		stream, []string{"id"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "genre", Kind: record.String, Nullable: true}, record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everything is a project that needs all kinds, under names of its own.
func everything(t *testing.T, w *watcher, project string) provision.Needs {
	t.Helper()
	games := provision.Table{At: w.settings, Table: itemstore.Table{Name: project + "-games", Schema: schema(t, "games"), Indexes: []itemstore.Index{
		{Name: "by_year", Columns: []string{"year", "genre"}}, {Name: "by_tag", Columns: []string{"tags"}, Each: true},
	}}}
	keys := provision.Table{At: w.settings, Table: itemstore.Table{Name: project + "-keys", Schema: schema(t, "keys"), NoChanges: true}}
	queue := func(name string) provision.Queue { return provision.Queue{Name: project + name, At: w.settings} }
	return provision.Needs{
		Project: project,
		Buckets: []provision.Bucket{{Name: project + "-lake", At: w.settings, Versions: true}, {Name: project + "-lake-results", At: w.settings, Expire: 7}},
		Tables:  []provision.Table{games, keys},
		States:  []provision.State{{Name: project + "-state", At: w.settings}},
		Queues:  []provision.Queue{queue("-changes"), queue("-ordered.fifo"), queue("-out")},
		Buses:   []provision.Bus{{Name: project + "-events", At: w.settings}, {At: w.settings}},
		Routes: []provision.Route{
			{Name: project + "-changes", Table: games, Queue: queue("-changes")}, {Name: project + "-ordered", Table: games, Queue: queue("-ordered.fifo")},
		},
	}
}

func site(t *testing.T, w *watcher, needs provision.Needs, o provision.Options) *provision.Site {
	t.Helper()
	o.Pause, o.Spread = time.Millisecond, 50*time.Millisecond
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	o.At = w.settings
	s, err := provision.Open(t.Context(), needs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func plan(t *testing.T, w *watcher, needs provision.Needs, o provision.Options) []provision.Step {
	t.Helper()
	steps, err := site(t, w, needs, o).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func apply(t *testing.T, w *watcher, needs provision.Needs, o provision.Options) []provision.Step {
	t.Helper()
	told := 0
	steps, err := site(t, w, needs, o).Apply(t.Context(), func(provision.Step) { told++ })
	if err != nil || told != len(steps) {
		t.Fatal(told, err)
	}
	return steps
}

// sound fails the test where a step has failed, or has another action.
func sound(t *testing.T, steps []provision.Step, want provision.Action) {
	t.Helper()
	for _, s := range steps {
		if s.Err() != nil || s.Action != want {
			t.Errorf("%s %s: %s %v %v, want %s: %v", s.Kind, s.Name, s.Action, s.Changes, s.Blocked, want, s.Err())
		}
	}
}

// told writes what is or was done, a line each: the kind and the end of its name, the action, what of it.
func told(steps []provision.Step) (out []string) {
	for _, s := range steps {
		if s.Action == provision.Same && s.Err() == nil {
			continue
		}
		var words []string
		for _, d := range s.Changes {
			words = append(words, d.What)
		}
		for _, d := range s.Blocked {
			words = append(words, "!"+d.What)
		}
		if s.Error != nil {
			words = append(words, s.Error.Code)
		}
		_, end, _ := strings.Cut(s.Name, "-")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", s.Kind, end, s.Action, strings.Join(words, ", "))))
	}
	return out
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// TestApplyTwice makes all kinds. A plan writes nothing, and neither does a second apply.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	w := watch(t)
	needs := everything(t, w, "twice")
	steps := plan(t, w, needs, provision.Options{TLS: true})
	sound(t, steps, provision.Create)
	if wrote := w.written(); len(wrote) > 0 || len(steps) != 22 {
		t.Errorf("a plan of %d wrote %v", len(steps), wrote)
	}
	sound(t, apply(t, w, needs, provision.Options{TLS: true}), provision.Create)
	if wrote := w.written(); len(wrote) < len(steps) {
		t.Errorf("it wrote only %v", wrote)
	}
	sound(t, apply(t, w, needs, provision.Options{TLS: true}), provision.Same)
	sound(t, plan(t, w, needs, provision.Options{TLS: true}), provision.Same)
	if wrote := w.written(); len(wrote) > 0 {
		t.Errorf("a second time it wrote %v", wrote)
	}
	shapes(t, direct(t))
	state, err := dynamolog.Open(t.Context(), w.settings, "twice-state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Append(t.Context(), dynamolog.Mark{}, []byte("an entry")); err != nil {
		t.Error(err)
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
}

// shapes looks at what was made by other means.
func shapes(t *testing.T, s services) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, ok bool, got any, err error) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %+v %v", what, got, err)
		}
	}
	public, err := s.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String("twice-lake")})
	check("public access", err == nil && *public.PublicAccessBlockConfiguration.BlockPublicPolicy && *public.PublicAccessBlockConfiguration.IgnorePublicAcls, public, err)
	policy, err := s.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String("twice-lake")})
	check("policy", err == nil && strings.Contains(*policy.Policy, "s3:TlsVersion") && strings.Contains(*policy.Policy, "aws:SecureTransport"), policy, err)
	cycle, err := s.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: aws.String("twice-lake")})
	check("life cycle", err == nil && len(cycle.Rules) == 2 && *cycle.Rules[0].AbortIncompleteMultipartUpload.DaysAfterInitiation == 7, cycle, err)
	cycle, err = s.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: aws.String("twice-lake-results")})
	check("life cycle of results", err == nil && len(cycle.Rules) == 2 && *cycle.Rules[1].Expiration.Days == 7, cycle, err)
	table, err := s.dynamodb.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("twice-games")})
	check("table", err == nil && *table.Table.DeletionProtectionEnabled && len(table.Table.GlobalSecondaryIndexes) == 1 && len(table.Table.GlobalSecondaryIndexes[0].KeySchema) == 2 &&
		table.Table.StreamSpecification.StreamViewType == dynamotypes.StreamViewTypeNewAndOldImages && table.Table.SSEDescription != nil, table, err)
	table, err = s.dynamodb.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("twice-games.by_tag")})
	check("entries", err == nil && *table.Table.KeySchema[0].AttributeName == "element", table, err)
	ttl, err := s.dynamodb.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: aws.String("twice-keys")})
	check("TTL", err == nil && *ttl.TimeToLiveDescription.AttributeName == "_ttl", ttl, err)
	at, err := s.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("twice-changes")})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := s.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: at.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	check("queue", err == nil && strings.Contains(queue.Attributes["RedrivePolicy"], "twice-changes-dead") && strings.Contains(queue.Attributes["Policy"], "rule/twice/twice-changes"), queue.Attributes, err)
	pipe, err := s.pipes.DescribePipe(ctx, &pipes.DescribePipeInput{Name: aws.String("twice-ordered")})
	check("pipe", err == nil && strings.HasSuffix(*pipe.Target, ":twice-ordered.fifo") && *pipe.TargetParameters.SqsQueueParameters.MessageGroupId == "$.dynamodb.Keys.id.S" &&
		*pipe.SourceParameters.DynamoDBStreamParameters.MaximumRetryAttempts == 5 && strings.Contains(*pipe.Source, "/stream/"), pipe, err)
	role, err := s.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String("twice-ordered-pipe-eu-west-1"), PolicyName: aws.String("pipe")})
	check("role", err == nil && strings.Contains(*role.PolicyDocument, "twice-ordered.fifo") && !strings.Contains(*role.PolicyDocument, "PutEvents"), role, err)
	targets, err := s.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: aws.String("twice-changes"), EventBusName: aws.String("twice")})
	check("rule", err == nil && len(targets.Targets) == 1 && strings.HasSuffix(*targets.Targets[0].DeadLetterConfig.Arn, ":twice-changes-rule-dead"), targets, err)
}

// TestStops ends when it is told to.
func TestStops(t *testing.T) {
	t.Parallel()
	w := watch(t)
	s := site(t, w, everything(t, w, "stops"), provision.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, do := range []func() error{
		func() error { _, err := s.Plan(ctx); return err },
		func() error { _, err := s.Apply(ctx, func(provision.Step) {}); return err },
		func() error { _, err := s.Doomed(ctx, false); return err },
		func() error { _, err := s.Destroy(ctx, true, func(provision.Step) {}); return err },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "canceled") {
			t.Error(err)
		}
	}
	if wrote := w.written(); len(wrote) > 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

// put writes an object.
func put(t *testing.T, s services, bucket, key string) {
	t.Helper()
	if _, err := s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(key)}); err != nil {
		t.Fatal(err)
	}
}
