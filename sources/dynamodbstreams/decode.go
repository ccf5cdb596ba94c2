package dynamodbstreams

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	table "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// decode makes a chunk of a page. oldest is the time of its first record, in whole seconds.
func (s *Source) decode(page []types.Record, epoch uint16) (chunk record.Chunk, oldest time.Time, err error) {
	b := record.NewBuilder(s.config.Schema, len(page))
	sys := b.System()
	*sys = record.System{Source: "dynamodb." + s.config.Table, IngestTime: time.Now().UnixMicro()}
	sys.Versions.Epoch = epoch
	others := s.others()
	for i := range page {
		r := page[i].Dynamodb
		if r == nil {
			return chunk, oldest, fmt.Errorf("a record of the stream of %s says nothing", s.config.Table)
		}
		at := aws.ToTime(r.ApproximateCreationDateTime)
		if oldest.IsZero() {
			oldest = at
		}
		sequence := aws.ToString(r.SequenceNumber)
		v, err := itemstore.SequenceVersion(sequence)
		if err != nil {
			return chunk, oldest, err
		}
		v.Epoch = epoch
		c, told, err := s.change(&page[i])
		if err != nil {
			return chunk, oldest, fmt.Errorf("read sequence number %s: %w", sequence, err)
		}
		if !told {
			continue
		}
		event := s.config.Table + ":" + sequence
		var absent []string
		if c.KeyOnly {
			absent = others
		}
		if err := b.AppendPartJSON(c.Doc, absent); err != nil {
			chunk.Refused = append(chunk.Refused, s.refuse(c.Doc, err, v, event, at))
			continue
		}
		sys.Ops = append(sys.Ops, c.Op)
		sys.EventIDs.AppendText([]byte(event))
		sys.EventTimes = append(sys.EventTimes, at.UnixMicro())
		sys.Versions.Hi, sys.Versions.Lo, sys.Versions.Index = append(sys.Versions.Hi, v.Hi), append(sys.Versions.Lo, v.Lo), append(sys.Versions.Index, v.Index)
	}
	chunk.ReadAt = time.Now()
	if b.Rows() > 0 {
		chunk.Batches = []*record.Batch{b.Batch(nil)}
	}
	return chunk, oldest, nil
}

// others are the columns that are not in the key.
func (s *Source) others() (names []string) {
	for i := range s.config.Schema.Fields {
		if !slices.Contains(s.config.Schema.Key, i) {
			names = append(names, s.config.Schema.Fields[i].Name)
		}
	}
	return names
}

func (s *Source) refuse(doc []byte, err error, v record.Version, event string, at time.Time) record.Refused {
	out := record.Refused{
		Stream: s.config.Schema.Stream, Err: fmt.Errorf("the item does not fit the declared schema: %w", err), Raw: doc,
		Version: v, EventID: event, EventTime: at.UnixMicro(), Source: "dynamodb." + s.config.Table,
	}
	if of, ok := errors.AsType[*record.ColumnError](err); ok {
		out.Column = of.Column
	}
	return out
}

// byTTL is who removes items whose time is over:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html.
const byTTL = "dynamodb.amazonaws.com"

// change says what happened to the item of a record; false: nothing that a reader could see, or wants to.
func (s *Source) change(r *types.Record) (itemstore.StreamChange, bool, error) {
	if r.EventName == types.OperationTypeRemove && !s.config.Expired && r.UserIdentity != nil && aws.ToString(r.UserIdentity.PrincipalId) == byTTL {
		return itemstore.StreamChange{}, false, nil
	}
	return itemstore.StreamRecord{
		Event: string(r.EventName), Keys: attributesOf(r.Dynamodb.Keys), Old: attributesOf(r.Dynamodb.OldImage), New: attributesOf(r.Dynamodb.NewImage),
	}.Change(s.config.Schema)
}

// attributesOf makes a table's attributes of those of a stream: they are the same, of two packages.
func attributesOf(image map[string]types.AttributeValue) map[string]table.AttributeValue {
	if image == nil {
		return nil
	}
	out := make(map[string]table.AttributeValue, len(image))
	for name, v := range image {
		out[name] = attributeOf(v)
	}
	return out
}

func attributeOf(v types.AttributeValue) table.AttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return &table.AttributeValueMemberS{Value: v.Value}
	case *types.AttributeValueMemberN:
		return &table.AttributeValueMemberN{Value: v.Value}
	case *types.AttributeValueMemberB:
		return &table.AttributeValueMemberB{Value: v.Value}
	case *types.AttributeValueMemberBOOL:
		return &table.AttributeValueMemberBOOL{Value: v.Value}
	case *types.AttributeValueMemberSS:
		return &table.AttributeValueMemberSS{Value: v.Value}
	case *types.AttributeValueMemberNS:
		return &table.AttributeValueMemberNS{Value: v.Value}
	case *types.AttributeValueMemberBS:
		return &table.AttributeValueMemberBS{Value: v.Value}
	case *types.AttributeValueMemberM:
		return &table.AttributeValueMemberM{Value: attributesOf(v.Value)}
	case *types.AttributeValueMemberL:
		list := make([]table.AttributeValue, len(v.Value))
		for i, e := range v.Value {
			list[i] = attributeOf(e)
		}
		return &table.AttributeValueMemberL{Value: list}
	}
	return &table.AttributeValueMemberNULL{Value: true}
}
