// Package hello is the source that CONTRIBUTING.md builds: it reads a text file, one record a line.
package hello

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Config is what the user sets.
type Config struct {
	// Path is the text file to read. Required.
	Path string `yaml:"path"`
}

// Plugin is the source as the catalog lists it.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type:   "hello",
		Doc:    "Reads a text file, one record a line.",
		Config: func() any { return &Config{} },
		New: func(_ context.Context, config any, _ sources.Host) (sources.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("hello: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Source reads one file.
type Source struct {
	path   string
	schema *record.Schema
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
)

// New makes the source.
func New(c Config) (*Source, error) {
	if c.Path == "" {
		return nil, errors.New("path: must be set")
	}
	schema, err := record.NewSchema("hello.lines", []string{"at"},
		record.Field{Name: "at", Kind: record.Int64}, // byte of the file where the line starts
		record.Field{Name: "line", Kind: record.String},
	)
	return &Source{path: c.Path, schema: schema}, err
}

// Describe tells the schema before anything is read.
func (s *Source) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{s.schema}, nil
}

// Lanes gives one lane, because a file has one order.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "file", Streams: []string{s.schema.Stream}, Replayable: true}}, nil
}

// Open starts at a byte of the file: the position is its number.
func (s *Source) Open(_ context.Context, _ sources.Lane, from record.Position) (sources.Reader, error) {
	var at int64
	if from != "" {
		var err error
		if at, err = strconv.ParseInt(string(from), 10, 64); err != nil {
			return nil, fmt.Errorf("read position: %w", err)
		}
	}
	file, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("seek: %w", err), file.Close())
	}
	return &reader{source: s, file: file, lines: bufio.NewReader(file), at: at}, nil
}

// reader gives the lines from one byte on.
type reader struct {
	source *Source
	file   *os.File
	lines  *bufio.Reader
	at     int64
	ended  bool
}

// A chunk ends at whichever comes first.
const (
	chunkRows  = 1000
	chunkBytes = 1 << 20
)

// Read gives the next lines in one batch.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	if err := ctx.Err(); err != nil {
		return record.Chunk{}, err
	}
	b := record.NewBuilder(r.source.schema, chunkRows)
	for start := r.at; !r.ended && b.Rows() < chunkRows && r.at-start < chunkBytes; {
		line, err := r.lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return record.Chunk{}, fmt.Errorf("read line: %w", err)
		}
		r.ended = err != nil
		if len(line) > 0 {
			if err := r.add(b, line); err != nil {
				return record.Chunk{}, err
			}
		}
	}
	if b.Rows() == 0 {
		return record.Chunk{}, io.EOF
	}
	now := time.Now()
	b.System().Source, b.System().IngestTime = "hello."+r.source.path, now.UnixMicro()
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: record.Position(strconv.FormatInt(r.at, 10)), ReadAt: now}, nil
}

// add makes a record of a line: its values, and what is known of it beside them.
func (r *reader) add(b *record.Builder, line []byte) error {
	if !utf8.Valid(line) {
		return fmt.Errorf("the line at byte %d is not UTF-8", r.at)
	}
	text := line
	if last := len(line) - 1; line[last] == '\n' {
		text = line[:last]
	}
	b.Int(0, r.at)
	b.Text(1, text)
	b.Next()
	sys := b.System()
	sys.Ops = append(sys.Ops, record.Insert)
	sys.Versions.Lo = append(sys.Versions.Lo, uint64(r.at)) //nolint:gosec // a place in a file is not negative
	sys.EventIDs.AppendText(strconv.AppendInt(nil, r.at, 10))
	r.at += int64(len(line))
	return nil
}

// Settle has nothing to do: the file stays, and the position says how far it was read.
func (r *reader) Settle(context.Context, record.Position, error) error { return nil }

// Close closes the file; a Read under way returns.
func (r *reader) Close() error { return r.file.Close() }
