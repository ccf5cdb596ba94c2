package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// input is a file to read, or the standard input.
type input struct {
	path        string
	id          string // path relative to the fixed part of the pattern
	size        int64
	mtime       time.Time
	format      string
	compression string
	delimiter   byte
}

func (in *input) stdin() bool { return in.path == stdinPath }

// name is what people call it.
func (in *input) name() string {
	if in.stdin() {
		return "standard input"
	}
	return in.path
}

// plain says that a place in the file is a place in its text.
func (in *input) plain() bool { return in.compression == compressionNone && !in.stdin() }

// fixed is the part of a pattern before its first star: the folder that IDs of lanes are relative to.
func fixed(pattern string) string {
	dir := filepath.Dir(pattern)
	for strings.ContainsAny(dir, `*?[`) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// find gives the files that the pattern means now, in the order of their names.
func (s *Source) find(ctx context.Context) ([]*input, error) {
	if s.config.Path == stdinPath {
		in, err := s.stdinInput()
		if err != nil {
			return nil, err
		}
		return []*input{in}, nil
	}
	paths, err := filepath.Glob(s.config.Path)
	if err != nil {
		return nil, stop(codeNoFile, s.config.Path, "", err)
	}
	slices.Sort(paths)
	root := fixed(s.config.Path)
	var found []*input
	folders := 0
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in, err := s.look(root, path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it went away between the two looks
		case err != nil:
			return nil, err
		case in == nil:
			folders++
		default:
			found = append(found, in)
		}
	}
	if len(found) == 0 {
		return nil, s.nothingFound(root, folders)
	}
	return found, nil
}

func (s *Source) nothingFound(root string, folders int) error {
	looked := root
	if abs, err := filepath.Abs(root); err == nil {
		looked = abs
	}
	remedy := "check the path; a relative one begins at the folder that the program runs in"
	if folders > 0 {
		remedy = "it is a folder: write a pattern for the files in it, such as " + filepath.Join(s.config.Path, "*.csv")
	}
	if _, err := os.Stat(root); err != nil {
		remedy = "there is no such folder: " + remedy
	}
	return stop(codeNoFile, s.config.Path, remedy, fmt.Errorf("no file matches, looked in %s", looked))
}

// look finds out what a file is. Files do not change, so one that was seen is not opened again.
func (s *Source) look(root, path string) (*input, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, cannotOpen(path, err)
	case info.IsDir():
		return nil, nil //nolint:nilnil // not a file
	}
	s.mu.Lock()
	before := s.seen[path]
	s.mu.Unlock()
	if before != nil && before.size == info.Size() && before.mtime.Equal(info.ModTime()) {
		return before, nil
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		rel = path
	}
	in := &input{path: path, id: filepath.ToSlash(rel), size: info.Size(), mtime: info.ModTime(), format: s.config.format(path)}
	if in.format == "" {
		return nil, stop(codeFormat, path, "set format to csv, ndjson or parquet", errors.New("its extension does not tell what it holds"))
	}
	if in.delimiter, err = s.config.delimiter(path); err != nil {
		return nil, err
	}
	if in.compression, err = s.compression(in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[path] = in
	return in, nil
}

func (s *Source) compression(in *input) (string, error) {
	if s.config.Compression != "" {
		return s.config.Compression, nil
	}
	f, err := os.Open(in.path)
	if err != nil {
		return "", cannotOpen(in.path, err)
	}
	var head [4]byte
	n, _ := f.Read(head[:]) // what cannot be read is said when it is read
	return compressionOf(head[:n]), f.Close()
}

// compressionOf tells by the first bytes.
func compressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return compressionGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return compressionZstd
	}
	return compressionNone
}
