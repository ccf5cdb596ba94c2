package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// CreateOptions say what is kept.
type CreateOptions struct {
	Tables   []string  // patterns; none: all that the source's settings choose
	Progress *Progress // may be nil
}

// creation is a backup that is being made.
type creation struct {
	store    *Store
	id       string
	engine   string
	snapshot sources.Snapshot
	progress *Progress

	mu     sync.Mutex
	tables []tableInMaking
	folder map[string]bool // folders with new names
}

// tableInMaking is a table of it.
type tableInMaking struct {
	fields []record.Field
	digest verify.Digest
	files  []File
	made   []string // the names of all that were begun
}

// Create makes a backup of a database: one snapshot of all its tables, parts of which are read side by side. When it returns without an
// error the backup is there, durably; else nothing counts, and what was written is removed as far as possible: prune removes the rest.
func (s *Store) Create(ctx context.Context, d Database, o CreateOptions) (_ *Backup, err error) {
	source, ok := d.Source.(sources.Snapshotter)
	if !ok {
		return nil, d.cannot("backed up")
	}
	began := time.Now()
	snapshot, err := source.Snapshot(ctx, o.Tables)
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed := snapshot.Close(ctx); failed != nil && err != nil {
			err = errors.Join(err, failed)
		} else if failed != nil { // the backup is there all the same
			s.o.Log.WarnContext(ctx, "the snapshot was not ended in order", slog.String("error", failed.Error()))
		}
	}()
	info := snapshot.About()
	c := &creation{
		store: s, id: lakefiles.NewID(began), engine: info.Engine, snapshot: snapshot, progress: o.Progress,
		tables: make([]tableInMaking, len(info.Tables)), folder: map[string]bool{},
	}
	unlock, err := s.making(ctx, c.engine)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.begin(ctx, c.engine, c.id); err != nil {
		return nil, err
	}
	s.o.Probe(AfterSnapshot)
	if err := c.read(ctx, info, limitOf(d.Source)); err != nil {
		c.discard(ctx)
		return nil, err
	}
	m := c.manifest(info, d.Name, o.Tables)
	m.Seconds = time.Since(began).Seconds()
	if err := c.publish(ctx, m); err != nil {
		c.discard(ctx)
		return nil, err
	}
	s.o.Probe(AfterManifest)
	return &m.Backup, nil
}

// tick is how often a lock that is held is asked for again; in S3 it costs a request, and tickS3 is.
const (
	tick   = 100 * time.Millisecond
	tickS3 = time.Second
)

// making keeps the files of new backups from being taken for those of none; it waits while somebody sweeps.
func (s *Store) making(ctx context.Context, engine string) (unlock func(), err error) {
	every := tickS3
	if _, local := s.bucket.(*blob.Dir); local {
		every = tick
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		unlock, held, err := s.bucket.TryShare(ctx, makingName(engine))
		if err != nil || held {
			return unlock, kept(err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// limitOf is how many parts of a source are read at a time.
func limitOf(s sources.Source) int {
	if l, ok := s.(sources.Limiter); ok {
		return max(1, l.Limit())
	}
	return 1
}

// read reads all parts of all tables.
func (c *creation) read(ctx context.Context, info sources.SnapshotInfo, parallel int) error {
	type part struct{ table, part int }
	var parts []part
	progress := make([]TableProgress, len(info.Tables))
	for i := range info.Tables {
		t := &info.Tables[i]
		progress[i] = TableProgress{Table: t.Schema.Stream, Expected: t.Rows, Parts: t.Parts}
		c.tables[i].fields = slices.Clone(t.Schema.Fields)
		for p := range t.Parts {
			parts = append(parts, part{i, p})
		}
	}
	c.progress.begin(progress)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan part, len(parts))
	for _, p := range parts {
		todo <- p
	}
	close(todo)
	var reading sync.WaitGroup
	for range min(parallel, len(parts)) {
		reading.Go(func() {
			for p := range todo {
				if ctx.Err() != nil {
					return
				}
				if err := c.part(ctx, info.Tables[p.table].Schema.Stream, p.table, p.part); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	reading.Wait()
	return context.Cause(ctx)
}

// part reads one part into a file, and into another where values show up that their columns cannot hold.
func (c *creation) part(ctx context.Context, stream string, table, part int) (err error) {
	var w *writer
	var digest verify.Digest
	defer func() {
		if w != nil && err != nil {
			w.abandon()
		}
	}()
	end := func() error {
		if w == nil {
			return nil
		}
		told := w.told
		f, err := w.close(ctx, c.store.bucket)
		w = nil
		if err != nil {
			return kept(err)
		}
		c.keep(table, f)
		c.progress.add(stream, 0, f.Bytes-told, 0)
		c.store.o.Probe(AfterFile)
		return nil
	}
	err = c.snapshot.Scan(ctx, stream, part, func(b *record.Batch) (err error) {
		if w != nil && w.schema.ID() != b.Schema.ID() {
			if err := end(); err != nil {
				return err
			}
		}
		if w == nil {
			if w, err = c.store.create(ctx, c.name(stream, table), b); err != nil {
				return err
			}
			c.widen(table, b.Schema.Fields)
		}
		digest.Add(b)
		if err := w.add(b); err != nil {
			return kept(err)
		}
		c.progress.add(stream, b.Rows, w.file.Bytes-w.told, 0)
		w.told = w.file.Bytes
		return nil
	})
	if err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tables[table].digest.Merge(&digest)
	c.progress.add(stream, 0, 0, 1)
	return nil
}

// name gives the next file of a table.
func (c *creation) name(stream string, table int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	folder := folderOf(c.engine, stream)
	c.folder[folder] = true
	t := &c.tables[table]
	name := fmt.Sprintf("%s/%s-%05d%s", folder, c.id, len(t.made)+1, suffix(c.store.o.Format, len(c.store.o.Recipients) > 0))
	t.made = append(t.made, name)
	return name
}

func (c *creation) keep(table int, f File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tables[table].files = append(c.tables[table].files, f)
}

// widen adds columns that a file has and others before it had not.
func (c *creation) widen(table int, fields []record.Field) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range fields {
		if !slices.ContainsFunc(c.tables[table].fields, func(x record.Field) bool { return x.Name == f.Name }) {
			c.tables[table].fields = append(c.tables[table].fields, f)
		}
	}
}

// manifest says what was kept.
func (c *creation) manifest(info sources.SnapshotInfo, source string, selection []string) *manifest {
	m := &manifest{Version: manifestVersion, Prepare: info.Prepare, Backup: Backup{
		ID: c.id, SourceDB: info.Engine, Source: source, Database: info.Database, Server: info.Server, At: info.At, Ended: time.Now().UTC(),
		Consistent: info.Consistent, Position: info.Position, Selection: selection, Format: c.store.o.Format,
		Encrypted: len(c.store.o.Recipients) > 0, NotKept: info.NotKept,
	}}
	for _, r := range c.store.o.Recipients {
		m.Recipients = append(m.Recipients, fmt.Sprint(r))
	}
	for i := range c.tables {
		t, definition := &c.tables[i], info.Tables[i].Definition
		types := map[string]string{}
		for _, col := range definition.Columns {
			types[col.Name] = col.Type
		}
		slices.SortFunc(t.files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
		out := Table{Name: info.Tables[i].Schema.Stream, Rows: t.digest.Rows(), Digest: t.digest.String(), Key: definition.Key, Columns: columnsOf(t.fields, types), Files: t.files}
		if out.Files == nil {
			out.Files = []File{}
		}
		for _, f := range t.files {
			out.Bytes += f.Bytes
		}
		m.Rows, m.Bytes = m.Rows+out.Rows, m.Bytes+out.Bytes
		m.Tables, m.Definitions = append(m.Tables, out), append(m.Definitions, definition)
	}
	return m
}

// publish puts the names of the files on disk, and then the manifest.
func (c *creation) publish(ctx context.Context, m *manifest) error {
	for folder := range c.folder {
		if err := c.store.bucket.SyncFolder(folder); err != nil {
			return kept(err)
		}
	}
	text, err := m.seal()
	if err != nil {
		return err
	}
	c.store.o.Probe(BeforeManifest)
	return c.store.end(ctx, c.engine, c.id, text)
}

// discarding bounds how long what was written of a failed backup is removed.
const discarding = time.Minute

// discard removes what was written of a backup that failed. A manifest whose writing failed may be there all the same: it goes first.
func (c *creation) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discarding)
	defer cancel()
	names := []string{manifestName(c.engine, c.id)}
	for i := range c.tables {
		names = append(names, c.tables[i].made...)
	}
	for _, name := range names {
		if err := c.store.bucket.Remove(ctx, name); err != nil {
			c.left(ctx, name, err)
		}
	}
	uploads, err := c.store.uploads(ctx, c.engine)
	if err == nil {
		err = c.store.bucket.Discard(ctx, uploads[c.id]...)
	}
	if err != nil {
		c.left(ctx, c.engine, err)
	}
}

func (c *creation) left(ctx context.Context, name string, err error) {
	c.store.o.Log.WarnContext(ctx, "what was written of a failed backup is still there; prune removes it", slog.String("file", name), slog.String("error", err.Error()))
}
