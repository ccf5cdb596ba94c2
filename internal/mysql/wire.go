package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

const (
	// bufferBytes is what is read of a connection at a time. Longer rows make the buffer grow.
	bufferBytes = 64 << 10
	// keptBytes is how long it may stay; a row that is longer than that has a buffer of its own.
	keptBytes = 4 << 20
	// maxRow is the longest row that is taken.
	maxRow = 256 << 20
	// packetHead is the length of a packet and its number.
	packetHead = 4
	// fullPacket is the length of a packet that goes on in the next one.
	fullPacket = 1<<24 - 1
)

// column is a column of a result.
type column struct {
	kind     byte
	unsigned bool
	binary   bool // it has no character set
}

// rowTaker takes the rows of one statement, in place: what it is given is valid until it is flushed.
type rowTaker interface {
	// describe is told of the columns, before the first row.
	describe(columns []column) error
	// row is a row in binary, from buf[at] to end. The buffer is longer than that by gather.Slack.
	row(buf []byte, at, end int) error
	// flush is called before what is in the buffer is lost.
	flush(buf []byte) error
	// huge is the beginning of a row that is too long, which begins at head[0].
	huge(head []byte, size int) error
}

// wire reads the answer to a statement from the connection itself: a row is neither copied nor made a value of.
// The protocol is https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute_response.html.
type wire struct {
	net     net.Conn
	taker   rowTaker
	buf     []byte // gather.Slack longer than what is read into it
	r, w    int    // read up to, written up to
	columns []column
	wanted  int   // columns of the result; 0: not known yet
	inRows  bool  // its columns are all there
	failed  error // what the server said
}

// takerError is an error of who takes the rows.
type takerError struct{ err error }

// Error says why.
func (e *takerError) Error() string { return e.err.Error() }

// Unwrap gives the reason.
func (e *takerError) Unwrap() error { return e.err }

func taken(err error) error {
	if err == nil {
		return nil
	}
	return &takerError{err}
}

// rows runs one statement and hands its rows to t. An error of t, or an end of ctx, ends the connection. Errors of t stay as they are,
// others are explained.
func (c *Conn) rows(ctx context.Context, sql string, t rowTaker, place string) error {
	var said error
	err := c.guarded(ctx, func() error {
		id, err := c.prepare(sql)
		if err != nil {
			return err
		}
		said, err = c.answer(id, t)
		if err != nil {
			return err
		}
		return c.command(mysql.COM_STMT_CLOSE, binary.LittleEndian.AppendUint32(nil, id))
	})
	if own, ok := errors.AsType[*takerError](err); ok && !errors.Is(err, errMalformed) {
		return own.err
	}
	if err == nil {
		err = said
	}
	return Explain(err, "read rows", place)
}

// command sends one.
func (c *Conn) command(kind byte, body []byte) error {
	c.ResetSequence()
	packet := make([]byte, packetHead, packetHead+1+len(body))
	return c.WritePacket(append(append(packet, kind), body...))
}

// prepare lets the server read a statement: what it then answers is in binary. It gives the statement's number.
func (c *Conn) prepare(sql string) (id uint32, err error) {
	if err := c.command(mysql.COM_STMT_PREPARE, []byte(sql)); err != nil {
		return 0, err
	}
	answer, err := c.ReadPacket()
	if err != nil {
		return 0, err
	}
	if len(answer) > 0 && answer[0] == mysql.ERR_HEADER {
		return 0, serverError(answer)
	}
	const head = 9 // OK, the number, how many columns and parameters there are
	if len(answer) < head {
		return 0, errMalformed
	}
	more := 0 // each of the two ends with a packet of its own
	for _, n := range []uint16{binary.LittleEndian.Uint16(answer[5:]), binary.LittleEndian.Uint16(answer[7:])} {
		if n > 0 {
			more += int(n) + 1
		}
	}
	for range more {
		if _, err := c.ReadPacket(); err != nil {
			return 0, err
		}
	}
	return binary.LittleEndian.Uint32(answer[1:]), nil
}

// answer runs a prepared statement, and takes what comes. said is an error of the server.
func (c *Conn) answer(id uint32, t rowTaker) (said, err error) {
	const once = 1
	body := append(binary.LittleEndian.AppendUint32(nil, id), 0) // no cursor
	if err := c.command(mysql.COM_STMT_EXECUTE, binary.LittleEndian.AppendUint32(body, once)); err != nil {
		return nil, err
	}
	if c.buf == nil {
		c.buf = make([]byte, bufferBytes+gather.Slack)
	}
	w := &wire{net: &gather.Paced{Conn: c.Conn.Conn.Conn}, taker: t, buf: c.buf} // what was read so far is all of the answer before
	return w.all()
}

// all takes the whole answer. said is an error of the server.
func (w *wire) all() (said, err error) {
	for {
		done, err := w.packets()
		if err == nil && done {
			err = taken(w.taker.flush(w.buf))
		}
		if err != nil || done {
			return w.failed, err
		}
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// serverError makes an error of a packet that says it.
func serverError(packet []byte) error {
	const head, state = 3, 6
	if len(packet) < head {
		return errMalformed
	}
	e := &mysql.MyError{Code: binary.LittleEndian.Uint16(packet[1:])}
	if packet = packet[head:]; len(packet) >= state && packet[0] == '#' {
		e.State, packet = string(packet[1:state]), packet[state:]
	}
	e.Message = string(packet)
	return e
}

// packets takes all packets that are there; done: the last of them ends the answer.
func (w *wire) packets() (done bool, err error) {
	for w.w-w.r >= packetHead {
		size := int(w.buf[w.r]) | int(w.buf[w.r+1])<<8 | int(w.buf[w.r+2])<<16
		if size == fullPacket {
			whole, err := w.joined()
			if err != nil || whole == 0 {
				return false, err
			}
			continue
		}
		if packetHead+size > w.w-w.r {
			return false, w.room(packetHead + size)
		}
		at := w.r + packetHead
		w.r = at + size
		if done, err := w.packet(at, at+size); err != nil || done {
			return done, err
		}
	}
	return false, nil
}

// joined takes a row that stands in several packets, once all of them are there; whole is its length, 0 before that.
func (w *wire) joined() (whole int, err error) {
	end := w.r
	for size := fullPacket; size == fullPacket; end += packetHead + size {
		if end+packetHead > w.w {
			return 0, w.room(end + packetHead - w.r)
		}
		size = int(w.buf[end]) | int(w.buf[end+1])<<8 | int(w.buf[end+2])<<16
		if whole += size; whole > maxRow {
			return whole, w.skip(end, size)
		}
		if end+packetHead+size > w.w {
			return 0, w.room(end + packetHead + size - w.r)
		}
	}
	if err := taken(w.taker.flush(w.buf)); err != nil { // what is before it stays where it is no longer
		return 0, err
	}
	at := w.r + packetHead
	to := at
	for from := w.r; from < end; {
		size := int(w.buf[from]) | int(w.buf[from+1])<<8 | int(w.buf[from+2])<<16
		to += copy(w.buf[to:], w.buf[from+packetHead:from+packetHead+size])
		from += packetHead + size
	}
	w.r = end
	if _, err := w.packet(at, to); err != nil {
		return 0, err
	}
	return whole, taken(w.taker.flush(w.buf))
}

// packet takes one.
func (w *wire) packet(at, end int) (done bool, err error) {
	if at == end {
		return false, errMalformed
	}
	head := w.buf[at]
	switch {
	case head == mysql.ERR_HEADER:
		w.failed = serverError(w.buf[at:end])
		return true, nil
	case w.inRows && head == mysql.OK_HEADER:
		return false, taken(w.taker.row(w.buf, at, end))
	case head == mysql.EOF_HEADER && end-at < 9:
		if w.inRows {
			return true, nil
		}
		w.inRows = true
		return false, taken(w.taker.describe(w.columns))
	case w.wanted == 0 && head == mysql.OK_HEADER:
		return true, nil // a statement that gives no rows
	case w.wanted == 0:
		w.wanted = int(head)
		return false, nil
	}
	c, ok := readColumn(w.buf[at:end])
	if !ok {
		return false, errMalformed
	}
	w.columns = append(w.columns, c)
	return false, nil
}

// readColumn reads the description of a column: names, then what it is.
func readColumn(v []byte) (c column, ok bool) {
	for range 6 { // catalog, database, table and column, as they are called and as they are
		n, size, ok := lengthOf(v)
		if !ok || size+n > len(v) {
			return c, false
		}
		v = v[size+n:]
	}
	const rest, unsigned, noCharset = 13, 32, 63
	if len(v) < rest {
		return c, false
	}
	c.kind = v[7]
	c.binary = binary.LittleEndian.Uint16(v[1:]) == noCharset
	c.unsigned = binary.LittleEndian.Uint16(v[8:])&unsigned != 0
	return c, true
}

// lengthOf reads a length, and how many bytes it takes itself.
func lengthOf(v []byte) (n, size int, ok bool) {
	if len(v) == 0 {
		return 0, 0, false
	}
	switch head := v[0]; {
	case head < 0xfb:
		return int(head), 1, true
	case head == 0xfc && len(v) >= 3:
		return int(binary.LittleEndian.Uint16(v[1:])), 3, true
	case head == 0xfd && len(v) >= 4:
		return int(v[1]) | int(v[2])<<8 | int(v[3])<<16, 4, true
	case head == 0xfe && len(v) >= 9:
		n := binary.LittleEndian.Uint64(v[1:])
		return int(n), 9, n < 1<<31 //nolint:gosec // checked
	}
	return 0, 0, false
}

// fill reads more, behind what is left.
func (w *wire) fill() error {
	if err := taken(w.taker.flush(w.buf)); err != nil {
		return err
	}
	if w.r == w.w && len(w.buf) > keptBytes+gather.Slack {
		w.buf, w.r, w.w = make([]byte, bufferBytes+gather.Slack), 0, 0 // the long row is done with
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

// room makes it for so many bytes from w.r on.
func (w *wire) room(size int) error {
	room := len(w.buf) - gather.Slack
	if size <= room {
		return nil
	}
	if err := taken(w.taker.flush(w.buf)); err != nil {
		return err
	}
	grown := 2 * room
	if size > keptBytes {
		grown = size + size/4
	}
	buf := make([]byte, max(size, grown)+gather.Slack)
	w.r, w.w, w.buf = 0, copy(buf, w.buf[w.r:w.w]), buf
	return nil
}

// skip reads over a row that is too long, of which the packet at end, of this size, is the first that is too much. The taker sees the
// beginning of the row.
func (w *wire) skip(end, size int) error {
	if err := taken(w.taker.flush(w.buf)); err != nil {
		return err
	}
	head := w.buf[w.r+packetHead : min(w.w, w.r+packetHead+fullPacket)]
	total := end - w.r + size
	if err := w.pass(end+packetHead+size, size, &total); err != nil {
		return err
	}
	return taken(w.taker.huge(head, total))
}

// pass reads up to the end of the last packet of a row; end is where the one that is read now ends, as if the buffer held it. What
// is read is put behind the beginning of the row, again and again.
func (w *wire) pass(end, size int, total *int) error {
	spare := make([]byte, bufferBytes)
	have := w.w // of the stream, by the same count as end
	read := func(n int) ([]byte, error) {
		part, err := w.net.Read(spare[:n])
		have += part
		return spare[:part], err
	}
	for {
		for have < end {
			if part, err := read(min(end-have, len(spare))); err != nil && len(part) == 0 {
				return err
			}
		}
		if size < fullPacket {
			break
		}
		var head []byte
		if end < w.w { // it was read already
			head = append(head, w.buf[end:min(w.w, end+packetHead)]...)
		}
		for len(head) < packetHead {
			part, err := read(packetHead - len(head))
			if head = append(head, part...); err != nil && len(part) == 0 {
				return err
			}
		}
		size = int(head[0]) | int(head[1])<<8 | int(head[2])<<16
		*total += size
		end += packetHead + size
	}
	if end <= w.w {
		w.r = end
	} else {
		w.r, w.w = 0, 0
	}
	return nil
}

var errHuge = fmt.Errorf("a row has more than %d MiB", maxRow>>20)

const hugeRemedy = "leave its table out, or read a view without the large column"

func hugeRow(size int) error { return fmt.Errorf("%w: %d", errHuge, size>>20) }

func hugeFault(err error, place string) error {
	return &fault.Error{Class: fault.Poison, Code: codeHuge, Place: place, Err: err, Remedy: hugeRemedy}
}
