package gather_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/internal/gather"
)

// sender is a connection on which 8 KiB come every 100 microseconds.
type sender struct {
	net.Conn
	begun      time.Time
	sent, size int
	reads      int
}

func (s *sender) Read(b []byte) (int, error) {
	s.reads++
	if s.sent == s.size {
		return 0, io.EOF
	}
	const piece, every = 8 << 10, 100 * time.Microsecond
	if s.sent == int(time.Since(s.begun)/every)*piece {
		<-time.After(every)
	}
	n := min(len(b), int(time.Since(s.begun)/every)*piece-s.sent, s.size-s.sent)
	s.sent += n
	return n, nil
}

// A short answer is read as it comes; a long one in pieces of a millisecond each, and it takes no longer.
func TestPaced(t *testing.T) {
	t.Parallel()
	for size, most := range map[int]int{100 << 10: 14, 8 << 20: 240} {
		synctest.Test(t, func(t *testing.T) {
			s := &sender{begun: time.Now(), size: size}
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, &gather.Paced{Conn: s}, make([]byte, 64<<10))
			if err != nil || int(n) != size {
				t.Fatal(n, err)
			}
			if s.reads > most || s.reads < size/(64<<10) {
				t.Errorf("%d bytes took %d reads, want at most %d", size, s.reads, most)
			}
			if took, sending := time.Since(s.begun), time.Duration(size/(8<<10))*100*time.Microsecond; took > sending+2*time.Millisecond {
				t.Errorf("%d bytes took %s, and sending them %s", size, took, sending)
			}
		})
	}
}
