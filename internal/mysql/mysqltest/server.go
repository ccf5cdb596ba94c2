// Package mysqltest runs a private MariaDB for the tests of a package.
package mysqltest

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
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/acequia-io/acequia/internal/servertest"
)

// daemon is the server's program, where Debian puts it: not on every user's path.
const daemon = "/usr/sbin/mariadbd"

// patience is how long a server may take to start or to stop, on a busy machine.
const patience = 60 * time.Second

// Server is a MariaDB that listens on 127.0.0.1 alone.
type Server struct {
	Port int
	Data string // the data directory

	dir     string
	command *exec.Cmd
	ended   chan error
	owner   *syscall.Credential // nil: the test's own user
	made    atomic.Int32
}

// settings are for tests: a crash of the machine may lose all of it. The log has all that strategy log needs. A server that starts removes
// temporary tables of others from a folder that they share.
func (s *Server) settings() []string {
	return []string{
		"--no-defaults", "--datadir=" + s.Data, "--tmpdir=" + s.dir, "--socket=" + filepath.Join(s.dir, "socket"), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--log-error=" + s.Log(), "--init-file=" + filepath.Join(s.dir, "init.sql"), "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.Port),
		"--skip-name-resolve", "--max-connections=300", "--character-set-server=utf8mb4", "--server-id=1", "--log-bin=" + filepath.Join(s.Data, "bin"),
		"--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL", "--gtid-strict-mode=1", "--sync-binlog=0",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M",
		"--key-buffer-size=8M", "--performance-schema=OFF",
	}
}

// access lets the tests in from 127.0.0.1, which is no name here.
const access = "CREATE USER IF NOT EXISTS root@127.0.0.1 IDENTIFIED BY '';\nGRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\n"

// Start makes a data directory in a temporary folder and starts its server. More settings, such as "--binlog-format=STATEMENT", overrule
// ours. Without MariaDB it fails and says how to get it.
func Start(more ...string) (*Server, error) {
	if _, err := os.Stat(daemon); err != nil {
		return nil, errors.New("MariaDB is not installed, and these tests need its server: scripts/needs.sh mariadb-server")
	}
	s := &Server{ended: make(chan error, 1)}
	var err error
	if os.Geteuid() == 0 { // MariaDB does not run as root
		if s.owner, err = credential("mysql"); err != nil {
			return nil, err
		}
	}
	if s.dir, err = os.MkdirTemp("", "maria"); err != nil {
		return nil, err
	}
	s.Data = filepath.Join(s.dir, "data")
	if s.owner != nil {
		err = os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "init.sql"), []byte(access), 0o644) //nolint:gosec // the server reads it as another user
	}
	if err == nil {
		err = s.initialise()
	}
	if err == nil {
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
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return c
}

func (s *Server) initialise() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.program(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+s.Data, "--tmpdir="+s.dir, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-log-file-size=96M").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	return nil
}

// Run starts the server of a data directory on which none runs, on its port, and waits until it answers.
func (s *Server) Run(more ...string) error {
	if s.Port == 0 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.Port = free.Addr().(*net.TCPAddr).Port
		_ = free.Close()
	}
	s.command = s.program(context.Background(), daemon, append(s.settings(), more...)...)
	endWithParent(s.command.SysProcAttr)
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
		conn, err := s.Connect("")
		if err == nil {
			err = conn.Quit()
		}
		if err == nil {
			return nil
		}
		select {
		case died := <-s.ended:
			text, _ := os.ReadFile(s.Log())
			return fmt.Errorf("mariadbd did not start: %w: %s", errors.Join(died, err), text)
		case <-late:
			return errors.Join(fmt.Errorf("mariadbd does not answer: %w", err), s.Stop(syscall.SIGKILL))
		case <-tick.C:
		}
	}
}

// Connect opens a session of the server's superuser. It is for one goroutine.
func (s *Server) Connect(database string) (*client.Conn, error) {
	return client.Connect(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), "root", "", database)
}

// Log is the file of the server's messages.
func (s *Server) Log() string { return filepath.Join(s.dir, "log") }

// Pid is the process of the server.
func (s *Server) Pid() int { return s.command.Process.Pid }

// Stop ends the server with a signal (SIGTERM in order, SIGKILL as a crash) and waits for its end. Run starts it again.
func (s *Server) Stop(signal syscall.Signal) error {
	if err := s.command.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.ended: // how it ended is the signal's doing
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("mariadbd does not stop"), s.command.Process.Kill())
	}
}

// Close stops the server and removes all that it had.
func (s *Server) Close() error {
	return errors.Join(s.Stop(syscall.SIGTERM), os.RemoveAll(s.dir))
}

// DSN names a database of the server, as its superuser.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("mysql://root@127.0.0.1:%d/%s", s.Port, database)
}

// Database makes a new database for a test, after running SQL in it, and gives its name. It goes with the server.
func (s *Server) Database(tb testing.TB, sql ...string) (name string) {
	tb.Helper()
	name = fmt.Sprintf("test%d", s.made.Add(1))
	s.Exec(tb, "", "CREATE DATABASE "+name)
	s.Exec(tb, name, sql...)
	return name
}

// Exec runs SQL in a database, each text on its own, in one session.
func (s *Server) Exec(tb testing.TB, database string, sql ...string) {
	tb.Helper()
	conn, err := s.Connect(database)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Quit() }()
	for _, q := range sql {
		if _, err := conn.Execute(q); err != nil {
			tb.Fatalf("%s: %v", q, err)
		}
	}
}
