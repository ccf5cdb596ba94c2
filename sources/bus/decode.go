package bus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
)

// decoder makes a chunk of messages. What it cannot read is in the chunk as refused.
type decoder interface {
	add(m *message.Message) (rows int)
	take() (record.Chunk, error)
	close()
}

func (c Config) decoder() (decoder, error) {
	source := "bus." + c.Topic
	if c.Format == formatJSON {
		schema, version, err := c.declared()
		if err != nil {
			return nil, fault.Stop(err)
		}
		return &jsonDecoder{refuser: refuser{source: source, stream: c.Stream}, schema: schema, version: version, builder: record.NewBuilder(schema, 0)}, nil
	}
	w, err := wire.NewDecoder()
	if err != nil {
		return nil, err
	}
	return &wireDecoder{refuser: refuser{source: source, stream: c.Stream, place: broker.Place(c.URL, c.Topic)}, wire: w}, nil
}

// idOf is the id of a message: of those who give none, a hash of what it holds, so that the same message has the same id
// when it comes again.
func idOf(m *message.Message) string {
	if m.UUID != "" {
		return m.UUID
	}
	sum := sha256.Sum256(m.Payload)
	return hex.EncodeToString(sum[:16])
}

// appendID appends the id of a record that has none of its own: its message's, and its place there.
func appendID(dst []byte, sent string, row int) []byte {
	return strconv.AppendInt(append(append(dst, sent...), ':'), int64(row), 10)
}

// maxRaw is how much of a message a dead letter keeps: more than most brokers carry, so that it can be sent again.
const maxRaw = 16 << 20

// refuser gathers what cannot be read.
type refuser struct {
	source, stream, place string
	refused               []record.Refused
}

func (r *refuser) refuse(id string, raw []byte, column string, err error) {
	r.refused = append(r.refused, record.Refused{
		Stream: r.stream, Column: column, Err: err, Raw: bytes.Clone(raw[:min(len(raw), maxRaw)]), EventID: id, EventTime: time.Now().UnixMicro(), Source: r.source,
	})
}

func (r *refuser) taken() []record.Refused {
	out := r.refused
	r.refused = nil
	return out
}

// wireDecoder reads messages of acequia.
type wireDecoder struct {
	refuser
	wire    *wire.Decoder
	batches []*record.Batch
}

func (d *wireDecoder) add(m *message.Message) int {
	b, err := d.wire.Decode(m.Payload)
	if err != nil {
		d.refuse(idOf(m), m.Payload, "", err)
		return 1
	}
	if sys := &b.System; len(sys.EventIDs.Offsets) == 0 {
		var id []byte
		for row := range b.Rows {
			id = appendID(id[:0], idOf(m), row)
			sys.EventIDs.AppendText(id)
		}
	}
	d.batches = append(d.batches, b)
	return b.Rows
}

func (d *wireDecoder) take() (record.Chunk, error) {
	c := record.Chunk{Batches: d.batches, Refused: d.taken()}
	d.batches = nil
	return c, nil
}

func (d *wireDecoder) close() { d.wire.Close() }

// jsonDecoder reads rows that are JSON objects.
type jsonDecoder struct {
	refuser
	schema  *record.Schema
	version *expr.Program // nil: rows have none
	builder *record.Builder
	id      []byte
	sent    int64 // of the message, in microseconds since 1970 UTC
}

func (d *jsonDecoder) close() {}

// add takes an object, or one a line. An object that stands on several lines is alone.
func (d *jsonDecoder) add(m *message.Message) (rows int) {
	id, rest := idOf(m), bytes.TrimSpace(m.Payload)
	d.sent = sentAt(m)
	if first, _, several := bytes.Cut(rest, []byte{'\n'}); !several || !json.Valid(first) {
		d.row(id, 0, rest)
		return 1
	}
	for line := range bytes.Lines(rest) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			d.row(id, rows, line)
			rows++
		}
	}
	return rows
}

func (d *jsonDecoder) row(sent string, n int, object []byte) {
	d.id = appendID(d.id[:0], sent, n)
	if err := d.builder.AppendJSON(object); err != nil {
		column := ""
		if e, ok := errors.AsType[*record.ColumnError](err); ok {
			column = e.Column
		}
		d.refuse(string(d.id), object, column, &fault.Error{
			Class: fault.Poison, Code: "ACQ-BUS-005", Err: fmt.Errorf("read JSON: %w", err), Remedy: "mend the row, or declare its columns as they are",
		})
		return
	}
	sys := d.builder.System()
	sys.EventIDs.AppendText(d.id)
	sys.EventTimes = append(sys.EventTimes, d.sent)
}

// sentAt is when the broker got a message, so that its rows have the same event time, and stand in the same partition, when it
// comes again. Where it does not say it is now.
func sentAt(m *message.Message) int64 {
	if at, err := strconv.ParseInt(m.Metadata.Get(broker.SentMetadata), 10, 64); err == nil && at > 0 {
		return at
	}
	return time.Now().UnixMicro()
}

func (d *jsonDecoder) take() (record.Chunk, error) {
	if d.builder.Rows() == 0 {
		return record.Chunk{Refused: d.taken()}, nil
	}
	now := time.Now().UnixMicro()
	sys := d.builder.System()
	sys.Ops, sys.IngestTime, sys.Source = []record.Op{record.Insert}, now, d.source
	b := d.builder.Batch(nil)
	if d.version != nil {
		var err error
		if b, err = d.versioned(b); err != nil {
			return record.Chunk{}, err
		}
	}
	c := record.Chunk{Refused: d.taken()}
	if b.Rows > 0 {
		c.Batches = []*record.Batch{b}
	}
	return c, nil
}

var errVersion = errors.New("the version must be 0 or more, and not null")

// versioned gives each row the version that the expression says; rows without one are refused.
func (d *jsonDecoder) versioned(b *record.Batch) (*record.Batch, error) {
	column, err := d.version.Eval(b)
	failed, ok := errors.AsType[*fault.Rows](err)
	if err != nil && !ok {
		return nil, err
	}
	why := map[int]error{}
	if ok {
		for _, r := range failed.Bad {
			why[r.Index] = r.Err
		}
	}
	var bad []int
	numbers := make([]uint64, 0, b.Rows)
	for row := range b.Rows {
		switch reason, is := why[row]; {
		case is:
			bad = append(bad, row)
			d.unversioned(b, row, reason)
		case !column.IsValid(row) || column.Int(row) < 0:
			bad = append(bad, row)
			d.unversioned(b, row, errVersion)
		default:
			numbers = append(numbers, uint64(column.Int(row))) //nolint:gosec // not negative
		}
	}
	if len(bad) > 0 {
		b = b.Without(bad)
	}
	sys := b.System
	sys.Versions = record.Versions{Lo: numbers}
	return record.NewBatch(b.Schema, b.Rows, b.Columns, sys, nil)
}

func (d *jsonDecoder) unversioned(b *record.Batch, row int, reason error) {
	d.refuse(string(b.System.EventIDs.Text(row)), b.AppendJSON(nil, row), "", &fault.Error{
		Class: fault.Poison, Code: "ACQ-BUS-006", Err: fmt.Errorf("version: %w", reason), Remedy: "mend the row, or the expression",
	})
}
