package dynamodbstreams

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

type image = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

// What a record of the stream becomes, by what it says of the item before and after; by whom it was removed; and what it lacks.
func TestDecode(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema("t", []string{"id"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "n", Kind: record.Int64},
		record.Field{Name: "d", Kind: record.Decimal, Precision: 10, Scale: 2, Nullable: true}, record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "e", Kind: record.String}}})
	if err != nil {
		t.Fatal(err)
	}
	gone := &types.AttributeValueMemberBOOL{Value: true}
	one, two := image{"id": text("a"), "n": number("1"), "d": number("1.5")}, image{"id": text("a"), "n": number("2E+1"), "tags": &types.AttributeValueMemberSS{Value: []string{"x", "y"}}}
	tombstone := image{"id": text("a"), "_deleted": gone, "_version": text("x"), "_ttl": number("5")}
	held := image{"id": text("a"), "n": number("3"), "_unindexed": &types.AttributeValueMemberM{Value: image{"tags": &types.AttributeValueMemberL{}}}}
	marker := image{"id": text("\x00"), "_deleted": gone, "_truncated": gone}
	ttl := &types.Identity{PrincipalId: aws.String("dynamodb.amazonaws.com"), Type: aws.String("Service")}
	for _, test := range []struct {
		name          string
		event         types.OperationType
		before, after image
		by            *types.Identity
		want          string
	}{
		{"insert", types.OperationTypeInsert, nil, one, nil, `I {"id":"a","n":1,"d":"1.50","tags":null}`},
		{"update", types.OperationTypeModify, one, two, nil, `U {"id":"a","n":20,"d":null,"tags":["x","y"]}`},
		{"update without old images", types.OperationTypeModify, nil, two, nil, `U {"id":"a","n":20,"d":null,"tags":["x","y"]}`},
		{"removed", types.OperationTypeRemove, one, nil, nil, `D {"id":"a","n":1,"d":"1.50","tags":null}`},
		{"removed without old images", types.OperationTypeRemove, nil, nil, nil, `D {"id":"a"}`},
		{"deleted", types.OperationTypeModify, one, tombstone, nil, `D {"id":"a","n":1,"d":"1.50","tags":null}`},
		{"deleted without old images", types.OperationTypeModify, nil, tombstone, nil, `D {"id":"a"}`},
		{"comes back", types.OperationTypeModify, tombstone, one, nil, `I {"id":"a","n":1,"d":"1.50","tags":null}`},
		{"deleted again", types.OperationTypeModify, tombstone, tombstone, nil, ""},
		{"deleted before it was there", types.OperationTypeInsert, nil, tombstone, nil, ""},
		{"the tombstone goes", types.OperationTypeRemove, tombstone, nil, ttl, ""},
		{"its time is over", types.OperationTypeRemove, one, nil, ttl, ""},
		{"truncated", types.OperationTypeInsert, nil, marker, nil, ""},
		{"truncated again", types.OperationTypeModify, marker, marker, nil, ""},
		{"kept beside the index", types.OperationTypeInsert, nil, held, nil, `I {"id":"a","n":3,"d":null,"tags":[]}`},
		{"of another type", types.OperationTypeInsert, nil, image{"id": text("a"), "n": text("many")}, nil, `refused n {"id":"a","n":"many","d":null,"tags":null}`},
		{"unknown column", types.OperationTypeInsert, nil, image{"id": text("a"), "n": number("1"), "x": gone}, nil, `refused x {"id":"a","n":1,"d":null,"tags":null,"x":true}`},
	} {
		s := &Source{config: Config{Table: "t", Schema: schema}, host: sources.Host{}}
		r := types.Record{EventName: test.event, UserIdentity: test.by, Dynamodb: &types.StreamRecord{
			SequenceNumber: aws.String("7"), OldImage: test.before, NewImage: test.after, Keys: image{"id": text("a")}, ApproximateCreationDateTime: aws.Time(time.Unix(9, 0)),
		}}
		chunk, _, err := s.decode([]types.Record{r}, 3)
		got := ""
		for _, b := range chunk.Batches {
			got += b.System.Op(0).String() + " " + string(b.AppendJSON(nil, 0))
			if v := b.System.Versions.At(0); v != (record.Version{Epoch: 3, Index: 7}) || string(b.System.EventIDs.Text(0)) != "t:7" || b.System.EventTime(0) != 9_000_000 {
				t.Errorf("%s: version %s, event %s", test.name, v, b.System.EventIDs.Text(0))
			}
		}
		for _, bad := range chunk.Refused {
			got += "refused " + bad.Column + " " + string(bad.Raw)
		}
		if got != test.want || err != nil {
			t.Errorf("%s: got %s, want %s: %v", test.name, got, test.want, err)
		}
		if test.by != nil && test.before["_deleted"] == nil {
			s.config.Expired = true
			if chunk, _, err := s.decode([]types.Record{r}, 3); err != nil || len(chunk.Batches) != 1 || chunk.Batches[0].System.Op(0) != record.Delete {
				t.Errorf("%s: %v %v", test.name, chunk, err)
			}
		}
	}
}
