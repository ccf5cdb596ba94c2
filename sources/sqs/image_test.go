package sqs_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/acequia-io/acequia/record"
)

// streamRecord writes a row as DynamoDB Streams does.
func streamRecord(b *record.Batch, row int, serial int64) string {
	name := map[record.Op]string{record.Insert: "INSERT", record.Update: "MODIFY", record.Delete: "REMOVE"}[b.System.Op(row)]
	image := map[string]any{}
	for i, f := range b.Schema.Fields {
		var v any
		if err := json.Unmarshal(b.AppendValueJSON(nil, i, row), &v); err != nil {
			return err.Error()
		}
		image[f.Name] = attributeValue(&f, v, b.AppendValueJSON(nil, i, row))
	}
	under := "NewImage"
	if name == "REMOVE" {
		under = "OldImage"
	}
	text, err := json.Marshal(map[string]any{
		"eventID": fmt.Sprintf("event-%d", serial), "eventName": name, "eventSource": "aws:dynamodb", "eventSourceARN": "arn:aws:dynamodb:eu-west-1:1:table/games/stream/x",
		"dynamodb": map[string]any{
			"ApproximateCreationDateTime": b.System.EventTime(row) / 1e6, "Keys": map[string]any{"id": image["id"]}, under: image,
			"SequenceNumber": sequenceOf(b.System.Versions.At(row)), "StreamViewType": "NEW_AND_OLD_IMAGES",
		},
	})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// attributeValue writes a value as DynamoDB's JSON does.
func attributeValue(f *record.Field, v any, text []byte) any {
	switch {
	case v == nil:
		return map[string]any{"NULL": true}
	case f.Kind == record.Bool:
		return map[string]any{"BOOL": v}
	case f.Kind == record.Bytes:
		return map[string]any{"B": v}
	case f.Kind == record.List:
		out := []any{}
		for _, one := range v.([]any) { //nolint:forcetypeassert // a list
			out = append(out, attributeValue(&f.Fields[0], one, nil))
		}
		return map[string]any{"L": out}
	case f.Kind == record.Struct:
		out := map[string]any{}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(text, &members)
		for i := range f.Fields {
			m := &f.Fields[i]
			out[m.Name] = attributeValue(m, v.(map[string]any)[m.Name], members[m.Name]) //nolint:forcetypeassert // an object
		}
		return map[string]any{"M": out}
	case f.Kind == record.Int32 || f.Kind == record.Int64 || f.Kind == record.Float64 || f.Kind == record.Decimal:
		return map[string]any{"N": strings.Trim(string(text), `"`)}
	}
	return map[string]any{"S": v}
}

func bucketOf(region types.BucketLocationConstraint) *types.CreateBucketConfiguration {
	return &types.CreateBucketConfiguration{LocationConstraint: region}
}

// sequenceOf is the sequence number that itemstore.SequenceVersion makes a version of.
func sequenceOf(v record.Version) string {
	n := new(big.Int).SetUint64(v.Hi)
	n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(v.Lo))
	n.Or(n.Lsh(n, 32), new(big.Int).SetUint64(uint64(v.Index)))
	return fmt.Sprintf("%021d", n)
}
