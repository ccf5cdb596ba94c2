package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Lent is the state of an Assistant, over that of its Leader: it numbers reads, and keeps nothing.
type Lent struct {
	sources.State

	Refused atomic.Int64 // how often something was to be kept
}

// Save refuses.
func (l *Lent) Save(context.Context, string, []byte) error {
	l.Refused.Add(1)
	return sources.ErrElsewhere
}

// Hooked is a state that does something the first time that a key was loaded, before that is told.
type Hooked struct {
	sources.State

	Key  string
	Do   func()
	done atomic.Bool
}

// Load loads.
func (h *Hooked) Load(ctx context.Context, key string) ([]byte, error) {
	text, err := h.State.Load(ctx, key)
	if key == h.Key && h.done.CompareAndSwap(false, true) { // another load does not wait for it
		h.Do()
	}
	return text, err
}

// Edit changes a note, which is a JSON object.
func Edit(t *testing.T, state sources.State, key string, do func(note map[string]any)) {
	t.Helper()
	text, err := state.Load(t.Context(), key)
	note := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	if err == nil {
		do(note)
		text, err = json.Marshal(note)
	}
	if err == nil {
		err = state.Save(t.Context(), key, text)
	}
	if err != nil {
		t.Fatalf("edit %s: %v", key, err)
	}
}

// Elsewhere wants a source to give nothing of a lane but that only the process which has the pipeline can go on with it.
func Elsewhere(t *testing.T, s sources.Source, lane string, from record.Position) {
	t.Helper()
	stream, _, _ := strings.Cut(lane, "@")
	got, err := ReadPart(t.Context(), s, sources.Lane{ID: lane, Streams: []string{stream}}, from, 0)
	if !errors.Is(err, sources.ErrElsewhere) || fault.Of(err) != fault.Retryable || len(got.Rows) > 0 {
		t.Errorf("%d rows of %s behind %q, and %v", len(got.Rows), lane, from, err)
	}
}

// Part is what a lane gave that was opened once.
type Part struct {
	Rows    []string          // JSON with operation and epoch, in the order of the lane
	Numbers []uint64          // of their versions; one for all that have the same
	To      []record.Position // behind each chunk
	Given   []int             // rows up to there
}

// ReadPart reads a lane from a position to its end, or until it has given so many chunks; 0: any number of them. An error is that of Open, or
// of the first Read that failed.
func ReadPart(ctx context.Context, s sources.Source, lane sources.Lane, from record.Position, most int) (p Part, err error) {
	r, err := s.Open(ctx, lane, from)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return p, p.read(ctx, r, most)
}

// read takes chunks.
func (p *Part) read(ctx context.Context, r sources.Reader, most int) error {
	for most == 0 || len(p.To) < most {
		chunk, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.take(chunk)
		if err := r.Settle(ctx, chunk.To, nil); err != nil {
			return err
		}
	}
	return nil
}

func (p *Part) take(chunk record.Chunk) {
	for _, b := range chunk.Batches {
		for row := range b.Rows {
			v := b.System.Versions.At(row)
			p.Rows = append(p.Rows, fmt.Sprintf("%s %d %s", b.System.Op(row), v.Epoch, b.AppendJSON(nil, row)))
			p.Numbers = append(p.Numbers, v.Lo)
		}
	}
	p.Numbers = slices.Compact(p.Numbers)
	p.To, p.Given = append(p.To, chunk.To), append(p.Given, len(p.Rows))
	chunk.Release()
}

// Assist reads the lanes that a Leader lets others read: by the Leader, and by an Assistant which has them all open at the same time and goes
// on in the middle of each. Both must give the same. Numbers of versions are 0 where the log wins over all that was read, else each read has
// one of its own, above those before. It gives the rows of all lanes.
func Assist(t *testing.T, leader, assistant sources.Source, logged bool) (rows []string) {
	t.Helper()
	lanes, err := leader.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lanes = slices.DeleteFunc(lanes, func(l sources.Lane) bool { return !l.Apart })
	if len(lanes) < 2 {
		t.Fatalf("%d lanes are for others to read", len(lanes))
	}
	wants := make([]Part, len(lanes))
	for i, lane := range lanes {
		if wants[i], err = ReadPart(t.Context(), leader, lane, "", 0); err != nil || len(wants[i].To) < 3 {
			t.Fatalf("lane %s has %d chunks: %v", lane.ID, len(wants[i].To), err)
		}
		rows = append(rows, wants[i].Rows...)
	}
	var all sync.WaitGroup
	for i, lane := range lanes {
		all.Go(func() {
			if err := assist(t.Context(), assistant, lane, wants[i], logged); err != nil {
				t.Errorf("lane %s: %v", lane.ID, err)
			}
		})
	}
	all.Wait()
	return rows
}

// assist compares what an Assistant gives with what its Leader gave before.
func assist(ctx context.Context, assistant sources.Source, lane sources.Lane, want Part, logged bool) error {
	whole, err := ReadPart(ctx, assistant, lane, "", 0)
	if err != nil {
		return err
	}
	if !slices.Equal(whole.Rows, want.Rows) || !slices.Equal(whole.To, want.To) {
		return fmt.Errorf("%d rows are not the %d of the Leader", len(whole.Rows), len(want.Rows))
	}
	middle := len(want.To) / 2
	rest, err := ReadPart(ctx, assistant, lane, want.To[middle], 0)
	if err != nil {
		return err
	}
	if !slices.Equal(rest.Rows, want.Rows[want.Given[middle]:]) {
		return fmt.Errorf("%d rows behind %q are not the %d of the Leader", len(rest.Rows), want.To[middle], len(want.Rows)-want.Given[middle])
	}
	numbers := slices.Concat(want.Numbers, whole.Numbers, rest.Numbers)
	switch {
	case len(numbers) != 3:
		return fmt.Errorf("three reads have the numbers %v", numbers)
	case logged && slices.Max(numbers) > 0:
		return fmt.Errorf("the numbers are %v, and the log has to win over all", numbers)
	case !logged && (numbers[0] == 0 || numbers[1] <= numbers[0] || numbers[2] <= numbers[1]):
		return fmt.Errorf("the numbers %v do not ascend", numbers)
	}
	return nil
}

// Apart compares which lanes are for others to read, and which are not: as STREAM/PART without the epoch, sorted, where N stands for the
// numbered parts.
func Apart(t *testing.T, lanes []sources.Lane, apart, not []string) {
	t.Helper()
	var are, others []string
	for _, l := range lanes {
		name, _, _ := strings.Cut(l.ID, "@")
		if at := strings.LastIndexByte(l.ID, '/'); at >= 0 {
			part := l.ID[at+1:]
			if _, err := strconv.Atoi(part); err == nil {
				part = "N"
			}
			name += "/" + part
		}
		if l.Apart {
			are = append(are, name)
			continue
		}
		others = append(others, name)
	}
	slices.Sort(are)
	slices.Sort(others)
	are, others = slices.Compact(are), slices.Compact(others)
	if !slices.Equal(are, apart) || !slices.Equal(others, not) {
		t.Errorf("lanes for others are %q, want %q; the rest are %q, want %q", are, apart, others, not)
	}
}

// AcrossAnEpoch opens a lane of the first incarnation of a stream in an Assistant, lets the Leader go on to the second while the note of the
// first is on its way, and opens a lane of that one, too. Far behind its beginning must be something that the Leader has not noted: it must be
// told as the Leader's to go on with, though the other lane's note came last.
func AcrossAnEpoch(t *testing.T, state sources.State, key, stream string, assistant func(state sources.State) sources.Source, next func()) {
	t.Helper()
	loaded, release := make(chan struct{}), make(chan struct{})
	s := assistant(&Lent{State: &Hooked{State: state, Key: key, Do: func() {
		close(loaded)
		<-release
	}}})
	var both sync.WaitGroup
	opening := func(epoch int) *sources.Reader {
		lane, r := sources.Lane{ID: fmt.Sprintf("%s@%d/0", stream, epoch), Streams: []string{stream}}, new(sources.Reader)
		both.Go(func() {
			var err error
			if *r, err = s.Open(t.Context(), lane, ""); err != nil {
				t.Errorf("open %s: %v", lane.ID, err)
			}
		})
		return r
	}
	old := opening(1)
	<-loaded
	next()
	now := opening(2)
	timer := time.NewTimer(time.Second) // that a lane waits for another cannot be seen otherwise
	<-timer.C
	close(release)
	both.Wait()
	if t.Failed() {
		return
	}
	var p Part
	err := p.read(t.Context(), *now, 0)
	if !errors.Is(err, sources.ErrElsewhere) || len(p.To) == 0 {
		t.Errorf("the part ends after %d chunks with %v", len(p.To), err)
	}
	if err := errors.Join((*old).Close(), (*now).Close()); err != nil {
		t.Error(err)
	}
}
