package wire

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

// maxSchemas is how many schemas a decoder remembers: their batches then share a pointer.
const maxSchemas = 256

// Decoder reads messages. It is used by one goroutine.
type Decoder struct {
	zstd    *zstd.Decoder
	schemas map[string]*record.Schema // by their description
	body    []byte
}

// NewDecoder makes a decoder; Close lets it go.
func NewDecoder() (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &Decoder{zstd: z, schemas: map[string]*record.Schema{}}, nil
}

// Close lets the decoder go.
func (d *Decoder) Close() { d.zstd.Close() }

// Decode gives the batch of a message, which it does not keep. What can never be read is a poison error: no message of
// acequia (ACQ-BUS-001), of another version (ACQ-BUS-002), damaged (ACQ-BUS-003).
func (d *Decoder) Decode(message []byte) (*record.Batch, error) {
	h, err := parse(message)
	if err != nil {
		return nil, err
	}
	body := message[headerLen:]
	if h.compress == compressZstd {
		if d.body, err = d.zstd.DecodeAll(body, d.body[:0]); err != nil {
			return nil, damaged(fmt.Errorf("decompress: %w", err))
		}
		body = d.body
	}
	if len(body) != h.body {
		return nil, damaged(fmt.Errorf("its body has %d bytes, its header says %d", len(body), h.body))
	}
	b, err := d.batch(h, body)
	if err != nil {
		return nil, damaged(err)
	}
	return b, nil
}

func (d *Decoder) batch(h header, body []byte) (*record.Batch, error) {
	described := &description{p: body[:h.describe]}
	sys := record.System{Source: described.text(), IngestTime: described.signed()}
	if described.bad {
		return nil, errDescription
	}
	text := string(described.p)
	s := d.schemas[text]
	if s == nil || s.ID() != h.schema {
		var err error
		if s, err = described.schema(h.schema); err != nil {
			return nil, err
		}
		if len(d.schemas) >= maxSchemas {
			clear(d.schemas)
		}
		d.schemas[text] = s
	}
	fields := append(systemFields(), s.Fields...)
	columns := make([]record.Column, len(fields))
	if err := block.NewDecoder(fields, columns).Add(body[h.describe:], h.rows, maxSlots); err != nil {
		return nil, err
	}
	if err := systemFrom(&sys, columns[:systemColumns], h.rows); err != nil {
		return nil, err
	}
	return record.NewBatch(s, h.rows, columns[systemColumns:], sys, nil)
}

var errOperation = errors.New("it has an operation that is none")

// systemFrom takes the system data from columns.
func systemFrom(sys *record.System, columns []record.Column, rows int) error {
	ops, versions, ids, times := &columns[0], &columns[1], &columns[2], &columns[3]
	for _, c := range []*record.Column{ops, versions, times} {
		if c.Valid != nil || c.Absent != nil {
			return errors.New("it has no operation, version or time for some of its rows")
		}
	}
	sys.Ops = make([]record.Op, len(ops.Ints))
	for i, v := range ops.Ints {
		sys.Ops[i] = record.Op(v) //nolint:gosec // compared below
		if int64(sys.Ops[i]) != v || !sys.Ops[i].Valid() {
			return errOperation
		}
	}
	sys.Versions, sys.EventTimes = versions.Versions, times.Ints
	if !ids.Const || ids.IsValid(0) {
		sys.EventIDs = *ids
	}
	if len(sys.Ops) != 1 && len(sys.Ops) != rows || len(sys.EventTimes) != 1 && len(sys.EventTimes) != rows {
		return block.ErrDamaged
	}
	return nil
}
