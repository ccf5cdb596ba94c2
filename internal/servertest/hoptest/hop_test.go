package hoptest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/servertest/hoptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo says what it hears.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, h *hoptest.Hop) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends ten bytes and gives how many come back, within a time.
func say(c net.Conn, within time.Duration) (int, error) {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte("0123456789")); err != nil {
		return 0, err
	}
	return io.ReadFull(c, make([]byte, 10))
}

func TestHop(t *testing.T) {
	t.Parallel()
	const soon, long = 100 * time.Millisecond, 10 * time.Second
	for name, c := range map[string]struct {
		up, down toxics.Toxic
		want     int
		err      error
		within   time.Duration
	}{
		"nothing":     {nil, nil, 10, nil, long},
		"late":        {&toxics.LatencyToxic{Latency: 1000}, nil, 0, os.ErrDeadlineExceeded, soon},
		"cut upload":  {&toxics.LimitDataToxic{Bytes: 4}, nil, -1, io.EOF, long},
		"cut answer":  {nil, &toxics.LimitDataToxic{Bytes: 4}, 4, io.ErrUnexpectedEOF, long},
		"reset":       {&toxics.ResetToxic{}, nil, 0, syscall.ECONNRESET, long},
		"hole":        {&toxics.TimeoutToxic{}, nil, 0, os.ErrDeadlineExceeded, soon},
		"hole behind": {nil, &toxics.TimeoutToxic{}, 0, os.ErrDeadlineExceeded, soon},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hoptest.Start(t, echo(t))
			there := dial(t, h)
			if n, err := say(there, long); n != 10 || err != nil {
				t.Fatal(n, err)
			}
			h.Spoil(c.up, c.down)
			for _, conn := range []net.Conn{there, dial(t, h)} {
				n, err := say(conn, c.within)
				if c.want >= 0 && n != c.want || !errors.Is(err, c.err) && (c.want >= 0 || !errors.Is(err, io.ErrUnexpectedEOF)) {
					t.Errorf("%d bytes, %v", n, err)
				}
			}
			h.Heal()
			if n, err := say(dial(t, h), long); n != 10 || err != nil {
				t.Errorf("healed: %d bytes, %v", n, err)
			}
			if n, err := say(there, soon); c.err != nil && n == 10 {
				t.Errorf("what was there is well: %v", err)
			}
			h.Cut()
			if _, err := say(there, long); err == nil {
				t.Error("it was not cut")
			}
		})
	}
}
