package lambda

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/acequia-io/acequia/internal/messaging"
)

// batch is the messages of one invocation, as a queue: what is deleted has passed, and what is not has failed.
type batch struct {
	mu      sync.Mutex
	given   bool
	all     []events.SQSMessage
	passed  map[string]bool   // by message id
	carried map[string]string // message id by event id
}

func newBatch(event events.SQSEvent) *batch {
	return &batch{all: event.Records, passed: map[string]bool{}, carried: map[string]string{}}
}

// Receive gives all messages, once.
func (b *batch) Receive(context.Context, time.Duration, time.Duration) ([]messaging.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.given {
		return nil, io.EOF
	}
	b.given = true
	out := make([]messaging.Message, len(b.all))
	for i, m := range b.all {
		out[i] = messaging.Message{ID: m.MessageId, Handle: m.MessageId, Body: []byte(m.Body), System: m.Attributes, Attributes: map[string]string{}}
		for name, v := range m.MessageAttributes {
			if out[i].Attributes[name] = string(v.BinaryValue); v.StringValue != nil {
				out[i].Attributes[name] = *v.StringValue
			}
		}
	}
	return out, nil
}

// Delete notes that messages have passed.
func (b *batch) Delete(_ context.Context, handles []string) ([]messaging.Failure, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range handles {
		b.passed[h] = true
	}
	return nil, nil
}

// Hide does nothing: Lambda shows to others what has failed, when the time of its visibility is over.
func (b *batch) Hide(context.Context, []string, []time.Duration) ([]messaging.Failure, error) {
	return nil, nil
}

// Look tells nothing.
func (b *batch) Look(context.Context) (messaging.Look, error) { return messaging.Look{}, nil }

// Carries notes in which message an event came.
func (b *batch) Carries(message, event string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.carried[event] = message
}

// refuse notes that the record of an event cannot pass: its message has failed, though others of it may have passed.
func (b *batch) refuse(event string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, known := b.carried[event]; known {
		delete(b.passed, id)
		return
	}
	clear(b.passed) // whose it is cannot be told
}

// failures are the messages that have not passed: of a FIFO queue all of a group from the first of it on, so that its order is kept
// when they come again. The slice is never nil, which Lambda would take for a mistake.
func (b *batch) failures() []events.SQSBatchItemFailure {
	b.mu.Lock()
	defer b.mu.Unlock()
	out, broken := []events.SQSBatchItemFailure{}, map[string]bool{}
	for _, m := range b.all {
		group := ""
		if strings.HasSuffix(m.EventSourceARN, ".fifo") {
			group = m.Attributes["MessageGroupId"]
		}
		if b.passed[m.MessageId] && !broken[group] {
			continue
		}
		broken[group] = group != ""
		out = append(out, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	return out
}
