package setup

import (
	"net/url"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
)

// bus finds the queue or topic of a bus that is one of AWS.
func (f *finder) bus(b *config.Block, at Account, file *config.File, rights func(a Account, topic, group string, create bool) ([]Statement, error)) error {
	text, err := b.Setting("url")
	if err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "sqs" && u.Scheme != "sns" {
		return nil //nolint:nilerr // another broker: check tells what is wrong with it
	}
	if u.Hostname() != "" {
		if !isRegion(u.Hostname()) {
			return config.At(Account{Region: u.Hostname()}.Check(), "url")
		}
		at.Region, f.aws.Region = u.Hostname(), u.Hostname()
	}
	f.aws.Endpoint = u.Query().Get("endpoint")
	topic, err := f.required(b, "topic")
	if err != nil {
		return err
	}
	existing, err := b.Setting("existing")
	if err != nil {
		return err
	}
	group, err := b.Setting("group")
	if err != nil {
		return err
	}
	if group == "" {
		group = reader(file, b.Name)
	}
	statements, err := rights(at, topic, group, existing != "true")
	if err == nil && u.Scheme == "sns" {
		err = arnOf(topic, "sns")
	}
	if err != nil {
		return config.At(err, "topic")
	}
	f.add(policy(Bus, "bus", b.Name, statements))
	return nil
}

// reader is the pipeline that reads a source.
func reader(file *config.File, source string) string {
	for _, p := range file.Pipelines {
		if p.From.Name == source {
			return p.Name
		}
	}
	return source
}

// busSource lets a queue be read: of SQS the topic, of SNS the one that the readers of a group share.
func busSource(a Account, topic, group string, create bool) ([]Statement, error) {
	queue, sns := topic, strings.HasPrefix(topic, "arn:")
	if sns {
		if err := arnOf(topic, "sns"); err != nil {
			return nil, err
		}
		queue = group
	}
	arn, err := a.queueARN(queue)
	if err != nil {
		return nil, err
	}
	receive := Statement{Sid: "Receive", Resource: []string{arn}, Action: []string{"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"}}
	if !create {
		return []Statement{receive}, nil
	}
	out := []Statement{receive, {Sid: "Make", Resource: []string{arn}, Action: []string{"sqs:CreateQueue"}}}
	if sns {
		out[1].Action = []string{"sqs:CreateQueue", "sqs:SetQueueAttributes"}
		out = append(out, Statement{Sid: "Subscribe", Resource: []string{topic}, Action: []string{"sns:Subscribe"}})
	}
	return out, nil
}

// busSink lets messages be sent.
func busSink(a Account, topic, _ string, create bool) ([]Statement, error) {
	if strings.HasPrefix(topic, "arn:") {
		return []Statement{{Sid: "Publish", Resource: []string{topic}, Action: made(create, "sns:CreateTopic", "sns:Publish")}}, arnOf(topic, "sns")
	}
	arn, err := a.queueARN(topic)
	return []Statement{{Sid: "Send", Resource: []string{arn}, Action: made(create, "sqs:CreateQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage")}}, err
}

// made gives actions, the first of them only where what is not there is made.
func made(create bool, first string, rest ...string) []string {
	if create {
		return append([]string{first}, rest...)
	}
	return rest
}
