package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources/lake"
)

// DiffOptions say what is compared, and whether what differs is replaced.
type DiffOptions struct {
	Pipeline string
	Lake     string
	Tables   []string
	Apply    bool
	Grace    time.Duration // files that were replaced stay for so long, for queries that know them
}

// Diff is what a replay would change in the lakes of a pipeline.
type Diff struct {
	Pipeline    string      `json:"pipeline"`
	Read        int64       `json:"rows_read"`
	DeadLetters int64       `json:"dead_letters"`
	Tables      []TableDiff `json:"tables"`
}

// TableDiff is the difference of one table.
type TableDiff struct {
	jobs.Difference
	Sink     string `json:"sink"`
	Replaced int    `json:"replaced"` // partitions

	root      string
	now, then jobs.Side
}

// Diff replays into a scratch folder, compares the lakes of the pipeline with what came out, and replaces the partitions
// that differ if that is asked for: each table in one step.
func (s *Service) Diff(ctx context.Context, o DiffOptions) (_ Diff, err error) {
	out := Diff{Pipeline: o.Pipeline}
	if err := sqlAvailable(o.Lake); err != nil {
		return out, err
	}
	d, whole, err := s.whole(ctx, o.Pipeline)
	if err != nil {
		return out, err
	}
	from, err := s.replaySource(ctx, d, whole, ReplayOptions{Pipeline: o.Pipeline, Lake: o.Lake, Tables: o.Tables})
	if err != nil {
		return out, err
	}
	scratch := filepath.Join(s.project.State, "replays", "scratch")
	if err := os.RemoveAll(scratch); err != nil { // of one that was cut off
		return out, dirError(scratch, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return out, dirError(scratch, err)
	}
	if whole.Sinks, err = s.scratchSinks(ctx, d, scratch); err != nil {
		return out, err
	}
	if err := s.replayInto(ctx, whole, from, scratch, &out); err != nil {
		return out, err
	}
	for _, part := range d.Sinks {
		if c, ok := part.Settings.(*lakesink.Config); ok {
			found, err := compareLake(ctx, part.Name, c, filepath.Join(scratch, part.Name), from)
			if err != nil {
				return out, err
			}
			out.Tables = append(out.Tables, found...)
		}
	}
	if o.Apply {
		err = s.apply(ctx, &out, o.Grace)
	}
	return out, err
}

// sqlAvailable says whether this build can compare, before anything is replayed for it.
func sqlAvailable(root string) error {
	engine, err := query.New(query.Config{Lake: root})
	if err != nil {
		return err
	}
	return errors.Join(engine.Available(), engine.Close())
}

// scratchSinks gives each lake of the pipeline a folder of its own. What is no lake is not written to.
func (s *Service) scratchSinks(ctx context.Context, d *Declared, scratch string) ([]routers.NamedSink, error) {
	var out []routers.NamedSink
	for _, part := range d.Sinks {
		c, ok := part.Settings.(*lakesink.Config)
		if !ok {
			continue
		}
		in := *c
		in.URL, in.AWS, in.SSE, in.Owner = filepath.Join(scratch, part.Name), awsconfig.Settings{}, "", ""
		sink, err := lakesink.New(ctx, in, s.project.Memory*35/100/int64(s.project.sinks()), s.Log)
		if err != nil {
			return nil, err
		}
		out = append(out, routers.NamedSink{Name: part.Name, Sink: sink})
	}
	if len(out) == 0 {
		return nil, &fault.Error{
			Code: "ACQ-USE-012", Place: d.Name, Err: errors.New("the pipeline has no lake to compare with"), Remedy: "leave --diff out",
		}
	}
	return out, nil
}

// replayInto runs the pipeline into the scratch folder, with a state of its own there.
func (s *Service) replayInto(ctx context.Context, p routers.Pipeline, from *lake.Source, scratch string, out *Diff) (err error) {
	store, err := checkpoint.Open(ctx, filepath.Join(scratch, "state.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	files, err := from.Files(ctx)
	if err != nil || len(files) == 0 {
		return err
	}
	from.Fix("diff", files)
	p.Source, p.StopAfter, p.Slots = from, 0, jobs.ReplaySlots()
	options := routers.Options{Store: store, Budget: s.project.budget(), Log: s.Log.With(slog.String("job", "diff"))}
	run, err := routers.New(p, options)
	if err != nil {
		return err
	}
	err = run.Run(ctx)
	status := run.Status()
	out.Read, out.DeadLetters = status.RowsRead, status.DeadLetters
	return errors.Join(err, ctx.Err())
}

// compareLake compares the tables of a lake that a replay has made.
func compareLake(ctx context.Context, sink string, c *lakesink.Config, scratch string, from *lake.Source) ([]TableDiff, error) {
	root, err := c.Root()
	if err == nil {
		err = sqlAvailable(root)
	}
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, err
	}
	made, err := query.ReadDescriptions(ctx, blob.Within(scratch))
	if err != nil {
		return nil, err
	}
	known, err := query.ReadDescriptions(ctx, blob.Within(root))
	if err != nil {
		return nil, err
	}
	if scratch, err = filepath.Abs(scratch); err != nil {
		return nil, err
	}
	var out []TableDiff
	for _, t := range made {
		if i := slices.IndexFunc(known, func(k *schemas.LakeTable) bool { return k.Name == t.Name }); i >= 0 {
			t = known[i]
		}
		d := TableDiff{Sink: sink, root: root, now: jobs.Side{Root: root}, then: jobs.Side{Root: scratch}}
		if d.now.Files, err = lakefiles.List(ctx, blob.Within(root), t.Name); err != nil {
			return nil, err
		}
		if d.then.Files, err = lakefiles.List(ctx, blob.Within(scratch), t.Name); err != nil {
			return nil, err
		}
		read, err := readFor(ctx, t, from)
		if err != nil {
			return nil, err
		}
		if d.Difference, err = jobs.Compare(ctx, t, d.now, d.then, read); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// readFor gives the files that a replay read for a table: those of its stream, or all when a step has renamed it.
func readFor(ctx context.Context, t *schemas.LakeTable, from *lake.Source) (jobs.Side, error) {
	root, err := filepath.Abs(from.Root())
	if err != nil {
		return jobs.Side{}, err
	}
	files, err := from.Files(ctx)
	if err != nil {
		return jobs.Side{}, err
	}
	tables, err := from.Tables(ctx)
	if err != nil {
		return jobs.Side{}, err
	}
	all, own := jobs.Side{Root: root}, jobs.Side{Root: root}
	for _, f := range files {
		all.Files = append(all.Files, f.Name)
		if tables[f.Table].Stream == t.Stream {
			own.Files = append(own.Files, f.Name)
		}
	}
	if len(own.Files) == 0 {
		return all, nil
	}
	return own, nil
}

// apply replaces the partitions that differ, where nothing is lost by it.
func (s *Service) apply(ctx context.Context, out *Diff, grace time.Duration) error {
	refuse := func(place, remedy, format string, args ...any) error {
		return &fault.Error{Class: fault.Fatal, Code: "ACQ-REPLAY-001", Place: place, Err: fmt.Errorf(format, args...), Remedy: remedy}
	}
	if out.DeadLetters > 0 {
		return refuse(out.Pipeline, "mend the records or the steps first: acequia replay without --diff keeps them as dead letters",
			"%d records cannot pass, and their rows would be lost", out.DeadLetters)
	}
	for _, t := range out.Tables {
		if t.Newer > 0 {
			return refuse(t.Table, "replay from a lake that has them",
				"%d keys have versions that the replay has not come to, and that would be lost", t.Newer)
		}
	}
	// what a crash left half published must be recovered under the names that it has
	for _, d := range s.project.Pipelines {
		lanes, err := s.state.Lanes(ctx, d.Name)
		if err != nil {
			return err
		}
		for _, l := range lanes {
			if l.Pending != nil {
				return refuse(d.Name, "run the pipeline once: it recovers", "lane %s has a group that a crash left half published", l.ID)
			}
		}
	}
	for i := range out.Tables {
		if err := replace(ctx, &out.Tables[i], grace); err != nil {
			return err
		}
	}
	return nil
}

// replace swaps the files of the partitions that differ, in one step for who reads the table.
func replace(ctx context.Context, t *TableDiff, grace time.Duration) (err error) {
	if len(t.Partitions) == 0 {
		return nil
	}
	dir, err := blob.Open(t.root)
	if err != nil {
		return err
	}
	locked, err := lakefiles.Lock(ctx, dir, t.Table)
	if err != nil {
		return err
	}
	defer locked.Close()
	id := lakefiles.NewID(time.Now())
	var inputs []string
	var outputs []*blob.File
	var sealer blob.Sealer
	for _, p := range t.Partitions {
		inputs = append(inputs, jobs.FilesOf(t.Table, p.Folder, t.now.Files)...)
		for _, name := range jobs.FilesOf(t.Table, p.Folder, t.then.Files) {
			final := fmt.Sprintf("%s/%s/replay-%s-%d.parquet", t.Table, p.Folder, id, len(outputs))
			f, err := copied(ctx, locked, final, filepath.Join(t.then.Root, filepath.FromSlash(name)))
			if err != nil {
				return errors.Join(err, sealer.Wait(), locked.Discard(ctx))
			}
			if err := sealer.Seal(ctx, f); err != nil {
				return errors.Join(err, sealer.Wait(), locked.Discard(ctx))
			}
			outputs = append(outputs, f)
		}
	}
	if err := sealer.Wait(); err != nil {
		return errors.Join(err, locked.Discard(ctx))
	}
	if err := locked.Swap(ctx, id, inputs, blob.Publications(outputs), grace); err != nil {
		return err
	}
	t.Replaced = len(t.Partitions)
	_, _, err = locked.Sweep(ctx, time.Now())
	return err
}

// copied stages the content of a file.
func copied(ctx context.Context, t *lakefiles.Table, final, path string) (*blob.File, error) {
	in, err := os.Open(path) //nolint:gosec // in the scratch folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	f, err := t.Create(ctx, final)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, in); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Differs says whether there is anything to replace.
func (d *Diff) Differs() bool {
	return slices.ContainsFunc(d.Tables, func(t TableDiff) bool { return len(t.Partitions) > 0 })
}

// Summary is a line for people.
func (t *TableDiff) Summary() string {
	parts := []string{fmt.Sprintf("%d equal", t.Equal)}
	for _, n := range []struct {
		count int64
		what  string
	}{{t.Changed, "changed"}, {t.Gone, "only here"}, {t.New, "only in the replay"}, {t.Newer, "newer here"}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	return strings.Join(parts, ", ")
}
