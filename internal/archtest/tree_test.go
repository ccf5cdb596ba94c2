// Package archtest holds the house to its plan: who imports whom, how large things are, what they are called, and that
// each plugin runs its suite and stands in the catalog. It has tests only.
package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const module = "github.com/acequia-io/acequia"

// goFile is one file of Go code.
type goFile struct {
	path      string // from the root, with slashes
	dir       string
	test      bool // _test.go
	generated bool
	lines     int
	alone     map[int]bool // lines that begin with a comment
	syntax    *ast.File
}

// tree is the whole repository.
type tree struct {
	fs    fs.FS
	names *token.FileSet
	files []goFile
}

// load parses every Go file that the project itself has written or generated.
func load(root fs.FS) (*tree, error) {
	t := &tree{fs: root, names: token.NewFileSet()}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		return t.add(name)
	})
	return t, err
}

// skipped says whether a folder holds nothing of the project's own. zz_deps is a scratch folder that git ignores.
func skipped(dir string) bool {
	base := path.Base(dir)
	return dir != "." && strings.HasPrefix(base, ".") || slices.Contains([]string{"bin", "node_modules", "testdata", "zz_deps"}, base)
}

func (t *tree) add(name string) error {
	text, err := fs.ReadFile(t.fs, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.names, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	t.files = append(t.files, goFile{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(syntax),
		lines: bytes.Count(text, []byte("\n")), alone: commentLines(text), syntax: syntax,
	})
	return nil
}

func commentLines(text []byte) map[int]bool {
	out, n := map[int]bool{}, 0
	for line := range bytes.Lines(text) {
		n++
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("//")) || bytes.HasPrefix(line, []byte("/*")) {
			out[n] = true
		}
	}
	return out
}

// at gives the place of a node as editors read it.
func (t *tree) at(n ast.Node) string {
	p := t.names.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// imports gives the import paths of a file.
func (f goFile) imports() []string {
	out := make([]string, len(f.syntax.Imports))
	for i, spec := range f.syntax.Imports {
		out[i] = strings.Trim(spec.Path.Value, `"`)
	}
	return out
}

// packages gives the folders that hold Go files, with their files.
func (t *tree) packages() map[string][]goFile {
	out := map[string][]goFile{}
	for _, f := range t.files {
		out[f.dir] = append(out[f.dir], f)
	}
	return out
}
