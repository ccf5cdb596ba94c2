package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/web"
)

// register is a demo that is killed and started again, and the clients that never stop asking. Its methods may be
// called from goroutines of a test.
type register struct {
	ctx          context.Context //nolint:containedctx // of the test
	dir          string
	root         string     // where the child sees the root of its files; "": /
	without      protection // in every child
	disks        []disk
	unprivileged bool         // it runs as nobody
	command      []string     // nil: demo
	front        string       // where clients find the newest child; "": at its port
	client       *http.Client // of them

	mu   sync.Mutex
	port string            // of the newest child
	told map[string]string // id that the client was told, by key
	lied []error           // clients that were told two things
}

func newRegister(t *testing.T) *register {
	t.Helper()
	return &register{ctx: t.Context(), dir: t.TempDir(), port: freePort(t), client: http.DefaultClient, told: map[string]string{}}
}

// freePort gives a port that stays the test's own: a socket that is bound and does not listen keeps everybody away from
// it, but for who asks for that very port.
func freePort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	err = errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := bound.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("bound to %T", bound)
	}
	return strconv.Itoa(own.Port)
}

func (r *register) url() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "http://127.0.0.1:" + r.port
}

func (r *register) moveTo(port string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.port = port
}

func (r *register) toldCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told)
}

// child is the program in a process of its own.
type child struct {
	*exec.Cmd
	died chan struct{}
	out  bytes.Buffer // all that it wrote; read it when died is closed
	url  string
}

// command is the program with arguments, not yet started.
func command(ctx context.Context, o order, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{Cmd: exec.CommandContext(ctx, self, args...), died: make(chan struct{})} //nolint:gosec // the test itself
	c.Env = o.environment()
	c.Stdout, c.Stderr = &c.out, &c.out
	return c, nil
}

// start runs the program and waits until it answers, or has died.
func (r *register) start(o order) (*child, error) {
	url := r.url()
	o.Dir, o.Without, o.Disks = r.dir, r.without, r.disks
	args := r.command
	if args == nil {
		args = []string{"demo", "--dir", r.dir}
	}
	c, err := command(r.ctx, o, append(slices.Clip(args), "--port", url[strings.LastIndex(url, ":")+1:], "--json")...)
	if err != nil {
		return nil, err
	}
	c.url = url
	if len(o.Disks) > 0 {
		c.SysProcAttr = ownMounts()
	}
	if r.unprivileged {
		asNobody(c)
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.died)
		_ = c.Wait() // ended looks at what it left
	}()
	err = await(r.ctx, func() bool { return c.over() || c.get("/livez", nil) == nil })
	return c, err
}

func (c *child) over() bool {
	select {
	case <-c.died:
		return true
	default:
		return false
	}
}

// get asks the child and reads its JSON, if to is not nil.
func (c *child) get(path string, to any) error {
	answer, err := http.Get(c.url + path) //nolint:noctx // it is on this machine
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if to == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(to)
}

// pipeline gives the state of a pipeline as /v1/status has it.
func (c *child) pipeline(name string) web.Pipeline {
	var found web.Report
	if c.get("/v1/status", &found) == nil {
		for _, p := range found.Pipelines {
			if p.Name == name {
				return p
			}
		}
	}
	return web.Pipeline{}
}

// end signals the child and waits for its end. Only a child that was killed, or ended well, is no error.
func (c *child) end(s syscall.Signal) error {
	if err := c.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.died:
	case <-time.After(time.Minute):
		return errors.Join(fmt.Errorf("the program does not end after %v", s), c.Process.Kill())
	}
	return c.failure()
}

// failure is why a child that has died ended with an exit code.
func (c *child) failure() error {
	if code := c.ProcessState.ExitCode(); code > 0 {
		return fmt.Errorf("the program ended with %d: %s", code, &c.out)
	}
	return nil
}

// await looks until something is so, for a minute at most.
func await(ctx context.Context, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not come: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// clients register games with keys of their own until the context ends; each asks again, with the same key, until it is
// told that its game is registered.
func (r *register) clients(ctx context.Context, n int) (wait func()) {
	var all sync.WaitGroup
	for c := range n {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r.insist(fmt.Sprintf("client-%d-%d", c, i))
			}
		})
	}
	return all.Wait
}

// burst registers n games at once.
func (r *register) burst(name string, n int) (wait func()) {
	var all sync.WaitGroup
	for c := range n {
		all.Go(func() { r.insist(fmt.Sprintf("%s-%d", name, c)) })
	}
	return all.Wait
}

// insist asks until it is told, so that no answer stays open.
func (r *register) insist(key string) {
	for r.ctx.Err() == nil {
		id, _, err := r.post(key)
		if err == nil {
			r.mu.Lock()
			if before, ok := r.told[key]; ok && before != id {
				r.lied = append(r.lied, fmt.Errorf("key %s was told %s and then %s", key, before, id))
			}
			r.told[key] = id
			r.mu.Unlock()
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.ctx.Done():
		}
	}
}

// post registers the game of a key. The answer's header is nil when there was none.
func (r *register) post(key string) (id string, header http.Header, err error) {
	body := fmt.Sprintf(`{"title":"  %s ","developer":"N/A","genre":"Puzzle","year":%d,"competitive":true}`, key, 1950+len(key))
	request, err := http.NewRequestWithContext(r.ctx, http.MethodPost, cmp.Or(r.front, r.url())+"/forms/videogames", strings.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	answer, err := r.client.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", nil, err
	}
	if answer.StatusCode != http.StatusCreated {
		return "", answer.Header, fmt.Errorf("%s: %s", answer.Status, text)
	}
	var told struct{ ID string }
	err = json.Unmarshal(text, &told)
	return told.ID, answer.Header, err
}

// catchUp registers one game more and waits until the lake has it: all that came before is there then. A lake whose
// pipeline has failed never has it.
func (r *register) catchUp(c *child) error {
	key := fmt.Sprintf("last-%d", r.toldCount())
	r.insist(key)
	return await(r.ctx, func() bool {
		ids, err := lakeIDs(r.root + r.dir)
		return err == nil && ids[r.told[key]] > 0 || c.over() || c.pipeline(lakePipeline).State == web.Failed
	})
}

// finish starts the program once more, waits until the lake has caught up, and stops it in order. It gives what is wrong
// with the run, and with what it left behind.
func (r *register) finish() (damage, err error) {
	c, err := r.start(order{})
	if err != nil {
		return nil, err
	}
	if err = r.catchUp(c); err != nil {
		return nil, errors.Join(err, c.end(syscall.SIGKILL))
	}
	err = c.end(syscall.SIGTERM)
	return r.compare(), errors.Join(append(r.lied, err)...)
}
