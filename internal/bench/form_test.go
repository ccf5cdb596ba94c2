package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	connections = 64
	requests    = 60_000
	pace        = 5_000 // requests a second of the paced run
	body        = `{"title":"Tetris","developer":"Алексей Пажитнов, N/A","genre":"Puzzle","year":1984,"competitive":true}`
)

// floorServer is the floor of the form: a bare handler that answers when what it was sent is on disk, in groups.
func floorServer(ctx context.Context, _ int, dir string) (got sample, err error) {
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	log := groupLog{file: file, in: make(chan entry, 1024)}
	var writing sync.WaitGroup
	writing.Go(log.run)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return got, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(log.take)}
	fmt.Printf("{\"form\":\"http://%s/\"}\n", listener.Addr()) //nolint:forbidigo // the parent reads it
	answered := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(answered)
		_ = server.Shutdown(context.WithoutCancel(ctx))
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return got, err
	}
	<-answered // Serve returns when Shutdown begins: requests may still be under way
	close(log.in)
	writing.Wait()
	return got, nil
}

// groupLog appends what waits and syncs once for all of it.
type groupLog struct {
	file *os.File
	in   chan entry
}

type entry struct {
	text []byte
	done chan error
}

func (l *groupLog) run() {
	var waiting []chan error
	var text []byte
	for first := range l.in {
		text, waiting = append(text[:0], first.text...), append(waiting[:0], first.done)
		for range len(l.in) {
			next := <-l.in
			text, waiting = append(text, next.text...), append(waiting, next.done)
		}
		_, err := l.file.Write(text)
		err = errors.Join(err, l.file.Sync())
		for _, done := range waiting {
			done <- err
		}
	}
}

func (l *groupLog) take(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err == nil {
		done := make(chan error, 1)
		l.in <- entry{text, done}
		err = <-done
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"id":"01890a5d-ac96-774b-bcce-b302099a8057"}`)
}

// server is a child that answers at a URL.
type server struct {
	cmd  *exec.Cmd
	url  string
	rest sync.WaitGroup
	log  bytes.Buffer
}

// startServer starts a child and reads its address from the first line, which is JSON with "form" in it.
func startServer(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd}
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	var at struct{ Form string }
	if err = errors.Join(err, json.Unmarshal(line, &at)); err != nil {
		return nil, errors.Join(err, s.stop(), errors.New(s.log.String()))
	}
	s.url = at.Form
	s.rest.Go(func() { _, _ = io.Copy(io.Discard, lines) })
	return s, nil
}

func (s *server) stop() error {
	err := s.cmd.Process.Signal(os.Interrupt)
	s.rest.Wait()
	return errors.Join(err, s.cmd.Wait())
}

// cpu is what the child has used so far.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // of proc(5) on Linux
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// load posts the body over and over, on as many connections as asked for, each one request at a time: as fast as answers
// come, or, with a pace, so many a second, of which each is timed from the moment at which it was due.
func load(ctx context.Context, address string, conns, total, pace int) (sample, error) {
	var left atomic.Int64
	left.Store(int64(total))
	took := make([][]time.Duration, conns)
	errs := make([]error, conns)
	began := time.Now()
	var all sync.WaitGroup
	for i := range conns {
		n := 0
		next := func() (due time.Time, more bool) {
			if left.Add(-1) < 0 {
				return due, false
			}
			if pace == 0 {
				return time.Now(), true
			}
			due = began.Add(time.Duration(n*conns+i) * time.Second / time.Duration(pace))
			n++
			wait(ctx, time.Until(due))
			return due, true
		}
		all.Go(func() {
			errs[i] = client(ctx, address, next, func(d time.Duration) { took[i] = append(took[i], d) })
		})
	}
	all.Wait()
	wall := time.Since(began)
	times := slices.Concat(took...)
	slices.Sort(times)
	if err := errors.Join(errs...); err != nil || len(times) != total {
		return sample{}, fmt.Errorf("%d of %d requests: %w", len(times), total, err)
	}
	ms := func(share float64) float64 { return times[int(share*float64(total-1))].Seconds() * 1000 }
	return sample{Rows: int64(total), Wall: wall, Figures: map[string]float64{"p50": ms(0.50), "p99": ms(0.99)}}, nil
}

// client writes the same bytes and reads answers as sparingly as can be: it shares the cores with the server.
func client(ctx context.Context, address string, next func() (due time.Time, more bool), took func(time.Duration)) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", u.Path, u.Host, len(body), body)
	in := bufio.NewReader(conn)
	for due, more := next(); more; due, more = next() {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := readAnswer(in); err != nil {
			return err
		}
		took(time.Since(due))
	}
	return nil
}

func readAnswer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 201 ")) {
		return fmt.Errorf("the answer was %s", line)
	}
	length := 0
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err = in.Discard(length)
	return err
}

// program builds the real program.
func program(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "acequia")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", path, "../../cmd/acequia")
	if text, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build acequia: %v\n%s", err, text)
	}
	return path
}

func demo(ctx context.Context, path, dir string) (*server, error) {
	return startServer(exec.CommandContext(ctx, path, "demo", "--json", "--port", "0", "--dir", dir)) //nolint:gosec // our own program
}

// BenchmarkForm compares the form of the running demo, lake and all, with a bare handler that appends and syncs in groups.
func BenchmarkForm(b *testing.B) {
	path := program(b)
	order, samples := []string{"bare handler", "form", pacedForm}, map[string][]sample{}
	for round := range rounds() {
		for _, name := range order {
			got, err := formRound(b.Context(), name, path, filepath.Join(b.TempDir(), strconv.Itoa(round)))
			if err != nil {
				b.Fatal(name, ": ", err)
			}
			samples[name] = append(samples[name], got)
		}
	}
	ms := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	rate := perSecond()
	rate.name = "requests a second"
	cpu := figure{"CPU µs a request", func(s sample) float64 { return float64(s.CPU.Microseconds()) / float64(s.Rows) }, func(v float64) string { return fmt.Sprintf("%.0f", v) }}
	table(b, fmt.Sprintf("Form: %s requests of %d bytes on %d connections", thousands(requests), len(body), connections),
		order, samples, rate, named("p50 ms", "p50", ms), named("p99 ms", "p99", ms), cpu, peakMemory())
	ratio(b, "form to bare handler", samples["form"], samples["bare handler"], rate)
}

// pacedForm is the form under the load that its target names.
const pacedForm = "form, 5,000 a second"

func formRound(ctx context.Context, name, path, dir string) (got sample, err error) {
	var s *server
	if name != "bare handler" {
		s, err = demo(ctx, path, dir)
	} else {
		var cmd *exec.Cmd
		if cmd, err = command(ctx, "form-floor", 0); err == nil {
			s, err = startServer(cmd)
		}
	}
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := load(ctx, s.url, connections, requests/20, 0); err != nil { // warm
		return got, err
	}
	before, err := s.cpu()
	if err != nil {
		return got, err
	}
	if name == pacedForm {
		got, err = load(ctx, s.url, connections, requests/3, pace)
	} else {
		got, err = load(ctx, s.url, connections, requests, 0)
	}
	if err != nil {
		return got, err
	}
	after, err := s.cpu()
	got.CPU = after - before
	if err == nil {
		got.Peak, err = peak(s.cmd.Process.Pid)
	}
	return got, err
}

// BenchmarkIdle looks at a demo that nobody uses.
func BenchmarkIdle(b *testing.B) {
	s, err := demo(b.Context(), program(b), filepath.Join(b.TempDir(), "state"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			b.Error(err)
		}
	}()
	wait(b.Context(), 5*time.Second)
	before, err := s.cpu()
	if err != nil {
		b.Fatal(err)
	}
	const watched = 30 * time.Second
	wait(b.Context(), watched)
	after, err1 := s.cpu()
	resident, err2 := statusBytes(s.cmd.Process.Pid, "VmRSS:")
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	share := (after - before).Seconds() / watched.Seconds()
	fmt.Printf("\nIdle demo, before SQL is used: %d MB resident, %.2f %% of a core\n", resident/1_000_000, 100*share) //nolint:forbidigo // the result
	b.ReportMetric(float64(resident)/1e6, "MB")
	b.ReportMetric(100*share, "%-of-a-core")
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
