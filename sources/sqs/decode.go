package sqs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
)

// maxRaw is how much of a body a dead letter keeps.
const maxRaw = 16 << 20

// decoder makes a chunk of messages. What it cannot read is in the chunk as refused.
type decoder struct {
	config   Config
	source   string
	schema   *record.Schema
	version  *expr.Program // nil: rows have none, but their own
	metadata metadata
	opener   opener
	carries  func(message, event string) // of each record; nil: nobody asks
	message  string                      // that is being read
	builder  *record.Builder
	beside   []string // the columns that are not of the key
	own      []bool   // of each row of the builder: its version is its own
	object   []byte
	failed   error           // of an expression, as a whole
	batches  []*record.Batch // that have ended: those of another epoch
	refused  []record.Refused
}

func (c Config) decoder() (*decoder, error) {
	schema, version, err := c.shape()
	if err != nil {
		return nil, fault.Stop(err)
	}
	if schema == nil {
		return nil, errNoSchema
	}
	rows, err := c.rows()
	if err != nil {
		return nil, fault.Stop(err)
	}
	d := &decoder{
		config: c, source: "sqs." + messaging.QueueName(c.Queue), schema: schema, version: version, builder: record.NewBuilder(schema, 0),
		metadata: metadata{columns: c.Metadata, details: details()},
	}
	for i, f := range schema.Fields {
		if !slices.Contains(schema.Key, i) {
			d.beside = append(d.beside, f.Name)
		}
	}
	d.opener = opener{format: c.Format, images: &images{schema: rows}, bad: d.bad}
	return d, nil
}

// add takes a message and says about how many rows it has.
func (d *decoder) add(m *messaging.Message) (rows int) {
	refused := len(d.refused)
	d.message = m.ID
	at := envelope{id: m.ID, at: m.Sent()}
	if at.at == 0 {
		at.at = time.Now().UnixMicro()
	}
	d.opener.rows, d.opener.count = d.opener.rows[:0], 0
	if d.config.Format == formatRaw {
		d.opener.rows = append(d.opener.rows, row{op: record.Insert, id: m.ID, at: at.at, object: d.raw(m)})
	} else {
		d.opener.open(at, m.Body)
	}
	if len(d.opener.rows) == 1 {
		if err := d.known(&d.opener.rows[0], m); err != nil {
			d.bad(at, m.Body, err)
			return 1
		}
	}
	for i := range d.opener.rows {
		d.row(&d.opener.rows[i], m)
	}
	return len(d.opener.rows) + len(d.refused) - refused
}

// raw writes a message as the row that it is.
func (d *decoder) raw(m *messaging.Message) []byte {
	out := append(record.AppendJSONString([]byte(`{"message_id":`), m.ID), `,"body":`...)
	out = record.AppendJSONString(out, m.Body)
	for _, name := range []string{"sent_at", "receive_count", "group_id"} {
		if v := d.metadata.value(name, m); v != nil {
			out = append(append(append(out, `,"`+name...), `":`...), v...)
		}
	}
	return append(out, '}')
}

// known takes what sinks/sqs tells beside a row that it sends.
func (d *decoder) known(r *row, m *messaging.Message) error {
	text, there := m.Attributes[messaging.RecordAttribute]
	if !there || r.own {
		return nil
	}
	of, err := messaging.ParseRecordInfo(text)
	if err == nil {
		r.tell(of)
	}
	return err
}

// row puts a row into the batch, or says why not.
func (d *decoder) row(r *row, m *messaging.Message) {
	d.carried(r.id)
	object := r.object
	if len(d.metadata.columns) > 0 {
		object = d.withMetadata(r.object, m)
	}
	sys := d.builder.System()
	if d.builder.Rows() > 0 && sys.Versions.Epoch != r.version.Epoch { // a batch has one
		if err := d.end(); err != nil {
			d.failed = err
			return
		}
		sys = d.builder.System()
	}
	var absent []string
	if r.partial {
		absent = d.beside
	}
	if err := d.builder.AppendPartJSON(object, absent); err != nil {
		column := ""
		if e, ok := errors.AsType[*record.ColumnError](err); ok {
			column = e.Column
		}
		d.refuse(record.Refused{Column: column, Raw: r.object, EventID: r.id, EventTime: r.at, Version: r.version, Err: &fault.Error{
			Class: fault.Poison, Code: "ACQ-SQS-002", Err: fmt.Errorf("read row: %w", err), Remedy: "mend the row, or declare its columns as they are",
		}})
		return
	}
	sys.Ops = append(sys.Ops, r.op)
	sys.EventIDs.AppendText([]byte(r.id))
	sys.EventTimes = append(sys.EventTimes, r.at)
	v := &sys.Versions
	v.Hi, v.Lo, v.Index = append(v.Hi, r.version.Hi), append(v.Lo, r.version.Lo), append(v.Index, r.version.Index)
	v.Epoch = r.version.Epoch
	d.own = append(d.own, r.own)
}

func (d *decoder) carried(event string) {
	if d.carries != nil {
		d.carries(d.message, event)
	}
}

// withMetadata puts the columns from the message before the others.
func (d *decoder) withMetadata(object []byte, m *messaging.Message) []byte {
	inner, ok := bytes.CutPrefix(bytes.TrimSpace(object), []byte{'{'})
	if !ok {
		return object
	}
	d.object = d.metadata.append(append(d.object[:0], '{'), m)
	if len(bytes.TrimSpace(inner)) <= 1 { // no member of its own
		d.object = bytes.TrimSuffix(d.object, []byte{','})
	}
	d.object = append(d.object, inner...)
	return d.object
}

// bad refuses what is no row at all.
func (d *decoder) bad(at envelope, raw []byte, err error) {
	if at.id == "" {
		at.id = d.opener.next(at)
	}
	d.carried(at.id)
	d.refuse(record.Refused{Raw: raw, EventID: at.id, EventTime: at.at, Err: &fault.Error{
		Class: fault.Poison, Code: "ACQ-SQS-001", Err: fmt.Errorf("open message: %w", err), Remedy: "mend the body, or say what it is with format",
	}})
}

// lost refuses a message whose body cannot be had.
func (d *decoder) lost(m *messaging.Message, err error) {
	d.message = m.ID
	d.carried(m.ID)
	d.refuse(record.Refused{Raw: m.Body, EventID: m.ID, EventTime: m.Sent(), Err: err})
}

func (d *decoder) refuse(r record.Refused) {
	r.Stream, r.Source, r.Raw = d.schema.Stream, d.source, bytes.Clone(r.Raw[:min(len(r.Raw), maxRaw)])
	d.refused = append(d.refused, r)
}

// end makes a batch of the rows that are in the builder.
func (d *decoder) end() error {
	own := d.own
	d.own = nil
	if d.builder.Rows() == 0 {
		return nil
	}
	sys := d.builder.System()
	sys.IngestTime, sys.Source = time.Now().UnixMicro(), d.source
	b, err := d.versioned(d.builder.Batch(nil), own)
	if err == nil && b.Rows > 0 {
		d.batches = append(d.batches, b)
	}
	return err
}

// take gives what was gathered.
func (d *decoder) take() (record.Chunk, error) {
	err := errors.Join(d.failed, d.end())
	c := record.Chunk{ReadAt: time.Now(), Batches: d.batches, Refused: d.refused}
	d.failed, d.batches, d.refused = nil, nil, nil
	if err != nil {
		c.Release()
		return record.Chunk{}, err
	}
	return c, nil
}

var errVersion = errors.New("the version must be 0 or more, and not null")

// versioned gives each row without a version of its own the one that the expression says; rows without any are refused.
func (d *decoder) versioned(b *record.Batch, own []bool) (*record.Batch, error) {
	if d.version == nil {
		return b, nil
	}
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
	for row := range b.Rows {
		if own[row] {
			continue
		}
		reason := why[row]
		if reason == nil && (!column.IsValid(row) || column.Int(row) < 0) {
			reason = errVersion
		}
		if reason == nil {
			b.System.Versions.Lo[row] = uint64(column.Int(row)) //nolint:gosec // not negative
			continue
		}
		bad = append(bad, row)
		d.refuse(record.Refused{
			Raw: b.AppendJSON(nil, row), EventID: string(b.System.EventIDs.Text(row)), EventTime: b.System.EventTime(row), Err: &fault.Error{
				Class: fault.Poison, Code: "ACQ-SQS-003", Err: fmt.Errorf("version: %w", reason), Remedy: "mend the row, or the expression",
			},
		})
	}
	if len(bad) == 0 {
		return b, nil
	}
	return b.Without(bad), nil
}
