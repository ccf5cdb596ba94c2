package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// redrive reads a RedrivePolicy. maxReceiveCount is a number or a text there.
func redrive(policy string) (deadLetter string, receives int) {
	var p struct {
		Target   string          `json:"deadLetterTargetArn"`
		Receives json.RawMessage `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return "", 0
	}
	receives, _ = strconv.Atoi(strings.Trim(string(p.Receives), `"`))
	return p.Target, receives
}

// MoveResult is what became of a redrive.
type MoveResult struct {
	Task  string `json:"task,omitempty"` // of SQS, which goes on by itself; "": the messages were moved by us
	Moved int    `json:"moved"`
}

// Redrive sends the messages of a dead-letter queue back to where they came from, or to another queue. SQS does it as a task of its
// own; where it cannot, messages are moved here: sent first and then deleted, so that none is lost.
func (q *Queue) Redrive(ctx context.Context, to string, at awsconfig.Settings) (MoveResult, error) {
	here, err := q.Look(ctx)
	if err != nil {
		return MoveResult{}, err
	}
	in := &sqs.StartMessageMoveTaskInput{SourceArn: &here.ARN}
	var target *Queue
	if to != "" {
		if target, err = OpenQueue(ctx, to, at); err != nil {
			return MoveResult{}, err
		}
		defer target.Close()
		there, err := target.Look(ctx)
		if err != nil {
			return MoveResult{}, err
		}
		in.DestinationArn = &there.ARN
	}
	out, err := q.client.StartMessageMoveTask(ctx, in)
	if err == nil {
		return MoveResult{Task: aws.ToString(out.TaskHandle)}, nil
	}
	if !cannot(err) {
		return MoveResult{}, awsconfig.Explain(err, "start to move messages (sqs:StartMessageMoveTask)", q.Name())
	}
	if target == nil {
		if target, err = q.source(ctx); err != nil {
			return MoveResult{}, err
		}
	}
	n, err := q.move(ctx, target)
	return MoveResult{Moved: n}, err
}

// source finds the one queue that has this one as its dead-letter queue.
func (q *Queue) source(ctx context.Context) (*Queue, error) {
	out, err := q.client.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &q.url})
	switch {
	case err != nil:
		return nil, awsconfig.Explain(err, "find what feeds the queue (sqs:ListDeadLetterSourceQueues)", q.Name())
	case len(out.QueueUrls) != 1:
		return nil, &fault.Error{Code: "ACQ-SQS-020", Place: q.Name(), Err: fmt.Errorf("%d queues have it as their dead-letter queue", len(out.QueueUrls)), Remedy: "say where to: --to QUEUE"}
	}
	return &Queue{client: q.client, url: out.QueueUrls[0], idle: q.idle}, nil
}

// cannot says whether a server does not know the task, or not for such queues.
func cannot(err error) bool {
	code := awsconfig.Code(err)
	return strings.Contains(code, "UnsupportedOperation") || strings.Contains(code, "InvalidAction") || strings.Contains(code, "UnknownOperation") ||
		awsconfig.Status(err) == http.StatusNotFound || awsconfig.Status(err) == http.StatusNotImplemented
}

// moveHidden is for how long messages are hidden that are being moved.
const moveHidden = time.Minute

// move moves what is in the queue now, batch by batch.
func (q *Queue) move(ctx context.Context, to *Queue) (moved int, err error) {
	seen := map[string]bool{}
	for {
		all, err := q.Receive(ctx, time.Second, moveHidden)
		if err != nil || len(all) == 0 {
			return moved, err
		}
		sent := make([]Outgoing, len(all))
		handles := make([]string, len(all))
		for i, m := range all {
			if seen[m.ID] { // the queue begins anew: what was moved has come back, or was not deleted
				return moved, nil
			}
			seen[m.ID] = true
			handles[i] = m.Handle
			sent[i] = Outgoing{Body: string(m.Body), Group: m.Group(), given: m.given}
			if IsFIFO(to.url) { // its own might still be remembered there, and then nothing would be sent
				sent[i].Dedup = ID("moved-" + m.ID)
			}
		}
		if err := to.SendAll(ctx, sent, 1); err != nil {
			return moved, err
		}
		if err := Persist(ctx, len(handles), func(ctx context.Context, left []int) ([]Failure, error) { return q.Delete(ctx, picked(handles, left)) }); err != nil {
			return moved, err
		}
		moved += len(all)
	}
}
