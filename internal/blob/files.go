package blob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Walk gives the files in a folder and those below it. What is removed meanwhile may be missing.
func (d *Dir) Walk(_ context.Context, folder string) ([]Info, error) {
	var found []Info
	err := fs.WalkDir(os.DirFS(d.path(folder)), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !e.IsDir():
			found = append(found, Info{Name: path.Join(folder, name), entry: e})
		}
		return nil
	})
	slices.SortFunc(found, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return found, Classify(d.path(folder), err)
}

// Open opens a file.
func (d *Dir) Open(_ context.Context, name string) (Object, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, Classify(d.path(name), err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, Classify(d.path(name), errors.Join(err, f.Close()))
	}
	return &opened{File: f, size: info.Size()}, nil
}

// opened is a file of a directory.
type opened struct {
	*os.File
	size int64
}

func (o *opened) Size() int64 { return o.size }

// Read gives the whole of a file.
func (d *Dir) Read(_ context.Context, name string) ([]byte, error) {
	text, err := os.ReadFile(d.path(name))
	return text, Classify(d.path(name), err)
}

// Stage opens a new staged file.
func (d *Dir) Stage(_ context.Context, staged, final string) (*File, error) {
	f, err := d.Create(staged)
	if err == nil {
		f.Final = final
	}
	return f, err
}

// Leftovers lists the files of a folder.
func (d *Dir) Leftovers(_ context.Context, folder string) ([]Publication, error) {
	names, err := d.List(folder)
	var found []Publication
	for _, name := range names {
		found = append(found, Publication{Staged: path.Join(folder, name)})
	}
	return found, err
}

// Discard removes staged files.
func (d *Dir) Discard(ctx context.Context, files ...Publication) error {
	for _, f := range files {
		if err := d.Remove(ctx, f.Staged); err != nil {
			return err
		}
	}
	return nil
}

// Whole opens a file that will be read as a whole, in any order: one of S3 is fetched in one go, onto the disk of temporary files.
func Whole(ctx context.Context, files Files, name string) (Object, error) {
	if b, ok := files.(*S3); ok {
		return b.fetch(ctx, name)
	}
	return files.Open(ctx, name)
}

// Within gives the bucket of a directory without making it.
func Within(root string) *Dir {
	root = filepath.Clean(root)
	return &Dir{root: root, durable: map[string]bool{root: true}}
}
