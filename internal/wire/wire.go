// Package wire encodes batches as messages of a bus, and back. docs/reference/wire.md describes every byte; a message names
// its version, and what this package does not know it refuses.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Version is the one that this package writes and reads.
const Version = 1

// The header: magic, version, compression, two bytes that are zero, schema id, rows, bytes of the description, bytes of the
// body before compression, checksum of all that stands before and behind it.
const (
	magic      = "ACQB"
	atVersion  = 4
	atCompress = 5
	atZero     = 6
	atSchema   = 8
	atRows     = 16
	atDescribe = 20
	atBody     = 24
	atSum      = 28
	headerLen  = 36
)

// The compressions of a body.
const (
	compressNone = 0
	compressZstd = 1
)

// What a message may hold at most. A few bytes can stand for many equal values, so that the size of a message bounds nothing.
const (
	MaxRows  = 1 << 16
	maxSlots = 1 << 23  // values of all columns, those inside lists counted
	maxBody  = 64 << 20 // bytes before compression
	maxDepth = 32       // of nested fields
)

// systemFields are the columns that stand before those of the schema.
func systemFields() []record.Field {
	return []record.Field{
		{Name: "_op", Kind: record.Int32},
		{Name: "_version", Kind: record.VersionText},
		{Name: "_event_id", Kind: record.String, Nullable: true},
		{Name: "_event_ts", Kind: record.Timestamp},
	}
}

const systemColumns = 4

var (
	errMagic     = errors.New("it does not begin as a message of acequia does")
	errTruncated = errors.New("it ends too early")
	errChecksum  = errors.New("its checksum is wrong")
)

// refusal is the error of a message that can never be read.
func refusal(code, remedy string, err error) error {
	return &fault.Error{Class: fault.Poison, Code: code, Err: fmt.Errorf("read message: %w", err), Remedy: remedy}
}

func foreign(err error) error {
	return refusal("ACQ-BUS-001", "send messages of acequia to this topic only, or read it with format: json", err)
}

func damaged(err error) error {
	return refusal("ACQ-BUS-003", "see what has changed or cut the message on its way; the sender has sent it whole", err)
}

// header is what a message says of itself.
type header struct {
	compress byte
	schema   uint64
	rows     int
	describe int
	body     int
}

func (h header) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, Version, h.compress, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.schema)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.rows))     //nolint:gosec // at most MaxRows
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.describe)) //nolint:gosec // at most maxBody
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.body))     //nolint:gosec // at most maxBody
	return append(dst, make([]byte, 8)...)
}

// sum is the checksum of a message: XXH64 of the header before it and of all that follows it.
func sum(message []byte) uint64 {
	d := xxhash.New()
	_, _ = d.Write(message[:atSum])
	_, _ = d.Write(message[headerLen:])
	return d.Sum64()
}

// parse reads the header and checks the message as a whole.
func parse(message []byte) (h header, err error) {
	if len(message) < len(magic) || string(message[:len(magic)]) != magic {
		return h, foreign(errMagic)
	}
	if len(message) <= atVersion {
		return h, damaged(errTruncated)
	}
	if v := message[atVersion]; v != Version {
		return h, refusal("ACQ-BUS-002", "run a newer acequia here, then send the bytes of the dead letter to the topic again; or let the sender be of this version",
			fmt.Errorf("it is of version %d, and this acequia reads version %d", v, Version))
	}
	if len(message) < headerLen {
		return h, damaged(errTruncated)
	}
	if binary.LittleEndian.Uint64(message[atSum:]) != sum(message) {
		return h, damaged(errChecksum)
	}
	h = header{
		compress: message[atCompress], schema: binary.LittleEndian.Uint64(message[atSchema:]),
		rows: int(binary.LittleEndian.Uint32(message[atRows:])), describe: int(binary.LittleEndian.Uint32(message[atDescribe:])),
		body: int(binary.LittleEndian.Uint32(message[atBody:])),
	}
	switch {
	case h.compress > compressZstd || message[atZero] != 0 || message[atZero+1] != 0:
		return h, damaged(errors.New("its header has values that version 1 does not know"))
	case h.rows == 0 || h.rows > MaxRows:
		return h, damaged(fmt.Errorf("it has %d rows, not 1 to %d", h.rows, MaxRows))
	case h.body > maxBody || h.describe > h.body:
		return h, damaged(fmt.Errorf("it has a body of %d bytes and a description of %d", h.body, h.describe))
	}
	return h, nil
}
