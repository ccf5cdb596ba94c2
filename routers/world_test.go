package routers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// laneKeys is the distance between the first keys of two lanes.
const laneKeys = 1_000_000

var rowSchema = func() *record.Schema {
	s, err := record.NewSchema("gen", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "part", Kind: record.Int64}, record.Field{Name: "read_at", Kind: record.Int64})
	if err != nil {
		panic(err)
	}
	return s
}()

// generator is a source of numbered rows. What it gives for a position changes from one reading to the next: every
// third key moves to another partition. With pruneDir, what was settled can never be read again.
type generator struct {
	lanes, chunks, rows int
	successor           bool // one more lane, after all others
	pace                time.Duration
	pruneDir            string
	onSettle            func(lane string, to record.Position, err error)
	readErr             func(lane string, chunk int) error
	full                func(chunk int) bool // nil: none is
}

func (g *generator) total() int {
	lanes := g.lanes
	if g.successor {
		lanes++
	}
	return lanes * g.chunks * g.rows
}

func (g *generator) Lanes(context.Context) ([]sources.Lane, error) {
	var lanes []sources.Lane
	var all []string
	for i := range g.lanes {
		all = append(all, strconv.Itoa(i))
		lanes = append(lanes, sources.Lane{ID: all[i], Replayable: g.pruneDir == ""})
	}
	if g.successor {
		lanes = append(lanes, sources.Lane{ID: strconv.Itoa(g.lanes), After: all})
	}
	return lanes, nil
}

type genReader struct {
	*generator
	lane        string
	number      int64
	next        int
	incarnation int64
	closed      chan struct{}
}

func (g *generator) Open(_ context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	number, err := strconv.ParseInt(lane.ID, 10, 64)
	if err != nil {
		return nil, err
	}
	r := &genReader{generator: g, lane: lane.ID, number: number, incarnation: time.Now().UnixMicro(), closed: make(chan struct{})}
	if r.next, err = chunkOf(from); err != nil {
		return nil, err
	}
	if g.pruneDir != "" {
		text, err := os.ReadFile(r.pruned())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		gone, err := chunkOf(record.Position(text))
		if err != nil {
			return nil, err
		}
		r.next = max(r.next, gone)
	}
	return r, nil
}

func (r *genReader) pruned() string { return filepath.Join(r.pruneDir, "pruned-"+r.lane) }

func chunkOf(p record.Position) (int, error) {
	if p == "" {
		return 0, nil
	}
	return strconv.Atoi(string(p))
}

func (r *genReader) Read(ctx context.Context) (record.Chunk, error) {
	if r.next >= r.chunks {
		return record.Chunk{}, io.EOF
	}
	if r.readErr != nil {
		if err := r.readErr(r.lane, r.next); err != nil {
			return record.Chunk{}, err
		}
	}
	if r.pace > 0 && !wait(ctx, r.pace, r.closed) {
		return record.Chunk{}, ctx.Err()
	}
	now := time.Now()
	b := record.NewBuilder(rowSchema, r.rows)
	for i := range r.rows {
		id := r.number*laneKeys + int64(r.next*r.rows+i)
		part := id
		if id%3 == 0 {
			part += r.incarnation
		}
		b.Int(0, id)
		b.Int(1, part%2)
		b.Int(2, now.UnixMicro())
		b.Next()
	}
	r.next++
	full := r.full != nil && r.full(r.next)
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: record.Position(strconv.Itoa(r.next)), ReadAt: now, Full: full}, nil
}

func (r *genReader) Settle(_ context.Context, upTo record.Position, err error) error {
	if r.onSettle != nil {
		r.onSettle(r.lane, upTo, err)
	}
	if r.pruneDir == "" || err != nil {
		return nil //nolint:nilerr // what was refused stays readable
	}
	fresh := fmt.Sprintf("%s.%d", r.pruned(), os.Getpid()) // two processes may settle at the same time
	if err := os.WriteFile(fresh, []byte(upTo), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, r.pruned())
}

func (r *genReader) Close() error {
	close(r.closed)
	return nil
}

// folder is a sink: a directory of text files, one row a line, with two partitions.
type folder struct {
	root  string
	probe func(string)
	// Hooks of single tests; nil otherwise.
	onWrite   func(b *record.Batch) error
	onStage   func(ctx context.Context) error
	onPublish func(m sinks.Manifest) error
	noSweep   bool
}

func newFolder(root string) *folder { return &folder{root: root, probe: func(string) {}} }

func (f *folder) staging() string { return filepath.Join(f.root, "_staging") }

func (f *folder) Open(_ context.Context, lane sinks.Lane) (sinks.Writer, error) {
	if err := os.MkdirAll(f.staging(), 0o700); err != nil {
		return nil, err
	}
	return &folderWriter{folder: f, lane: lane}, nil
}

func (f *folder) Close(context.Context) error { return nil }

type folderWriter struct {
	*folder
	lane   sinks.Lane
	serial int
	parts  [2]*folderPart
}

type folderPart struct {
	staged string
	file   *os.File
	out    *bufio.Writer
	digest *xxhash.Digest
	rows   int64
}

func (w *folderWriter) Write(_ context.Context, b *record.Batch) error {
	if w.onWrite != nil {
		if err := w.onWrite(b); err != nil {
			return err
		}
	}
	for row := range b.Rows {
		p, err := w.part(b.Columns[1].Int(row))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(p.out, b.Columns[0].Int(row), b.Columns[2].Int(row)); err != nil {
			return err
		}
		p.rows++
	}
	return nil
}

func (w *folderWriter) part(i int64) (*folderPart, error) {
	if w.parts[i] != nil {
		return w.parts[i], nil
	}
	w.serial++
	p := &folderPart{digest: xxhash.New(), staged: fmt.Sprintf("_staging/%s_e%d_%d", w.lane.ID, w.lane.Epoch, w.serial)}
	var err error
	if p.file, err = os.OpenFile(filepath.Join(w.root, p.staged), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	p.out = bufio.NewWriter(io.MultiWriter(p.file, p.digest))
	w.parts[i] = p
	return p, nil
}

func (w *folderWriter) Held() int {
	held := 0
	for _, p := range w.parts {
		if p != nil {
			held += int(p.rows) * 24
		}
	}
	return held
}

type folderStaging struct {
	*folderWriter
	group sinks.Group
	parts [2]*folderPart
}

func (w *folderWriter) Cut(g sinks.Group) sinks.Staging {
	s := &folderStaging{folderWriter: w, group: g, parts: w.parts}
	w.parts = [2]*folderPart{}
	return s
}

func (s *folderStaging) Stage(ctx context.Context) (sinks.Manifest, error) {
	var m sinks.Manifest
	if s.onStage != nil {
		if err := s.onStage(ctx); err != nil {
			return m, err
		}
	}
	for i, p := range s.parts {
		if p == nil {
			continue
		}
		if err := errors.Join(p.out.Flush(), p.file.Sync(), p.file.Close()); err != nil {
			return m, err
		}
		m.Files = append(m.Files, sinks.File{
			Name:   fmt.Sprintf("%s_e%d_g%d_%d_%s_%s", s.lane.ID, s.lane.Epoch, s.group.Ordinal, i, s.group.From, s.group.To),
			Staged: p.staged, Rows: p.rows, Digest: digestText(p.digest),
		})
		s.probe("in-stage")
	}
	return m, nil
}

func digestText(d *xxhash.Digest) string { return fmt.Sprintf("%016x", d.Sum64()) }

func (w *folderWriter) Publish(_ context.Context, m sinks.Manifest) error {
	if w.onPublish != nil {
		if err := w.onPublish(m); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		if err := w.link(f); err != nil {
			return err
		}
		w.probe("in-publish")
	}
	for _, f := range m.Files {
		if err := os.Remove(filepath.Join(w.root, f.Staged)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.probe("in-unlink")
	}
	return nil
}

func (w *folderWriter) link(f sinks.File) error {
	final := filepath.Join(w.root, f.Name)
	err := os.Link(filepath.Join(w.root, f.Staged), final)
	if err == nil || !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, readErr := os.ReadFile(final)
	switch {
	case errors.Is(readErr, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", f.Staged, sinks.ErrVanished)
	case readErr != nil:
		return readErr
	}
	d := xxhash.New()
	_, _ = d.Write(text)
	if digestText(d) != f.Digest {
		return fmt.Errorf("%s: %w", f.Name, sinks.ErrConflict)
	}
	return nil
}

func (w *folderWriter) Sweep(context.Context) error {
	if w.noSweep {
		return nil
	}
	entries, err := os.ReadDir(w.staging())
	if err != nil {
		return err
	}
	for _, e := range entries {
		words := strings.Split(e.Name(), "_")
		epoch, err := strconv.ParseInt(words[1][1:], 10, 64)
		if err != nil || words[0] != w.lane.ID || epoch >= w.lane.Epoch {
			continue
		}
		if err := os.Remove(filepath.Join(w.staging(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (w *folderWriter) Withdraw(_ context.Context, m sinks.Manifest) error {
	for _, f := range m.Files {
		if err := os.Remove(filepath.Join(w.root, f.Staged)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range m.Files {
		if _, err := os.Stat(filepath.Join(w.root, f.Name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", f.Name, sinks.ErrVisible)
		}
	}
	return nil
}

func (w *folderWriter) Close(context.Context) error {
	var err error
	for _, p := range w.parts {
		if p != nil {
			err = errors.Join(err, p.file.Close())
		}
	}
	return err
}

// findings are what is wrong with a folder when its pipeline has ended.
type findings struct {
	files, rows, lost, doubled, leftovers int
	wrong                                 []string
}

func (f findings) ok() bool { return f.lost == 0 && f.doubled == 0 && len(f.wrong) == 0 }

// verify counts every key of every lane, and looks whether files contradict their names, and whether the successor was
// read too early.
func verify(root string, g *generator) (findings, error) {
	var found findings
	seen := map[int64]int{}
	first, last := map[int64]int64{}, map[int64]int64{}
	if _, err := os.Stat(root); err != nil { // killed before it wrote anything
		found.lost = g.total()
		return found, nil //nolint:nilerr // nothing was written
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if strings.Contains(path, "_staging") {
			found.leftovers++
			return nil
		}
		found.files++
		return found.read(path, g, seen, first, last)
	})
	if err != nil {
		return found, err
	}
	lanes := g.total() / (g.chunks * g.rows)
	for lane := range lanes {
		for i := range g.chunks * g.rows {
			id := int64(lane)*laneKeys + int64(i)
			switch n := seen[id]; {
			case n == 0:
				found.lost++
			case n > 1:
				found.doubled++
			}
			delete(seen, id)
		}
	}
	if len(seen) > 0 {
		found.wrong = append(found.wrong, fmt.Sprintf("%d keys that the source never gave", len(seen)))
	}
	for lane := range int64(g.lanes) {
		if g.successor && found.lost == 0 && first[int64(g.lanes)] <= last[lane] {
			found.wrong = append(found.wrong, fmt.Sprintf("the successor was read before lane %d had ended", lane))
		}
	}
	return found, nil
}

func (f *findings) read(path string, g *generator, seen map[int64]int, first, last map[int64]int64) error {
	words := strings.Split(filepath.Base(path), "_")
	from, err1 := chunkOf(record.Position(words[4]))
	to, err2 := chunkOf(record.Position(words[5]))
	text, err3 := os.ReadFile(path)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var id, at int64
		if _, err := fmt.Sscan(line, &id, &at); err != nil {
			return fmt.Errorf("%s: %q: %w", path, line, err)
		}
		f.rows++
		seen[id]++
		lane := id / laneKeys
		if chunk := int(id%laneKeys) / g.rows; strconv.FormatInt(lane, 10) != words[0] || chunk < from || chunk >= to {
			f.wrong = append(f.wrong, fmt.Sprintf("%s: key %d is not of its positions", path, id))
		}
		if first[lane] == 0 || at < first[lane] {
			first[lane] = at
		}
		last[lane] = max(last[lane], at)
	}
	return nil
}

// check fails the test when a finished folder is not what the source gave, once each.
func check(t *testing.T, root string, g *generator) {
	t.Helper()
	found, err := verify(root, g)
	if err != nil || !found.ok() || found.leftovers > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// settlements remembers what a reader was told.
type settlements struct {
	mu  sync.Mutex
	all []string
}

func (s *settlements) add(lane string, to record.Position, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	word := "durable"
	if err != nil {
		word = "refused"
	}
	s.all = append(s.all, lane+":"+string(to)+" "+word)
}
