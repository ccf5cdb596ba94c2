package routers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

// childMark in the environment makes the test binary a pipeline that is to be killed: its value is the directory.
const childMark = "ACEQUIA_CHILD"

// server keeps the state that teams share.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	if dir := os.Getenv(childMark); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(postgrestest.Main(m, func(s *postgrestest.Server) { server = s }))
}

// crashWorld is what every child reads.
func crashWorld() *generator { return &generator{lanes: 3, chunks: 24, rows: 12, successor: true} }

// order tells a child how to run and where to die.
type order struct {
	at      string // point:n
	stop    bool   // freeze there; else die
	without string // protection taken out
	pace    time.Duration
	flaky   int    // every nth write of the state fails, half of them after the fact
	copies  bool   // each record is given several times, and a step drops the copies
	dsn     string // of the state that it shares with others; "": it is alone on a file
}

func (o order) environment(dir string) []string {
	// The race detector sleeps a second when a process exits, unless it is told not to.
	return append(os.Environ(), "GORACE=atexit_sleep_ms=0", childMark+"="+dir, "AT="+o.at, "STOP="+strconv.FormatBool(o.stop), "WITHOUT="+o.without,
		"PACE="+o.pace.String(), "FLAKY="+strconv.Itoa(o.flaky), "COPIES="+strconv.FormatBool(o.copies), "DSN="+o.dsn)
}

func orderOfChild() order {
	pace, err1 := time.ParseDuration(os.Getenv("PACE"))
	flaky, err2 := strconv.Atoi(os.Getenv("FLAKY"))
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	return order{
		at: os.Getenv("AT"), stop: os.Getenv("STOP") == "true", without: os.Getenv("WITHOUT"), pace: pace, flaky: flaky,
		copies: os.Getenv("COPIES") == "true", dsn: os.Getenv("DSN"),
	}
}

func child(dir string) error {
	ignore := goleak.IgnoreCurrent()
	o := orderOfChild()
	f := &freezer{}
	stopListening := f.listen()
	err := childPipeline(dir, o, f)
	stopListening()
	return errors.Join(err, goleak.Find(ignore))
}

// childState opens the state of a child, and once more for what takes protections out.
func childState(dir string, o order) (*checkpoint.Store, *sql.DB, error) {
	if at, ok := strings.CutPrefix(o.dsn, "dynamodb "); ok { // with all protections
		endpoint, table, _ := strings.Cut(at, " ")
		log, err := dynamolog.Open(context.Background(), awsconfig.Settings{Region: "eu-west-1", Endpoint: endpoint}, table)
		if err != nil {
			return nil, nil, err
		}
		store, err := checkpoint.OpenShared(context.Background(), checkpoint.SharedOptions{
			Log: log, Place: log.Place(), Dir: filepath.Join(dir, "copies"), Tell: slog.New(slog.DiscardHandler),
		})
		return store, &sql.DB{}, err
	}
	if o.dsn != "" {
		store, err1 := checkpoint.OpenPostgres(context.Background(), o.dsn)
		raw, err2 := sql.Open("pgx", o.dsn+"&search_path=acequia_state")
		return store, raw, errors.Join(err1, err2)
	}
	path := filepath.Join(dir, "state.db")
	store, err1 := checkpoint.Open(context.Background(), path)
	raw, err2 := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	return store, raw, errors.Join(err1, err2)
}

func childPipeline(dir string, o order, f *freezer) (err error) {
	store, raw, err := childState(dir, o)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if !strings.HasPrefix(o.dsn, "dynamodb ") {
		defer func() { _ = raw.Close() }()
	}
	probe := f.probeAt(o)
	g := crashWorld()
	g.pace = o.pace
	if prunes(o.without) {
		g.pruneDir = dir
	}
	sink := newFolder(filepath.Join(dir, "out"))
	sink.probe, sink.noSweep = probe, o.without == "sweep"
	p := Pipeline{
		Name: "crash", Source: g, Sinks: []NamedSink{{"out", sink}}, Slots: 2,
		Limits: Limits{Rows: 80, Age: 20 * time.Millisecond, Idle: 10 * time.Millisecond},
		Retry:  Retry{Initial: time.Millisecond, Longest: 5 * time.Millisecond},
	}
	if o.copies {
		if err := giveCopies(&p, g); err != nil {
			return err
		}
	}
	var team *Team
	if o.dsn != "" {
		team = openTestTeam(store)
		defer team.Close(context.Background())
		g.lanes, g.chunks, p.Refresh = teamLanes, teamChunks, 200*time.Millisecond
	}
	run, err := New(p, Options{
		Team:  team,
		Store: &weakStore{Store: store, raw: raw, freezer: f, without: o.without, flaky: int64(o.flaky), probe: probe, shared: o.dsn != ""},
		Log:   slog.New(slog.DiscardHandler), Probe: probe, Budget: NewBudget(1 << 20),
	})
	if err != nil {
		return err
	}
	run.protocol = weakSteps(o.without)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	return run.Run(ctx)
}

// prunes says which children read a source that forgets what was settled. One that can be read again shows a doubled
// row as doubled; one that forgets shows a lost row as lost.
func prunes(without string) bool {
	return without == "" || strings.HasSuffix(without, "-before-settle")
}

// weakSteps takes a protection of the order of the steps out.
func weakSteps(without string) []protocolStep {
	p := protocol()
	const stage, intent, publish, save, settle = 0, 1, 2, 3, 4
	switch without {
	case "intent":
		return []protocolStep{p[stage], p[publish], p[save], p[settle]}
	case "intent-before-publish":
		return []protocolStep{p[stage], p[publish], p[intent], p[save], p[settle]}
	case "intent-before-settle":
		return []protocolStep{p[stage], p[settle], p[intent], p[publish], p[save]}
	}
	return p
}

// freezer stops the process, but never inside a write of the state: a frozen SQLite transaction would keep the lock, and
// the new owner could not even ask. It stands for a store on another machine.
type freezer struct{ between sync.Mutex }

func (f *freezer) freeze() {
	f.between.Lock()
	defer f.between.Unlock()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	wait(context.Background(), 10*time.Millisecond, nil) // the stop arrives here; go on when continued
}

// listen freezes on SIGUSR1, at whatever moment it comes.
func (f *freezer) listen() (stop func()) {
	asked := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		defer close(done)
		for range asked {
			f.freeze()
		}
	}()
	return func() {
		signal.Stop(asked)
		close(asked)
		<-done
	}
}

func (f *freezer) probeAt(o order) func(string) {
	point, times, found := strings.Cut(o.at, ":")
	if !found {
		return func(string) {}
	}
	nth, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		panic(err)
	}
	var passed atomic.Int64
	return func(p string) {
		if p != point || passed.Add(1) != nth {
			return
		}
		if o.stop {
			f.freeze()
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// weakStore takes a protection of the store out, or fails now and then.
type weakStore struct {
	*checkpoint.Store
	raw     *sql.DB
	freezer *freezer
	without string
	flaky   int64
	probe   func(string)
	apart   memoryApart
	shared  bool // it is in PostgreSQL
	calls   atomic.Int64
}

func (w *weakStore) Acquire(ctx context.Context, lane checkpoint.Lane) (checkpoint.State, error) {
	w.freezer.between.Lock()
	defer w.freezer.between.Unlock()
	st, err := w.Store.Acquire(ctx, lane)
	if err == nil && w.without == "roll-forward" && st.Pending != nil { // forget the intent, read again
		st.Pending = nil
		_, err = w.raw.ExecContext(ctx, `update lane set intent = null where id = $1`, lane.ID)
	}
	return st, err
}

func (w *weakStore) SaveIntent(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	return w.write(func() error {
		if w.without == memoryBefore || w.without == memoryAfter {
			return w.intentApart(ctx, lane, epoch, in)
		}
		if w.without == "epoch" {
			_, err := w.raw.ExecContext(ctx, `update lane set intent = cast('{}' as `+w.bytes()+`) where id = $1`, lane.ID)
			return err
		}
		return w.Store.SaveIntent(ctx, lane, epoch, in)
	})
}

func (w *weakStore) SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	return w.write(func() error {
		if w.without == memoryAfter {
			return w.checkpointApart(ctx, lane, epoch, in)
		}
		if w.without == "epoch" {
			_, err := w.raw.ExecContext(ctx, `update lane set grp = $1, position = $2, ended = $3, intent = null where id = $4`,
				in.Group, []byte(in.To), in.Ended, lane.ID)
			return err
		}
		return w.Store.SaveCheckpoint(ctx, lane, epoch, in)
	})
}

// bytes is the type of bytes in the engine of the state.
func (w *weakStore) bytes() string {
	if w.shared {
		return "bytea"
	}
	return "blob"
}

var errFlaky = errors.New("the state store timed out")

// write fails every nth call: by turns before the write, and after it, when the caller cannot know.
func (w *weakStore) write(do func() error) error {
	w.freezer.between.Lock()
	defer w.freezer.between.Unlock()
	n := w.calls.Add(1)
	if w.flaky == 0 || n%w.flaky != 0 {
		return do()
	}
	if n/w.flaky%2 == 0 {
		if err := do(); err != nil {
			return err
		}
	}
	return fault.Retry(fmt.Errorf("call %d: %w", n, errFlaky))
}

// torture gives how many random scenarios to run: ACEQUIA_TORTURE, or a modest number.
func torture(t *testing.T, modest int) int {
	t.Helper()
	if text := os.Getenv("ACEQUIA_TORTURE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 1
	}
	return modest
}

// crashDir is in memory where that can be had: a kill loses no page cache, so fsync proves nothing here.
func crashDir(t *testing.T) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "acequia-crash-") //nolint:usetesting // in memory
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func command(ctx context.Context, dir string, o order) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // the test itself
	c.Env = o.environment(dir)
	c.Stderr = new(strings.Builder)
	return c
}

// outcome of a child: ended well, killed, or failed with a message.
func outcome(c *exec.Cmd, err error) (killed bool, message string) {
	if err == nil {
		return false, ""
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return true, ""
		}
	}
	return false, fmt.Sprint(err, ": ", c.Stderr)
}

func runChild(t *testing.T, dir string, o order) (killed bool, message string) {
	t.Helper()
	c := command(t.Context(), dir, o)
	return outcome(c, c.Run())
}

func intents(t *testing.T, dir string) int {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	lanes, err := store.Lanes(t.Context(), "crash")
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range lanes {
		if l.Pending != nil {
			n++
		}
	}
	return n
}

// allPoints are those of the engine and those inside the sink.
func allPoints() []string { return append(Points(), "in-stage", "in-publish", "in-unlink") }

func TestKillAtPoints(t *testing.T) {
	t.Parallel()
	recoveries := []string{"", inRecovery + ":1", "in-publish:1", "in-unlink:1", "before-checkpoint:1"}
	for _, point := range allPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			for nth := range 5 {
				dir := crashDir(t)
				kills := 0
				for _, at := range []string{fmt.Sprintf("%s:%d", point, nth+1), recoveries[nth], ""} {
					killed, message := runChild(t, dir, order{at: at})
					if message != "" {
						t.Errorf("passage %d, killed at %q: %s", nth+1, at, message)
					}
					if killed {
						kills++
					}
				}
				if kills == 0 && point != inRecovery && nth < 4 {
					t.Errorf("passage %d: nothing was killed", nth+1)
				}
				check(t, filepath.Join(dir, "out"), crashWorld())
			}
		})
	}
}
