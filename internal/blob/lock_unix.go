//go:build unix

package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// TryLock takes a lock file for this process, and makes it if need be; held says that it is ours. The system lets it go
// when the process dies. Who holds it in this process counts as another.
func (d *Dir) TryLock(_ context.Context, name string) (unlock func(), held bool, err error) {
	return d.tryLock(name, syscall.LOCK_EX)
}

// TryShare takes it beside others that share it: TryLock is refused meanwhile.
func (d *Dir) TryShare(_ context.Context, name string) (unlock func(), held bool, err error) {
	return d.tryLock(name, syscall.LOCK_SH)
}

func (d *Dir) tryLock(name string, how int) (unlock func(), held bool, err error) {
	var f *os.File
	err = d.open(filepath.ToSlash(filepath.Dir(name)), func(string) (err error) {
		f, err = os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // a lake is read by other programs
		return err
	})
	if err != nil {
		return nil, false, err
	}
	switch err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
	case err == nil:
		return func() { release(f) }, true, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, false, f.Close()
	}
	return nil, false, Classify(d.path(name), errors.Join(err, f.Close()))
}

// lockFolder waits until no other process, and nobody else in this one, holds the folder.
func lockFolder(path string) (unlock func(), err error) {
	f, err := os.Open(path) //nolint:gosec // below the root
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { release(f) }, nil
}

// release gives a lock back itself: closing the file does so only when no child that was forked meanwhile still has it.
func release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}
