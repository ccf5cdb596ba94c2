package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// protection is what keeps the register whole when it is killed. A child may lack one.
type protection string

const (
	savedIntents     protection = "intents are saved before anything is published"
	rollForward      protection = "a pending intent is rolled forward"
	recoveryPublish  protection = "recovery publishes what an intent names"
	savedPosition    protection = "the checkpoint holds the position"
	checkpointOrder  protection = "the checkpoint is saved after the files are published"
	sweeping         protection = "recovery sweeps what was staged"
	steadyNames      protection = "publish is repeated under the same name"
	durableAnswers   protection = "the form answers when the item is on disk"
	storedKeys       protection = "idempotency keys are stored with the item"
	readersBlockTrim protection = "the change log is trimmed behind its reader"
	epochFencing     protection = "state writes are fenced by the epoch"
	durableConfirms  protection = "messages of a bus are confirmed when their records are durable"
	memoryNotBefore  protection = "what a step remembers is not saved before the intent of its group"
	memoryNotAfter   protection = "what a step remembers is not saved after the checkpoint of its group"
)

const (
	itemsPipeline = "videogames-items"
	lakePipeline  = "videogames-lake"
)

// weaken takes the protection that the order names out of a pipeline.
func (o order) weaken(p *routers.Pipeline, options *routers.Options) {
	if store, ok := options.Store.(*checkpoint.Store); ok && o.Without != "" {
		options.Store = &weakStore{Store: store, without: o.Without, memory: memoryApart{file: filepath.Join(o.Dir, ".acequia", "state.db"), probe: options.Probe}}
	}
	switch {
	case p.Name == lakePipeline && (o.Without == sweeping || o.Without == steadyNames || o.Without == savedIntents):
		p.Sinks[0].Sink = &weakSink{Sink: p.Sinks[0].Sink, without: o.Without}
	case p.Name == itemsPipeline && (o.Without == durableAnswers || o.Without == storedKeys),
		p.Name == lakePipeline && o.Without == readersBlockTrim, p.Name == receivingPipeline && o.Without == durableConfirms:
		p.Source = &weakSource{Source: p.Source, without: o.Without, items: filepath.Join(o.Dir, "items.db")}
	}
}

// weakStore is the state of the pipelines with a protection taken out.
type weakStore struct {
	*checkpoint.Store
	without  protection
	position record.Position // of the one lane of the lake
	memory   memoryApart
}

func (w *weakStore) Acquire(ctx context.Context, lane checkpoint.Lane) (checkpoint.State, error) {
	st, err := w.Store.Acquire(ctx, lane)
	if err != nil {
		return st, err
	}
	pending := st.Pending
	switch {
	case w.without == savedPosition && lane.Pipeline == lakePipeline:
		w.position = st.Position
	case w.without == rollForward && pending != nil: // forget it, read again
		st.Group, st.Pending = pending.Group, nil
		err = w.Store.SaveCheckpoint(ctx, lane, st.Epoch, checkpoint.Intent{Group: pending.Group, To: st.Position})
	case w.without == recoveryPublish && pending != nil: // believe that it was published
		st.Group, st.Position, st.Pending = pending.Group, pending.To, nil
		err = w.Store.SaveCheckpoint(ctx, lane, st.Epoch, *pending)
	}
	return st, err
}

func (w *weakStore) SaveIntent(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	switch w.without {
	case savedIntents:
		return nil
	case checkpointOrder:
		return w.Store.SaveCheckpoint(ctx, lane, epoch, in)
	case epochFencing:
		epoch, in.Group = w.unfenced(ctx, lane)
	case memoryNotBefore:
		if err := w.memory.save(ctx, lane, in); err != nil {
			return err
		}
		w.memory.probe(inMemory)
		in.Memory = nil
	case memoryNotAfter:
		w.memory.hold(lane, in)
		in.Memory = nil
	default:
	}
	return w.Store.SaveIntent(ctx, lane, epoch, in)
}

func (w *weakStore) SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	switch w.without {
	case savedPosition:
		in.To = w.position
	case checkpointOrder:
		return nil // it was
	case epochFencing:
		epoch, in.Group = w.unfenced(ctx, lane)
	case memoryNotAfter:
		held := w.memory.held(lane, in)
		in.Memory = nil
		if err := w.Store.SaveCheckpoint(ctx, lane, epoch, in); err != nil {
			return err
		}
		w.memory.probe(inMemory)
		return w.memory.save(ctx, lane, held)
	default:
	}
	return w.Store.SaveCheckpoint(ctx, lane, epoch, in)
}

// unfenced gives what the store wants to see of the lane's owner, whoever that is.
func (w *weakStore) unfenced(ctx context.Context, lane checkpoint.Lane) (epoch, group int64) {
	lanes, err := w.Lanes(ctx, lane.Pipeline)
	if err != nil || len(lanes) != 1 {
		return 0, 0
	}
	return lanes[0].Epoch, lanes[0].Group + 1
}

// weakSink is the lake with a protection taken out.
type weakSink struct {
	sinks.Sink
	without protection
}

func (s *weakSink) Open(ctx context.Context, lane sinks.Lane) (sinks.Writer, error) {
	w, err := s.Sink.Open(ctx, lane)
	if err != nil || s.without == sweeping {
		return struct{ sinks.Writer }{w}, err // it is no sinks.Recoverer any more
	}
	r, ok := w.(sinks.Recoverer)
	if !ok {
		return nil, errors.New("the lake cannot recover")
	}
	if s.without == savedIntents { // it is no sinks.Prover: files without an intent would be found before they are doubled
		return struct {
			sinks.Writer
			sinks.Recoverer
		}{w, r}, nil
	}
	return &renaming{Writer: w, Recoverer: r, epoch: lane.Epoch}, nil
}

// renaming publishes under names of its incarnation.
type renaming struct {
	sinks.Writer
	sinks.Recoverer
	epoch int64
}

func (r *renaming) Publish(ctx context.Context, m sinks.Manifest) error {
	named := sinks.Manifest{Files: append([]sinks.File(nil), m.Files...)}
	for i := range named.Files {
		f := &named.Files[i]
		f.Name = fmt.Sprintf("%s-again%d.parquet", strings.TrimSuffix(f.Name, ".parquet"), r.epoch)
	}
	return r.Writer.Publish(ctx, named)
}

// weakSource is the form, or the changes of the items, with a protection taken out.
type weakSource struct {
	sources.Source
	without protection
	items   string
}

func (s *weakSource) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := s.Source.Open(ctx, lane, from)
	return &weakReader{Reader: r, source: s}, err
}

type weakReader struct {
	sources.Reader
	source *weakSource
}

func (r *weakReader) Read(ctx context.Context) (record.Chunk, error) {
	chunk, err := r.Reader.Read(ctx)
	if err != nil {
		return chunk, err
	}
	switch r.source.without {
	case durableAnswers, durableConfirms:
		err = r.Reader.Settle(ctx, chunk.To, nil)
	case storedKeys:
		kept := chunk.Batches[:0]
		for _, b := range chunk.Batches {
			if b.Schema.Stream == "form_keys" {
				b.Release()
				continue
			}
			kept = append(kept, b)
		}
		chunk.Batches = kept
	case readersBlockTrim:
		err = trimTo(ctx, r.source.items, chunk.To)
	default:
	}
	return chunk, err
}

func (r *weakReader) Settle(ctx context.Context, upTo record.Position, err error) error {
	if r.source.without == durableAnswers || r.source.without == durableConfirms {
		return nil // it was
	}
	return r.Reader.Settle(ctx, upTo, err)
}

// trimTo removes the changes up to a position, as the item store does with those that are old and settled.
func trimTo(ctx context.Context, items string, to record.Position) error {
	seq, err := strconv.ParseInt(string(to), 10, 64)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+items+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `begin immediate;
		delete from change where id <= (select id << 48 from tbl where name = 'videogames') + ?1
			and id >= (select id << 48 from tbl where name = 'videogames');
		update tbl set trimmed = max(trimmed, ?1) where name = 'videogames'; commit`, seq)
	return errors.Join(err, db.Close())
}
