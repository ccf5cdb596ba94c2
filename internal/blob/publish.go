package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
)

var (
	// ErrGone means that a staged file is neither staged nor published.
	ErrGone = errors.New("the staged file is gone")
	// ErrTaken means that the final name holds other content.
	ErrTaken = errors.New("the final name holds other content")
)

// Publish looks whether every file is there, links each to its final name, puts the names on disk, and only then removes
// the staged names: in the other order a power cut could leave neither. It may be repeated, by any process, also after it
// stopped half-way.
func (d *Dir) Publish(ctx context.Context, files []Publication) error {
	folders := map[string]bool{}
	for _, f := range files {
		folders[filepath.Dir(d.path(f.Final))] = true
	}
	if err := d.folders(folders); err != nil {
		return err
	}
	for _, f := range files { // a group of which a part is gone can be taken back only as long as none of it can be seen
		if err := d.present(ctx, f); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if err := d.link(ctx, f); err != nil {
			return err
		}
	}
	var sync workers
	for folder := range folders {
		if sync.do(func() error { return syncFolder(folder) }) != nil {
			break
		}
	}
	if err := sync.wait(); err != nil {
		return err
	}
	for _, f := range files {
		if err := d.Remove(ctx, f.Staged); err != nil {
			return err
		}
	}
	return nil
}

// present says whether a file is staged or published; whether it is the right one is for link to see.
func (d *Dir) present(ctx context.Context, f Publication) error {
	for _, name := range []string{f.Staged, f.Final} {
		if there, err := d.Exists(ctx, name); there || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s (staged as %s): %w", f.Final, f.Staged, ErrGone)
}

// link publishes one file. It has been done before, by us or by another owner, if the final name holds the digest.
func (d *Dir) link(ctx context.Context, f Publication) error {
	err := os.Link(d.path(f.Staged), d.path(f.Final))
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return Classify(d.path(f.Final), err)
	}
	found, readErr := d.digestOf(f.Final)
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return d.vanished(ctx, f)
	case readErr != nil:
		return Classify(d.path(f.Final), readErr)
	case found != f.Digest:
		return fmt.Errorf("%s has digest %s, the manifest says %s: %w", f.Final, found, f.Digest, ErrTaken)
	}
	return nil
}

// vanished tells a staged file that is gone from a final folder that somebody removed.
func (d *Dir) vanished(ctx context.Context, f Publication) error {
	switch staged, err := d.Exists(ctx, f.Staged); {
	case err != nil:
		return err
	case !staged:
		return fmt.Errorf("%s (staged as %s): %w", f.Final, f.Staged, ErrGone)
	}
	d.forget()
	if _, err := d.Folder(filepath.ToSlash(filepath.Dir(f.Final))); err != nil {
		return err
	}
	return Classify(d.path(f.Final), os.Link(d.path(f.Staged), d.path(f.Final)))
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
