package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
)

// File is a file of a table.
type File struct {
	Table string `json:"table"`
	Name  string `json:"name"` // relative to the lake's root
	Size  int64  `json:"size"`
}

// piece is some row groups of a file.
type piece struct {
	File
	from, to int // row groups: the first, and the one after the last; to is 0: all
}

// lane is what one reader reads, in order.
type lane struct {
	id     string
	pieces []piece
}

// shape is what the footer of a file says of its row groups.
type shape struct {
	size   int64
	stored []int64 // bytes of each
}

// list gives the files of the tables that are wanted.
func (s *Source) list(ctx context.Context) ([]File, error) {
	if s.fixed != nil {
		return s.fixed, nil
	}
	tables, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	files, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, name := range sorted(tables) {
		found, err := lakefiles.Find(ctx, files, name)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			size, _, err := f.Stat()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was replaced long ago, and deleted while we looked
			}
			if err != nil {
				return nil, cannotOpen(f.Name, err)
			}
			out = append(out, File{Table: name, Name: f.Name, Size: size})
		}
	}
	return out, nil
}

func cannotOpen(name string, err error) error {
	remedy := "check that the file is readable, then start again"
	if errors.Is(err, fs.ErrNotExist) {
		remedy = "it was there before, and may have been compacted since: begin the replay anew"
	}
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return stop(codeOpen, name, remedy, fmt.Errorf("cannot be read: %w", err))
}

// Files gives the files that have to be read: those of partitions that cannot match are left out.
func (s *Source) Files(ctx context.Context) ([]File, error) {
	all, err := s.list(ctx)
	if err != nil || s.fixed != nil {
		return all, err
	}
	tables, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	matches := map[string]bool{} // by folder
	return slices.DeleteFunc(all, func(f File) bool {
		folder := path.Dir(f.Name)
		match, known := matches[folder]
		if !known {
			match = s.mayMatch(tables[f.Table], strings.TrimPrefix(folder, f.Table+"/"))
			matches[folder] = match
		}
		return !match
	}), nil
}

// manyLanes is how many lanes are not looked up each time.
const manyLanes = 100

// Lanes gives a lane for each file, several for a big one.
func (s *Source) Lanes(ctx context.Context) ([]sources.Lane, error) {
	s.mu.Lock()
	last, fresh := s.last, time.Now().Before(s.stale)
	s.mu.Unlock()
	if fresh {
		return slices.Clone(last), nil
	}
	began := time.Now()
	files, err := s.Files(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := s.describe(ctx)
	if err != nil {
		return nil, err
	}
	var pieces []piece
	for _, f := range files {
		cut, err := s.cut(ctx, f)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, cut...)
	}
	lanes := s.lanes(pieces)
	out := make([]sources.Lane, len(lanes))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range lanes {
		s.known[l.id] = l
		out[i] = sources.Lane{ID: l.id, Streams: []string{tables[l.pieces[0].Table].Stream}, Replayable: true}
	}
	if s.fixed != nil || len(out) > manyLanes {
		s.last, s.stale = slices.Clone(out), time.Now().Add(10*time.Since(began))
	}
	return out, nil
}

// lanes gives each piece a lane. Of fixed files the small ones of a table share one.
func (s *Source) lanes(pieces []piece) []*lane {
	var out []*lane
	held := int64(0)
	for _, p := range pieces {
		if s.fixed == nil {
			id := p.Name
			if p.from > 0 {
				id += "#" + strconv.Itoa(p.from)
			}
			out = append(out, &lane{id: id, pieces: []piece{p}})
			continue
		}
		if last := len(out) - 1; last >= 0 && p.to == 0 && held+p.Size <= s.piece && out[last].pieces[0].Table == p.Table {
			out[last].pieces, held = append(out[last].pieces, p), held+p.Size
			continue
		}
		held = p.Size
		out = append(out, &lane{id: fmt.Sprintf("%s/%05d", s.prefix, len(out)), pieces: []piece{p}})
	}
	return out
}

// cut makes pieces of a big file.
func (s *Source) cut(ctx context.Context, f File) ([]piece, error) {
	if f.Size < 2*s.piece {
		return []piece{{File: f}}, nil
	}
	s.mu.Lock()
	known, ok := s.shapes[f.Name]
	s.mu.Unlock()
	if !ok || known.size != f.Size {
		o, err := s.openFile(ctx, f)
		if err != nil {
			return nil, err
		}
		known = shape{size: f.Size}
		for _, g := range o.parquet.Groups() {
			known.stored = append(known.stored, g.Stored)
		}
		if err := o.close(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.shapes[f.Name] = known
		s.mu.Unlock()
	}
	var out []piece
	begin, held := 0, int64(0)
	for i, stored := range known.stored {
		if held += stored; held >= s.piece || i == len(known.stored)-1 {
			out = append(out, piece{File: f, from: begin, to: i + 1})
			begin, held = i+1, 0
		}
	}
	if len(out) == 0 {
		out = []piece{{File: f}}
	}
	return out, nil
}

// find gives a lane by its ID.
func (s *Source) find(ctx context.Context, id string) (*lane, error) {
	look := func() *lane {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.known[id]
	}
	if l := look(); l != nil {
		return l, nil
	}
	if _, err := s.Lanes(ctx); err != nil {
		return nil, err
	}
	if l := look(); l != nil {
		return l, nil
	}
	return nil, stop(codeOpen, "lane "+id, "put the file back, or start the pipeline anew", errors.New("the file is gone"))
}

// pruner is a part of the expression that looks at nothing but the columns of partitions.
type pruner struct {
	program *expr.Program
	schema  *record.Schema
	columns []int // of the schema, by partition; -1: not of this level
}

// pruners gives the parts of a conjunction that partitions alone decide: one of them false makes the whole false.
func pruners(where string, t *table) []pruner {
	var fields []record.Field
	var at []int
	for _, p := range t.Partition {
		i := slices.IndexFunc(t.Columns, func(f record.Field) bool { return f.Name == p.From })
		at = append(at, -1)
		if i >= 0 {
			at[len(at)-1] = len(fields)
			fields = append(fields, t.schema.Fields[i])
		}
	}
	if len(fields) == 0 {
		return nil
	}
	schema, err := record.NewSchema(t.Stream, nil, fields...)
	if err != nil {
		return nil
	}
	var out []pruner
	for _, part := range conjuncts(where) {
		if p, err := expr.Compile(part, schema); err == nil && p.Field("").Kind == record.Bool {
			out = append(out, pruner{p, schema, at})
		}
	}
	return out
}

// conjuncts takes an expression apart at each && outside of brackets and quotes. Where there is anything beside them
// that binds less than && it is one part.
func conjuncts(where string) []string {
	var out []string
	depth, begin := 0, 0
	quote := byte(0)
	for i := 0; i < len(where); i++ {
		c := where[i]
		switch {
		case quote != 0:
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case depth == 0 && (c == '?' || c == '|'):
			return []string{where}
		case depth == 0 && strings.HasPrefix(where[i:], "&&"):
			out = append(out, where[begin:i])
			i++
			begin = i + 1
		}
	}
	return append(out, where[begin:])
}

// mayMatch says whether rows of a partition can be wanted. A folder that says nothing may hold any.
func (s *Source) mayMatch(t *table, folder string) bool {
	values := strings.Split(folder, "/")
	if len(values) != len(t.Partition) {
		return true
	}
	for i, p := range t.Partition {
		text, ok := strings.CutPrefix(values[i], p.Name+"=")
		if !ok {
			return true
		}
		values[i] = text
		if day, err := time.Parse(time.DateOnly, text); p.From == schemas.EventTimeColumn && err == nil {
			first, last := day.UnixMicro(), day.Add(24*time.Hour).UnixMicro()-1
			if s.times.ends && first >= s.times.to || s.times.bounded && last < s.times.from {
				return false
			}
		}
	}
	for _, p := range t.prune {
		if p.refuses(values) {
			return false
		}
	}
	return true
}

// refuses says that the part is certainly not true for the values of a partition's folders.
func (p *pruner) refuses(values []string) bool {
	columns := make([]record.Column, len(p.schema.Fields))
	for i, at := range p.columns {
		if at < 0 {
			continue
		}
		c, ok := value(&p.schema.Fields[at], values[i])
		if !ok {
			return false
		}
		columns[at] = c
	}
	b, err := record.NewBatch(p.schema, 1, columns, record.System{}, nil)
	if err != nil {
		return false
	}
	rows, all, err := p.program.Select(b)
	return err == nil && !all && len(rows) == 0
}

// nullFolder is what Hive calls the folder of rows whose value is null.
const nullFolder = "__HIVE_DEFAULT_PARTITION__"

// value reads the value of a folder. An empty text has the folder of null, so that one tells nothing of texts.
func value(f *record.Field, text string) (record.Column, bool) {
	var c record.Column
	var n int64
	var err error
	switch {
	case text == nullFolder:
		return c, false
	case f.Kind == record.String:
		if text, err = url.PathUnescape(text); err == nil {
			c.AppendText([]byte(text))
		}
		return c, err == nil
	case f.Kind == record.Bool:
		var is bool
		if is, err = strconv.ParseBool(text); is {
			n = 1
		}
	case f.Kind == record.Date:
		var day time.Time
		day, err = time.Parse(time.DateOnly, text)
		n = day.Unix() / 86_400
	default:
		n, err = strconv.ParseInt(text, 10, 64)
	}
	c.Ints = []int64{n}
	return c, err == nil
}
