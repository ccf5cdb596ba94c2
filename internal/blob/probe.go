package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Probe tells whether a bucket can be in a directory: whether files can be written, synced and linked there. It leaves
// nothing behind; a directory that is not there yet is tried in the one above that is. free is the space for this user, in
// bytes.
func Probe(root string) (there bool, free int64, err error) {
	at := filepath.Clean(root)
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return false, 0, &fs.PathError{Op: "use", Path: at, Err: syscall.ENOTDIR}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return false, 0, err
		}
		at = filepath.Dir(at)
	}
	there = at == filepath.Clean(root)
	folder, err := os.MkdirTemp(at, "_check-") // a name that no reader of a lake looks at
	if err != nil {
		return there, 0, err
	}
	err = errors.Join(probeFile(folder), os.RemoveAll(folder))
	var stat syscall.Statfs_t
	if statErr := syscall.Statfs(at, &stat); statErr == nil {
		free = int64(stat.Bavail) * int64(stat.Bsize) //nolint:gosec,unconvert // their types differ from system to system
	}
	return there, free, err
}

// SpaceText says for people how much space is free.
func SpaceText(free int64) string {
	if free < 1<<30 {
		return fmt.Sprintf("%d MiB free", free>>20)
	}
	return fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))
}

// probeFile does what publishing does.
func probeFile(folder string) error {
	path := filepath.Join(folder, "staged")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 64<<10))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(path, filepath.Join(folder, "published"))
}
