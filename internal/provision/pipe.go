package provision

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/pipes"
	pipetypes "github.com/aws/aws-sdk-go-v2/service/pipes/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
)

// routes adds what carries the changes of tables into queues: to a FIFO queue itself, which keeps the order of each item, else over a bus, whose
// rules let others hear of the changes too.
func (s *Site) routes(ctx context.Context, needs Needs) error {
	for _, n := range needs.Routes {
		c, err := s.at(ctx, n.Table.At)
		if err != nil {
			return err
		}
		q, err := s.queue(ctx, n.Queue)
		if err != nil {
			return err
		}
		if q.about().refused != "" || q.region != c.region {
			continue // who made the queue brings the changes there
		}
		dead := &queue{clients: c, site: s, name: n.Name + "-pipe-dead", rank: rankFirst}
		s.add(dead)
		p := &pipe{clients: c, site: s, name: n.Name, table: &table{c, s, itemstore.Design(n.Table.Table)[0], true}, dead: dead, queue: q}
		if !strings.HasSuffix(q.name, fifoSuffix) {
			p.bus = &bus{c, s, s.Project}
			s.add(p.bus)
			r := &rule{clients: c, site: s, name: n.Name, bus: p.bus, table: n.Table.Name, queue: q, dead: &queue{clients: c, site: s, name: n.Name + "-rule-dead", rank: rankFirst}}
			allow := func(q *queue) statement {
				return statement{
					"Sid": "Rule", "Effect": "Allow", "Principal": map[string]any{"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
					"Resource": q.arn(), "Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": r.arn()}},
				}
			}
			r.dead.allowed = []statement{allow(r.dead)}
			q.allowed = append(q.allowed, allow(q))
			s.add(r.dead)
			s.add(r)
		}
		p.role = &role{clients: c, site: s, name: n.Name + "-pipe-" + c.region, pipe: p}
		if len(p.role.name) > longestRole {
			return &fault.Error{
				Code: "ACQ-SETUP-008", Place: p.role.about().id(), Err: fmt.Errorf("the name has %d characters, and IAM takes %d", len(p.role.name), longestRole), Remedy: "take a shorter --project, or a shorter name of the source",
			}
		}
		s.add(p.role)
		s.add(p)
	}
	return nil
}

// longestRole is how long the name of a role may be: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
const longestRole = 64

// role is what a pipe may do.
type role struct {
	*clients
	site *Site
	name string
	pipe *pipe
}

func (r *role) about() about {
	return about{kind: KindRole, name: r.name, rank: rankRule, is: []string{"lets the pipe " + r.pipe.name + " read the stream of " + *r.pipe.table.name() + " and send, and nothing else"}}
}

func (r *role) arn() string { return "arn:" + partition + ":iam::" + r.account + ":role/" + r.name }

func (r *role) explain(err error, doing string) error { return explain(err, doing, r.about()) }

const rolePolicy = "pipe"

// trust lets this pipe of this account take the role, and nobody else.
func (r *role) trust() string {
	return document(statement{
		"Effect": "Allow", "Principal": map[string]any{"Service": "pipes.amazonaws.com"}, "Action": "sts:AssumeRole",
		"Condition": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": r.account}, "ArnEquals": map[string]any{"aws:SourceArn": r.pipe.arn()}},
	})
}

// rights are the least that the pipe needs. DynamoDB does not limit ListStreams to tables.
func (r *role) rights() string {
	allow := func(sid, resource string, actions ...string) statement {
		return statement{"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}
	}
	all := []statement{
		allow("Stream", r.clients.arn("dynamodb", "table/"+*r.pipe.table.name()+"/stream/*"), "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
		allow("Streams", "*", "dynamodb:ListStreams"),
		allow("DeadLetters", r.pipe.dead.arn(), "sqs:SendMessage"),
	}
	if r.pipe.bus != nil {
		all = append(all, allow("Bus", r.pipe.bus.arn(), "events:PutEvents"))
	} else {
		all = append(all, allow("Queue", r.pipe.queue.arn(), "sqs:SendMessage"))
	}
	return document(all...)
}

func (r *role) look(ctx context.Context) (*found, error) {
	was, err := r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &r.name})
	if is(err, "NoSuchEntity") {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, r.explain(err, "look at the role (iam:GetRole)")
	}
	f := &found{claim: func(ctx context.Context) error {
		_, err := r.iam.TagRole(ctx, &iam.TagRoleInput{RoleName: &r.name, Tags: []iamtypes.Tag{{Key: aws.String(Tag), Value: &r.site.Project}}})
		return r.explain(err, "write its tag (iam:TagRole)")
	}}
	for _, t := range was.Role.Tags {
		if aws.ToString(t.Key) == Tag {
			f.owner = aws.ToString(t.Value)
		}
	}
	if text := decoded(was.Role.AssumeRolePolicyDocument); !alike(text, r.trust()) {
		f.drifts = append(f.drifts, drift{what: "who may take it", is: text, want: r.trust(), mend: func(ctx context.Context) error {
			_, err := r.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &r.name, PolicyDocument: aws.String(r.trust())})
			return r.explain(err, "say who may take it (iam:UpdateAssumeRolePolicy)")
		}})
	}
	own, err := r.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &r.name, PolicyName: aws.String(rolePolicy)})
	text := ""
	switch {
	case err == nil:
		text = decoded(own.PolicyDocument)
	case !is(err, "NoSuchEntity"):
		return nil, r.explain(err, "read its rights (iam:GetRolePolicy)")
	}
	if !alike(text, r.rights()) {
		f.drifts = append(f.drifts, drift{what: "rights", is: orNone(text), want: r.rights(), mend: func(ctx context.Context) error {
			_, err := r.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &r.name, PolicyName: aws.String(rolePolicy), PolicyDocument: aws.String(r.rights())})
			return r.explain(err, "give it its rights (iam:PutRolePolicy)")
		}})
	}
	return f, nil
}

// decoded reads a policy as IAM gives it, in the writing of URLs.
func decoded(text *string) string {
	out, err := url.QueryUnescape(aws.ToString(text))
	if err != nil {
		return aws.ToString(text)
	}
	return out
}

func (r *role) create(ctx context.Context) error {
	_, err := r.iam.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &r.name, AssumeRolePolicyDocument: aws.String(r.trust()), Description: aws.String("What the pipe " + r.pipe.name + " may do"),
		Tags: []iamtypes.Tag{{Key: aws.String(Tag), Value: &r.site.Project}},
	})
	return r.explain(unless(err, "EntityAlreadyExists"), "make the role (iam:CreateRole, iam:TagRole)")
}

func (r *role) remove(ctx context.Context) error {
	_, err := r.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &r.name, PolicyName: aws.String(rolePolicy)})
	if err != nil && !is(err, "NoSuchEntity") {
		return r.explain(err, "take its rights away (iam:DeleteRolePolicy)")
	}
	_, err = r.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &r.name})
	return r.explain(unless(err, "NoSuchEntity"), "delete it (iam:DeleteRole)")
}

// How a pipe reads a stream. Left to itself it tries a record until the stream has lost it, and its shard waits.
const (
	pipeBatch   = 10 // the most that a bus and a queue take: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
	pipeTries   = 5
	pipeSeconds = 43200
)

// pipe carries the changes of a table to a bus, or to a FIFO queue.
type pipe struct {
	*clients
	site  *Site
	name  string
	table *table
	role  *role
	dead  *queue
	queue *queue
	bus   *bus // nil: it sends to the queue itself
}

func (p *pipe) about() about {
	a := about{kind: KindPipe, name: p.name, region: p.region, rank: rankPipe, after: []string{p.table.about().id(), p.role.about().id(), p.dead.about().id()}}
	to := p.queue.about()
	if p.bus != nil {
		to = p.bus.about()
	}
	a.after = append(a.after, to.id())
	a.is = []string{fmt.Sprintf("changes of %s to the %s, else after %d tries to %s", *p.table.name(), to.id(), pipeTries, p.dead.name)}
	return a
}

func (p *pipe) arn() string { return p.clients.arn("pipes", "pipe/"+p.name) }

func (p *pipe) explain(err error, doing string) error { return explain(err, doing, p.about()) }

func (p *pipe) source() *pipetypes.UpdatePipeSourceDynamoDBStreamParameters {
	return &pipetypes.UpdatePipeSourceDynamoDBStreamParameters{
		BatchSize: aws.Int32(pipeBatch), MaximumBatchingWindowInSeconds: aws.Int32(1), OnPartialBatchItemFailure: pipetypes.OnPartialBatchItemFailureStreamsAutomaticBisect,
		MaximumRetryAttempts: aws.Int32(pipeTries), MaximumRecordAgeInSeconds: aws.Int32(pipeSeconds), DeadLetterConfig: &pipetypes.DeadLetterConfig{Arn: aws.String(p.dead.arn())},
	}
}

// target is where the pipe sends, and how. A message group is an item, so that the order of each is kept.
func (p *pipe) target() (arn string, how *pipetypes.PipeTargetParameters) {
	if p.bus != nil {
		return p.bus.arn(), &pipetypes.PipeTargetParameters{EventBridgeEventBusParameters: &pipetypes.PipeTargetEventBridgeEventBusParameters{
			Source: aws.String(eventSource(*p.table.name())), DetailType: aws.String(eventKind),
		}}
	}
	key := aws.ToString(p.table.want.KeySchema[0].AttributeName)
	kind := types.ScalarAttributeTypeS
	for _, d := range p.table.want.AttributeDefinitions {
		if aws.ToString(d.AttributeName) == key {
			kind = d.AttributeType
		}
	}
	return p.queue.arn(), &pipetypes.PipeTargetParameters{SqsQueueParameters: &pipetypes.PipeTargetSqsQueueParameters{
		MessageGroupId: aws.String("$.dynamodb.Keys." + key + "." + string(kind)), MessageDeduplicationId: aws.String("$.eventID"),
	}}
}

func (p *pipe) look(ctx context.Context) (*found, error) {
	was, err := p.describe(ctx)
	if err != nil || was == nil {
		return nil, err
	}
	f := &found{owner: was.Tags[Tag], claim: func(ctx context.Context) error {
		_, err := p.pipes.TagResource(ctx, &pipes.TagResourceInput{ResourceArn: was.Arn, Tags: map[string]string{Tag: p.site.Project}})
		return p.explain(err, "write its tag (pipes:TagResource)")
	}}
	stream, err := p.table.streamARN(ctx)
	if err != nil {
		return nil, err
	}
	if is := aws.ToString(was.Source); is != stream {
		f.drifts = append(f.drifts, drift{
			what: "source", is: is, want: orNone(stream),
			why: "a pipe keeps the stream that it was made for, and a stream that was turned off and on has another name: delete the pipe (aws pipes delete-pipe), and apply again",
		})
	}
	target, how := p.target()
	for _, one := range [][3]string{
		{"target", aws.ToString(was.Target) + " " + targetHow(was.TargetParameters), target + " " + targetHow(how)},
		{"how it reads", sourceHow(was.SourceParameters), sourceText(p.source())},
		{"role", aws.ToString(was.RoleArn), p.role.arn()},
		{"state", string(was.DesiredState), string(pipetypes.RequestedPipeStateRunning)},
	} {
		if one[1] != one[2] {
			f.drifts = append(f.drifts, drift{what: one[0], is: one[1], want: one[2], mend: p.update})
		}
	}
	return f, nil
}

// sourceText writes how a stream is read, for comparison and for people.
func sourceText(u *pipetypes.UpdatePipeSourceDynamoDBStreamParameters) string {
	dead := "nowhere"
	if u.DeadLetterConfig != nil {
		dead = aws.ToString(u.DeadLetterConfig.Arn)
	}
	return fmt.Sprintf("%d at a time within %d s, %d tries in %d s, %s, else to %s", aws.ToInt32(u.BatchSize), aws.ToInt32(u.MaximumBatchingWindowInSeconds),
		aws.ToInt32(u.MaximumRetryAttempts), aws.ToInt32(u.MaximumRecordAgeInSeconds), orNone(string(u.OnPartialBatchItemFailure)), dead)
}

func sourceHow(s *pipetypes.PipeSourceParameters) string {
	if s == nil || s.DynamoDBStreamParameters == nil {
		return "as it likes"
	}
	d := s.DynamoDBStreamParameters
	return sourceText(&pipetypes.UpdatePipeSourceDynamoDBStreamParameters{
		BatchSize: d.BatchSize, MaximumBatchingWindowInSeconds: d.MaximumBatchingWindowInSeconds, OnPartialBatchItemFailure: d.OnPartialBatchItemFailure,
		MaximumRetryAttempts: d.MaximumRetryAttempts, MaximumRecordAgeInSeconds: d.MaximumRecordAgeInSeconds, DeadLetterConfig: d.DeadLetterConfig,
	})
}

func targetHow(t *pipetypes.PipeTargetParameters) string {
	switch {
	case t == nil:
	case t.EventBridgeEventBusParameters != nil:
		return "as " + aws.ToString(t.EventBridgeEventBusParameters.Source) + " " + aws.ToString(t.EventBridgeEventBusParameters.DetailType)
	case t.SqsQueueParameters != nil:
		return "in groups of " + aws.ToString(t.SqsQueueParameters.MessageGroupId) + ", once by " + aws.ToString(t.SqsQueueParameters.MessageDeduplicationId)
	}
	return "as it likes"
}

func (p *pipe) describe(ctx context.Context) (*pipes.DescribePipeOutput, error) {
	out, err := p.pipes.DescribePipe(ctx, &pipes.DescribePipeInput{Name: &p.name})
	if is(err, "NotFoundException") {
		return nil, nil //nolint:nilnil // it is not there
	}
	return out, p.explain(err, "look at the pipe (pipes:DescribePipe)")
}

// create makes the pipe, which may be refused for as long as its role is not known everywhere.
func (p *pipe) create(ctx context.Context) error {
	stream, err := p.table.streamARN(ctx)
	if err != nil {
		return err
	}
	if stream == "" {
		return &fault.Error{Code: "ACQ-SETUP-004", Place: p.about().id(), Err: fmt.Errorf("the table %s has no stream", *p.table.name()), Remedy: "see what is said of the table"}
	}
	u := p.source()
	target, how := p.target()
	in := &pipes.CreatePipeInput{
		Name: &p.name, RoleArn: aws.String(p.role.arn()), Source: &stream, Target: &target, TargetParameters: how, Tags: map[string]string{Tag: p.site.Project},
		SourceParameters: &pipetypes.PipeSourceParameters{DynamoDBStreamParameters: &pipetypes.PipeSourceDynamoDBStreamParameters{
			StartingPosition: pipetypes.DynamoDBStreamStartPositionTrimHorizon, BatchSize: u.BatchSize, MaximumBatchingWindowInSeconds: u.MaximumBatchingWindowInSeconds,
			OnPartialBatchItemFailure: u.OnPartialBatchItemFailure, MaximumRetryAttempts: u.MaximumRetryAttempts, MaximumRecordAgeInSeconds: u.MaximumRecordAgeInSeconds,
			DeadLetterConfig: u.DeadLetterConfig,
		}},
	}
	began := p.site.options.Now()
	err = p.site.wait(ctx, p.about(), func(ctx context.Context) (string, bool, error) {
		_, err := p.pipes.CreatePipe(ctx, in)
		if is(err, "ValidationException") && p.site.options.Now().Sub(began) < p.site.options.Spread {
			return "its role is not known everywhere yet", false, nil
		}
		return "", true, unless(err, "ConflictException")
	})
	return p.explain(err, "make the pipe (pipes:CreatePipe, pipes:TagResource, iam:PassRole)")
}

// settle waits until the pipe runs.
func (p *pipe) settle(ctx context.Context) error {
	return p.site.wait(ctx, p.about(), func(ctx context.Context) (string, bool, error) {
		was, err := p.describe(ctx)
		if err != nil || was == nil {
			return "it was made, and is not seen yet", false, err
		}
		if strings.HasSuffix(string(was.CurrentState), "_FAILED") {
			return "", false, refused(p.about(), "make it run", string(was.CurrentState)+": "+aws.ToString(was.StateReason))
		}
		moving := strings.HasSuffix(string(was.CurrentState), "ING") && was.CurrentState != pipetypes.PipeStateRunning
		return string(was.CurrentState), !moving, nil
	})
}

// update sets all that can be, and waits: a pipe takes no second change before.
func (p *pipe) update(ctx context.Context) error {
	target, how := p.target()
	_, err := p.pipes.UpdatePipe(ctx, &pipes.UpdatePipeInput{
		Name: &p.name, RoleArn: aws.String(p.role.arn()), Target: &target, TargetParameters: how, DesiredState: pipetypes.RequestedPipeStateRunning,
		SourceParameters: &pipetypes.UpdatePipeSourceParameters{DynamoDBStreamParameters: p.source()},
	})
	if err != nil {
		return p.explain(err, "change the pipe (pipes:UpdatePipe, iam:PassRole)")
	}
	return p.settle(ctx)
}

func (p *pipe) remove(ctx context.Context) error {
	if _, err := p.pipes.DeletePipe(ctx, &pipes.DeletePipeInput{Name: &p.name}); unless(err, "NotFoundException") != nil {
		return p.explain(err, "delete it (pipes:DeletePipe)")
	}
	return p.site.wait(ctx, p.about(), func(ctx context.Context) (string, bool, error) {
		was, err := p.describe(ctx)
		if err != nil || was == nil {
			return "", err == nil, err
		}
		return string(was.CurrentState), false, nil
	})
}
