package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// usualBus is the bus that every account has.
const usualBus = "default"

// bus is one of EventBridge.
type bus struct {
	*clients
	site *Site
	name string
}

func (s *Site) buses(ctx context.Context, needs Needs) error {
	for _, n := range needs.Buses {
		name := n.Name
		if i := strings.LastIndex(name, "/"); strings.HasPrefix(name, "arn:") {
			name = name[i+1:]
		}
		if name == "" || name == usualBus {
			continue
		}
		c, err := s.at(ctx, n.At)
		if err != nil {
			return err
		}
		s.add(&bus{c, s, name})
	}
	return nil
}

func (b *bus) about() about {
	return about{kind: KindBus, name: b.name, region: b.region, rank: rankFirst}
}

func (b *bus) arn() string { return b.clients.arn("events", "event-bus/"+b.name) }

func (b *bus) explain(err error, doing string) error { return explain(err, doing, b.about()) }

func (b *bus) look(ctx context.Context) (*found, error) {
	_, err := b.events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &b.name})
	if is(err, "ResourceNotFoundException") {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, b.explain(err, "look at the bus (events:DescribeEventBus)")
	}
	owner, err := tagOf(ctx, b.clients, b.about(), b.arn())
	return &found{owner: owner, claim: func(ctx context.Context) error { return tag(ctx, b.clients, b.about(), b.arn(), b.site.Project) }}, err
}

func tagOf(ctx context.Context, c *clients, a about, arn string) (string, error) {
	out, err := c.events.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil {
		return "", explain(err, "read its tags (events:ListTagsForResource)", a)
	}
	for _, t := range out.Tags {
		if aws.ToString(t.Key) == Tag {
			return aws.ToString(t.Value), nil
		}
	}
	return "", nil
}

func tag(ctx context.Context, c *clients, a about, arn, project string) error {
	_, err := c.events.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: &arn, Tags: []types.Tag{{Key: aws.String(Tag), Value: &project}}})
	return explain(err, "write its tag (events:TagResource)", a)
}

func (b *bus) create(ctx context.Context) error {
	_, err := b.events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: &b.name, Tags: []types.Tag{{Key: aws.String(Tag), Value: &b.site.Project}}})
	return b.explain(unless(err, "ResourceAlreadyExistsException"), "make the bus (events:CreateEventBus, events:TagResource)")
}

func (b *bus) remove(ctx context.Context) error {
	_, err := b.events.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &b.name})
	return b.explain(err, "delete it (events:DeleteEventBus)")
}

// eventKind is the detail-type of the events of a route, as its pipe puts them on the bus.
const eventKind = "DynamoDBChange"

// eventSource is their source, by which a rule knows the table.
func eventSource(table string) string { return "acequia." + table }

// How long a rule tries to bring an event to its queue.
const (
	ruleTries   = 20
	ruleSeconds = 43200
)

// rule brings the changes of a table from a bus to a queue.
type rule struct {
	*clients
	site  *Site
	name  string
	bus   *bus
	table string
	queue *queue
	dead  *queue
}

func (r *rule) about() about {
	return about{
		kind: KindRule, name: r.name, region: r.region, rank: rankRule, after: []string{r.bus.about().id(), r.queue.about().id(), r.dead.about().id()},
		is: []string{"changes of " + r.table + " from the bus " + r.bus.name + " to the queue " + r.queue.name + ", else after 12 hours to " + r.dead.name},
	}
}

func (r *rule) arn() string { return r.clients.arn("events", "rule/"+r.bus.name+"/"+r.name) }

func (r *rule) explain(err error, doing string) error { return explain(err, doing, r.about()) }

// pattern is what the rule takes from the bus.
func (r *rule) pattern() string {
	text, _ := json.Marshal(map[string][]string{"source": {eventSource(r.table)}, "detail-type": {eventKind}}) // of texts
	return string(text)
}

// target is the queue, as the rule has it.
func (r *rule) target() types.Target {
	return types.Target{
		Id: aws.String("queue"), Arn: aws.String(r.queue.arn()), DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String(r.dead.arn())},
		RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(ruleTries), MaximumEventAgeInSeconds: aws.Int32(ruleSeconds)},
	}
}

func targetText(t types.Target) string {
	out := aws.ToString(t.Arn)
	if p := t.RetryPolicy; p != nil {
		out += fmt.Sprintf(", %d tries in %d s", aws.ToInt32(p.MaximumRetryAttempts), aws.ToInt32(p.MaximumEventAgeInSeconds))
	}
	if d := t.DeadLetterConfig; d != nil {
		out += ", else " + aws.ToString(d.Arn)
	}
	return out
}

func (r *rule) look(ctx context.Context) (*found, error) {
	was, err := r.events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &r.name, EventBusName: &r.bus.name})
	if is(err, "ResourceNotFoundException") {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, r.explain(err, "look at the rule (events:DescribeRule)")
	}
	f := &found{claim: func(ctx context.Context) error { return tag(ctx, r.clients, r.about(), r.arn(), r.site.Project) }}
	if f.owner, err = tagOf(ctx, r.clients, r.about(), r.arn()); err != nil {
		return nil, err
	}
	if !alike(aws.ToString(was.EventPattern), r.pattern()) || was.State != types.RuleStateEnabled {
		f.drifts = append(f.drifts, drift{
			what: "pattern", is: string(was.State) + " " + aws.ToString(was.EventPattern), want: string(types.RuleStateEnabled) + " " + r.pattern(),
			mend: func(ctx context.Context) error { return r.put(ctx, nil) }, // tags are taken when a rule is made alone
		})
	}
	out, err := r.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.name, EventBusName: &r.bus.name})
	if err != nil {
		return nil, r.explain(err, "read its targets (events:ListTargetsByRule)")
	}
	is := "none"
	for _, t := range out.Targets {
		if aws.ToString(t.Id) == aws.ToString(r.target().Id) {
			is = targetText(t)
		}
	}
	if want := targetText(r.target()); is != want {
		f.drifts = append(f.drifts, drift{what: "target", is: is, want: want, mend: r.aim})
	}
	return f, nil
}

func (r *rule) put(ctx context.Context, tags []types.Tag) error {
	_, err := r.events.PutRule(ctx, &eventbridge.PutRuleInput{Name: &r.name, EventBusName: &r.bus.name, EventPattern: aws.String(r.pattern()), State: types.RuleStateEnabled, Tags: tags})
	return r.explain(err, "make the rule (events:PutRule, events:TagResource)")
}

// aim sets the target. The answer is 200 though it failed.
func (r *rule) aim(ctx context.Context) error {
	out, err := r.events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &r.name, EventBusName: &r.bus.name, Targets: []types.Target{r.target()}})
	if err == nil && out.FailedEntryCount > 0 {
		e := out.FailedEntries[0]
		return refused(r.about(), "set its target (events:PutTargets)", aws.ToString(e.ErrorCode)+": "+aws.ToString(e.ErrorMessage))
	}
	return r.explain(err, "set its target (events:PutTargets)")
}

func (r *rule) create(ctx context.Context) error {
	return r.put(ctx, []types.Tag{{Key: aws.String(Tag), Value: &r.site.Project}})
}

func (r *rule) remove(ctx context.Context) error {
	out, err := r.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.name, EventBusName: &r.bus.name})
	if err != nil {
		return r.explain(err, "read its targets (events:ListTargetsByRule)")
	}
	ids := make([]string, len(out.Targets))
	for i, t := range out.Targets {
		ids[i] = aws.ToString(t.Id)
	}
	if len(ids) > 0 {
		if _, err := r.events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &r.name, EventBusName: &r.bus.name, Ids: ids}); err != nil {
			return r.explain(err, "remove its targets (events:RemoveTargets)")
		}
	}
	_, err = r.events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &r.name, EventBusName: &r.bus.name})
	return r.explain(err, "delete it (events:DeleteRule)")
}
