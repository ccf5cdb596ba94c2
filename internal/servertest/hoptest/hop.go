// Package hoptest puts a network that can be made bad between a program and a server, for tests. The toxics are Toxiproxy's own; its proxy is
// not used: there a black hole is closed when it is taken away, so that the program's own time limit would never be what ends a call.
package hoptest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// Hop is the way to one server. Its methods may be called from several goroutines.
type Hop struct {
	to       string
	listener net.Listener
	all      sync.WaitGroup

	mu     sync.Mutex
	up     toxics.Toxic // of connections that begin
	down   toxics.Toxic
	lines  map[*line]bool
	closed bool
}

// Start opens a way to a server at host:port, until the test ends.
func Start(t testing.TB, to string) *Hop {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &Hop{to: to, listener: listener, up: &toxics.NoopToxic{}, down: &toxics.NoopToxic{}, lines: map[*line]bool{}}
	h.all.Go(h.accept)
	t.Cleanup(h.close)
	return h
}

// Address is where programs find the server, as host:port.
func (h *Hop) Address() string { return h.listener.Addr().String() }

// Spoil gives a toxic to what is sent to the server, and to what comes from it; nil: none. Connections that are there have it from now on in
// the middle of what they do, and so have those that begin until Heal.
func (h *Hop) Spoil(up, down toxics.Toxic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up, h.down = orNone(up), orNone(down)
	for l := range h.lines {
		l.spoil(h.up, h.down)
	}
}

// Heal lets connections begin without toxics. Those that are there keep what they have, for as long as the program or the server keeps them.
func (h *Hop) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up, h.down = orNone(nil), orNone(nil)
}

// Cut resets all connections that are there.
func (h *Hop) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.lines {
		l.reset()
		l.end()
	}
}

func orNone(x toxics.Toxic) toxics.Toxic {
	if x == nil {
		return &toxics.NoopToxic{}
	}
	return x
}

func (h *Hop) accept() {
	for {
		client, err := h.listener.Accept()
		if err != nil {
			return // it is closed
		}
		server, err := (&net.Dialer{Timeout: time.Minute}).Dial("tcp", h.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		h.join(client, server)
	}
}

func (h *Hop) join(client, server net.Conn) {
	l := &line{conns: [2]net.Conn{client, server}, over: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines[l] = true
	up, down := l.way(client, server, h.up), l.way(server, client, h.down)
	l.ways = [2]*way{up, down}
	if h.closed {
		l.end()
	}
	h.all.Go(func() {
		l.all.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.lines, l)
	})
}

func (h *Hop) close() {
	h.mu.Lock()
	h.closed = true
	_ = h.listener.Close()
	for l := range h.lines {
		l.end()
	}
	h.mu.Unlock()
	h.all.Wait()
}

// line is one connection, which ends both ways together.
type line struct {
	conns [2]net.Conn
	ways  [2]*way
	over  chan struct{}
	once  sync.Once
	all   sync.WaitGroup
}

// end closes the connection.
func (l *line) end() {
	l.once.Do(func() {
		close(l.over)
		for _, c := range l.conns {
			_ = c.Close()
		}
	})
}

// reset lets the end of the connection be a reset, on both sides.
func (l *line) reset() {
	for _, c := range l.conns {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
	}
}

func (l *line) spoil(up, down toxics.Toxic) {
	for i, x := range []toxics.Toxic{up, down} {
		if w := l.ways[i]; w.stub.InterruptToxic() {
			l.run(w.stub, x)
		}
	}
}

// run lets a toxic have a way.
func (l *line) run(stub *toxics.ToxicStub, x toxics.Toxic) {
	if _, is := x.(*toxics.ResetToxic); is {
		l.reset()
	}
	stub.State = nil
	if s, ok := x.(toxics.StatefulToxic); ok {
		stub.State = s.NewState()
	}
	l.all.Go(func() { stub.Run(&toxics.ToxicWrapper{Toxic: x, Toxicity: 1}) })
}

// way is one direction of a connection.
type way struct{ stub *toxics.ToxicStub }

// ahead is how many pieces a toxic may leave lying before the sender has to wait.
const ahead = 64

func (l *line) way(from io.Reader, to io.Writer, x toxics.Toxic) *way {
	in, out := make(chan *stream.StreamChunk, ahead), make(chan *stream.StreamChunk)
	w := &way{toxics.NewToxicStub(in, out)}
	l.all.Go(func() { l.read(from, in) })
	l.all.Go(func() { l.write(to, out) })
	l.run(w.stub, x)
	return w
}

func (l *line) read(from io.Reader, in chan<- *stream.StreamChunk) {
	defer close(in)
	for {
		piece := make([]byte, 32<<10)
		n, err := from.Read(piece)
		if n > 0 {
			select {
			case in <- &stream.StreamChunk{Data: piece[:n], Timestamp: time.Now()}:
			case <-l.over:
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.reset()
			}
			return
		}
	}
}

// write ends the connection when nothing comes any more: the sender's end, or the toxic's.
func (l *line) write(to io.Writer, out <-chan *stream.StreamChunk) {
	defer l.end()
	failed := false
	for c := range out { // to its end, for a toxic waits for it
		if _, err := to.Write(c.Data); err != nil && !failed {
			failed = true
			l.end()
		}
	}
}
