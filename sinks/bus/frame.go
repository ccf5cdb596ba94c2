package bus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/ThreeDotsLabs/watermill/message"
)

// frame is a message in a staged file: the number of its metadata texts, each with its length, then the payload with its.
type frame struct {
	metadata []string // name, value, name, value
	payload  []byte
}

func (f *frame) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(f.metadata)))
	for _, s := range f.metadata {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(f.payload))), f.payload...)
}

// message makes what Watermill sends.
func (f *frame) message(id string) *message.Message {
	m := message.NewMessage(id, f.payload)
	for i := 0; i+1 < len(f.metadata); i += 2 {
		m.Metadata.Set(f.metadata[i], f.metadata[i+1])
	}
	return m
}

var errFrame = errors.New("the staged file is damaged")

// maxTexts is more than any message has.
const maxTexts = 64

// readFrame reads the next frame; io.EOF behind the last.
func readFrame(r *bufio.Reader) (f frame, err error) {
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
		f.metadata = append(f.metadata, string(text))
	}
	f.payload, err = readBytes(r)
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
