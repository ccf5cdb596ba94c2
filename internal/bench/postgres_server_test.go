package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pgServer is a private PostgreSQL whose tables stay from one run to the next: to fill them takes longer than to read them.
type pgServer struct {
	bin, dir string
	port     int
	owner    *syscall.Credential // of the server, which does not run as root
}

// pgSettings are those of a database of some size on a machine of its own; nothing that a reader would notice is left out.
const pgSettings = "shared_buffers=2GB max_wal_size=8GB checkpoint_timeout=1h wal_level=logical autovacuum=off fsync=off max_connections=40"

// startPostgres starts the server, and makes its cluster where there is none. It is stopped at the end.
func startPostgres(b *testing.B) *pgServer {
	b.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		b.Fatal("PostgreSQL is not installed: apt-get install postgresql, or scripts/needs.sh postgresql")
	}
	s := &pgServer{bin: bins[len(bins)-1]}
	s.place(b)
	if _, err := os.Stat(filepath.Join(s.dir, "PG_VERSION")); err != nil {
		s.must(b, s.command(b.Context(), "initdb", "-D", s.dir, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // to find a port
	if err != nil {
		b.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	args := []string{"-D", s.dir, "-p", strconv.Itoa(s.port), "-h", "127.0.0.1", "-k", ""}
	for setting := range strings.FieldsSeq(pgSettings) {
		args = append(args, "-c", setting)
	}
	cmd := s.command(context.WithoutCancel(b.Context()), "postgres", args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // ends the sessions too
		_ = cmd.Wait()
	})
	s.await(b, &complaints)
	return s
}

// place finds a folder that the server's user may use: root's own folders are closed to it.
func (s *pgServer) place(b *testing.B) {
	b.Helper()
	cache, err := benchCache()
	if err != nil {
		b.Fatal(err)
	}
	s.dir = filepath.Join(cache, "postgres")
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			b.Fatal(err)
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		s.dir = filepath.Join(os.TempDir(), "acequia-bench-postgres")
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		b.Fatal(err)
	}
	if s.owner != nil {
		if err := os.Chown(s.dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			b.Fatal(err)
		}
	}
}

// benchCache is where benchmarks keep what takes long to get.
func benchCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "acequia", "bench")
	return dir, os.MkdirAll(dir, 0o750)
}

func (s *pgServer) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // PostgreSQL's own programs
	if s.owner != nil && name != "psql" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
		cmd.Dir = s.dir
	}
	return cmd
}

func (s *pgServer) must(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

func (s *pgServer) await(b *testing.B, complaints *bytes.Buffer) {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 1200 {
		<-tick.C
		if s.psql(b.Context(), "select 1").Run() == nil {
			return
		}
	}
	b.Fatal("PostgreSQL does not start: ", complaints)
}

func (s *pgServer) dsn() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", s.port)
}

func (s *pgServer) psql(ctx context.Context, sql string) *exec.Cmd {
	return s.command(ctx, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.dsn(), "-c", sql)
}

// ask gives the answer of one statement.
func (s *pgServer) ask(b *testing.B, sql string) string {
	b.Helper()
	out, err := s.psql(b.Context(), sql).Output()
	if err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
	return strings.TrimSpace(string(out))
}

// fill makes a table, once: rows writes what COPY reads.
func (s *pgServer) fill(b *testing.B, name, columns, then string, rows func(io.Writer) error) {
	b.Helper()
	if s.ask(b, "select obj_description(to_regclass('"+name+"'))") == filled {
		return
	}
	s.ask(b, "drop table if exists "+name+"; create table "+name+" ("+columns+")")
	cmd := s.psql(b.Context(), "copy "+name+" from stdin")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(rows(in), in.Close(), cmd.Wait()); err != nil {
		b.Fatalf("fill %s: %v: %s", name, err, &complaints)
	}
	if then != "" {
		s.ask(b, "alter table "+name+" "+then)
	}
	s.ask(b, "vacuum analyze "+name)
	s.ask(b, "comment on table "+name+" is '"+filled+"'")
}

// filled is the comment on a table that has all of its rows.
const filled = "filled"

// serverCPU is what all processes of the server have used so far: sessions that have ended are counted in their parent.
func (s *pgServer) serverCPU() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		own, parent := filepath.Base(filepath.Dir(path)) == pid, f[1] == pid
		for i, column := range f[11:15] {
			if n, err := strconv.ParseInt(column, 10, 64); err == nil && (own || parent && i < 2) {
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}
