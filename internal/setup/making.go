package setup

import (
	"cmp"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
)

// Making gives the policy of who makes and deletes what files need of AWS (acequia setup apply and destroy). The running service needs none of it.
// The problems are those that Policies finds, and not given again.
func Making(files []*config.File, o Options) Policy {
	f := &finder{options: o}
	for _, file := range files {
		f.file(file)
	}
	f.route()
	return f.made.policy()
}

// Making gives the policy of who makes what the service needs.
func (s Service) Making(o Options) (Policy, error) {
	if _, err := s.Policies(o); err != nil { // which checks the names
		return Policy{}, err
	}
	m := makings{results: o.Athena.Results.Bucket}
	m.lake(s.Lake, "")
	m.bucket(s.Reports.Bucket)
	m.bucket(s.Backups.Bucket)
	m.tables = o.Account.tables(s.Tables)
	return m.policy(), nil
}

// makings gathers the ARNs of what is made.
type makings struct {
	results string // bucket of the results of queries; "": one for each lake
	notes   []string

	buckets, tables, queues, buses, rules, roles, pipes []string
	changes                                             []change
}

// change is a source that reads a queue which may be filled with the changes of a table.
type change struct {
	at            Account
	source, table string
	queue         string // ARN
}

func (m *makings) bucket(name string) {
	if name != "" {
		m.buckets = append(m.buckets, Folder{Bucket: name}.bucket())
	}
}

// lake adds its bucket and that of the results of its queries; results: what the lake itself says.
func (m *makings) lake(f Folder, results string) {
	m.bucket(f.Bucket)
	m.bucket(cmp.Or(results, m.results, f.Bucket+"-results"))
}

// queue adds one with its dead-letter queue, which is FIFO where it is.
func (m *makings) queue(arn string) {
	if base, fifo := strings.CutSuffix(arn, ".fifo"); fifo {
		m.queues = append(m.queues, arn, base+"-dead.fifo")
		return
	}
	m.queues = append(m.queues, arn, arn+"-dead")
}

// bus adds one that not every account has.
func (m *makings) bus(arn string) {
	if !strings.HasSuffix(arn, ":event-bus/default") {
		m.buses = append(m.buses, arn)
	}
}

// route adds what carries the changes of tables that the files write into queues that they read.
func (f *finder) route() {
	for _, c := range f.made.changes {
		if !slices.Contains(f.made.tables, c.at.table(c.table)) {
			continue
		}
		name := f.options.Project + "-" + c.source
		region := c.at.Region
		if region == "" {
			region = UnknownRegion
		}
		f.made.queues = append(f.made.queues, c.at.arn("sqs", name+"-pipe-dead"))
		f.made.roles = append(f.made.roles, global(c.at.arn("iam", "role/"+name+"-pipe-"+region)))
		f.made.pipes = append(f.made.pipes, c.at.arn("pipes", "pipe/"+name))
		if !strings.HasSuffix(c.queue, ".fifo") {
			f.made.queues = append(f.made.queues, c.at.arn("sqs", name+"-rule-dead"))
			f.made.buses = append(f.made.buses, c.at.arn("events", "event-bus/"+f.options.Project))
			f.made.rules = append(f.made.rules, c.at.arn("events", "rule/"+f.options.Project+"/"+name))
		}
	}
}

// global takes the region out of an ARN of a service that is one for all regions.
func global(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	parts[3] = ""
	return strings.Join(parts, ":")
}

func (m *makings) policy() Policy {
	objects := make([]string, len(m.buckets))
	for i, b := range m.buckets {
		objects[i] = b + "/*"
	}
	all := []Statement{
		{Sid: "Buckets", Resource: m.buckets, Action: []string{
			"s3:CreateBucket", "s3:DeleteBucket", "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:GetBucketVersioning",
			"s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
			"s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
		}},
		{Sid: "Objects", Resource: objects, Action: []string{"s3:DeleteObject", "s3:DeleteObjectVersion"}},
		{Sid: "Tables", Resource: m.tables, Action: []string{
			"dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:ListTagsOfResource",
			"dynamodb:Scan", "dynamodb:TagResource", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTable", "dynamodb:UpdateTimeToLive",
		}},
		{Sid: "Queues", Resource: m.queues, Action: []string{
			"sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags", "sqs:SetQueueAttributes", "sqs:TagQueue",
		}},
		{Sid: "Buses", Resource: m.buses, Action: []string{
			"events:CreateEventBus", "events:DeleteEventBus", "events:DescribeEventBus", "events:ListTagsForResource", "events:TagResource",
		}},
		{Sid: "Rules", Resource: m.rules, Action: []string{
			"events:DeleteRule", "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource",
		}},
		{Sid: "Roles", Resource: m.roles, Action: []string{
			"iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy", "iam:PutRolePolicy", "iam:TagRole", "iam:UpdateAssumeRolePolicy",
		}},
		{
			Sid: "PassRoles", Resource: m.roles, Action: []string{"iam:PassRole"},
			Condition: map[string]map[string][]string{"StringEquals": {"iam:PassedToService": {"pipes.amazonaws.com"}}},
		},
		{Sid: "Pipes", Resource: m.pipes, Action: []string{"pipes:CreatePipe", "pipes:DeletePipe", "pipes:DescribePipe", "pipes:TagResource", "pipes:UpdatePipe"}},
	}
	for i := range all {
		all[i].Resource = slices.Compact(slices.Sorted(slices.Values(all[i].Resource)))
	}
	return policy(Setup, "acequia setup apply and destroy", "", all, m.notes...)
}
