package form_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/sources/form"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve gives the address of a real server over a form.
func serve(t *testing.T, w *world) string {
	t.Helper()
	s := httptest.NewUnstartedServer(w.handler)
	s.Config.ReadTimeout = soon
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// talk sends raw bytes, then reads one answer. half closes the sending side after them.
func talk(t *testing.T, address, raw string, half bool) (*http.Response, error) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && half {
		if err := tcp.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

func TestBodiesThatDoNotCome(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	address := serve(t, w)
	head := func(contentType, more string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + contentType + "\r\n" + more + "\r\n\r\n"
	}
	const json, page = "application/json", "application/x-www-form-urlencoded\r\nAccept: text/html"
	for name, c := range map[string]struct {
		raw    string
		half   bool
		status int
	}{
		"truncated":         {head(json, "Content-Length: 500") + zelda, true, 400},
		"truncated chunks":  {head(json, "Transfer-Encoding: chunked") + "5\r\n{\"tit\r\n", true, 400},
		"bad chunks":        {head(json, "Transfer-Encoding: chunked") + "zz\r\n{}\r\n0\r\n\r\n", false, 400},
		"slow":              {head(json, "Content-Length: 500") + zelda, false, 408},
		"slow page":         {head(page, "Content-Length: 500") + "title=a", false, 408},
		"too big, declared": {head(json, "Content-Length: 99999999"), false, 413},
		"too big, chunked":  {head(json, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 70_000, strings.Repeat(" ", 70_000)), false, 413},
		"just small enough": {head(json, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 64<<10, strings.Repeat(" ", 64<<10-len(zelda))+zelda), false, 201},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := talk(t, address, c.raw, c.half)
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
			if res.StatusCode != c.status {
				t.Errorf("got %s", res.Status)
			}
		})
	}
	t.Cleanup(func() {
		if n, err := w.items.Count(context.WithoutCancel(t.Context()), "videogames"); err != nil || n != 1 {
			t.Errorf("%d games, %v", n, err)
		}
	})
}

// A browser follows the answer to the page of the game.
func TestClientFollowsToTheGame(t *testing.T) {
	t.Parallel()
	w := start(t, form.Config{})
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path,
		strings.NewReader("title=Tetris&developer=N%2FA&genre=Puzzle&year=1984&competitive=true"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", server.URL)
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), "Tetris") || !strings.HasPrefix(res.Request.URL.Path, path+"/") {
		t.Errorf("got %s at %s", res.Status, res.Request.URL)
	}
}
