// Package blob keeps files in a bucket, in two visible states: staged and published. The bucket here is a directory.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/acequia-io/acequia/fault"
)

// Dir is a bucket in a directory. Names are relative to its root, with slashes. Staged and final names must be on the
// same file system, because publishing is link(2). It is safe for concurrent use.
type Dir struct {
	root    string
	mu      sync.Mutex
	durable map[string]bool // folders whose names are known to be on disk
}

// Open makes the root if need be.
func Open(root string) (*Dir, error) {
	root = filepath.Clean(root)
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // a lake is read by other programs
		return nil, Classify(root, err)
	}
	return &Dir{root: root, durable: map[string]bool{root: true}}, nil
}

// Root is the directory.
func (d *Dir) Root() string { return d.root }

func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Classify makes a failure of the file system retryable, with what to do: the pipeline waits until there is space, or
// the right to write, and goes on. What waiting cannot mend stays fatal: a name that is too long, a file where a folder
// should be.
func Classify(place string, err error) error {
	if err == nil {
		return nil
	}
	e := &fault.Error{Class: fault.Retryable, Code: "ACQ-LAKE-003", Place: place, Err: err, Remedy: "see why the directory cannot be used; the pipeline tries again"}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Code, e.Remedy = "ACQ-LAKE-001", "free some disk space; the pipeline waits and loses nothing"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Code, e.Remedy = "ACQ-LAKE-002", "give this user the right to write there; the pipeline waits and loses nothing"
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		e.Class, e.Code, e.Remedy = fault.Fatal, "ACQ-LAKE-004", "move away what stands in the way, or shorten the path"
	}
	return e
}

// SyncFolder puts the names in a folder on disk.
func (d *Dir) SyncFolder(name string) error { return syncFolder(d.path(name)) }

func syncFolder(path string) error {
	f, err := os.Open(path) //nolint:gosec // below the root
	if err != nil {
		return Classify(path, err)
	}
	return Classify(path, errors.Join(f.Sync(), f.Close()))
}

// Folder makes a folder below the root, durably, and gives its path.
func (d *Dir) Folder(name string) (string, error) {
	path := d.path(name)
	return path, d.folders(map[string]bool{path: true})
}

// open makes a folder and opens something in it. The folder is made anew if it was there once and somebody removed it.
func (d *Dir) open(folder string, what func(folder string) error) error {
	path, err := d.Folder(folder)
	if err != nil {
		return err
	}
	if err = what(path); errors.Is(err, fs.ErrNotExist) {
		d.forget()
		if _, err = d.Folder(folder); err != nil {
			return err
		}
		err = what(path)
	}
	return Classify(path, err)
}

// folders makes folders, those above them too if somebody removed them.
func (d *Dir) folders(paths map[string]bool) error {
	err := d.makeFolders(paths)
	if errors.Is(err, fs.ErrNotExist) {
		d.forget()
		err = d.makeFolders(paths)
	}
	return err
}

// makeFolders makes folders and, once a process, syncs every parent on the way, each only once for all of them: one that
// is there may have been made by a process that crashed before it synced.
func (d *Dir) makeFolders(paths map[string]bool) error {
	missing, parents := map[string]bool{}, map[string]bool{}
	d.mu.Lock()
	for path := range paths {
		if !d.durable[path] {
			missing[path], parents[filepath.Dir(path)] = true, true
		}
	}
	d.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	if err := d.makeFolders(parents); err != nil {
		return err
	}
	for path := range missing {
		if err := makeFolder(path); err != nil {
			return Classify(path, err)
		}
	}
	for parent := range parents {
		if err := syncFolder(parent); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range missing {
		d.durable[path] = true
	}
	return nil
}

// makeFolder makes a folder unless it is there; a file in its place is an error.
func makeFolder(path string) error {
	err := os.Mkdir(path, 0o755) //nolint:gosec // as the root
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, statErr := os.Stat(path); statErr != nil || info.IsDir() {
		return statErr
	}
	return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
}

// forget lets folders be made anew: somebody removed them.
func (d *Dir) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = map[string]bool{d.root: true}
}

// Exists says whether a name is there.
func (d *Dir) Exists(_ context.Context, name string) (bool, error) {
	_, err := os.Lstat(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, Classify(d.path(name), err)
}

// Remove removes files; one that is gone is no error.
func (d *Dir) Remove(_ context.Context, names ...string) error {
	for _, name := range names {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Classify(d.path(name), err)
		}
	}
	return nil
}

// List gives the names of the files in a folder; a folder that is not there has none.
func (d *Dir) List(folder string) ([]string, error) {
	entries, err := os.ReadDir(d.path(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, Classify(d.path(folder), err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Folders gives the names of the folders in a folder.
func (d *Dir) Folders(_ context.Context, folder string) ([]string, error) {
	entries, err := os.ReadDir(d.path(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, Classify(d.path(folder), err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Update gives change the content of a small file, nil when there is none, and puts what it returns in its place,
// durably: a reader sees the old content or the new. nil leaves the file as it is. Updates in one folder, by any
// process, come one after the other.
func (d *Dir) Update(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	path := d.path(name)
	unlock, err := d.lockFolder(ctx, filepath.ToSlash(filepath.Dir(name)))
	if err != nil {
		return err
	}
	defer unlock()
	old, err := os.ReadFile(path) //nolint:gosec // below the root
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Classify(path, err)
	}
	next, err := change(old)
	if err != nil || next == nil {
		return err
	}
	return d.replace(path, next)
}

// replace is called with the folder locked, so that one temporary name will do, and what a crash left is written over.
func (d *Dir) replace(path string, content []byte) error {
	temporary := filepath.Join(filepath.Dir(path), ".new")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // read by other programs
	if err != nil {
		return Classify(path, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return Classify(path, fmt.Errorf("replace: %w", err))
	}
	return syncFolder(filepath.Dir(path))
}
