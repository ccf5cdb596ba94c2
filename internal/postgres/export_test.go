package postgres

import (
	"net"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// Render gives what the server prints for a value of a column in binary; nothing for those that come as text.
func (l *Layout) Render(column int, v []byte) (text []byte, ok bool, err error) {
	c := &l.codecs[l.source[column]]
	if c.cast {
		return nil, false, nil
	}
	text, err = c.render(nil, v)
	return text, true, err
}

// Nothing says nothing of the rows of a batch.
func Nothing(int, *record.System) {}

// Replay reads the messages of a statement from a connection into a decoder.
func Replay(conn net.Conn, d *Decoder) error {
	t := newBlockTaker(d, &StreamOptions{})
	w := &wire{net: conn, taker: t, buf: make([]byte, bufferBytes+gather.Slack)}
	if _, err := w.statement("", nil); err != nil {
		return err
	}
	return w.failed
}
