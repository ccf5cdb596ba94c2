package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// textReader reads a lane of a CSV or NDJSON file.
type textReader struct {
	source *Source
	in     *input
	src    *text // nil: of the standard input
	feed   *feed // of the standard input
	window *window
	table  *table
	scan   scanner // nil: the header was not read yet

	line    int64 // the next one, from 1 at the start of the lane
	start   int64 // of the lane, in bytes
	stop    int64 // records that begin here or later belong to the next lane; 0: none does
	passing bool  // the rest of the line is passed over
	mine    bool  // and it is one of this lane
	offsets bool  // a record's number is where it begins, else its line
	refused []record.Refused
	held    int   // bytes of the chunk
	told    int64 // the place that the last chunk ended at, in bytes
	end     error // why nothing more comes
	closed  chan struct{}
	reading sync.Mutex
}

// openText opens a lane of a text file at a place.
func (s *Source) openText(ctx context.Context, in *input, lane string, start int64, at place, schema *record.Schema) (*textReader, error) {
	r := &textReader{
		source: s, in: in, table: newTable(schema, lane, in), line: 1, start: start, closed: make(chan struct{}),
		offsets: in.format == formatNDJSON && in.plain(),
	}
	if r.offsets {
		r.stop = start + s.piece
	}
	if in.format == formatNDJSON {
		r.scan = newNDJSON(schema)
	} else if s.config.NoHeader {
		r.scan = headerless(in.delimiter, schema)
	}
	if in.stdin() {
		src, err := s.stdin.take()
		if err != nil {
			return nil, err
		}
		r.feed = feedFrom(func() (*text, error) { return unpack(src, in) })
		r.window = newWindow(r.feed, s.record)
		return r, nil
	}
	if err := r.seek(ctx, at); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// seek goes to where the lane stands.
func (r *textReader) seek(ctx context.Context, at place) error {
	target := r.start
	switch {
	case at.kind == "p":
		return stop(codePosition, r.in.name(), "start the pipeline anew", errors.New("the position is one of a Parquet file"))
	case at.kind == "t":
		target = at.at
		r.line = at.line
	case target > 0:
		target-- // the line that begins before the lane is the other lane's
		r.passing = true
	}
	if err := r.reach(ctx, target); err != nil {
		return err
	}
	r.told = target
	if at.kind == "" {
		return nil
	}
	if err := r.wholeLine(target); err != nil {
		return err
	}
	if int64(r.window.mark()) != at.mark {
		return stop(codeChanged, r.in.name(), "files must not be rewritten while they are read: give the new file another name",
			fmt.Errorf("it is not the file that was read up to byte %d: what stands before is different", target))
	}
	if r.scan != nil || target == 0 {
		return nil
	}
	c, err := r.source.header(ctx, r.in)
	if err == nil && c != nil {
		err = r.source.bindCSV(c, r.in, r.table.schema)
	}
	if err == nil && c != nil {
		r.scan = c
	}
	return err
}

// wholeLine refuses to go on in the middle of a line: the last one was read without an end, and has grown since.
func (r *textReader) wholeLine(at int64) error {
	w := r.window
	if at == 0 || w.pos == 0 || w.buf[w.pos-1] == '\n' || w.buf[w.pos-1] == '\r' {
		return nil
	}
	for len(w.rest()) == 0 && !w.done {
		w.fill()
	}
	if next := w.rest(); len(next) == 0 || next[0] == '\n' || next[0] == '\r' {
		return nil
	}
	return stop(codeChanged, r.in.name(), "append whole lines only, or give the new file another name",
		fmt.Errorf("its last line had no end when it was read, at byte %d, and has grown", at))
}

// reach shows the window at a place of the text.
func (r *textReader) reach(ctx context.Context, target int64) (err error) {
	begin, from := max(0, target-tail), int64(0)
	if r.in.plain() {
		from = begin
	}
	if r.src, err = r.source.open(r.in, from); err != nil {
		return err
	}
	expected := int64(firstWindow)
	if r.in.plain() {
		expected = r.in.size - begin + 1 // the last read finds the end
		if r.stop > 0 {
			expected = min(expected, r.stop-begin)
		}
	}
	w := smallWindow(r.src, begin, r.source.record, expected)
	r.window = w
	if _, err := discard(ctx, r.src, begin-from); err != nil && !errors.Is(err, io.EOF) {
		return damaged(r.in, r.line, err)
	}
	for w.base+int64(w.end) < target && !w.done {
		w.fill()
	}
	if w.base+int64(w.end) < target {
		if w.err != nil {
			return damaged(r.in, r.line, w.err)
		}
		return stop(codeChanged, r.in.name(), "put the whole file back, or start the pipeline anew",
			fmt.Errorf("it is shorter than it was: %d bytes of text were read before", target))
	}
	w.pos = int(target - w.base)
	return nil
}

// damaged says why the text of a file cannot be read on from a line.
func damaged(in *input, line int64, err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, errClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case in.compression == compressionNone:
		return cannotOpen(in.name(), err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the compressed file is cut off")
	default:
		err = fmt.Errorf("the compressed file is damaged: %w", err)
	}
	if line > 1 {
		err = fmt.Errorf("%w; all before line %d was read", err, line)
	}
	return stop(codeDamaged, in.name(), fixAndRestart, err)
}

// Read gives the next records. A read that ends with its context goes on the next time.
func (r *textReader) Read(ctx context.Context) (record.Chunk, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	if err := r.gather(ctx); err != nil {
		return record.Chunk{}, err
	}
	if r.table.rows == 0 && len(r.refused) == 0 {
		if at := r.window.at(); errors.Is(r.end, io.EOF) && at > r.told { // a header, or blank lines
			r.told = at
			return record.Chunk{To: r.position(), ReadAt: time.Now()}, nil
		}
		return record.Chunk{}, r.end
	}
	now := time.Now()
	chunk := record.Chunk{Refused: r.refused, ReadAt: now}
	b, err := r.table.batch(now)
	switch {
	case err != nil:
		return record.Chunk{}, err
	case b != nil:
		chunk.Batches = []*record.Batch{b}
	}
	chunk.To = r.position()
	r.refused, r.held, r.told = nil, 0, r.window.at()
	return chunk, nil
}

func (r *textReader) position() record.Position {
	return place{"t", r.window.at(), r.line, int64(r.window.mark())}.position()
}

// gather fills the table until it is full or the lane ends. An error says that the read has ended, and not the lane.
func (r *textReader) gather(ctx context.Context) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	for r.end == nil && (r.passing || r.table.rows < maxRows && r.held < maxBytes) {
		w := r.window
		switch more, err := r.step(); {
		case err != nil:
			r.end = err
		case !more:
		case w.done && w.err != nil:
			r.end = damaged(r.in, r.line, w.err)
		case w.done:
			r.end = io.EOF
		default:
			if err := r.more(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopped says why a read has to end.
func (r *textReader) stopped(ctx context.Context) error {
	select {
	case <-r.closed:
		return errClosed
	default:
		return ctx.Err()
	}
}

// more shows more of the stream.
func (r *textReader) more(ctx context.Context) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	if r.feed != nil {
		if err := r.feed.wait(ctx); err != nil {
			return err
		}
	}
	r.window.fill()
	return nil
}

// step takes one record, or says that it must see more.
func (r *textReader) step() (more bool, err error) {
	w := r.window
	buf := w.rest()
	last := w.done && w.err == nil
	switch {
	case r.passing:
		return r.pass(buf), nil
	case r.stop > 0 && w.at() >= r.stop:
		return false, io.EOF
	case len(buf) == 0:
		return true, nil
	case w.at() == 0:
		if len(buf) < 4 && !w.done {
			return true, nil
		}
		n, err := mark(buf, r.in.name())
		if err != nil {
			return false, err
		}
		if n > 0 {
			w.pos += n
			return false, nil
		}
	}
	if r.scan == nil {
		return r.head(buf, last)
	}
	p := r.scan.scan(buf, last, r.table)
	if p.n == 0 {
		if !w.full() {
			return true, nil
		}
		p = r.tooLong(buf)
	}
	switch {
	case p.bad != nil:
		r.refuse(buf[:p.n], p.bad)
	case p.row:
		r.table.next(r.number(), r.line)
		r.held += max(p.n, 8*len(r.table.columns))
	}
	w.pos += p.n
	r.line += int64(p.lines)
	return false, nil
}

// number is the place of the record in its file.
func (r *textReader) number() int64 {
	if r.offsets {
		return r.window.at() + 1
	}
	return r.line
}

// pass takes the rest of a line.
func (r *textReader) pass(buf []byte) (more bool) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		r.window.pos = r.window.end
		return true
	}
	r.window.pos += end + 1
	if r.mine {
		r.line++
	}
	r.passing, r.mine = false, false
	return false
}

// mark finds the mark of a Unicode encoding at the beginning of a text.
func mark(buf []byte, path string) (int, error) {
	switch {
	case bytes.HasPrefix(buf, []byte{0xef, 0xbb, 0xbf}):
		return 3, nil
	case bytes.HasPrefix(buf, []byte{0xff, 0xfe}), bytes.HasPrefix(buf, []byte{0xfe, 0xff}):
		return 0, stop(codeEncoding, path, "convert it to UTF-8, such as with iconv -f UTF-16 -t UTF-8", errors.New("the file is UTF-16"))
	}
	return 0, nil
}

// head reads the header.
func (r *textReader) head(buf []byte, last bool) (more bool, err error) {
	c := newCSV(r.in.delimiter, 0)
	p, err := c.header(buf, last, r.in.name())
	switch {
	case err != nil:
		return false, err
	case p.n == 0:
		if r.window.full() {
			return false, longHeader(r.in.name())
		}
		return true, nil
	case p.row:
		if err := r.source.bindCSV(c, r.in, r.table.schema); err != nil {
			return false, err
		}
		r.scan = c
	}
	r.window.pos += p.n
	r.line += int64(p.lines)
	return false, nil
}

func longHeader(path string) error {
	return stop(codeLong, path, "check that the file is CSV, and its quotes", errors.New("the header does not end"))
}

// tooLong refuses a record that the window cannot show: its first line, and the rest of that line unseen.
func (r *textReader) tooLong(buf []byte) piece {
	bad := &problem{code: codeLong, err: fmt.Errorf("longer than %d bytes", r.source.record)}
	if end := bytes.IndexByte(buf, '\n'); end >= 0 {
		bad.err = fmt.Errorf("longer than %d bytes: maybe a quote is opened and never closed", r.source.record)
		return piece{n: end + 1, lines: 1, row: true, bad: bad}
	}
	r.passing, r.mine = true, true
	return piece{n: len(buf), row: true, bad: bad}
}

// refuse keeps what is no record.
func (r *textReader) refuse(raw []byte, bad *problem) {
	where := fmt.Sprintf("%s:%d", r.in.name(), r.line)
	if r.start > 0 {
		where = fmt.Sprintf("%s, byte %d", r.in.name(), r.window.at())
	}
	err := bad.err
	if bad.column != "" {
		err = fmt.Errorf("column %s: %w", bad.column, err)
	}
	raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte{'\n'}), []byte{'\r'})
	raw = bytes.Clone(raw[:min(len(raw), maxRaw)])
	refused := r.table.refused(r.number(), r.line)
	refused.Column, refused.Raw = bad.column, raw
	refused.Err = &fault.Error{Class: fault.Poison, Code: bad.code, Place: where, Err: err, Remedy: remedy(bad.code)}
	r.refused = append(r.refused, refused)
	r.held += len(raw) + 512
}

// remedy says what to do about a record that is none.
func remedy(code string) string {
	switch code {
	case codeValue:
		return "mend the value, or declare another type for the column"
	case codeRagged:
		return "give the record as many fields as there are columns; a field with the delimiter in it wants quotes"
	case codeQuote:
		return "quote the whole field and double the quotes in it"
	case codeText:
		return "convert the file to UTF-8"
	case codeLong:
		return "split the record, or mend the quote"
	case codeJSON:
		return "write one JSON object a line"
	case codeTwice:
		return "leave one of the members out"
	case codeKey:
		return "give the key a value, or declare another key"
	}
	return ""
}

// Settle has nothing to do: files stay.
func (r *textReader) Settle(context.Context, record.Position, error) error { return nil }

// Close lets go of the file. A read under way ends before its next look at the file.
func (r *textReader) Close() error {
	close(r.closed)
	if r.feed != nil {
		close(r.feed.closed)
	}
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.src == nil {
		return nil
	}
	return r.src.Close()
}
