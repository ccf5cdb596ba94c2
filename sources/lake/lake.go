// Package lake reads the tables of a lake: the Parquet files that the sink of this name writes, as the records that they
// were, with their versions, operations, ids and times. Versions are never drawn anew, so that what is read here can
// never come to stand above a newer copy.
//
// Files that a compaction has replaced are not read. A table is read as its description is now: a column that a file does
// not have is null. The time at which acequia read a record is that of this reading.
package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
)

// The codes of what is wrong with a lake that is read.
const (
	codeTables   = "ACQ-LAKE-030"
	codeOpen     = "ACQ-LAKE-031"
	codeDamaged  = "ACQ-LAKE-032"
	codePosition = "ACQ-LAKE-033"
	codeColumns  = "ACQ-LAKE-034"
	codeValue    = "ACQ-LAKE-035"
)

func stop(code, place, remedy string, err error) error {
	return &fault.Error{Class: fault.Fatal, Code: code, Place: place, Err: err, Remedy: remedy}
}

// pieceBytes is how much of the lake one lane reads, more or less: a bigger file is read by several.
const pieceBytes = 64 << 20

// Source reads tables. A lane is a file, or some row groups of a big one; those that are new are found when it is asked
// for its lanes again. With files that were fixed a lane is as many small ones as make a good piece.
type Source struct {
	config Config
	root   string
	bucket blob.Files // nil: not opened yet
	times  span
	piece  int64 // bytes
	rows   int64 // of a chunk

	opening sync.Mutex // guards bucket

	mu     sync.Mutex
	tables map[string]*table // by name
	known  map[string]*lane  // by ID
	shapes map[string]shape  // of files, by name
	fixed  []File
	as     []*record.Schema // whose names the columns get
	prefix string           // of the IDs of lanes over fixed files
	last   []sources.Lane   // when there are many: the last answer
	stale  time.Time        // from then on it is looked up again
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Checker   = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
)

// table is one that is read.
type table struct {
	*schemas.LakeTable
	schema *record.Schema
	where  *expr.Program // nil: all of it
	prune  []pruner
}

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "lake", Shared: true, Doc: "The tables of a lake, read again: the records keep their versions, operations, ids and times.",
		Config: func() any { return &Config{} },
		Schemas: func(ctx context.Context, config any) ([]*record.Schema, error) {
			s, err := fromConfig(config)
			if err != nil || s.remote() { // nothing connects yet
				return nil, err
			}
			return s.Describe(ctx)
		},
		Plan: func(ctx context.Context, config any) []string {
			s, err := fromConfig(config)
			if err != nil {
				return nil
			}
			if s.remote() {
				return []string{"reads the tables of " + s.root}
			}
			return s.plan(ctx)
		},
		New: func(_ context.Context, config any, _ sources.Host) (sources.Source, error) { return fromConfig(config) },
	}
}

func fromConfig(config any) (*Source, error) {
	c, ok := config.(*Config)
	if !ok {
		return nil, fault.Stop(fmt.Errorf("lake: settings of another plugin: %T", config))
	}
	return New(*c)
}

// New makes the source. What is wrong with the settings comes as config.FieldErrors.
func New(c Config) (*Source, error) {
	times, err := c.check()
	if err != nil {
		return nil, err
	}
	root, err := c.Root()
	if err != nil {
		return nil, err
	}
	return &Source{config: c, root: root, times: times, piece: pieceBytes, rows: maxRows, known: map[string]*lane{}, shapes: map[string]shape{}}, nil
}

// Fix makes the source read these files and no others, in lanes whose IDs begin with a prefix. The files come from Files.
func (s *Source) Fix(prefix string, files []File) { s.prefix, s.fixed = prefix, files }

// Rename gives columns the names that the schemas have for them: those of a lake are folded to its letters.
func (s *Source) Rename(as []*record.Schema) { s.as = as }

// named gives the name of a column in the stream's own letters.
func (s *Source) named(stream, column string) string {
	for _, schema := range s.as {
		for _, f := range schema.Fields {
			if schema.Stream == stream && schemas.ColumnName(f.Name) == column {
				return f.Name
			}
		}
	}
	return column
}

// remote says that the lake is in S3.
func (s *Source) remote() bool {
	_, _, remote := blob.ParseURL(s.root)
	return remote
}

// files opens the bucket when it is first needed.
func (s *Source) files(ctx context.Context) (blob.Files, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.bucket != nil {
		return s.bucket, nil
	}
	if !s.remote() {
		s.bucket = blob.Within(s.root)
		return s.bucket, nil
	}
	b, err := blob.OpenS3(ctx, s.root, s.config.S3())
	if err != nil {
		return nil, err
	}
	s.bucket = b
	return b, nil
}

// tablesFolder is where the descriptions of tables are.
const tablesFolder = "_tables"

// describe reads the tables that are wanted, once: what changes while a pipeline runs waits for the next run.
func (s *Source) describe(ctx context.Context) (map[string]*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables != nil {
		return s.tables, nil
	}
	files, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := files.Walk(ctx, tablesFolder)
	if err == nil && len(entries) == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		return nil, stop(codeTables, s.root, "name the folder of a lake: _tables is in it", fmt.Errorf("its tables cannot be read: %w", err))
	}
	found, names := map[string]*table{}, []string(nil)
	for _, e := range entries {
		name, ok := strings.CutSuffix(strings.TrimPrefix(e.Name, tablesFolder+"/"), ".json")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		names = append(names, name)
		if !s.config.wanted(name) {
			continue
		}
		if found[name], err = s.readTable(ctx, files, e.Name); err != nil {
			return nil, err
		}
	}
	if err := s.config.unknown(names); err != nil {
		return nil, err
	}
	s.tables = found
	return found, nil
}

func (s *Source) readTable(ctx context.Context, files blob.Files, path string) (*table, error) {
	text, err := files.Read(ctx, path)
	if err != nil {
		return nil, stop(codeOpen, path, "check that the file is readable, then start again", err)
	}
	d, err := schemas.DecodeLakeTable(text)
	if err != nil {
		return nil, stop(codeTables, path, "restore the file from a copy", err)
	}
	t := &table{LakeTable: d}
	fields, key := slices.Clone(d.Columns), slices.Clone(d.Key)
	for i := range fields {
		fields[i].Name = s.named(d.Stream, fields[i].Name)
	}
	for i := range key {
		key[i] = s.named(d.Stream, key[i])
	}
	if t.schema, err = record.NewSchema(d.Stream, key, fields...); err != nil {
		return nil, stop(codeTables, path, "restore the file from a copy", err)
	}
	if s.config.Where != "" {
		if t.where, err = compile(s.config.Where, t.schema); err != nil {
			return nil, err
		}
		t.prune = pruners(s.config.Where, t)
	}
	return t, nil
}

// compile reads the expression of what to read.
func compile(where string, in *record.Schema) (*expr.Program, error) {
	p, err := expr.Compile(where, in)
	if err == nil && p.Field("").Kind != record.Bool {
		err = &expr.Error{Message: "the expression is " + p.Field("").TypeName() + ", a bool is wanted", Suggestion: "write a comparison"}
	}
	if err != nil {
		return nil, fieldErrors(err)
	}
	return p, nil
}

// Root is the folder of the lake.
func (s *Source) Root() string { return s.root }

// Tables gives the descriptions of the tables that are read, by their names.
func (s *Source) Tables(ctx context.Context) (map[string]*schemas.LakeTable, error) {
	tables, err := s.describe(ctx)
	out := map[string]*schemas.LakeTable{}
	for name, t := range tables {
		out[name] = t.LakeTable
	}
	return out, err
}

// Describe gives the schemas of the tables.
func (s *Source) Describe(ctx context.Context) ([]*record.Schema, error) {
	tables, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	var out []*record.Schema
	streams := map[string]string{}
	for _, name := range sorted(tables) {
		t := tables[name]
		if other, ok := streams[t.Stream]; ok {
			return nil, stop(codeTables, s.root, "name one of them with tables", fmt.Errorf("tables %s and %s are both of stream %s", other, name, t.Stream))
		}
		streams[t.Stream] = name
		out = append(out, t.schema)
	}
	return out, nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Check looks into every file that would be read.
func (s *Source) Check(ctx context.Context) error {
	files, err := s.Files(ctx)
	if err != nil {
		return err
	}
	tables, err := s.describe(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o, err := s.open(ctx, tables[f.Table], f)
		if err == nil {
			err = o.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plan says what would be read.
func (s *Source) plan(ctx context.Context) []string {
	all, err := s.list(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	files, err := s.Files(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	var size int64
	seen := map[string]bool{}
	for _, f := range files {
		size += f.Size
		seen[f.Table] = true
	}
	lines := []string{fmt.Sprintf("reads %s of %.1f MiB in %s from %s", count(len(files), "file"), float64(size)/(1<<20), count(len(lanes), "lane"), s.root)}
	if names := sorted(seen); len(names) > 0 {
		lines = append(lines, "of the tables "+strings.Join(names, ", "))
	}
	if left := len(all) - len(files); left > 0 {
		lines = append(lines, fmt.Sprintf("leaves out %s of partitions that cannot match", count(left, "file")))
	}
	return lines
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

var errClosed = errors.New("the reader of the lake is closed")
