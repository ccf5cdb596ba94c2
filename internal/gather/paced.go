package gather

import (
	"net"
	"time"
)

const (
	// longAnswer is how much of an answer is read as it comes.
	longAnswer = 256 << 10
	// little is a read after which the next one waits.
	little = 32 << 10
	// waitMore is how long. More than a millisecond could fill the buffers of a fast connection.
	waitMore = time.Millisecond
)

// Paced reads a long answer in large pieces. Database servers send 8 or 16 KiB at a time (PostgreSQL's PqSendBuffer, MySQL's
// net_buffer_length), and waking up for each of them is a quarter of the CPU of a fast read: when little was there, the next read waits
// for more to come.
type Paced struct {
	net.Conn
	total int  // bytes read
	dry   bool // the last read left nothing, and gave little
}

func (p *Paced) Read(b []byte) (int, error) {
	if p.total > longAnswer && p.dry {
		<-time.After(waitMore)
	}
	n, err := p.Conn.Read(b)
	p.total, p.dry = p.total+n, n < min(little, len(b))
	return n, err //nolint:wrapcheck // a connection's own
}
