package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is the user that a child runs as when the test runs as root, whom no rights stop.
const nobody = 65534

// asNobody lets a command run without the rights of root.
func asNobody(c *child) {
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		c.Path = "/proc/self/exe" // its own path may be closed to nobody
	}
}

// lakeRights takes the right to write in the lake away, or gives it back.
func lakeRights(dir string, mode fs.FileMode) error {
	return filepath.WalkDir(filepath.Join(dir, "lake"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// TestLakeWithoutRights starts the program on a lake in which it may not write, and takes the right away from one that
// runs: games are still registered, and their rows come when it may write again.
func TestLakeWithoutRights(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	r.unprivileged = true
	lake := filepath.Join(r.dir, "lake")
	err := errors.Join(os.Mkdir(lake, 0o700), os.Chmod(filepath.Dir(r.dir), 0o755)) //nolint:gosec // for nobody
	if err == nil && os.Getuid() == 0 {
		err = errors.Join(os.Chown(r.dir, nobody, nobody), os.Chown(lake, nobody, nobody))
	}
	if err = errors.Join(err, lakeRights(r.dir, 0o500)); err != nil {
		t.Fatal(err)
	}
	c, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.over() {
		t.Fatal("the program runs on a lake that it cannot write: ", c.end(syscall.SIGKILL))
	}
	if out := c.out.String(); c.ProcessState.ExitCode() != exitEnvironment || !strings.Contains(out, "✗ ACQ-LAKE-002") || !strings.Contains(out, "→") {
		t.Errorf("it ended with %d: %s", c.ProcessState.ExitCode(), out)
	}

	if err := lakeRights(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if c, err = r.start(order{}); err != nil {
		t.Fatal(err)
	}
	r.burst("before", games)()
	if err := errors.Join(r.catchUp(c), lakeRights(r.dir, 0o500)); err != nil {
		t.Error(err)
	}
	r.burst("without", games)()
	err = errors.Join(r.says(c, lakePipeline, "ACQ-LAKE-002"), lakeRights(r.dir, 0o700), r.catchUp(c))
	if err = errors.Join(err, c.end(syscall.SIGTERM), r.compare()); err != nil {
		t.Error(err)
	}
}
