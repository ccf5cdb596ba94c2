// Package mongodbtest runs a private server of MongoDB's wire protocol for the tests of a package: FerretDB v1 over SQLite. It has no
// replica sets, change streams, transactions, $sample and Decimal128; ACEQUIA_TEST_MONGODB_URI names a server that has.
package mongodbtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"
)

// patience is how long a server may take to start or to stop, on a busy machine.
const patience = 60 * time.Second

// Server is one that listens on 127.0.0.1 alone.
type Server struct {
	URI string

	dir     string
	address string
	command *exec.Cmd
	ended   chan error
	made    atomic.Int32
}

// Start starts a server whose data are in a temporary folder. Without FerretDB it fails and says how to get it.
func Start() (*Server, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(cache, "acequia", "bin", "ferretdb")
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("FerretDB is not built, and these tests need its server: scripts/tools.sh ferretdb")
	}
	s := &Server{}
	if s.dir, err = os.MkdirTemp("", "mongo"); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = free.Addr().String()
	s.URI = "mongodb://" + s.address + "/"
	_ = free.Close()
	if err := s.run(program); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// Run starts a server again that was stopped.
func (s *Server) Run() error { return s.run(s.command.Path) }

func (s *Server) run(program string) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.command = exec.Command(program, s.address, s.dir)
	s.command.Dir, s.command.Stdout, s.command.Stderr = s.dir, log, log
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

// await asks until the server answers.
func (s *Server) await() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", s.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case died := <-s.ended:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("ferretdb did not start: %w: %s", errors.Join(died, err), text)
		case <-late:
			return errors.Join(fmt.Errorf("ferretdb does not answer: %w", err), s.Stop())
		case <-tick.C:
		}
	}
}

// Main runs the tests of a package beside one server, for TestMain. It gives the exit code; a goroutine that is left is a failure.
func Main(m *testing.M, use func(*Server)) int {
	flag.Parse()
	if worker := flag.Lookup("test.fuzzworker"); worker != nil && worker.Value.String() == "true" {
		return m.Run() // a fuzz target needs no server, and the process is killed when it is not needed
	}
	s, err := Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	use(s)
	code := m.Run()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
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
		return errors.New("ferretdb does not stop")
	}
}

// Close stops the server and removes all that it had.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// Database gives a database of a test's own. It goes with the server.
func (s *Server) Database(tb testing.TB) *mongo.Database {
	tb.Helper()
	return Connect(tb, s.URI, fmt.Sprintf("test%d", s.made.Add(1)))
}

// Connect gives a database of a server for the time of a test.
func Connect(tb testing.TB, uri, name string) *mongo.Database {
	tb.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := client.Disconnect(ctx); err != nil {
			tb.Error(err)
		}
	})
	return client.Database(name)
}

// Insert puts documents into a collection.
func Insert(tb testing.TB, c *mongo.Collection, docs ...bson.D) {
	tb.Helper()
	for len(docs) > 0 {
		n := min(len(docs), 10_000)
		if _, err := c.InsertMany(tb.Context(), docs[:n]); err != nil {
			tb.Fatal(err)
		}
		docs = docs[n:]
	}
}

// InsertJSON puts documents into a collection, of which each is a line of Extended JSON.
func InsertJSON(tb testing.TB, c *mongo.Collection, lines string) {
	tb.Helper()
	var docs []bson.D
	for line := range strings.Lines(lines) {
		var doc bson.D
		if err := bson.UnmarshalExtJSON([]byte(line), false, &doc); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		docs = append(docs, doc)
	}
	Insert(tb, c, docs...)
}
