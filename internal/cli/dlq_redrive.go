package cli

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/messaging"
)

type dlqRedriveCmd struct {
	Queue    string `arg:"" help:"Name, ARN or URL of a dead-letter queue of SQS."`
	To       string `help:"Where its messages go; default: to the queues that they came from." placeholder:"QUEUE"`
	Region   string `help:"Region of AWS; default: that of the ARN or URL, then of AWS_REGION or the profile." placeholder:"REGION"`
	Endpoint string `help:"Address of a server that is not AWS." placeholder:"URL"`
	JSON     bool   `help:"Write JSON."`
}

// Help shows examples.
func (dlqRedriveCmd) Help() string {
	return `SQS puts messages into a dead-letter queue that were received too often in vain. Dead letters of acequia are another thing: records that
cannot pass, kept in its state, which acequia dlq retry sends again.

SQS moves the messages by itself, one such task a queue at a time. Where it cannot, acequia moves what is there now: each message is
sent first and then deleted, so that none is lost.

Examples:
  acequia dlq redrive games-dead
  acequia dlq redrive https://sqs.eu-west-1.amazonaws.com/111122223333/games-dead --to games --json

Exit codes: 0 ok, 1 it failed, 2 usage, 3 environment (credentials, unreachable).`
}

// Run starts it, or does it.
func (c dlqRedriveCmd) Run(ctx context.Context, t terminal) error {
	at := awsconfig.Settings{Region: c.Region, Endpoint: c.Endpoint}
	q, err := messaging.OpenQueue(ctx, c.Queue, at)
	if err != nil {
		return err
	}
	defer q.Close()
	result, err := q.Redrive(ctx, c.To, at)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		return writeJSON(t.out, result)
	case result.Task != "":
		_, err = fmt.Fprintf(t.out, "SQS moves the messages of %s; task %s\n", q.Name(), result.Task)
	default:
		_, err = fmt.Fprintf(t.out, "%s moved\n", count(result.Moved, "message"))
	}
	return err
}
