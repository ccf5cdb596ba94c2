package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

// Message is an encoded part of a batch.
type Message struct {
	Payload []byte
	Rows    int
}

// Encoder encodes batches. It may be used by several goroutines.
type Encoder struct {
	limit int
	zstd  *zstd.Encoder
}

// NewEncoder makes an encoder of messages that have at most limit bytes.
func NewEncoder(limit int, compress bool) (*Encoder, error) {
	e := &Encoder{limit: limit}
	if !compress {
		return e, nil
	}
	var err error
	e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	return e, nil
}

// Encode gives a batch as messages, in the order of its rows. A row that is larger than a message may be is refused with a
// fault.Rows error; then there are no messages.
func (e *Encoder) Encode(b *record.Batch) ([]Message, error) {
	if b.Rows == 0 {
		return nil, nil
	}
	j := &job{
		Encoder: e, batch: b, fields: append(systemFields(), b.Schema.Fields...), columns: append(systemOf(b), b.Columns...),
		describe: appendDescription(nil, b.Schema, &b.System),
	}
	each := min(MaxRows, max(1, e.limit/(1+b.Size()/b.Rows)))
	for lo := 0; lo < b.Rows; lo += each {
		j.rows(lo, min(b.Rows, lo+each))
	}
	if len(j.bad.Bad) > 0 {
		return nil, &j.bad
	}
	return j.out, nil
}

// systemOf gives the system data of a batch as columns.
func systemOf(b *record.Batch) []record.Column {
	sys := &b.System
	ops := record.Column{Const: len(sys.Ops) <= 1}
	times := record.Column{Const: len(sys.EventTimes) <= 1}
	if ops.Const {
		ops.Ints = []int64{int64(sys.Op(0))}
	} else {
		ops.Ints = make([]int64, len(sys.Ops))
		for i, op := range sys.Ops {
			ops.Ints[i] = int64(op)
		}
	}
	if times.Ints = sys.EventTimes; times.Const {
		times.Ints = []int64{sys.EventTime(0)}
	}
	ids := sys.EventIDs
	if len(ids.Offsets) == 0 {
		ids = record.Column{Offsets: []uint32{0, 0}, Valid: []uint64{0}, Const: true}
	}
	return []record.Column{ops, {Versions: sys.Versions, Const: sys.Versions.Constant()}, ids, times}
}

// job is the encoding of one batch.
type job struct {
	*Encoder
	batch    *record.Batch
	fields   []record.Field
	columns  []record.Column
	describe []byte
	body     []byte
	out      []Message
	bad      fault.Rows
}

var errLarge = errors.New("the record alone is larger than a message may be")

// rows encodes rows [lo,hi) as one message, or as two halves when it is too large.
func (j *job) rows(lo, hi int) {
	if j.slots(lo, hi) <= maxSlots {
		if p := j.message(lo, hi); p != nil {
			j.out = append(j.out, Message{Payload: p, Rows: hi - lo})
			return
		}
	}
	if hi-lo == 1 {
		j.bad.Bad = append(j.bad.Bad, fault.Row{Index: lo, Err: &fault.Error{
			Class: fault.Poison, Code: "ACQ-BUS-004", Err: errLarge, Remedy: "raise max_bytes, if the broker takes larger messages, or drop columns before the sink",
		}})
		return
	}
	mid := (lo + hi) / 2
	j.rows(lo, mid)
	j.rows(mid, hi)
}

// message encodes rows [lo,hi); nil when it is too large.
func (j *job) message(lo, hi int) []byte {
	j.body = block.Append(append(j.body[:0], j.describe...), j.fields, j.columns, lo, hi)
	if len(j.body) > maxBody {
		return nil
	}
	h := header{schema: j.batch.Schema.ID(), rows: hi - lo, describe: len(j.describe), body: len(j.body)}
	if j.zstd != nil {
		h.compress = compressZstd
	}
	p := h.append(make([]byte, 0, headerLen+len(j.body)/2))
	if j.zstd != nil {
		p = j.zstd.EncodeAll(j.body, p)
	} else {
		p = append(p, j.body...)
	}
	if len(p) > j.limit {
		return nil
	}
	binary.LittleEndian.PutUint64(p[atSum:], sum(p))
	return p
}

// slots counts the values of rows [lo,hi), as the decoder does.
func (j *job) slots(lo, hi int) int { return slotsOf(j.fields, j.columns, lo, hi) }

func slotsOf(fields []record.Field, columns []record.Column, lo, hi int) int {
	n := 0
	for i, f := range fields {
		c, from, to := &columns[i], lo, hi
		if c.Const {
			from, to = 0, 1
		}
		n += to - from
		switch {
		case from == to:
		case f.Kind == record.List:
			first, end := int(c.Offsets[from]), int(c.Offsets[to])
			n += end - first + slotsOf(f.Fields, c.Children, first, end)
		case f.Kind == record.Struct:
			n += slotsOf(f.Fields, c.Children, from, to)
		}
	}
	return n
}
