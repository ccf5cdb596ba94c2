package dynamodbstreams

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// shard is a part of a stream.
type shard struct {
	id, parent string
	last       string // the sequence number at which it was closed; "": it is open
}

// tree is the shards of a stream.
type tree struct {
	shards  []shard
	enabled bool // more will come
}

func (t *tree) has(id string) bool {
	return slices.ContainsFunc(t.shards, func(s shard) bool { return s.id == id })
}

func (t *tree) hasChildOf(id string) bool {
	return slices.ContainsFunc(t.shards, func(s shard) bool { return s.parent == id })
}

// tree lists the shards, page by page: a page has a hundred at most.
func (s *Source) tree(ctx context.Context, arn string) (*tree, error) {
	out := &tree{}
	in := &dynamodbstreams.DescribeStreamInput{StreamArn: &arn}
	for {
		var page *dynamodbstreams.DescribeStreamOutput
		err := s.call(ctx, "list the shards (dynamodb:DescribeStream)", func(ctx context.Context) (err error) {
			page, err = s.streams.DescribeStream(ctx, in)
			return err
		})
		if err != nil {
			return nil, awsconfig.Explain(err, "list the shards", s.config.Table)
		}
		d := page.StreamDescription
		out.enabled = d.StreamStatus == types.StreamStatusEnabled || d.StreamStatus == types.StreamStatusEnabling
		for _, one := range d.Shards {
			found := shard{id: aws.ToString(one.ShardId), parent: aws.ToString(one.ParentShardId)}
			if one.SequenceNumberRange != nil {
				found.last = aws.ToString(one.SequenceNumberRange.EndingSequenceNumber)
			}
			out.shards = append(out.shards, found)
		}
		if in.ExclusiveStartShardId = d.LastEvaluatedShardId; d.LastEvaluatedShardId == nil {
			return out, nil
		}
	}
}

// laneOf names the lane of a shard.
func laneOf(label, shard string) string { return label + "/" + shard }

// Lanes gives a lane a shard. A shard waits for its parent as long as the stream knows it; one whose parent is gone may start.
func (s *Source) Lanes(ctx context.Context) ([]sources.Lane, error) {
	arn, label, err := s.stream(ctx)
	if err != nil {
		return nil, err
	}
	var begun []string // before it is looked which there are: what another process begins meanwhile is not missed
	if err := s.remember(ctx, func(n *note) { begun = n.Open }); err != nil {
		return nil, err
	}
	found, err := s.tree(ctx, arn)
	if err != nil {
		return nil, err
	}
	lanes := make([]sources.Lane, 0, len(found.shards))
	for _, one := range found.shards {
		lane := sources.Lane{ID: laneOf(label, one.id), Streams: []string{s.config.Schema.Stream}, Replayable: true, Endless: one.last == ""}
		if one.parent != "" && found.has(one.parent) {
			lane.After = []string{laneOf(label, one.parent)}
		}
		lanes = append(lanes, lane)
	}
	return lanes, s.compare(ctx, label, lanes, begun)
}

// note is what the source remembers of its streams and shards.
type note struct {
	Streams []string `json:"streams"`        // labels of the streams that the table has had: their place is the epoch of versions
	Open    []string `json:"open,omitempty"` // lanes that were begun and not ended
}

const noteKey = "dynamodbstreams"

// compare finds what is gone that was begun and not ended, and notes a stream that is new.
func (s *Source) compare(ctx context.Context, label string, lanes []sources.Lane, begun []string) error {
	return s.remember(ctx, func(n *note) {
		if !slices.Contains(n.Streams, label) {
			n.Streams = append(n.Streams, label)
		}
		n.Open = slices.DeleteFunc(n.Open, func(id string) bool {
			if !slices.Contains(begun, id) || slices.ContainsFunc(lanes, func(l sources.Lane) bool { return l.ID == id }) {
				return false
			}
			of, name, _ := strings.Cut(id, "/")
			why := "the shard was trimmed before it was read to its end"
			if of != label {
				why = "the table has another stream now, and this one was not read to its end"
			}
			s.lost(ctx, name, why)
			return true
		})
	})
}

// remember changes the note, and saves it if that made a difference. Other processes may change it too.
func (s *Source) remember(ctx context.Context, change func(n *note)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		swapped, err := s.rewrite(ctx, change)
		if err != nil {
			return fmt.Errorf("note what is known of the streams of %s: %w", s.config.Table, err)
		}
		if swapped {
			return nil
		}
	}
}

// rewrite changes the note once; false: another process has, meanwhile.
func (s *Source) rewrite(ctx context.Context, change func(n *note)) (bool, error) {
	swapper, shared := s.host.State.(sources.Swapper)
	var old []byte
	if s.host.State != nil && (shared || !s.noted) {
		var err error
		if old, err = s.host.State.Load(ctx, noteKey); err != nil {
			return false, err
		}
		s.note = note{}
		if old != nil {
			if err := json.Unmarshal(old, &s.note); err != nil {
				return false, err
			}
		}
	}
	s.noted = true
	next := note{Streams: slices.Clone(s.note.Streams), Open: slices.Clone(s.note.Open)}
	change(&next)
	if slices.Equal(next.Streams, s.note.Streams) && slices.Equal(next.Open, s.note.Open) {
		return true, nil
	}
	text, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	swapped := true
	switch {
	case shared:
		swapped, err = swapper.Swap(ctx, noteKey, old, text)
	case s.host.State != nil:
		err = s.host.State.Save(ctx, noteKey, text)
	}
	if err == nil && swapped {
		s.note = next
	}
	return swapped && err == nil, err
}

// epoch is that of the versions of a stream.
func (s *Source) epoch(label string) uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint16(max(0, slices.Index(s.note.Streams, label))) //nolint:gosec // how often a stream was switched on
}

// Open starts reading a shard after a sequence number; "" is the oldest change that there is.
func (s *Source) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	label, id, ok := strings.Cut(lane.ID, "/")
	if !ok {
		return nil, fault.Stop(fmt.Errorf("lane %q is none of a stream", lane.ID))
	}
	if from != "" {
		if _, err := itemstore.SequenceVersion(string(from)); err != nil {
			return nil, fault.Stop(fmt.Errorf("position of lane %s: %w", lane.ID, err))
		}
	}
	arn, now, err := s.stream(ctx)
	if err != nil {
		return nil, err
	}
	if now != label {
		return nil, fault.Retry(fmt.Errorf("lane %s: the table has another stream now", lane.ID))
	}
	err = s.remember(ctx, func(n *note) {
		if !slices.Contains(n.Open, lane.ID) {
			n.Open = append(n.Open, lane.ID)
		}
	})
	if err != nil {
		return nil, err
	}
	return s.read(ctx, &reader{source: s, arn: arn, lane: lane.ID, shard: id, epoch: s.epoch(label), after: string(from), from: string(from)}), nil
}

// finish notes that a shard was read to its end, and all of it is durable.
func (s *Source) finish(ctx context.Context, lane string) error {
	return s.remember(ctx, func(n *note) { n.Open = slices.DeleteFunc(n.Open, func(id string) bool { return id == lane }) })
}

// Lag tells how old the oldest change is that is not settled, as far as shards are read.
func (s *Source) Lag(context.Context) (sources.Lag, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := sources.Lag{}
	if len(s.reading) == 0 {
		out.Records = -1
	}
	for _, p := range s.reading {
		since, behind := p.behind()
		if !behind {
			continue
		}
		out.Records = -1
		if !since.IsZero() {
			out.Age = max(out.Age, time.Since(since))
		}
	}
	if out.Age > 0 {
		out.Loss = max(time.Second, retention-out.Age)
	}
	return out, nil
}
