// Package outbox is what sinks are made of that send messages: a group is staged in a file of messages, which are sent when the
// group is published, and sent again under the same ids when the process died meanwhile. So it promises at-least-once.
package outbox

import (
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Transport is what a sink adds to it.
type Transport interface {
	// Messages makes the messages of a batch of a lane; their ids are not asked for. A fault.Rows error names the rows that can never pass.
	Messages(b *record.Batch, lane string) ([]Message, error)
	// Send sends messages, in order. On an error any of them may have been sent: all are sent again.
	Send(ctx context.Context, all []Message) error
}

// Box is the folder of the staged groups of a sink.
type Box struct{ dir *blob.Dir }

var _ sinks.Recoverer = (*writer)(nil)

// Open takes a folder, and makes it where it is missing.
func Open(folder string) (*Box, error) {
	dir, err := blob.Open(folder)
	if err != nil {
		return nil, err
	}
	return &Box{dir}, nil
}

// Writer takes the records of one incarnation of a lane.
func (b *Box) Writer(lane sinks.Lane, t Transport) sinks.Writer {
	id := fmt.Sprintf("%s-%08x", lane.Pipeline, uint32(xxhash.Sum64String(lane.ID))) //nolint:gosec // eight digits of it
	return &writer{dir: b.dir, lane: lane, name: id, transport: t}
}
