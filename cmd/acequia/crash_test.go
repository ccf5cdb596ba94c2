package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/routers"
)

// The program under test is this test binary, which runs the same main when it is told to be a child.
const (
	childEnv  = "ACEQUIA_TEST_CHILD"
	killAtEnv = "ACEQUIA_TEST_KILL_AT" // point:n, where the child kills itself
)

func runChild() int {
	t := terminal{out: os.Stdout, err: os.Stderr}
	if point, times, ok := strings.Cut(os.Getenv(killAtEnv), ":"); ok {
		nth, err := strconv.ParseInt(times, 10, 64)
		if err != nil {
			return exitUsage
		}
		var passed atomic.Int64
		t.probe = func(p string) {
			if p == point && passed.Add(1) == nth {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	return run(os.Args[1:], t)
}

// register is a demo that is killed and started again, and the clients that never stop asking.
type register struct {
	t    *testing.T
	dir  string
	url  string
	port string

	mu   sync.Mutex
	told map[string]string // id that the client was told, by key
}

func newRegister(t *testing.T) *register {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return &register{t: t, dir: t.TempDir(), url: "http://127.0.0.1:" + port, port: port, told: map[string]string{}}
}

// start runs the program and waits until it answers, or has died.
func (r *register) start(killAt string) (child *exec.Cmd, died chan struct{}) {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	child = exec.CommandContext(r.t.Context(), self, "demo", "--dir", r.dir, "--port", r.port, "--json")
	child.Env = append(os.Environ(), childEnv+"=1", killAtEnv+"="+killAt)
	out := &bytes.Buffer{}
	child.Stdout, child.Stderr = out, out
	if err := child.Start(); err != nil {
		r.t.Fatal(err)
	}
	died = make(chan struct{})
	go func() {
		defer close(died)
		_ = child.Wait()
		if !child.ProcessState.Success() && child.ProcessState.ExitCode() > 0 {
			r.t.Errorf("the program ended with %d: %s", child.ProcessState.ExitCode(), out)
		}
	}()
	for {
		select {
		case <-died:
			return child, died
		case <-time.After(20 * time.Millisecond):
		}
		if answer, err := http.Get(r.url + "/livez"); err == nil {
			_ = answer.Body.Close()
			return child, died
		}
	}
}

// clients register games with keys of their own until the context ends; each asks again, with the same key, until it is
// told that its game is registered.
func (r *register) clients(ctx context.Context, n int) (wait func()) {
	var all sync.WaitGroup
	for c := range n {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r.insist(ctx, fmt.Sprintf("client-%d-%d", c, i))
			}
		})
	}
	return all.Wait
}

func (r *register) insist(ctx context.Context, key string) {
	body := fmt.Sprintf(`{"title":"  %s ","developer":"N/A","genre":"Puzzle","year":%d,"competitive":true}`, key, 1950+len(key))
	for {
		id, err := r.post(key, body)
		if err == nil {
			r.mu.Lock()
			if before, ok := r.told[key]; ok && before != id {
				r.t.Errorf("key %s was told %s and then %s", key, before, id)
			}
			r.told[key] = id
			r.mu.Unlock()
			return
		}
		select { // asks again even after the end, so that no answer stays open
		case <-time.After(20 * time.Millisecond):
		case <-r.t.Context().Done():
			return
		}
		_ = ctx
	}
}

func (r *register) post(key, body string) (id string, err error) {
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+"/forms/videogames", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s", answer.Status, text)
	}
	var told struct{ ID string }
	return told.ID, errors.Join(json.Unmarshal(text, &told), func() error { id = told.ID; return nil }())
}

// finish starts the program once more, waits until the lake has caught up, stops it in order, and compares what the
// clients were told with the items and the lake.
func (r *register) finish() {
	r.t.Helper()
	child, died := r.start("")
	deadline := time.Now().Add(time.Minute)
	for r.lag() != 0 && time.Now().Before(deadline) {
		<-time.After(50 * time.Millisecond)
	}
	<-time.After(1500 * time.Millisecond) // the group of the last rows closes after a second
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	<-died
	told := map[string]string{}
	for key, id := range r.told {
		told[id] = key
	}
	r.compare("items", told, r.itemIDs())
	r.compare("lake", told, r.lakeIDs())
}

func (r *register) lag() int64 {
	answer, err := http.Get(r.url + "/v1/status")
	if err != nil {
		return -1
	}
	defer func() { _ = answer.Body.Close() }()
	var report struct {
		Pipelines []struct {
			LagRows *int64 `json:"lag_rows"`
		} `json:"pipelines"`
	}
	if json.NewDecoder(answer.Body).Decode(&report) != nil {
		return -1
	}
	for _, p := range report.Pipelines {
		if p.LagRows != nil && *p.LagRows > 0 {
			return *p.LagRows
		}
	}
	return 0
}

func (r *register) itemIDs() map[string]int {
	r.t.Helper()
	store, err := itemstore.Open(r.t.Context(), filepath.Join(r.dir, "items.db"), itemstore.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	all, err := store.List(r.t.Context(), "videogames", 1<<30, "")
	if err != nil {
		r.t.Fatal(err)
	}
	ids := map[string]int{}
	for _, item := range all {
		ids[item.Key]++
	}
	return ids
}

func (r *register) lakeIDs() map[string]int {
	r.t.Helper()
	ids := map[string]int{}
	err := filepath.WalkDir(filepath.Join(r.dir, "lake", "videogames"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		type game struct {
			ID    string `parquet:"id"`
			Title string `parquet:"title"`
		}
		rows := parquet.NewGenericReader[game](f)
		found := make([]game, rows.NumRows())
		if n, err := rows.Read(found); n != len(found) {
			return fmt.Errorf("%s: %d of %d rows: %w", path, n, len(found), err)
		}
		for _, g := range found {
			ids[g.ID]++
			if g.Title != strings.TrimSpace(g.Title) {
				return fmt.Errorf("%s: title %q was not normalised", path, g.Title)
			}
		}
		return rows.Close()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

func (r *register) compare(where string, told map[string]string, found map[string]int) {
	r.t.Helper()
	lost, doubled := 0, 0
	for id := range told {
		switch found[id] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
		delete(found, id)
	}
	if lost > 0 || doubled > 0 || len(found) > 0 {
		r.t.Errorf("%s: of %d games told %d are lost, %d doubled, and %d nobody was told of", where, len(told), lost, doubled, len(found))
	}
	if len(told) == 0 {
		r.t.Errorf("%s: no game was registered", where)
	}
}

// TestKilledAtEveryPoint kills the program at the second passage of each named point of the commit protocol.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := r.clients(ctx, 4)
	for _, point := range routers.Points() {
		child, died := r.start(point + ":2")
		select {
		case <-died:
		case <-time.After(4 * time.Second): // a point of recovery alone may not be passed twice
			_ = child.Process.Kill()
			<-died
		}
	}
	r.settle(cancel, wait)
}

// TestKilledAtRandom kills the program at random moments under load: 40 times, or ACEQUIA_KILLS.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	kills := 40
	if text := os.Getenv("ACEQUIA_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("ACEQUIA_KILLS: %v", err)
		}
		kills = n
	}
	r := newRegister(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := r.clients(ctx, 8)
	for range kills {
		child, died := r.start("")
		select {
		case <-died:
		case <-time.After(time.Duration(rand.IntN(700)) * time.Millisecond):
			_ = child.Process.Kill()
			<-died
		}
	}
	r.settle(cancel, wait)
}

// settle lets the clients end, with the program up so that each gets its answer, and checks.
func (r *register) settle(cancel, wait func()) {
	r.t.Helper()
	child, died := r.start("")
	cancel()
	wait()
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	<-died
	r.finish()
	r.t.Logf("%d games", len(r.told))
}
