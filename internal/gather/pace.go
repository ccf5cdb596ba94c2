package gather

import (
	"net"
	"time"
)

const (
	// pacedAfter is how much of an answer is read before its reader is paced: what is short is wanted at once.
	pacedAfter = 256 << 10
	// shortRead is what is too little to be woken for: a server writes 8 to 16 KiB at a time.
	shortRead = 32 << 10
	// pause is how long more is waited for: servers write about 100 KB meanwhile, which a socket's buffer holds.
	pause = time.Millisecond
)

// Pace reads a long answer in pieces that are worth being woken for. A reader that is faster than its server is woken for each write
// of it, some 10 µs of CPU time that take longer than the work on what was written. The zero value is at the beginning of an answer.
type Pace struct {
	read  int64
	short bool
}

// Read reads from c, as its Read does, and waits before it when the last one gave little.
func (p *Pace) Read(c net.Conn, buf []byte) (int, error) {
	if p.short && p.read > pacedAfter {
		<-time.After(pause)
	}
	n, err := c.Read(buf)
	p.read, p.short = p.read+int64(n), n < shortRead
	return n, err
}
