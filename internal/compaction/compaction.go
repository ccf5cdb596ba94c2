// Package compaction keeps the files of a lake few and not too old: it merges the small files of closed partitions into
// sorted ones of the target's size, and drops partitions past their time. Both replace files by swaps of
// internal/lakefiles, so queries stay exact whatever crashes when.
package compaction

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// Options of a run. Zero values take the defaults named here.
type Options struct {
	Bucket blob.Bucket   // of the lake
	Lanes  Lanes         // the checkpoints of the pipelines that feed it
	Tables []string      // none: all
	Grace  time.Duration // how long files that were replaced stay; 0: not at all
	DryRun bool          // say what would be done, and do nothing
	// Progress is told the table's result so far after each swap. May be nil.
	Progress func(Result)

	OlderThan time.Duration // of Compact: a partition is closed when its last file is so old
	Target    int64         // of Compact: bytes of a merged file at most; 128 MiB
	Rows      int64         // of Compact: its rows at most; 1,000,000

	Column int // of Compact: bytes of a column that are held at a time; 64 MiB. All it holds is some two times as much

	Before time.Time // of Expire: partitions of days that ended before

	Probe func(point string) // called at the points of swaps; for tests, may be nil
}

// Result is what was done with a table, or would be.
type Result struct {
	Table      string `json:"table"`
	DryRun     bool   `json:"dry_run,omitempty"`
	Partitions int    `json:"partitions"` // whose files were replaced
	Inputs     int    `json:"inputs"`
	Outputs    int    `json:"outputs"`
	Rows       int64  `json:"rows"` // of the inputs
	BytesIn    int64  `json:"bytes_in"`
	BytesOut   int64  `json:"bytes_out"`
	Open       int    `json:"open_partitions"` // that were not old enough
	Left       int    `json:"files_left"`      // of groups that are not, or not known to be, checkpointed
	Deleted    int    `json:"files_deleted"`   // whose grace time was over
	// DeleteAfter is when the last inputs that still wait will be deleted, by the next run after it. Zero: none waits.
	DeleteAfter time.Time `json:"delete_after,omitzero"`
}

// run is one run over the tables of a lake.
type run struct {
	o   Options
	now time.Time
}

// table is a table in hand.
type table struct {
	*run
	description *schemas.LakeTable
	locked      *lakefiles.Table // nil in a dry run
	result      Result
	plan        *parquet.Plan
	merger      *merge // its memory is used again
	schema      string

	// the next swap
	id      string
	inputs  []string
	outputs []*blob.File
	bytes   int64
	sealer  blob.Sealer // puts one output on disk while the next is made
}

// Compact merges small files, and deletes those whose grace time is over. A table that fails does not keep others from it.
func Compact(ctx context.Context, o Options) ([]Result, error) { return each(ctx, o, (*table).compact) }

// each does something with every table that was asked for, and holds each meanwhile.
func each(ctx context.Context, o Options, do func(*table, context.Context) error) (results []Result, err error) {
	if o.Target <= 0 {
		o.Target = 128 << 20
	}
	if o.Rows <= 0 {
		o.Rows = 1_000_000
	}
	if o.Column <= 0 {
		o.Column = columnSize
	}
	r := &run{o: o, now: time.Now()}
	described, err := described(ctx, o)
	if err != nil || len(described) == 0 {
		return nil, err
	}
	var errs []error
	for _, d := range described {
		if ctx.Err() != nil {
			return results, errors.Join(append(errs, ctx.Err())...)
		}
		t := &table{run: r, description: d, result: Result{Table: d.Name, DryRun: o.DryRun}}
		if err := t.hold(ctx, do); err != nil {
			errs = append(errs, fmt.Errorf("table %s: %w", d.Name, err))
			continue
		}
		results = append(results, t.result)
	}
	return results, errors.Join(errs...)
}

// described gives the descriptions of the tables that were asked for.
func described(ctx context.Context, o Options) ([]*schemas.LakeTable, error) {
	all, err := query.ReadDescriptions(ctx, o.Bucket)
	if err != nil {
		return nil, err
	}
	if len(o.Tables) == 0 {
		return all, nil
	}
	names, out := make([]string, len(all)), make([]*schemas.LakeTable, 0, len(all))
	for i, d := range all {
		names[i] = d.Name
		if slices.Contains(o.Tables, d.Name) {
			out = append(out, d)
		}
	}
	for _, name := range o.Tables {
		if !slices.Contains(names, name) {
			return nil, &fault.Error{
				Code: "ACQ-USE-030", Place: o.Bucket.Root(), Err: fmt.Errorf("there is no table %q", name), Remedy: "use one of: " + strings.Join(names, ", "),
			}
		}
	}
	return out, nil
}

// hold locks the table, does it, and deletes what is due.
func (t *table) hold(ctx context.Context, do func(*table, context.Context) error) (err error) {
	if t.o.DryRun {
		return do(t, ctx)
	}
	if t.locked, err = lakefiles.Lock(ctx, t.o.Bucket, t.description.Name); err != nil {
		return err
	}
	defer t.locked.Close()
	if t.o.Probe != nil {
		t.locked.Probe = t.o.Probe
	}
	before, _, err := t.locked.Sweep(ctx, time.Now())
	if err == nil {
		err = do(t, ctx)
	}
	err = errors.Join(err, t.sealer.Wait())
	deleted, _, sweepErr := t.locked.Sweep(ctx, time.Now())
	t.result.Deleted = before + deleted
	if err = errors.Join(err, sweepErr); err != nil {
		return errors.Join(err, t.locked.Discard(ctx))
	}
	waiting, err := lakefiles.Swaps(ctx, t.o.Bucket, t.description.Name)
	for _, s := range waiting {
		if s.DeleteAfter.After(t.result.DeleteAfter) {
			t.result.DeleteAfter = s.DeleteAfter
		}
	}
	return err
}

func (t *table) compact(ctx context.Context) error {
	schema, err := record.NewSchema(t.description.Stream, nil, t.description.Columns...)
	if err != nil {
		return err
	}
	t.schema = schema.Short()
	parts, err := t.partitions(ctx, t.description.Name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		t.result.Left += p.left
		if p.newest.After(t.now.Add(-t.o.OlderThan)) {
			t.result.Open++
			continue
		}
		bins, err := t.bins(ctx, p)
		if err != nil {
			return err
		}
		if len(bins) > 0 {
			t.result.Partitions++
		}
		for _, bin := range bins {
			if err := t.bin(ctx, p, bin); err != nil {
				return err
			}
		}
	}
	return t.swap(ctx)
}

// bin merges files into one. When their keys do not fit into the memory each half becomes one.
func (t *table) bin(ctx context.Context, p *partition, files []file) error {
	if t.o.DryRun {
		t.count(files)
		t.result.Outputs++
		return nil
	}
	err := t.merge(ctx, p, files)
	if !errors.Is(err, errWide) {
		return err
	}
	half := len(files) / 2
	for _, part := range [][]file{files[:half], files[half:]} {
		if len(part) < 2 {
			continue // it stays as it is
		}
		if err := t.bin(ctx, p, part); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) count(files []file) {
	t.result.Inputs += len(files)
	for _, f := range files {
		t.result.Rows += f.rows
		t.result.BytesIn += f.size
	}
}

// merge stages the merged file, and swaps when much is staged: a swap costs some writes of the journal.
func (t *table) merge(ctx context.Context, p *partition, files []file) (err error) {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	if t.merger == nil {
		t.merger = newMerge(t.description, t.o.Column)
	}
	m := t.merger
	if err := m.open(ctx, t.o.Bucket, names); err != nil {
		return err
	}
	defer m.close()
	if t.plan == nil {
		if t.plan, err = m.sample(); err != nil {
			return err
		}
	}
	if t.id == "" {
		t.id = lakefiles.NewID(time.Now())
	}
	out, err := t.locked.Create(ctx, p.folder+"/"+lakefiles.OutputName(t.id, len(t.outputs), t.schema))
	if err != nil {
		return err
	}
	err = m.write(
		ctx, out, t.plan, parquet.KeyValue{Key: "acequia.swap", Value: t.id}, parquet.KeyValue{Key: "acequia.stream", Value: t.description.Stream},
		parquet.KeyValue{Key: "acequia.schema", Value: t.schema},
	)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	if err := t.sealer.Seal(ctx, out); err != nil {
		return err
	}
	t.count(files)
	t.result.Outputs++
	t.result.BytesOut += out.Bytes
	t.inputs, t.bytes = append(t.inputs, names...), t.bytes+out.Bytes
	t.outputs = append(t.outputs, out)
	if t.bytes >= t.o.Target || len(t.inputs) >= maxInputs {
		return t.swap(ctx)
	}
	return nil
}

// swap puts what is staged in the place of its inputs.
func (t *table) swap(ctx context.Context) error {
	if len(t.inputs) == 0 {
		return nil
	}
	if err := t.sealer.Wait(); err != nil {
		return err
	}
	if err := t.locked.Swap(ctx, t.id, t.inputs, blob.Publications(t.outputs), t.o.Grace); err != nil {
		return err
	}
	t.id, t.inputs, t.outputs, t.bytes = "", nil, nil, 0
	if t.o.Progress != nil {
		t.o.Progress(t.result)
	}
	return nil
}

// Expire drops the partitions of days that ended before a time.
func Expire(ctx context.Context, o Options) ([]Result, error) { return each(ctx, o, (*table).expire) }

func (t *table) expire(ctx context.Context) error {
	level := slices.IndexFunc(t.description.Partition, schemas.Partition.Dated)
	if level < 0 {
		names := make([]string, len(t.description.Partition))
		for i, p := range t.description.Partition {
			names[i] = p.Name
		}
		return &fault.Error{
			Code: "ACQ-USE-031", Place: t.description.Name,
			Err:    fmt.Errorf("the table is partitioned by %s, and that is no date: nothing says how old a partition is", strings.Join(names, ", ")),
			Remedy: "expire tables that are partitioned by dt, or by a column of dates",
		}
	}
	parts, err := t.partitions(ctx, t.description.Name)
	if err != nil {
		return err
	}
	t.id = lakefiles.NewID(time.Now())
	for _, p := range parts {
		if day, ok := dayOf(t.description, level, p.folder); !ok || day.AddDate(0, 0, 1).After(t.o.Before) {
			t.result.Open++
			continue
		}
		t.result.Left += p.left
		if len(p.files) == 0 {
			continue
		}
		t.result.Partitions++
		for i := range p.files {
			f := &p.files[i]
			if f.rows, err = rowsOf(ctx, t.o.Bucket, f.name); err != nil {
				f.rows = 0 // a damaged file may go like any other
			}
			t.inputs = append(t.inputs, f.name)
		}
		t.count(p.files)
	}
	if t.o.DryRun {
		return nil
	}
	return t.swap(ctx)
}

// dayOf reads the date of a partition; the folder of rows without one has none.
func dayOf(t *schemas.LakeTable, level int, folder string) (time.Time, bool) {
	rest := strings.TrimPrefix(folder, t.Name+"/")
	parts := strings.Split(path.Clean(rest), "/")
	if level >= len(parts) {
		return time.Time{}, false
	}
	text, ok := strings.CutPrefix(parts[level], t.Partition[level].Name+"=")
	day, err := time.Parse(time.DateOnly, text)
	return day, ok && err == nil
}
