package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/file"
)

// folder writes files into a folder of their own.
func folder(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func source(tb testing.TB, c file.Config) *file.Source {
	tb.Helper()
	s, err := file.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// types makes a schema of "name type" pairs.
func types(pairs ...string) config.Ordered[string] {
	var out config.Ordered[string]
	for _, p := range pairs {
		name, kind, _ := strings.Cut(p, " ")
		out = append(out, config.Entry[string]{Name: name, Value: kind})
	}
	return out
}

// got is what a source gave.
type got struct {
	rows    []string // as JSON
	events  []string
	refused []string // place, code, column, raw
	chunks  []record.Chunk
	err     error
}

// readLane reads one lane from a position to its end.
func (g *got) readLane(ctx context.Context, s sources.Source, lane sources.Lane, from record.Position) {
	r, err := s.Open(ctx, lane, from)
	if err != nil {
		g.err = errors.Join(g.err, err)
		return
	}
	for err == nil {
		var c record.Chunk
		if c, err = r.Read(ctx); err == nil {
			g.take(c)
		}
	}
	if !errors.Is(err, io.EOF) {
		g.err = errors.Join(g.err, err)
	}
	g.err = errors.Join(g.err, r.Close())
}

func (g *got) take(c record.Chunk) {
	g.chunks = append(g.chunks, c)
	for _, b := range c.Batches {
		for row := range b.Rows {
			g.rows = append(g.rows, string(b.AppendJSON(nil, row)))
			g.events = append(g.events, string(b.System.EventIDs.Text(row)))
		}
	}
	for _, r := range c.Refused {
		place := ""
		if e, ok := errors.AsType[*fault.Error](r.Err); ok {
			place = filepath.Base(e.Place)
			if e.Class != fault.Poison || e.Remedy == "" || e.Err == nil {
				place += " INCOMPLETE"
			}
		}
		g.refused = append(g.refused, fmt.Sprintf("%s %s %s %q", place, strings.TrimPrefix(fault.Code(r.Err), "ACQ-FILE-"), r.Column, r.Raw))
	}
}

// all reads every lane of a source.
func all(tb testing.TB, s sources.Source) *got {
	tb.Helper()
	g := &got{}
	lanes, err := s.Lanes(tb.Context())
	if err != nil {
		g.err = err
		return g
	}
	for _, lane := range lanes {
		g.readLane(tb.Context(), s, lane, "")
	}
	return g
}

// text reads one file of a text.
func text(tb testing.TB, c file.Config, name, content string) *got {
	tb.Helper()
	c.Path = filepath.Join(folder(tb, map[string]string{name: content}), name)
	return all(tb, source(tb, c))
}
