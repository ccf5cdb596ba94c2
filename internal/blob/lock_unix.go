//go:build unix

package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/acequia-io/acequia/fault"
)

// TryLock takes a lock file for this process, and makes it if need be; held says that it is ours. The system lets it go when the
// process dies. Who holds it writes it again and again: one that stands still, and is not dead, loses it after leaseTime by the clock
// of the file system, when somebody else asks for it. Who holds it in this process counts as another.
func (d *Dir) TryLock(ctx context.Context, name string) (unlock func(), held bool, err error) {
	return d.tryLock(ctx, name, syscall.LOCK_EX)
}

// TryShare takes it beside others that share it: TryLock is refused meanwhile.
func (d *Dir) TryShare(ctx context.Context, name string) (unlock func(), held bool, err error) {
	return d.tryLock(ctx, name, syscall.LOCK_SH)
}

func (d *Dir) tryLock(ctx context.Context, name string, how int) (unlock func(), held bool, err error) {
	folder := filepath.ToSlash(filepath.Dir(name))
	end, err := d.lockFolder(ctx, folder) // no two of those who find that one stands still take its place
	if err != nil {
		return nil, false, err
	}
	defer end()
	f, err := lockFile(d.path(name), how)
	if err == nil && f == nil {
		f, err = d.takeOver(name, how)
	}
	if err != nil || f == nil {
		return nil, false, Classify(d.path(name), err)
	}
	if err = beat(f); err != nil {
		release(f)
		return nil, false, Classify(d.path(name), err)
	}
	stop := keepBeating(ctx, func(context.Context) bool {
		_ = beat(f) // the next may do; who loses the lock is told by what he has locked
		return false
	})
	return func() {
		stop()
		release(f)
	}, true, nil
}

// takeOver puts a lock file of this process in the place of one whose holders stand still; nil: they do not.
func (d *Dir) takeOver(name string, how int) (*os.File, error) {
	path := d.path(name)
	f, err := lockFile(path+".new", how)
	if err != nil || f == nil {
		return nil, err
	}
	stale, err := standsStill(path, f)
	if stale {
		if err = os.Rename(path+".new", path); err == nil {
			return f, nil
		}
	}
	err = errors.Join(err, os.Remove(path+".new"))
	release(f)
	return nil, err
}

// standsStill says whether a file was last written leaseTime ago or before, by the clock that f is written by.
func standsStill(path string, f *os.File) (bool, error) {
	old, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was just let go, with what it locked
	}
	if err = errors.Join(err, beat(f)); err != nil {
		return false, err
	}
	now, err := f.Stat()
	return err == nil && now.ModTime().Sub(old.ModTime()) >= leaseTime, err
}

// lockFile opens and locks a file; nil: another has it.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // a lake is read by other programs
	if err != nil {
		return nil, err
	}
	if err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}

// beat is a sign of life: the time of the last write. It is synced, for a file system of a network keeps it back else.
func beat(f *os.File) error {
	_, err := f.WriteAt([]byte{'\n'}, 0)
	return errors.Join(err, f.Sync())
}

// folderWait bounds the wait for a folder. It is held for as long as a small file is written.
const folderWait = time.Minute

// lockFolder makes a folder, and waits until no other process, and nobody else in this one, holds it.
func (d *Dir) lockFolder(ctx context.Context, folder string) (unlock func(), err error) {
	var f *os.File
	err = d.open(folder, func(path string) (err error) {
		f, err = os.Open(path) //nolint:gosec // below the root
		return err
	})
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(folderWait)
	defer late.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) { //nolint:mnd // the longest
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { release(f) }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, Classify(f.Name(), errors.Join(err, f.Close()))
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-late.C:
			again.Stop()
			return nil, &fault.Error{
				Class: fault.Retryable, Code: "ACQ-LAKE-003", Place: f.Name(), Err: errors.Join(fmt.Errorf("another process has held this folder for %s", folderWait), f.Close()),
				Remedy: "see which one (fuser " + f.Name() + "): it stands still, or the file system does; let it go on, or end it",
			}
		}
	}
}

// release gives a lock back itself: closing the file does so only when no child that was forked meanwhile still has it.
func release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}
