package cli

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSlowClients has clients that begin a request and never end it. Others are served meanwhile, and the slow ones are
// cut off after the server's times: 5 s for the header, 20 s for all.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	c, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	const head = "POST /forms/videogames HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	kinds := []struct {
		name, sent, answer string
		least, most        time.Duration // until it is cut off
	}{
		{"says nothing", "", "", 4 * time.Second, 15 * time.Second},
		{"half a header", head, "", 4 * time.Second, 15 * time.Second},
		{"half a body", head + "Content-Length: 500\r\n\r\n{\"title\":", "408", 18 * time.Second, 35 * time.Second},
	}
	began := time.Now()
	var slow [][]net.Conn
	for _, kind := range kinds {
		var all []net.Conn
		for range 40 {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, err = io.WriteString(conn, kind.sent)
			if err := errors.Join(err, conn.SetDeadline(began.Add(time.Minute))); err != nil {
				t.Fatal(err)
			}
			all = append(all, conn)
		}
		slow = append(slow, all)
	}
	r.burst("game", games)()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("others waited %s behind the slow ones", took)
	}
	for i, kind := range kinds {
		for _, conn := range slow[i] {
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			took := time.Since(began)
			if took < kind.least || took > kind.most {
				t.Errorf("%s: cut off after %s", kind.name, took)
			}
			if err != nil {
				if kind.answer != "" {
					t.Errorf("%s: %v, want %s", kind.name, err, kind.answer)
				}
				continue
			}
			if err := answer.Body.Close(); err != nil || kind.answer == "" || !strings.HasPrefix(answer.Status, kind.answer) {
				t.Errorf("%s: %s, want %q", kind.name, answer.Status, kind.answer)
			}
		}
	}
	if err := errors.Join(r.catchUp(c), c.end(syscall.SIGTERM), r.compare()); err != nil {
		t.Error(err)
	}
}
