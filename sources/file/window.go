package file

import (
	"errors"
	"hash/fnv"
	"io"
)

const (
	// firstWindow is how much of a file is in memory at a time, unless a record is longer.
	firstWindow = 256 << 10
	minWindow   = 4 << 10
	// slack is how many bytes behind the end may be looked at, whatever they hold: scanners take 8 at a time.
	slack = 16
	// tail is how many bytes before the place reached stay, to tell by them later whether the file is still the same.
	tail = 64
)

// window shows a stream piece by piece. It grows up to limit to show a record as a whole.
type window struct {
	src   io.Reader
	buf   []byte
	pos   int // what is before it was taken
	end   int
	base  int64 // where buf begins in the stream
	limit int
	done  bool  // there is no more to read
	err   error // why, when it is not the end of the stream
}

func newWindow(src io.Reader, limit int) *window {
	return smallWindow(src, 0, limit, firstWindow)
}

// smallWindow begins with less memory, for a stream that is expected to have so many bytes.
func smallWindow(src io.Reader, base int64, limit int, expected int64) *window {
	room := max(minWindow, int(min(firstWindow, expected)))
	return &window{src: src, buf: make([]byte, min(room, limit)+tail+slack), base: base, limit: limit}
}

// rest is what was read and not taken. Slack bytes stand behind it.
func (w *window) rest() []byte { return w.buf[w.pos:w.end] }

// at is how much of the stream was taken.
func (w *window) at() int64 { return w.base + int64(w.pos) }

// full says that the window shows as much as it may.
func (w *window) full() bool { return w.end-w.pos >= w.limit }

// fill reads once more.
func (w *window) fill() {
	if w.done {
		return
	}
	if from := w.pos - tail; from > 0 {
		w.end = copy(w.buf, w.buf[from:w.end])
		w.base += int64(from)
		w.pos = tail
	}
	room := len(w.buf) - slack
	if w.end > room/2 && room < w.limit+tail {
		grown := make([]byte, min(2*room, w.limit+tail)+slack)
		copy(grown, w.buf[:w.end])
		w.buf = grown
	}
	for range 100 {
		n, err := w.src.Read(w.buf[w.end : len(w.buf)-slack])
		w.end += n
		if err != nil {
			w.done = true
			if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				w.err = err
			}
			return
		}
		if n > 0 {
			return
		}
	}
	w.done, w.err = true, io.ErrNoProgress
}

// mark is a checksum of the bytes before the place reached.
func (w *window) mark() uint32 { return checksum(w.buf[max(0, w.pos-tail):w.pos]) }

func checksum(before []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(before)
	return h.Sum32()
}
