// Package postgrestest runs a private PostgreSQL for the tests of a package.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/servertest"
)

// patience is how long a server may take to start or to stop, on a busy machine.
const patience = 60 * time.Second

// Server is a PostgreSQL that listens on 127.0.0.1 alone.
type Server struct {
	Port int
	Bin  string // the folder of PostgreSQL's programs
	Data string // the data directory

	dir     string
	command *exec.Cmd
	ended   chan error
	owner   *syscall.Credential // nil: the test's own user
	made    atomic.Int32
}

// settings are for tests: a crash of the machine may lose all of it.
func settings(port int, dir string) []string {
	all := []string{}
	for _, s := range []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=" + dir, "wal_level=logical", "fsync=off",
		"synchronous_commit=on", "full_page_writes=off", "max_prepared_transactions=20", "max_replication_slots=200", "max_wal_senders=100", "max_connections=200",
		"track_commit_timestamp=off", "shared_buffers=128MB", "max_wal_size=2GB", "autovacuum_naptime=10s", "log_min_messages=warning",
	} {
		all = append(all, "-c", s)
	}
	return all
}

// Start makes a cluster in a temporary folder and starts its server. More settings, such as "wal_level=replica", overrule ours.
// Without PostgreSQL it fails and says how to get it.
func Start(more ...string) (*Server, error) {
	s := &Server{ended: make(chan error, 1)}
	var err error
	if s.Bin, err = programs(); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 { // PostgreSQL does not run as root
		if s.owner, err = credential("postgres"); err != nil {
			return nil, err
		}
	}
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	s.Data = filepath.Join(s.dir, "data")
	if s.owner != nil {
		if err = os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	if err = s.initialise(); err == nil {
		err = s.Run(more...)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// Main runs the tests of a package beside one server, for TestMain. It gives the exit code; a goroutine that is left is
// a failure.
func Main(m *testing.M, use func(*Server)) int {
	return servertest.Main(m, func() (io.Closer, error) {
		s, err := Start()
		if err == nil {
			use(s)
		}
		return s, err
	})
}

// programs finds the newest PostgreSQL of Debian, or the one on the path.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", errors.New("PostgreSQL is not installed, and these tests need its server: scripts/needs.sh postgresql")
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // what is no number is older than all
	return n
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

func (s *Server) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(s.Bin, name), args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return c
}

func (s *Server) initialise() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.program(ctx, "initdb", "-D", s.Data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// Run starts the server of a cluster that does not run, on its port, and waits until it answers.
func (s *Server) Run(more ...string) error {
	if s.Port == 0 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.Port = free.Addr().(*net.TCPAddr).Port
		_ = free.Close()
	}
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"-D", s.Data}, settings(s.Port, s.dir)...)
	for _, m := range more {
		args = append(args, "-c", m)
	}
	s.command = s.program(context.Background(), "postgres", args...)
	endWithParent(s.command.SysProcAttr)
	s.command.Stdout, s.command.Stderr = log, log
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the server ends with the thread that started it, and so with a test that panics or is killed
		err := s.command.Start()
		started <- err
		if err == nil {
			s.ended <- s.command.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.await()
}

// await asks until the server answers.
func (s *Server) await() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			err = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return nil
		}
		select {
		case died := <-s.ended:
			text, _ := os.ReadFile(s.Log())
			return fmt.Errorf("postgres did not start: %w: %s", errors.Join(died, err), text)
		case <-late:
			return errors.Join(fmt.Errorf("postgres does not answer: %w", err), s.Stop(syscall.SIGQUIT))
		case <-tick.C:
		}
	}
}

// WriteFile puts a file into the data directory, for the server alone.
func (s *Server) WriteFile(name string, text []byte) error {
	path := filepath.Join(s.Data, name)
	if err := os.WriteFile(path, text, 0o600); err != nil || s.owner == nil {
		return err
	}
	return os.Chown(path, int(s.owner.Uid), int(s.owner.Gid))
}

// Log is the file of the server's messages.
func (s *Server) Log() string { return filepath.Join(s.dir, "log") }

// Pid is the process of the postmaster.
func (s *Server) Pid() int { return s.command.Process.Pid }

// Stop ends the server with a signal (SIGTERM smart, SIGINT fast, SIGQUIT at once, as a crash) and waits for its end. Run starts it again.
func (s *Server) Stop(signal syscall.Signal) error {
	if err := s.command.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.ended: // how it ended is the signal's doing
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("postgres does not stop"), s.command.Process.Kill())
	}
}

// Close stops the server and removes all that it had.
func (s *Server) Close() error {
	return errors.Join(s.Stop(syscall.SIGINT), os.RemoveAll(s.dir))
}

// DSN names a database of the server, as its superuser.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// Database makes a new database for a test, after running SQL in it, and gives its DSN. It goes with the server.
func (s *Server) Database(tb testing.TB, sql ...string) (dsn string) {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	s.Exec(tb, s.DSN("postgres"), "CREATE DATABASE "+name)
	dsn = s.DSN(name)
	s.Exec(tb, dsn, sql...)
	return dsn
}

// Exec runs SQL, each text on its own.
func (s *Server) Exec(tb testing.TB, dsn string, sql ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, q := range sql {
		if _, err := conn.PgConn().Exec(ctx, q).ReadAll(); err != nil {
			tb.Fatalf("%s: %v", q, err)
		}
	}
}
