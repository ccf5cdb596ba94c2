package postgres

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

const (
	// bufferBytes is what is read of a connection at a time. Longer messages make the buffer grow.
	bufferBytes = 64 << 10
	// keptBytes is how long it may stay; a message that is longer than that has a buffer of its own.
	keptBytes = 4 << 20
	// maxRow is the longest row that is taken.
	maxRow = 256 << 20
	// messageHead is the type of a message and its length, which counts itself.
	messageHead = 5
)

// rowTaker takes the rows of one statement, in place: what it is given is valid until it is flushed.
type rowTaker interface {
	// describe is told of the columns, before the first row.
	describe(columns []pgproto3.FieldDescription) error
	// row is a DataRow, from the count of its values at buf[at] to end. The buffer is longer than that by gather.Slack.
	row(buf []byte, at, end int) error
	// flush is called before what is in the buffer is lost.
	flush(buf []byte) error
	// huge is the beginning of a row that is too long.
	huge(head []byte, size int) error
}

// wire reads the messages of one statement from the connection itself: a message is neither copied nor made a value of.
// The protocol is https://www.postgresql.org/docs/15/protocol-message-formats.html.
type wire struct {
	net    net.Conn
	taker  rowTaker
	buf    []byte // gather.Slack longer than what is read into it
	r, w   int    // read up to, written up to
	failed error  // what the server said
}

// takerError is an error of who takes the rows.
type takerError struct{ err error }

func (e *takerError) Error() string { return e.err.Error() }

func taken(err error) error {
	if err == nil {
		return nil
	}
	return &takerError{err}
}

// rows runs one statement with text arguments and hands its rows to t. An error of t, or an end of ctx, ends the connection: the server
// is told to cancel, and nothing more is read. Errors of t stay as they are, others are explained.
func (c *Conn) rows(ctx context.Context, sql string, args []string, t rowTaker, place string) error {
	err := c.run(ctx, sql, args, t)
	if own, ok := errors.AsType[*takerError](err); ok {
		if err = own.err; !errors.Is(err, errMalformed) {
			return err
		}
	}
	return Explain(err, "read rows", place)
}

func (c *Conn) run(ctx context.Context, sql string, args []string, t rowTaker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pg := c.PgConn()
	if err := pg.SyncConn(ctx); err != nil {
		return err
	}
	if c.buf == nil {
		c.buf = make([]byte, bufferBytes+gather.Slack)
	}
	w := &wire{net: &gather.Paced{Conn: pg.Conn()}, taker: t, buf: c.buf}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.net.SetDeadline(time.Unix(1, 0)) // in the past: what is being read returns
		close(over)
	})
	status, err := w.statement(sql, args)
	if !stop() {
		<-over
	}
	if err != nil || ctx.Err() != nil {
		c.abandon(ctx)
		return cmp.Or(ctx.Err(), err)
	}
	if w.failed != nil || status != pg.TxStatus() {
		if err := pg.Ping(ctx); err != nil && w.failed == nil { // it learns whether the transaction has failed
			return err
		}
	}
	return w.failed
}

// abandon cancels what the server does and ends the connection.
func (c *Conn) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = c.PgConn().CancelRequest(ctx) // it may have ended by itself
	_ = c.PgConn().Conn().Close()     // without a word: its stream of messages is cut anywhere
	_ = c.Conn.Close(ctx)
}

// statement sends the statement and reads until the server is ready for another; it gives the state of the transaction.
func (w *wire) statement(sql string, args []string) (status byte, err error) {
	if _, err := w.net.Write(request(sql, args)); err != nil {
		return 0, err
	}
	for {
		status, err := w.messages()
		if err == nil && status != 0 {
			err = w.flush()
		}
		if err != nil || status != 0 {
			return status, err
		}
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
}

// messages takes all messages that are there.
func (w *wire) messages() (status byte, err error) {
	for w.w-w.r >= messageHead {
		size := 1 + int(binary.BigEndian.Uint32(w.buf[w.r+1:]))
		switch {
		case size < messageHead:
			return 0, fmt.Errorf("a message of %d bytes: %w", size, errMalformed)
		case size > w.w-w.r:
			return 0, w.long(size)
		}
		at := w.r
		w.r += size
		if w.buf[at] == 'D' {
			if err := w.taker.row(w.buf, at+messageHead, at+size); err != nil {
				return 0, taken(err)
			}
			continue
		}
		if status, err := w.message(w.buf[at], w.buf[at+messageHead:at+size]); err != nil || status != 0 {
			return status, err
		}
	}
	return 0, nil
}

// flush lets the taker take what it has been given.
func (w *wire) flush() error { return taken(w.taker.flush(w.buf)) }

// fill reads more, behind what is left.
func (w *wire) fill() error {
	if err := w.flush(); err != nil {
		return err
	}
	if w.r == w.w && len(w.buf) > keptBytes+gather.Slack {
		w.buf, w.r, w.w = make([]byte, bufferBytes+gather.Slack), 0, 0 // the long message is done with
	}
	if w.r > 0 {
		w.r, w.w = 0, copy(w.buf, w.buf[w.r:w.w])
	}
	n, err := w.net.Read(w.buf[w.w : len(w.buf)-gather.Slack])
	w.w += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// long makes room for a message that the buffer does not hold. A row that is too long is read and not kept.
func (w *wire) long(size int) error {
	room := len(w.buf) - gather.Slack
	if size <= room {
		return nil
	}
	switch {
	case size <= maxRow:
	case w.buf[w.r] == 'D':
		return w.skip(size)
	default:
		return fmt.Errorf("a message %q of %d bytes: %w", w.buf[w.r], size, errMalformed)
	}
	if err := w.flush(); err != nil {
		return err
	}
	buf := make([]byte, max(size, min(2*room, keptBytes))+gather.Slack)
	copy(buf, w.buf[w.r:w.w])
	w.buf, w.r, w.w = buf, 0, w.w-w.r
	return nil
}

// skip reads over a message, of which the taker sees the beginning.
func (w *wire) skip(size int) error {
	for w.r > 0 || w.w < len(w.buf)-gather.Slack {
		if err := w.fill(); err != nil {
			return err
		}
	}
	if err := w.taker.huge(w.buf[messageHead:w.w:w.w], size); err != nil {
		return taken(err)
	}
	for left := size - w.w; left > 0; {
		n, err := w.net.Read(w.buf[:min(left, len(w.buf)-gather.Slack)])
		if left -= n; err != nil && left > 0 {
			return err
		}
	}
	w.r, w.w = 0, 0
	return nil
}

// message takes a message that is no row. The status of the transaction, which ends the statement, is not 0.
func (w *wire) message(kind byte, body []byte) (status byte, err error) {
	switch kind {
	case 'Z':
		if len(body) != 1 {
			return 0, errMalformed
		}
		return body[0], nil
	case 'T':
		var d pgproto3.RowDescription
		if err := d.Decode(body); err != nil {
			return 0, err
		}
		return 0, taken(w.taker.describe(d.Fields))
	case 'E':
		var e pgproto3.ErrorResponse
		if err := e.Decode(body); err != nil {
			return 0, err
		}
		w.failed = pgconn.ErrorResponseToPgError(&e)
		if e.Severity == "FATAL" || e.SeverityUnlocalized == "FATAL" {
			return 0, w.failed // the server ends the connection
		}
	case 'G', 'H', 'W':
		return 0, fault.Stop(errors.New("a COPY cannot be read as rows"))
	}
	return 0, nil // '1' '2' 'C' 'I' 'n' 'N' 'S' 'A': nothing to do
}

// request makes the messages of a statement: parse, bind with results in binary, describe, execute, sync.
func request(sql string, args []string) []byte {
	var b []byte
	message := func(kind byte, body func()) {
		at := len(b)
		b = append(b, kind, 0, 0, 0, 0)
		body()
		binary.BigEndian.PutUint32(b[at+1:], uint32(len(b)-at-1)) //nolint:gosec // a statement is short
	}
	message('P', func() {
		b = append(append(append(b, 0), sql...), 0)
		b = append(b, 0, 0)
	})
	message('B', func() {
		b = append(b, 0, 0, 0, 0)                               // portal, statement, formats of the arguments
		b = binary.BigEndian.AppendUint16(b, uint16(len(args))) //nolint:gosec // few
		for _, a := range args {
			b = binary.BigEndian.AppendUint32(b, uint32(len(a))) //nolint:gosec // short
			b = append(b, a...)
		}
		b = append(b, 0, 1, 0, 1) // all results in binary
	})
	message('D', func() { b = append(b, 'P', 0) })
	message('E', func() { b = append(b, 0, 0, 0, 0, 0) })
	message('S', func() {})
	return slices.Clip(b)
}
