package compaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

const day = int64(24 * time.Hour / time.Microsecond)

// world is a lake with the state of the pipeline that feeds it.
type world struct {
	root   string // of a lake in a directory
	bucket blob.Bucket
	lake   *lake.Lake
	state  *checkpoint.Store
	lane   checkpoint.Lane
	epoch  int64
	group  int64
}

func newWorld(ctx context.Context, dir string, partition ...string) (*world, error) {
	root := filepath.Join(dir, "lake")
	return newWorldAt(ctx, dir, lake.Config{URL: root, Partition: partition})
}

func newWorldAt(ctx context.Context, dir string, c lake.Config) (*world, error) {
	w := &world{root: c.URL, lane: checkpoint.Lane{Pipeline: "p", ID: "a"}}
	var err error
	if w.lake, err = lake.New(ctx, c, 0, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if w.bucket, err = c.Bucket(ctx); err != nil {
		return nil, err
	}
	if w.state, err = checkpoint.Open(ctx, filepath.Join(dir, "state.db")); err != nil {
		return nil, err
	}
	taken, err := w.state.Acquire(ctx, w.lane)
	w.epoch, w.group = taken.Epoch, taken.Group
	return w, err
}

func start(t *testing.T, partition ...string) *world {
	t.Helper()
	w, err := newWorld(t.Context(), t.TempDir(), partition...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.state.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// commit takes batches through the protocol, as far as the step that is named: stage, intent, publish or checkpoint.
func (w *world) commit(ctx context.Context, step string, batches ...*record.Batch) error {
	out, err := w.lake.Open(ctx, sinks.Lane{Pipeline: w.lane.Pipeline, ID: w.lane.ID, Epoch: w.epoch})
	if err != nil {
		return err
	}
	for _, b := range batches {
		if err := out.Write(ctx, b); err != nil {
			return err
		}
	}
	w.group++
	m, err := out.Cut(sinks.Group{Ordinal: w.group}).Stage(ctx)
	if err != nil || step == "stage" {
		return errors.Join(err, out.Close(ctx))
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	in := checkpoint.Intent{Group: w.group, To: record.Position(fmt.Sprint(w.group)), Manifests: map[string]json.RawMessage{"lake": text}}
	if err := w.state.SaveIntent(ctx, w.lane, w.epoch, in); err != nil || step == "intent" {
		return err
	}
	if err := out.Publish(ctx, m); err != nil || step == "publish" {
		return err
	}
	return errors.Join(w.state.SaveCheckpoint(ctx, w.lane, w.epoch, in), out.Close(ctx))
}

// recover does what a router does with a lane that it takes over: it rolls the pending group forward.
func (w *world) recover(ctx context.Context) error {
	taken, err := w.state.Acquire(ctx, w.lane)
	if err != nil || taken.Pending == nil {
		return err
	}
	w.epoch = taken.Epoch
	out, err := w.lake.Open(ctx, sinks.Lane{Pipeline: w.lane.Pipeline, ID: w.lane.ID, Epoch: w.epoch})
	if err != nil {
		return err
	}
	var m sinks.Manifest
	if err := json.Unmarshal(taken.Pending.Manifests["lake"], &m); err != nil {
		return err
	}
	if err := out.Publish(ctx, m); err != nil {
		return err
	}
	return errors.Join(w.state.SaveCheckpoint(ctx, w.lane, w.epoch, *taken.Pending), out.Close(ctx))
}

func (w *world) options() Options { return Options{Bucket: w.bucket, Lanes: w.state} }

func gamesSchema() (*record.Schema, error) {
	return record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "title", Kind: record.String, Nullable: true})
}

// games gives rows [lo,hi), of as many days, from 2026-01-01 on.
func games(lo, hi, days int) (*record.Batch, error) {
	schema, err := gamesSchema()
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(schema, hi-lo)
	for i := hi - 1; i >= lo; i-- {
		b.Int(0, int64(i))
		b.String(1, fmt.Sprintf("game %d", i))
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, (20_454+int64(i%days))*day+int64(i))
		b.System().Versions.Lo = append(b.System().Versions.Lo, uint64(i)) //nolint:gosec // small
	}
	return b.Batch(nil), nil
}

// fill commits groups of some rows each.
func (w *world) fill(ctx context.Context, groups, rows, days int) error {
	for range groups {
		b, err := games(int(w.group)*rows, (int(w.group)+1)*rows, days)
		if err != nil {
			return err
		}
		if err := w.commit(ctx, "checkpoint", b); err != nil {
			return err
		}
	}
	return nil
}

func describedTable(root, name string) (*schemas.LakeTable, error) {
	all, err := query.ReadDescriptions(context.Background(), blob.Within(root))
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(all, func(t *schemas.LakeTable) bool { return t.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("no table %s", name)
	}
	return all[at], nil
}

// rowsIn gives the rows of files as text, by the fields of the table, in the order of the files.
func rowsIn(root, name string, files []string) (rows []string, err error) {
	t, err := describedTable(root, name)
	if err != nil {
		return nil, err
	}
	fields := append(append([]record.Field{}, t.Columns...), schemas.SystemFields()...)
	for _, file := range files {
		found, err := rowsOfFile(filepath.Join(root, file), fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

func rowsOfFile(path string, fields []record.Field) (rows []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	footer, err := parquet.Open(f, info.Size())
	if err != nil {
		return nil, err
	}
	wanted, err := footer.Bind(fields)
	if err != nil {
		return nil, err
	}
	r := parquet.NewReader(footer, wanted)
	defer func() { err = errors.Join(err, r.Close()) }()
	columns := make([]record.Column, len(fields))
	for {
		n, misfits, err := r.Read(columns, 1000)
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil || len(misfits) > 0 {
			return nil, fmt.Errorf("%w %v", err, misfits)
		}
		for row := range n {
			var text strings.Builder
			for i, field := range fields {
				fmt.Fprintf(&text, "%s=%s ", field.Name, parquettest.Value(field, &columns[i], row))
			}
			rows = append(rows, text.String())
		}
	}
}

// live gives the sorted rows that count, and the files that they are in.
func (w *world) live(t interface {
	Helper()
	Fatal(args ...any)
}, table string,
) (rows, files []string) {
	t.Helper()
	files, err := lakefiles.List(context.Background(), blob.Within(w.root), table)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err = rowsIn(w.root, table, files); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows, files
}
