package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks/discard"
	"github.com/acequia-io/acequia/sources"
)

// ticks is a source that never ends: rows with ids that count up, of which every tenth cannot pass.
type ticks struct{ schema *record.Schema }

const (
	tickRows = 20
	tickEnd  = 4000 // from here on it waits for more: a slow machine has no more to do than a fast one
)

func ticksPlugin() sources.Plugin {
	schema, err := record.NewSchema("ticks", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "year", Kind: record.Int64})
	return sources.Plugin{
		Type: "ticks", Config: func() any { return &struct{}{} },
		Schemas: func(context.Context, any) ([]*record.Schema, error) { return []*record.Schema{schema}, err },
		New:     func(context.Context, any, sources.Host) (sources.Source, error) { return &ticks{schema}, nil },
	}
}

// Lanes gives one.
func (s *ticks) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "ticks", Streams: []string{"ticks"}, Replayable: true}}, nil
}

// Open begins at a number.
func (s *ticks) Open(_ context.Context, _ sources.Lane, from record.Position) (sources.Reader, error) {
	at, err := strconv.Atoi("0" + string(from))
	return &tickReader{ticks: s, at: at, tick: time.NewTicker(20 * time.Millisecond)}, err
}

type tickReader struct {
	*ticks
	at   int
	tick *time.Ticker
}

// Read gives the next rows.
func (r *tickReader) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case <-r.tick.C:
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
	if r.at >= tickEnd {
		<-ctx.Done()
		return record.Chunk{}, ctx.Err()
	}
	b := record.NewBuilder(r.schema, tickRows)
	sys := b.System()
	for range tickRows {
		b.Int(0, int64(r.at))
		b.Int(1, int64(2000+min(r.at%10, 1)))
		b.Next()
		sys.Ops = append(sys.Ops, record.Insert)
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(r.at+1)) //nolint:gosec // counted up
		sys.EventIDs.AppendText(strconv.AppendInt(nil, int64(r.at), 10))
		r.at++
	}
	sys.IngestTime = time.Now().UnixMicro()
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: record.Position(strconv.Itoa(r.at)), ReadAt: time.Now()}, nil
}

// Settle has nothing to do.
func (r *tickReader) Settle(context.Context, record.Position, error) error { return nil }

// Close stops the clock.
func (r *tickReader) Close() error { r.tick.Stop(); return nil }

const ticking = `version: 1
sources: { ticks: { type: ticks } }
sinks: { lake: { type: lake, url: lake, roll: { every: 20ms } } }
pipelines: { ticks: { from: ticks, steps: [ { derive: { part: '100 / (row.year - 2000)' } } ], to: [lake] } }
`

// openTicks opens the service in a folder.
func openTicks(t *testing.T, dir string) *Service {
	t.Helper()
	plugins, err := catalog.Join(catalog.Default(), catalog.Catalog{Sources: []sources.Plugin{ticksPlugin()}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ticks.yaml")
	if err := os.WriteFile(path, []byte(ticking), 0o600); err != nil {
		t.Fatal(err)
	}
	project, problems, err := LoadProject(t.Context(), plugins, []string{path}, func(string) (string, bool) { return "", false })
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	service, err := project.Open(t.Context(), ServiceOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// startTicks runs the service; stop ends it in order.
func startTicks(t *testing.T, dir string) (desk *letterDesk, stop func()) {
	t.Helper()
	service := openTicks(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var runErr error
	running.Go(func() { runErr = service.Run(ctx, 0) })
	return service.desk, func() {
		cancel()
		running.Wait()
		if err := errors.Join(runErr, service.Close(context.WithoutCancel(ctx))); err != nil {
			t.Error(err)
		}
	}
}

// waitFor asks until it is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(what)
		}
	}
}

func find(t *testing.T, desk web.Letters, f checkpoint.LetterFilter, limit int) web.Found {
	t.Helper()
	found, err := desk.Find(t.Context(), f, 0, limit)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// idOf is the id of the record of a letter.
func idOf(t *testing.T, d *checkpoint.DeadLetter) int {
	t.Helper()
	id, err := strconv.Atoi(d.EventID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// inLake counts the ids in the lake of a folder.
func inLake(t *testing.T, dir string) map[int]int {
	t.Helper()
	seen := map[int]int{}
	err := filepath.WalkDir(filepath.Join(dir, "lake", "ticks"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rows, err := parquet.ReadFile[struct {
			ID int64 `parquet:"id"`
		}](path)
		for _, r := range rows {
			seen[int(r.ID)]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// TestRetryWhileThePipelineRuns mends dead letters of a pipeline that goes on making them, and sends them again in rounds
// of which each leaves one as it is. Every record that passes is in the lake once, and neither disturbs the other.
func TestRetryWhileThePipelineRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	desk, stop := startTicks(t, dir)
	mended, left := map[int]bool{}, map[int64]int64{}
	for range 6 {
		var found web.Found
		waitFor(t, "there are no dead letters", func() bool {
			found = find(t, desk, checkpoint.LetterFilter{Pipeline: "ticks", Step: "derive", Text: `"year":2000`}, 40)
			return len(found.Letters) == 40
		})
		f := checkpoint.LetterFilter{}
		for i := range found.Letters {
			d := &found.Letters[i]
			f.IDs = append(f.IDs, d.ID)
			if i == 0 {
				left[d.ID] = max(left[d.ID], d.Attempts) + 1
				continue
			}
			mended[idOf(t, d)] = true
			delete(left, d.ID)
			if err := desk.Edit(t.Context(), d.ID, fmt.Appendf(nil, `{"id":%s,"year":2001}`, d.EventID)); err != nil {
				t.Fatal(err)
			}
		}
		if err := desk.Retry(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the retry does not end", func() bool { return !desk.retries()[0].Ended.IsZero() })
		if last := desk.retries()[0]; last.Err != nil || last.Chosen != 40 || last.Passed != 39 || last.Refused != 1 {
			t.Fatalf("%+v", last)
		}
	}
	for id, attempts := range left {
		found := find(t, desk, checkpoint.LetterFilter{IDs: []int64{id}}, 1)
		if len(found.Letters) != 1 || found.Letters[0].Attempts != attempts || !found.Letters[0].First.Before(found.Letters[0].At) {
			t.Errorf("want %d attempts: %+v", attempts, found.Letters)
		}
	}
	stop()
	seen, greatest := inLake(t, dir), 0
	for id, n := range seen {
		greatest = max(greatest, id)
		if n != 1 || id%10 == 0 && !mended[id] {
			t.Errorf("%d is there %d times", id, n)
		}
	}
	for id := range greatest {
		if seen[id] == 0 && (id%10 != 0 || mended[id]) {
			t.Errorf("%d is lost", id)
		}
	}
	if len(mended) < 200 || greatest < 500 {
		t.Error(len(mended), greatest)
	}
}

// TestOneRetryAtATime holds a retry, and finds that nothing else touches the letters of its pipeline until it has ended.
func TestOneRetryAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	desk, stop := startTicks(t, dir)
	defer stop()
	waitFor(t, "there are no dead letters", func() bool { return find(t, desk, checkpoint.LetterFilter{}, 0).Total() > 10 })
	letters := find(t, desk, checkpoint.LetterFilter{}, 10).Letters
	one := checkpoint.LetterFilter{IDs: []int64{letters[0].ID}}
	desk.mu.Lock()
	desk.last["ticks"] = &web.Retry{Pipeline: "ticks", Began: time.Now()} // under way
	desk.mu.Unlock()
	_, dropErr := desk.Drop(t.Context(), one)
	for what, err := range map[string]error{
		"retry": desk.Retry(t.Context(), one), "drop": dropErr, "edit": desk.Edit(t.Context(), letters[0].ID, []byte(`{"id":1,"year":1}`)),
	} {
		if fault.Code(err) != "ACQ-DLQ-003" {
			t.Errorf("%s: %v", what, err)
		}
	}
	desk.mu.Lock()
	delete(desk.last, "ticks")
	desk.mu.Unlock()
	for row, want := range map[string]string{`{"id":1,"yeer":1}`: "yeer: unknown column", `{"id":"x","year":1}`: "id: ", `{"id":`: ""} {
		if err := desk.Edit(t.Context(), letters[0].ID, []byte(row)); fault.Code(err) != "ACQ-DLQ-004" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", row, err)
		}
	}
	if err := desk.Edit(t.Context(), 1<<40, []byte(`{}`)); !errors.Is(err, web.ErrNoLetter) {
		t.Error(err)
	}
	if n, err := desk.Drop(t.Context(), one); n != 1 || err != nil {
		t.Error(n, err)
	}
	if left := find(t, desk, one, 1); len(left.Letters) != 0 {
		t.Errorf("%+v", left.Letters)
	}
}

// TestLettersOfNoPipeline belong to a pipeline that is gone: they can be dropped, and not sent.
func TestLettersOfNoPipeline(t *testing.T) {
	t.Parallel()
	service := openTicks(t, t.TempDir())
	defer func() {
		if err := service.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	lane := checkpoint.Lane{Pipeline: "gone", ID: "a"}
	state, err := service.state.Acquire(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	in := checkpoint.Intent{Group: 1, To: "1", DeadLetters: []checkpoint.DeadLetter{{Stream: "s", Position: "1", Step: "x", At: time.Now()}}}
	if err := service.state.SaveCheckpoint(t.Context(), lane, state.Epoch, in); err != nil {
		t.Fatal(err)
	}
	if err := service.desk.Retry(t.Context(), checkpoint.LetterFilter{UpTo: 1}); fault.Code(err) != "ACQ-USE-005" {
		t.Error(err)
	}
	if n, err := service.desk.Drop(t.Context(), checkpoint.LetterFilter{Pipeline: "gone"}); n != 1 || err != nil {
		t.Error(n, err)
	}
	service.desk.close()
	if err := service.desk.Retry(t.Context(), checkpoint.LetterFilter{}); fault.Code(err) != "ACQ-DLQ-005" {
		t.Error(err)
	}
}

// TestSlowRetry sends letters through a step that is slower than they are read: what waits before it is sent, too.
func TestSlowRetry(t *testing.T) {
	t.Parallel()
	store, err := checkpoint.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	lane, in := checkpoint.Lane{Pipeline: "slow", ID: "a"}, checkpoint.Intent{Group: 1, To: "1"}
	state, err := store.Acquire(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	const letters = 4500
	for i := range letters {
		in.DeadLetters = append(in.DeadLetters, checkpoint.DeadLetter{
			Stream: "s", Position: "1", Index: int64(i), Step: "wait", Row: fmt.Appendf(nil, `{"id":%d}`, i), At: time.Now(),
		})
	}
	if err := store.SaveCheckpoint(t.Context(), lane, state.Epoch, in); err != nil {
		t.Fatal(err)
	}
	schema, err := record.NewSchema("s", []string{"id"}, record.Field{Name: "id", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	wait := handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
		<-time.After(50 * time.Millisecond)
		return []*record.Batch{b.Retain()}, nil
	})
	desk := newLetterDesk(store, routers.Options{Log: slog.New(slog.DiscardHandler)}, nil)
	defer desk.close()
	desk.add(routers.Pipeline{
		Name: "slow", Source: &ticks{schema}, Steps: []routers.Step{{Name: "wait", Handler: wait}}, Sinks: []routers.NamedSink{{Name: "nowhere", Sink: discard.New(slog.New(slog.DiscardHandler))}},
		Limits: routers.Limits{Age: time.Hour},
	}, func(checkpoint.Refuser) *record.Schema { return schema })
	got, err := desk.retry(t.Context(), checkpoint.LetterFilter{Pipeline: "slow"})
	if err != nil || got.Passed != letters || got.Refused != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := store.CountDeadLetters(t.Context(), "slow"); n != 0 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
}
