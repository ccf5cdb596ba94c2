// Package blob keeps files in a bucket, in two visible states: staged and published. The bucket here is a directory.
package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/fault"
)

var (
	// ErrGone means that a staged file is neither staged nor published.
	ErrGone = errors.New("the staged file is gone")
	// ErrTaken means that the final name holds other content.
	ErrTaken = errors.New("the final name holds other content")
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
// the right to write, and goes on.
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
	}
	return e
}

// File is a staged file that is being written. It is not safe for concurrent use.
type File struct {
	Name   string // staged name
	Bytes  int64
	file   *os.File
	digest *xxhash.Digest
}

// Create opens a new staged file; its name must be new.
func (d *Dir) Create(name string) (*File, error) {
	if err := d.folder(filepath.Dir(d.path(name))); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a lake is read by other programs
	if err != nil {
		return nil, Classify(d.path(name), err)
	}
	return &File{Name: name, file: f, digest: xxhash.New()}, nil
}

// Write appends.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.Bytes += int64(n)
	_, _ = f.digest.Write(p[:n])
	return n, Classify(f.Name, err)
}

// Digest is the XXH64 of what was written, 16 hexadecimal digits.
func (f *File) Digest() string { return digestText(f.digest) }

func digestText(d *xxhash.Digest) string { return fmt.Sprintf("%016x", d.Sum64()) }

// Seal puts the content on disk and closes the file. The name is on disk after SyncFolder.
func (f *File) Seal() error {
	return Classify(f.Name, errors.Join(f.file.Sync(), f.file.Close()))
}

// Close lets go of a file that will not be sealed.
func (f *File) Close() error { return f.file.Close() }

// SyncFolder puts the names in a folder on disk.
func (d *Dir) SyncFolder(name string) error { return syncFolder(d.path(name)) }

func syncFolder(path string) error {
	f, err := os.Open(path) //nolint:gosec // below the root
	if err != nil {
		return Classify(path, err)
	}
	return Classify(path, errors.Join(f.Sync(), f.Close()))
}

// folder makes a folder below the root and, once a process, syncs every parent on the way: one that is there may have
// been made by a process that crashed before it synced.
func (d *Dir) folder(path string) error {
	d.mu.Lock()
	known := d.durable[path]
	d.mu.Unlock()
	if known {
		return nil
	}
	parent := filepath.Dir(path)
	if err := d.folder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as above
		return Classify(path, err)
	}
	if err := syncFolder(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable[path] = true
	return nil
}

// Publication is one staged file with its final name and digest.
type Publication struct{ Staged, Final, Digest string }

// Publish links every file to its final name, puts the names on disk, and only then removes the staged names: in the
// other order a power cut could leave neither. It may be repeated.
func (d *Dir) Publish(files []Publication) error {
	folders := map[string]bool{}
	for _, f := range files {
		folder := filepath.Dir(d.path(f.Final))
		if err := d.folder(folder); err != nil {
			return err
		}
		folders[folder] = true
		if err := d.link(f); err != nil {
			return err
		}
	}
	for folder := range folders {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := d.Remove(f.Staged); err != nil {
			return err
		}
	}
	return nil
}

// link publishes one file. It has been done before, by us or by another owner, if the final name holds the digest.
func (d *Dir) link(f Publication) error {
	err := os.Link(d.path(f.Staged), d.path(f.Final))
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return Classify(d.path(f.Final), err)
	}
	found, err := d.digestOf(f.Final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s (staged as %s): %w", f.Final, f.Staged, ErrGone)
	case err != nil:
		return err
	case found != f.Digest:
		return fmt.Errorf("%s has digest %s, the manifest says %s: %w", f.Final, found, f.Digest, ErrTaken)
	}
	return nil
}

func (d *Dir) digestOf(name string) (digest string, err error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := xxhash.New()
	_, err = io.Copy(sum, f)
	return digestText(sum), err
}

// Exists says whether a name is there.
func (d *Dir) Exists(name string) (bool, error) {
	_, err := os.Lstat(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, Classify(d.path(name), err)
}

// Remove removes a file; one that is gone is no error.
func (d *Dir) Remove(name string) error {
	if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Classify(d.path(name), err)
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

// Read gives the content of a file; fs.ErrNotExist when there is none.
func (d *Dir) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

// Replace puts content at a name, durably: a reader sees the old content or the new.
func (d *Dir) Replace(name string, content []byte) error {
	path := d.path(name)
	if err := d.folder(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return Classify(path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return Classify(path, errors.Join(err, os.Remove(f.Name())))
	}
	return syncFolder(filepath.Dir(path))
}
