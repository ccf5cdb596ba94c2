package blob

import (
	"context"
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
	Final  string // the name that it will be published under, as far as it is known
	Bytes  int64
	out    content
	digest *xxhash.Digest
}

// content is where the bytes of a staged file go.
type content interface {
	Write(p []byte) (int, error)
	// seal makes them safe under the final name; it ends the file, as Close does, which gives it up.
	seal(ctx context.Context, final string) error
	Close() error
	// state gives the memory that is held, in bytes, and, of a file that was sealed, what its bucket needs to publish it.
	state() (held int, upload string)
}

func newFile(name, final string, out content) *File {
	return &File{Name: name, Final: final, out: out, digest: xxhash.New()}
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
	return newFile(name, "", local{f, name}), nil
}

// local is the content of a file in a directory.
type local struct {
	*os.File
	name string
}

func (l local) Write(p []byte) (int, error) {
	n, err := l.File.Write(p)
	return n, Classify(l.name, err)
}

// seal puts the content on disk and closes the file. The name is on disk after SyncFolder.
func (l local) seal(context.Context, string) error {
	return Classify(l.name, errors.Join(l.Sync(), l.Close()))
}

func (l local) state() (held int, upload string) { return 0, "" }

// Write appends.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.out.Write(p)
	f.Bytes += int64(n)
	_, _ = f.digest.Write(p[:n])
	return n, err
}

// Digest is the XXH64 of what was written, 16 hexadecimal digits.
func (f *File) Digest() string { return digestText(f.digest) }

func digestText(d *xxhash.Digest) string { return fmt.Sprintf("%016x", d.Sum64()) }

func (f *File) seal(ctx context.Context) error { return f.out.seal(ctx, f.Final) }

// Close lets go of a file that will not be sealed.
func (f *File) Close() error { return f.out.Close() }

// Held is the memory that the file holds, in bytes.
func (f *File) Held() int {
	held, _ := f.out.state()
	return held
}

// Publication is what Publish needs to know of a file that was sealed.
func (f *File) Publication() Publication {
	_, upload := f.out.state()
	return Publication{Staged: f.Name, Final: f.Final, Digest: f.Digest(), Upload: upload, Bytes: f.Bytes}
}

// Publications gives what Publish needs to know of files that were sealed.
func Publications(files []*File) []Publication {
	out := make([]Publication, len(files))
	for i, f := range files {
		out[i] = f.Publication()
	}
	return out
}

// atOnce is how many files or folders are synced side by side: the journal of a file system commits them together.
const atOnce = 16

// Sealer puts files on disk while its user makes the next one. Its methods are for one goroutine. The zero value is
// ready; who has called Seal calls Wait.
type Sealer struct{ work workers }

// Seal starts to put the file's content on disk and to close it; the file must not be used any more. It waits while
// many are under way, and gives the first failure so far. The name is on disk after SyncFolder.
func (s *Sealer) Seal(ctx context.Context, f *File) error {
	return s.work.do(func() error { return f.seal(ctx) })
}

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
