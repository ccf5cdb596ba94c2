package blob

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Bucket keeps files in two visible states: *Dir in a directory, *S3 in a bucket of S3. Names are relative to its root, with
// slashes. It is safe for concurrent use.
type Bucket interface {
	Files
	Stager
	Keeper
	Place
}

// Place is where a bucket is.
type Place interface {
	Root() string // for people: a path, or s3://bucket/prefix
	// Folders gives the names of the folders that are directly in a folder, in their order; one that is not there has none.
	Folders(ctx context.Context, folder string) ([]string, error)
}

// Files is what can be read: published files, and the small ones that are kept.
type Files interface {
	// Walk gives the files in a folder and those below it, in the order of their names; a folder that is not there has none.
	Walk(ctx context.Context, folder string) ([]Info, error)
	// Open opens a file for reads at any place; fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (Object, error)
	// Read gives the whole of a small file; fs.ErrNotExist when there is none.
	Read(ctx context.Context, name string) ([]byte, error)
	// Exists says whether a name is there.
	Exists(ctx context.Context, name string) (bool, error)
}

// Stager puts files where nobody sees them, and then makes them visible.
type Stager interface {
	// Stage opens a new file. staged is a name that nothing else has or had; final is the one that it will be published under, as
	// far as that is known: File.Final may be corrected until the file is sealed.
	Stage(ctx context.Context, staged, final string) (*File, error)
	// Publish makes sealed files visible, all of which must be there. It may be repeated, by any process, also after it stopped
	// half-way. ErrGone and ErrTaken are its own failures.
	Publish(ctx context.Context, files []Publication) error
	// Leftovers lists what is staged below the folder of staged names, by Staged or, where only that is known, by Final.
	Leftovers(ctx context.Context, folder string) ([]Publication, error)
	// Discard removes what is staged; what is gone is no error.
	Discard(ctx context.Context, files ...Publication) error
}

// Keeper keeps small files that change, and removes files.
type Keeper interface {
	Locker
	// Update gives change the content of a small file, nil when there is none, and puts what it returns in its place: a reader
	// sees the old content or the new. nil leaves the file as it is. Of updates by any process each sees the one before; change
	// may be called several times.
	Update(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error
	// Remove removes files; one that is gone is no error.
	Remove(ctx context.Context, names ...string) error
	// SyncFolder makes durable which names are in a folder.
	SyncFolder(name string) error
}

// Locker keeps processes apart. A lock is free again soon after its holder has died: at once in a directory, after a minute in S3. There
// a holder that was frozen for longer does not know that it has lost it: what it does then must be fenced by what it writes.
type Locker interface {
	// TryLock takes a name for this process alone; held says that it is ours.
	TryLock(ctx context.Context, name string) (unlock func(), held bool, err error)
	// TryShare takes it beside others that share it: TryLock is refused meanwhile.
	TryShare(ctx context.Context, name string) (unlock func(), held bool, err error)
}

// Info is a file as Walk finds it.
type Info struct {
	Name string

	entry    fs.DirEntry // nil: what follows is known
	size     int64
	modified time.Time
}

// Stat gives its size in bytes and the time of its last change; fs.ErrNotExist when it has gone meanwhile.
func (i Info) Stat() (size int64, modified time.Time, err error) {
	if i.entry == nil {
		return i.size, i.modified, nil
	}
	info, err := i.entry.Info()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("look at %s: %w", i.Name, err)
	}
	return info.Size(), info.ModTime(), nil
}

// Object is an open file.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Publication is one staged file with its final name, digest and size. Upload is what its bucket needs to know beside them.
type Publication struct {
	Staged, Final, Digest, Upload string
	Bytes                         int64
}

var _ Bucket = (*Dir)(nil)
