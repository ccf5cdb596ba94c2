package sqs

import (
	"encoding/json"
	"errors"
	"math/big"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// images makes rows of the records of DynamoDB Streams, as sources/dynamodbstreams makes them of what it reads itself:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html.
type images struct{ schema *record.Schema }

// change is a record of a stream.
type change struct {
	ID   string `json:"eventID"`
	Name string `json:"eventName"`
	Of   struct {
		At       json.Number     `json:"ApproximateCreationDateTime"` // seconds since 1970, whole or not
		Keys     json.RawMessage `json:"Keys"`
		New      json.RawMessage `json:"NewImage"`
		Old      json.RawMessage `json:"OldImage"`
		Sequence string          `json:"SequenceNumber"`
	} `json:"dynamodb"`
}

var errNoID = errors.New("the record has no eventID or no SequenceNumber")

// row gives the row of a record. given is false of a record that tells nothing: a tombstone that is removed was deleted before.
func (d *images) row(text []byte) (r row, given bool, err error) {
	var c change
	if err := json.Unmarshal(text, &c); err != nil {
		return r, false, err
	}
	r.id, r.own, r.at = c.ID, true, micros(c.Of.At)
	if c.ID == "" || c.Of.Sequence == "" {
		return r, false, errNoID
	}
	if r.version, err = itemstore.SequenceVersion(c.Of.Sequence); err != nil {
		return r, false, err
	}
	of, err := itemstore.ParseStreamRecord(c.Name, c.Of.Keys, c.Of.Old, c.Of.New)
	if err != nil {
		return r, false, err
	}
	told, given, err := of.Change(d.schema)
	r.op, r.object, r.partial = told.Op, told.Doc, told.KeyOnly
	return r, given, err
}

// micros makes microseconds of seconds; 0 of none.
func micros(seconds json.Number) int64 {
	at, _, err := new(big.Float).Parse(string(seconds), 10)
	if err != nil {
		return 0
	}
	out, _ := at.Mul(at, big.NewFloat(1e6)).Add(at, big.NewFloat(0.5)).Int64() //nolint:mnd // microseconds, rounded
	return out
}
