package blob

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// File is a staged file that is being written. It is not safe for concurrent use.
type File struct {
	Name   string // staged name
	Bytes  int64
	file   *os.File
	digest *xxhash.Digest
}

// Create opens a new staged file; its name must be new.
func (d *Dir) Create(name string) (*File, error) {
	path := d.path(name)
	var f *os.File
	err := d.open(filepath.ToSlash(filepath.Dir(name)), func(string) (err error) {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a lake is read by other programs
		return err
	})
	if err != nil {
		return nil, err
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

// seal puts the content on disk and closes the file. The name is on disk after SyncFolder.
func (f *File) seal() error {
	return Classify(f.Name, errors.Join(f.file.Sync(), f.file.Close()))
}

// Close lets go of a file that will not be sealed.
func (f *File) Close() error { return f.file.Close() }

// atOnce is how many files or folders are synced side by side: the journal of a file system commits them together.
const atOnce = 16

// Sealer puts files on disk while its user makes the next one. Its methods are for one goroutine. The zero value is
// ready; who has called Seal calls Wait.
type Sealer struct{ work workers }

// Seal starts to put the file's content on disk and to close it; the file must not be used any more. It waits while
// many are under way, and gives the first failure so far. The name is on disk after SyncFolder.
func (s *Sealer) Seal(f *File) error { return s.work.do(f.seal) }

// Wait waits until every file is sealed and gives the first failure.
func (s *Sealer) Wait() error { return s.work.wait() }

// workers runs a few functions side by side.
type workers struct {
	once  sync.Once
	slots chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	err   error // the first
}

func (w *workers) do(f func() error) error {
	w.once.Do(func() { w.slots = make(chan struct{}, atOnce) })
	w.slots <- struct{}{}
	w.all.Go(func() {
		if err := f(); err != nil {
			w.mu.Lock()
			if w.err == nil {
				w.err = err
			}
			w.mu.Unlock()
		}
		<-w.slots
	})
	return w.failure()
}

func (w *workers) wait() error {
	w.all.Wait()
	return w.failure()
}

func (w *workers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
