package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// What a queue is made with. See deploy/cloudformation/template.yaml.
const (
	hiddenSeconds = 900
	keptSeconds   = 4 * 24 * 3600
	deadSeconds   = 14 * 24 * 3600 // a message keeps its age when it becomes a dead letter: so this is the longer
	waitSeconds   = 20
	receives      = 5
)

// queue is one of SQS.
type queue struct {
	*clients
	site    *Site
	name    string
	account string      // whose it has to be by its URL or ARN; "": that of who asks
	dead    string      // name of its dead-letter queue; "": it is one itself
	from    string      // of a dead-letter queue: the name of the queue whose it is; "": it is a pipe's or a rule's
	allowed []statement // who else may send
	rank    int
}

// queueName reads the name of a queue, and the account if it says one, from a name, an ARN or a URL:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html.
func queueName(text string) (name, account string) {
	if parts := strings.Split(text, ":"); len(parts) == 6 && parts[0] == "arn" {
		return parts[5], parts[4]
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text, ""
	}
	account = path.Base(path.Dir(u.Path))
	if _, err := strconv.ParseUint(account, 10, 64); err != nil || len(account) != 12 || !strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		account = ""
	}
	return path.Base(u.Path), account
}

// deadName is the name of a queue's dead-letter queue, which is FIFO where the queue is.
func deadName(name string) string {
	if base, fifo := strings.CutSuffix(name, fifoSuffix); fifo {
		return base + "-dead" + fifoSuffix
	}
	return name + "-dead"
}

const fifoSuffix = ".fifo"

func (s *Site) queues(ctx context.Context, needs Needs) error {
	for _, n := range needs.Queues {
		if _, err := s.queue(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// queue adds a queue with its dead-letter queue, or gives the one that is there.
func (s *Site) queue(ctx context.Context, n Queue) (*queue, error) {
	c, err := s.at(ctx, n.At)
	if err != nil {
		return nil, err
	}
	name, account := queueName(n.Name)
	q := &queue{clients: c, site: s, name: name, account: account, dead: deadName(name), rank: rankQueue}
	if !s.add(q) {
		for _, o := range s.things {
			if o, ok := o.(*queue); ok && o.name == name && o.region == c.region {
				return o, nil
			}
		}
	}
	if q.about().refused == "" {
		s.add(&queue{clients: c, site: s, name: q.dead, from: name, rank: rankFirst})
	}
	return q, nil
}

func (q *queue) about() about {
	a := about{kind: KindQueue, name: q.name, region: q.region, rank: q.rank}
	if q.dead != "" {
		a.after = []string{about{kind: KindQueue, name: q.dead}.id()}
		a.is = []string{fmt.Sprintf("messages are kept for %s, hidden for %d s, and go to %s after %d receives", days(keptSeconds/86400), hiddenSeconds, q.dead, receives)}
	} else {
		a.is = []string{"dead letters are kept for " + days(deadSeconds/86400)}
	}
	a.is = append(a.is, "encrypted, TLS alone")
	if q.account != "" && q.account != q.clients.account {
		a.refused = "it is of the account " + q.account + ", and this is " + q.clients.account
	}
	return a
}

func (q *queue) arn() string { return q.clients.arn("sqs", q.name) }

func (q *queue) explain(err error, doing string) error { return explain(err, doing, q.about()) }

// attributes are those that the queue is to have.
func (q *queue) attributes() map[string]string {
	out := map[string]string{
		string(types.QueueAttributeNameSqsManagedSseEnabled):   "true",
		string(types.QueueAttributeNameMessageRetentionPeriod): strconv.Itoa(deadSeconds),
	}
	write := func(name types.QueueAttributeName, v map[string]any) {
		text, _ := json.Marshal(v) // of texts and numbers
		out[string(name)] = string(text)
	}
	if q.dead != "" {
		out[string(types.QueueAttributeNameMessageRetentionPeriod)] = strconv.Itoa(keptSeconds)
		out[string(types.QueueAttributeNameVisibilityTimeout)] = strconv.Itoa(hiddenSeconds)
		out[string(types.QueueAttributeNameReceiveMessageWaitTimeSeconds)] = strconv.Itoa(waitSeconds)
		write(types.QueueAttributeNameRedrivePolicy, map[string]any{"deadLetterTargetArn": q.clients.arn("sqs", q.dead), "maxReceiveCount": receives})
	}
	if q.from != "" {
		write(types.QueueAttributeNameRedriveAllowPolicy, map[string]any{"redrivePermission": "byQueue", "sourceQueueArns": []string{q.clients.arn("sqs", q.from)}})
	}
	return out
}

func (q *queue) policy() []statement {
	if !q.site.encrypted(q.sqs.Options().BaseEndpoint) {
		return q.allowed
	}
	return append(secure("sqs", false, q.arn()), q.allowed...)
}

func (q *queue) url(ctx context.Context) (*string, error) {
	out, err := q.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.name})
	if is(err, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist") {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, q.explain(err, "find the queue (sqs:GetQueueUrl)")
	}
	return out.QueueUrl, nil
}

func (q *queue) look(ctx context.Context) (*found, error) {
	at, err := q.url(ctx)
	if err != nil || at == nil {
		return nil, err
	}
	tags, err := q.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: at})
	if err != nil {
		return nil, q.explain(err, "read its tags (sqs:ListQueueTags)")
	}
	have, err := q.have(ctx, at)
	if err != nil {
		return nil, err
	}
	f := &found{owner: tags.Tags[Tag], holds: func(ctx context.Context) (string, error) { return q.holds(ctx, at) }, claim: func(ctx context.Context) error {
		_, err := q.sqs.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: at, Tags: map[string]string{Tag: q.site.Project}})
		return q.explain(err, "write its tag (sqs:TagQueue)")
	}}
	return f, q.compare(f, at, have)
}

// compare finds the attributes that differ. They are set together, in one call.
func (q *queue) compare(f *found, at *string, have map[string]string) error {
	want := q.attributes()
	if have[string(types.QueueAttributeNameKmsMasterKeyId)] != "" { // stricter
		delete(want, string(types.QueueAttributeNameSqsManagedSseEnabled))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !alike(have[name], want[name]) {
			f.drifts = append(f.drifts, drift{what: name, is: orNone(have[name]), want: want[name]})
		}
	}
	policy, same, err := merged(have[string(types.QueueAttributeNamePolicy)], q.policy())
	if err != nil {
		return unreadable(err, q.about())
	}
	if !same {
		f.drifts = append(f.drifts, drift{what: string(types.QueueAttributeNamePolicy), is: "not all of it", want: "TLS alone, and who has to send"})
	}
	if len(f.drifts) > 0 {
		if len(q.policy()) > 0 {
			want[string(types.QueueAttributeNamePolicy)] = policy
		}
		f.drifts[0].mend = func(ctx context.Context) error {
			_, err := q.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: at, Attributes: want})
			return q.explain(err, "set its attributes (sqs:SetQueueAttributes)")
		}
	}
	return nil
}

func (q *queue) have(ctx context.Context, at *string) (map[string]string, error) {
	out, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: at, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		return nil, q.explain(err, "read its attributes (sqs:GetQueueAttributes)")
	}
	return out.Attributes, nil
}

// create makes the queue with its tag. A name is free again a minute after a queue of it was deleted.
func (q *queue) create(ctx context.Context) error {
	in := &sqs.CreateQueueInput{QueueName: &q.name, Attributes: q.attributes(), Tags: map[string]string{Tag: q.site.Project}}
	if all := q.policy(); len(all) > 0 {
		in.Attributes[string(types.QueueAttributeNamePolicy)] = document(all...)
	}
	if strings.HasSuffix(q.name, fifoSuffix) {
		in.Attributes[string(types.QueueAttributeNameFifoQueue)] = "true"
	}
	err := q.site.persist(ctx, q.about(), "another of this name was just deleted", func(ctx context.Context) error {
		_, err := q.sqs.CreateQueue(ctx, in)
		return err
	}, "AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently")
	return q.explain(unless(err, "QueueAlreadyExists", "QueueNameExists"), "make the queue (sqs:CreateQueue, sqs:TagQueue)")
}

// holds says how many messages wait. SQS counts about right within a minute.
func (q *queue) holds(ctx context.Context, at *string) (string, error) {
	have, err := q.have(ctx, at)
	if err != nil {
		return "", err
	}
	n := 0
	for _, name := range []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible, types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	} {
		one, _ := strconv.Atoi(have[string(name)]) // a number
		n += one
	}
	if n == 0 {
		return "", nil
	}
	return fmt.Sprintf("about %d messages", n), nil
}

func (q *queue) remove(ctx context.Context) error {
	at, err := q.url(ctx)
	if err != nil || at == nil {
		return err
	}
	_, err = q.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: aws.String(*at)})
	return q.explain(unless(err, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"), "delete it (sqs:DeleteQueue)")
}
