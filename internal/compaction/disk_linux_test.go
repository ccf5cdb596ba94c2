package compaction

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

// onASmallDisk compacts on a disk that is full, then on one with space. It runs in a mount namespace of its own.
func onASmallDisk(dir string) error {
	ctx := context.Background()
	err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, dir)
	if err != nil {
		return err
	}
	if err := w.fill(ctx, 4, 1000, 1); err != nil {
		return err
	}
	before, err := lakefiles.List(ctx, blob.Within(w.root), "games")
	if err != nil {
		return err
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return err
	}
	for _, block := range []int{1 << 16, 1 << 12, 1} {
		for err == nil {
			_, err = ballast.Write(make([]byte, block))
		}
		err = nil
	}
	if _, err := Compact(ctx, w.options()); fault.Code(err) != "ACQ-LAKE-001" {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if now, err := lakefiles.List(ctx, blob.Within(w.root), "games"); err != nil || !slices.Equal(before, now) {
		return fmt.Errorf("files %q became %q, %w", before, now, err)
	}
	if err := errors.Join(ballast.Close(), os.Remove(ballast.Name())); err != nil {
		return err
	}
	if got, err := Compact(ctx, w.options()); err != nil || got[0].Inputs != 4 || got[0].Outputs != 1 {
		return fmt.Errorf("with space again: %+v, %w", got, err)
	}
	return w.state.Close()
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childMark+"="+t.TempDir(), "AT=full disk")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// checkpointed says that every group is.
type checkpointed struct{}

func (checkpointed) Lanes(context.Context, string) ([]checkpoint.LaneState, error) {
	return []checkpoint.LaneState{{Lane: checkpoint.Lane{ID: "a"}, State: checkpoint.State{Group: math.MaxInt64}}}, nil
}

// withoutRights compacts a lake in which it may not write all that it has to.
func withoutRights(dir string) error {
	_, err := Compact(context.Background(), Options{Bucket: blob.Within(filepath.Join(dir, "lake")), Lanes: checkpointed{}})
	if fault.Code(err) != "ACQ-LAKE-002" {
		return fmt.Errorf("without rights: %w", err)
	}
	return nil
}

func TestWithoutRights(t *testing.T) {
	t.Parallel()
	for _, closed := range []string{"_swaps", "_swaps/games", "games/dt=2026-01-01"} {
		t.Run(filepath.Base(closed), func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if err := w.fill(t.Context(), 3, 10, 1); err != nil {
				t.Fatal(err)
			}
			before, files := w.live(t, "games")
			dir := filepath.Dir(w.root)
			err := errors.Join(os.MkdirAll(filepath.Join(w.root, "_swaps/games"), 0o750), filepath.WalkDir(w.root, func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return os.Chmod(path, map[bool]fs.FileMode{true: 0o777, false: 0o666}[e.IsDir()])
			}), os.Chmod(filepath.Join(w.root, closed), 0o555), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // for nobody
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), "/proc/self/exe") // nobody may not be able to reach the path
			c.Env = append(os.Environ(), childMark+"="+dir, "AT=without rights")
			if os.Getuid() == 0 {
				c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if err := os.Chmod(filepath.Join(w.root, closed), 0o777); err != nil { //nolint:gosec // as above
				t.Fatal(err)
			}
			if after, now := w.live(t, "games"); !slices.Equal(before, after) || !slices.Equal(files, now) {
				t.Errorf("files %q became %q", files, now)
			}
			if got, err := Compact(t.Context(), w.options()); err != nil || got[0].Outputs != 1 {
				t.Errorf("with rights again: %+v, %v", got, err)
			}
		})
	}
}
