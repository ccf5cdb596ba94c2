// Package file reads CSV, NDJSON and Parquet files, also compressed ones, into batches.
//
// Lines may be appended to a plain text file: the next run reads them. Nothing else of a file may change once it was read;
// compressed files, the standard input and Parquet do not grow. What is no record becomes a dead letter and never a guess. Blank lines are passed over. In an NDJSON column of
// type string a list or an object is its text. Zeros at the end of a decimal's fraction do not count.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

const (
	// pieceBytes is how much of a big file one lane reads, so that several read it side by side.
	pieceBytes = 64 << 20
	// maxRecord is the longest record of a text file.
	maxRecord = 8 << 20
	// maxRaw is how much of a record that is no record is kept.
	maxRaw = 64 << 10
	// manyLanes is how many lanes are not looked up each time.
	manyLanes = 100
)

var errClosed = errors.New("the reader of the file is closed")

// Source reads the files that a pattern names: a lane for each, or for each piece of a big one.
type Source struct {
	config Config
	piece  int64 // bytes
	record int   // bytes
	stdin  *standardInput
	log    *slog.Logger // nil: it does not run, and keeps nothing

	mu       sync.Mutex
	seen     map[string]*input  // by path
	layouts  map[string]*layout // of Parquet files, by path
	ignored  map[string]bool    // columns that are in files and not in the schema
	resolved *record.Schema     // what Describe gives; nil: not known yet
	lanes    []sources.Lane     // when there are many: the last answer
	staleAt  time.Time          // from then on it is looked up again
	once     chan struct{}      // holds a token while nobody looks for it
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Checker   = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Resumer   = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "file", Shared: true, Doc: "CSV, NDJSON and Parquet files, plain or compressed, or the standard input.",
		Config: func() any { return &Config{Sample: defaultSample} },
		Schemas: func(ctx context.Context, config any) ([]*record.Schema, error) {
			s, err := fromConfig(config)
			switch {
			case err != nil:
				return unsound(config), err
			case s.config.Path == stdinPath && len(s.config.Schema) == 0:
				return nil, nil
			}
			return s.Describe(ctx)
		},
		Plan: func(ctx context.Context, config any) []string {
			s, err := fromConfig(config)
			if err != nil {
				return nil
			}
			return s.plan(ctx)
		},
		New: func(_ context.Context, config any, host sources.Host) (sources.Source, error) {
			s, err := fromConfig(config)
			if err == nil {
				s.log = host.Log
			}
			return s, err
		},
	}
}

// unsound gives what settings with mistakes tell of the columns.
func unsound(config any) []*record.Schema {
	if c, ok := config.(*Config); ok {
		if s, _ := c.declared(); s != nil { // its mistakes are told by New
			return []*record.Schema{s}
		}
	}
	return nil
}

func fromConfig(config any) (*Source, error) {
	c, ok := config.(*Config)
	if !ok {
		return nil, fault.Stop(fmt.Errorf("file: settings of another plugin: %T", config))
	}
	return New(*c)
}

// New makes the source. What is wrong with the settings comes as config.FieldErrors.
func New(c Config) (*Source, error) {
	if c.Sample == 0 {
		c.Sample = defaultSample
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Source{
		config: c, piece: pieceBytes, record: maxRecord, stdin: &standardInput{src: os.Stdin},
		seen: map[string]*input{}, layouts: map[string]*layout{}, ignored: map[string]bool{}, once: make(chan struct{}, 1),
	}
	var err error
	s.resolved, err = c.declared()
	return s, err
}

// Lanes gives a lane for each file, several for a big one. It is asked whenever a lane ends: a long list is looked up again
// only after ten times as long as that takes.
func (s *Source) Lanes(ctx context.Context) ([]sources.Lane, error) {
	s.mu.Lock()
	known, fresh := s.lanes, time.Now().Before(s.staleAt)
	s.mu.Unlock()
	if fresh {
		return slices.Clone(known), nil
	}
	began := time.Now()
	inputs, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	var lanes []sources.Lane
	for _, in := range inputs {
		starts, err := s.starts(in)
		if err != nil {
			return nil, err
		}
		for _, start := range starts {
			lanes = append(lanes, sources.Lane{ID: laneID(in, start), Streams: []string{s.config.stream()}, Replayable: !in.stdin()})
		}
	}
	if len(lanes) > manyLanes {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lanes, s.staleAt = slices.Clone(lanes), time.Now().Add(10*time.Since(began))
	}
	return lanes, nil
}

// starts gives where the lanes of a file begin: in bytes, or in row groups of a Parquet file.
func (s *Source) starts(in *input) ([]int64, error) {
	starts := []int64{0}
	switch {
	case in.format == formatParquet:
		l, err := s.layout(in)
		if err != nil {
			return nil, err
		}
		return l.runs(s.piece), nil
	case in.format == formatNDJSON && in.plain():
		for at := s.piece; at < in.size; at += s.piece {
			starts = append(starts, at)
		}
	}
	return starts, nil
}

// laneID names a piece of a file; the first has the name of the file, so that it stays the same when the file grows.
func laneID(in *input, start int64) string {
	if start == 0 {
		return in.id
	}
	return in.id + "#" + strconv.FormatInt(start, 10)
}

// Open reads a lane after a position.
func (s *Source) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	at, err := parsePosition(lane.ID, from)
	if err != nil {
		return nil, err
	}
	in, start, err := s.inputOf(lane.ID)
	if err != nil {
		return nil, err
	}
	if in.stdin() && from != "" {
		return nil, stop(codeStdin, in.name(), "put the data into a file and read that", errors.New("it cannot be read again after a stop"))
	}
	schema, err := s.schema(ctx)
	if err != nil {
		return nil, err
	}
	if in.format == formatParquet {
		return s.openParquet(in, lane.ID, start, at, schema)
	}
	return s.openText(ctx, in, lane.ID, start, at, schema)
}

// More says whether a file has another size than it had when its lane ended, or other bytes before its end.
func (s *Source) More(_ context.Context, lane sources.Lane, from record.Position) (bool, error) {
	at, err := parsePosition(lane.ID, from)
	if err != nil || at.kind == "p" {
		return false, err
	}
	in, start, err := s.inputOf(lane.ID)
	if err != nil || !in.plain() || in.format == formatParquet {
		return false, err
	}
	end := in.size
	if in.format == formatNDJSON {
		end = min(end, start+s.piece)
	}
	read := max(at.at, start)
	if read < end || at.kind == "" {
		return read < end, nil
	}
	if read > in.size {
		return true, nil
	}
	return in.differs(at)
}

// differs says whether other bytes than were read stand before a place.
func (in *input) differs(at place) (bool, error) {
	f, err := os.Open(in.path)
	if err != nil {
		return false, cannotOpen(in.path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	before := make([]byte, min(at.at, tail))
	if _, err := f.ReadAt(before, at.at-int64(len(before))); err != nil && !errors.Is(err, io.EOF) {
		return false, cannotOpen(in.path, err)
	}
	return int64(checksum(before)) != at.mark, nil
}

// inputOf gives the file of a lane, and where in it the lane begins.
func (s *Source) inputOf(id string) (in *input, start int64, err error) {
	if s.config.Path == stdinPath {
		in, err = s.stdinInput()
		return in, 0, err
	}
	root := fixed(s.config.Path)
	in, err = s.look(root, filepath.Join(root, filepath.FromSlash(id)))
	if cut := strings.LastIndexByte(id, '#'); errors.Is(err, fs.ErrNotExist) && cut >= 0 {
		if n, bad := strconv.ParseInt(id[cut+1:], 10, 64); bad == nil && n > 0 {
			start = n
			in, err = s.look(root, filepath.Join(root, filepath.FromSlash(id[:cut])))
		}
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && in == nil {
		err = stop(codeOpen, "lane "+id, "put the file back, or start the pipeline anew", errors.New("the file is gone"))
	}
	return in, start, err
}

// Check opens every file, and looks for the columns that the schema declares.
func (s *Source) Check(ctx context.Context) error {
	inputs, err := s.find(ctx)
	if err != nil || s.config.Path == stdinPath {
		return err
	}
	schema, err := s.schema(ctx)
	if err != nil {
		return err
	}
	for _, in := range inputs {
		if err := s.checkFile(ctx, in, schema); err != nil {
			return err
		}
	}
	return nil
}

// Describe gives the schema: the one declared, or one that fits a sample of the first file.
func (s *Source) Describe(ctx context.Context) ([]*record.Schema, error) {
	schema, err := s.schema(ctx)
	if err != nil {
		return nil, err
	}
	return []*record.Schema{schema}, nil
}

// Ignored gives the columns that are in the files and not in the schema, as far as Check, Describe or a reader has met them.
func (s *Source) Ignored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.ignored {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Source) ignore(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.ignored[name] = true
	}
}

// schema finds the schema of the stream once: types that were inferred stay as they are.
func (s *Source) schema(ctx context.Context) (*record.Schema, error) {
	select { // one at a time: the others find what it has found
	case s.once <- struct{}{}:
		defer func() { <-s.once }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	known := s.resolved
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	fields, from, err := s.types(ctx)
	if err != nil {
		return nil, err
	}
	schema, err := s.config.schemaOf(fields)
	if err != nil {
		return nil, stop(codeMissing, from, "name a column that the file has", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolved = schema
	return schema, nil
}

// types gives the columns of the stream: as an earlier run has inferred them, or as the files suggest.
func (s *Source) types(ctx context.Context) (fields []record.Field, from string, err error) {
	if fields, err = s.kept(); err != nil || fields != nil {
		return fields, filepath.Join(s.config.memory, schemaFile), err
	}
	inputs, err := s.find(ctx)
	if err != nil {
		return nil, "", err
	}
	if fields, err = s.infer(ctx, inputs); err != nil {
		return nil, "", err
	}
	from = inputs[0].name()
	return fields, from, s.keep(ctx, from, fields)
}
