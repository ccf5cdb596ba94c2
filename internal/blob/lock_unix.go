//go:build unix

package blob

import (
	"errors"
	"os"
	"syscall"
)

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
	return func() { _ = f.Close() }, nil
}
