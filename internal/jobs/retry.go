package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// ReadStep is the step of what a source could make no record of.
const ReadStep = "read"

// Retry makes a pipeline of the rest of another: it sends the chosen dead letters of one step or sink through that step
// and what comes after it, into the sinks that have not had them. in is the schema of the records that the step was
// given. Records keep their versions. What is durable is forgotten; what is refused again is tried once more often.
func Retry(p routers.Pipeline, store *checkpoint.Store, by checkpoint.Refuser, in *record.Schema) (routers.Pipeline, *Letters, error) {
	letters := &Letters{store: store, by: by, schema: in, drained: make(chan struct{})}
	for _, s := range p.Sinks {
		letters.sinks = append(letters.sinks, s.Name)
	}
	p.Source, p.Slots = letters, 1
	if by.Step == ReadStep {
		return p, letters, nil
	}
	for i, s := range p.Steps {
		if s.Name == by.Step {
			p.Steps = p.Steps[i:]
			return p, letters, nil
		}
	}
	for i, s := range p.Sinks {
		if s.Name == by.Step {
			p.Steps, p.Sinks = nil, p.Sinks[i:i+1]
			return p, letters, nil
		}
	}
	return p, nil, fmt.Errorf("pipeline %s has no step and no sink %q any more", by.Pipeline, by.Step)
}

// Letters is a source over chosen dead letters. Its lane never ends, so that the next time goes on with it: Drained
// tells when there is nothing left.
type Letters struct {
	store  *checkpoint.Store
	by     checkpoint.Refuser
	schema *record.Schema
	sinks  []string // that the pipeline has

	once    sync.Once
	drained chan struct{}
}

var _ sources.Source = (*Letters)(nil)

// State is the store for the run of the retry: refusals of it are told of the letters that are behind them.
func (l *Letters) State() routers.Store { return &traced{l.store, l} }

type traced struct {
	*checkpoint.Store
	letters *Letters
}

// SaveCheckpoint traces the refusals, also those of an intent that is rolled forward: their letters are settled later.
func (t *traced) SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	if err := t.trace(ctx, &in); err != nil {
		return err
	}
	return t.Store.SaveCheckpoint(ctx, lane, epoch, in)
}

func (t *traced) trace(ctx context.Context, in *checkpoint.Intent) error {
	n, err := numberOf(in.To)
	if err != nil || len(in.DeadLetters) == 0 {
		return err
	}
	in.DeadLetters = slices.Clone(in.DeadLetters)
	for i := range in.DeadLetters {
		if in.DeadLetters[i].Step == ReadStep { // no record could be made of it for the step that it waits for
			in.DeadLetters[i].Step = t.letters.by.Step
		}
	}
	return t.TraceDeadLetters(ctx, t.letters.by, n, in.DeadLetters)
}

// Drained is closed when all the chosen are durable: what was only read would be given up by an orderly stop.
func (l *Letters) Drained() <-chan struct{} { return l.drained }

// Lanes gives the one lane.
func (l *Letters) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "retry/" + l.by.Stream + "/" + l.by.Step, Streams: []string{l.by.Stream}, Replayable: true}}, nil
}

// positionPrefix tells positions of retries from those of other lanes; a number follows.
const positionPrefix = "retry/"

func numberOf(p record.Position) (int64, error) {
	if p == "" {
		return 0, nil
	}
	text, ok := strings.CutPrefix(string(p), positionPrefix)
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is no position of a retry", p)
	}
	return n, nil
}

// Open forgets what the position says is durable, and reads on after it.
func (l *Letters) Open(ctx context.Context, _ sources.Lane, from record.Position) (sources.Reader, error) {
	n, err := numberOf(from)
	if err != nil {
		return nil, err
	}
	if err := l.store.SettleDeadLetters(ctx, l.by, n); err != nil {
		return nil, err
	}
	return &letterReader{Letters: l, next: n, settled: n, closed: make(chan struct{})}, nil
}

type letterReader struct {
	*Letters
	next   int64 // the last that was read
	closed chan struct{}

	mu      sync.Mutex
	last    bool // nothing comes after next
	settled int64
}

// note keeps what is known of the end, and tells when it has come.
func (r *letterReader) note(last bool, settled int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.settled = r.last || last, max(r.settled, settled)
	if r.last && r.settled >= r.next {
		r.once.Do(func() { close(r.drained) })
	}
}

// lettersPerChunk bounds a chunk.
const lettersPerChunk = 1000

// Read gives the next of the chosen, or waits when there are none.
func (r *letterReader) Read(ctx context.Context) (record.Chunk, error) {
	letters, err := r.store.ChosenDeadLetters(ctx, r.by, r.next, lettersPerChunk)
	if err != nil {
		return record.Chunk{}, err
	}
	if len(letters) == 0 {
		r.note(true, 0)
		select {
		case <-ctx.Done():
			return record.Chunk{}, ctx.Err()
		case <-r.closed:
			return record.Chunk{}, errors.New("the reader of dead letters is closed")
		}
	}
	r.next = letters[len(letters)-1].Retry
	chunk := record.Chunk{To: record.Position(positionPrefix + strconv.FormatInt(r.next, 10)), ReadAt: time.Now()}
	// A batch has one source and one epoch, and here one route: letters of another make another batch.
	for len(letters) > 0 {
		n, epoch := 1, epochOf(&letters[0])
		for n < len(letters) && letters[n].Source == letters[0].Source && epochOf(&letters[n]) == epoch &&
			slices.Equal(letters[n].Sinks, letters[0].Sinks) {
			n++
		}
		batch, refused := r.batch(letters[:n], epoch)
		if batch != nil {
			chunk.Batches = append(chunk.Batches, batch)
		}
		chunk.Refused = append(chunk.Refused, refused...)
		letters = letters[n:]
	}
	return chunk, nil
}

func epochOf(d *checkpoint.DeadLetter) uint16 {
	v, err := record.ParseVersion(d.Version)
	if err != nil {
		return 0
	}
	return v.Epoch
}

// batch makes records of letters again.
func (r *letterReader) batch(letters []checkpoint.DeadLetter, epoch uint16) (*record.Batch, []record.Refused) {
	b := record.NewBuilder(r.schema, len(letters))
	sys := b.System()
	sys.Versions.Epoch = epoch
	var refused []record.Refused
	for i := range letters {
		d := &letters[i]
		if err := r.append(b, d); err != nil {
			refused = append(refused, unfit(d, err))
		}
	}
	if b.Rows() == 0 {
		return nil, refused
	}
	sys.Source, sys.IngestTime = letters[0].Source, time.Now().UnixMicro()
	if to := letters[0].Sinks; len(to) > 0 { // a step before had said where it goes
		sys.Routes = record.Routes{Sinks: to, Rows: []uint64{1<<len(to) - 1}}
	}
	return b.Batch(nil), refused
}

// unfit keeps what is known of a letter of which no record can be made.
func unfit(d *checkpoint.DeadLetter, err error) record.Refused {
	out := record.Refused{Stream: d.Stream, Column: d.Column, Err: err, Raw: d.Raw, EventID: d.Identity(), Source: d.Source}
	if len(out.Raw) == 0 {
		out.Raw = d.Row
	}
	if version, err := record.ParseVersion(d.Version); err == nil {
		out.Version = version
	}
	if !d.Event.IsZero() {
		out.EventTime = d.Event.UnixMicro()
	}
	return out
}

// unmended refuses a letter that has no record, for the reason that it had.
type unmended struct{ letter *checkpoint.DeadLetter }

func (u unmended) Error() string { return u.letter.Reason }

func (u unmended) Unwrap() error { return &fault.Error{Class: fault.Poison, Code: u.letter.Code} }

// append adds the record of a letter, with what acequia knew of it.
func (r *letterReader) append(b *record.Builder, d *checkpoint.DeadLetter) error {
	if len(d.Row) == 0 {
		return unmended{d}
	}
	if len(d.Sinks) > 0 && !slices.ContainsFunc(d.Sinks, func(name string) bool { return slices.Contains(r.sinks, name) }) {
		return fmt.Errorf("the pipeline has none of the sinks that it is for: %s", strings.Join(d.Sinks, ", "))
	}
	var version record.Version
	if d.Version != "" {
		var err error
		if version, err = record.ParseVersion(d.Version); err != nil {
			return err
		}
	}
	if err := b.AppendPartJSON(d.Row, d.Absent); err != nil {
		return err
	}
	op := record.Snapshot
	if len(d.Op) == 1 {
		op = record.Op(d.Op[0])
	}
	event := d.Event
	if event.IsZero() {
		event = d.At
	}
	sys := b.System()
	sys.Ops = append(sys.Ops, op)
	v := &sys.Versions
	v.Hi, v.Lo, v.Index = append(v.Hi, version.Hi), append(v.Lo, version.Lo), append(v.Index, version.Index)
	sys.EventTimes = append(sys.EventTimes, event.UnixMicro())
	sys.EventIDs.AppendText([]byte(d.Identity()))
	return nil
}

// Settle forgets what is durable; what is refused stays.
func (r *letterReader) Settle(ctx context.Context, upTo record.Position, err error) error {
	if err != nil {
		return nil //nolint:nilerr // it is read again
	}
	n, err := numberOf(upTo)
	if err != nil {
		return err
	}
	if err := r.store.SettleDeadLetters(ctx, r.by, n); err != nil {
		return err
	}
	r.note(false, n)
	return nil
}

// Close ends a Read under way.
func (r *letterReader) Close() error {
	close(r.closed)
	return nil
}
