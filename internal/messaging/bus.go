package messaging

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// Event is what a bus is given: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html.
type Event struct {
	Source     string
	DetailType string
	Detail     string // a JSON object
	At         time.Time
}

// timeSize is what EventBridge counts for the time of an event.
const timeSize = 14

// Size is what EventBridge counts of the event.
func (e *Event) Size() int { return timeSize + len(e.Source) + len(e.DetailType) + len(e.Detail) }

// Bus is a bus of EventBridge.
type Bus struct {
	client *eventbridge.Client
	name   string
	idle   func()
}

// OpenBus takes a bus by its name or ARN.
func OpenBus(ctx context.Context, bus string, at awsconfig.Settings) (*Bus, error) {
	c, err := awsconfig.Load(ctx, SettingsOf(bus, at))
	if err != nil {
		return nil, err
	}
	idle := awsconfig.Connections(&c, connections, answerTime)
	return &Bus{client: eventbridge.NewFromConfig(c), name: bus, idle: idle}, nil
}

// Close ends the connections, when nobody calls any more.
func (b *Bus) Close() { b.idle() }

// Look says whether the bus is there.
func (b *Bus) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := b.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &b.name})
	return awsconfig.Explain(err, "ask the bus (events:DescribeEventBus)", b.name)
}

// SendAll puts events in as many batches as they need, several at a time.
func (b *Bus) SendAll(ctx context.Context, all []Event, sideBySide int) error {
	none := func(int) string { return "" }
	return each(ctx, Split(len(all), func(i int) int { return all[i].Size() }, none), sideBySide, func(ctx context.Context, run [2]int) error {
		part := all[run[0]:run[1]]
		return Persist(ctx, len(part), func(ctx context.Context, left []int) ([]Failure, error) { return b.put(ctx, picked(part, left)) })
	})
}

// put puts up to MostEntries events. The answer is 200 though some of them failed.
func (b *Bus) put(ctx context.Context, all []Event) ([]Failure, error) {
	in := &eventbridge.PutEventsInput{}
	for i := range all {
		e := &all[i]
		in.Entries = append(in.Entries, types.PutEventsRequestEntry{EventBusName: &b.name, Source: &e.Source, DetailType: &e.DetailType, Detail: &e.Detail, Time: aws.Time(e.At)})
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	out, err := b.client.PutEvents(ctx, in)
	if err != nil {
		return nil, awsconfig.Explain(err, "put events (events:PutEvents)", b.name)
	}
	var failed []Failure
	for i := range all {
		if i >= len(out.Entries) {
			failed = append(failed, Failure{Index: i, Code: "NoAnswer", Message: "the answer does not name the entry"})
		} else if r := out.Entries[i]; r.ErrorCode != nil {
			failed = append(failed, Failure{Index: i, Code: *r.ErrorCode, Message: aws.ToString(r.ErrorMessage), Sender: isSenders(*r.ErrorCode)})
		}
	}
	return failed, nil
}

// isSenders says whether an event would be refused again: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html.
func isSenders(code string) bool {
	switch code {
	case "InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable", "RequestLimitExceeded":
		return false
	}
	return true
}
