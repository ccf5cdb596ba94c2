package outbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Message is one that is sent.
type Message struct {
	ID       string   // the same whoever sends it, and however often; it is known when it is sent
	Metadata []string // name, value, name, value
	Payload  []byte
}

// mostBytes is more than any broker takes.
const mostBytes = 64 << 20

// append writes a message as it stands in a staged file: the number of its metadata texts, each with its length, then the payload
// with its.
func (f *Message) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(f.Metadata)))
	for _, s := range f.Metadata {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(f.Payload))), f.Payload...)
}

var errFrame = errors.New("the staged file is damaged")

// maxTexts is more than any message has.
const maxTexts = 64

// readMessage reads the next message; io.EOF behind the last.
func readMessage(r *bufio.Reader) (f Message, err error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return f, err
	}
	if n > maxTexts {
		return f, errFrame
	}
	for range n {
		text, err := readBytes(r)
		if err != nil {
			return f, err
		}
		f.Metadata = append(f.Metadata, string(text))
	}
	f.Payload, err = readBytes(r)
	return f, err
}

func readBytes(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > mostBytes {
		return nil, errFrame
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, errFrame
	}
	return p, nil
}
