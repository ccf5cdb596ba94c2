// Package servertest runs the programs that tests ask: each on an address of 127.0.0.1 and in a folder of its own, until the test ends.
package servertest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a server may take to start or to stop, on a busy machine.
const patience = 60 * time.Second

// Server is a program that listens on 127.0.0.1 alone.
type Server struct {
	Address string // host:port
	Dir     string // where it may keep its data; what it prints is in Dir/log

	program string
	args    []string
	command *exec.Cmd
	ended   chan error
}

// Cached gives the path of a program that scripts/tools.sh has put into the user's cache; an error says how to get it.
func Cached(tool, path string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "acequia", "bin", filepath.FromSlash(path))
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("%s is not there, and these tests need it: scripts/tools.sh %s", path, tool)
	}
	return program, nil
}

// Start starts a program on a free port and waits until it listens.
func Start(program string, args func(s *Server) []string) (*Server, error) {
	s := &Server{program: program}
	var err error
	if s.Dir, err = os.MkdirTemp("", filepath.Base(program)); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Address = free.Addr().String()
	_ = free.Close()
	s.args = args(s)
	if err := s.Run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.Dir))
	}
	return s, nil
}

// Run starts a server again that was stopped.
func (s *Server) Run() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.command = exec.Command(s.program, s.args...)
	s.command.Dir, s.command.Stdout, s.command.Stderr = s.Dir, log, log
	s.command.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(s.command.SysProcAttr)
	s.ended = make(chan error, 1)
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

// await asks until the server listens.
func (s *Server) await() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", s.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case died := <-s.ended:
			text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			return fmt.Errorf("%s did not start: %w: %s", filepath.Base(s.program), errors.Join(died, err), text)
		case <-late:
			return errors.Join(fmt.Errorf("%s does not answer: %w", filepath.Base(s.program), err), s.Stop())
		case <-tick.C:
		}
	}
}

// Stop kills the server and waits for its end.
func (s *Server) Stop() error {
	if err := s.command.Process.Kill(); err != nil {
		return err
	}
	select {
	case <-s.ended: // how it ended is the signal's doing
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s does not stop", filepath.Base(s.program))
	}
}

// Close stops the server and removes all that it had.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.Dir)) }

// Main runs the tests of a package beside what is started, for TestMain. It gives the exit code; a goroutine that is left is a failure.
func Main(m *testing.M, starts ...func() (io.Closer, error)) int {
	flag.Parse()
	if worker := flag.Lookup("test.fuzzworker"); worker != nil && worker.Value.String() == "true" {
		return m.Run() // a fuzz target needs no server, and the process is killed when it is not needed
	}
	code, err := beside(m, starts)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func beside(m *testing.M, starts []func() (io.Closer, error)) (code int, err error) {
	for _, start := range starts {
		s, err := start()
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
	}
	return m.Run(), nil
}
