package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources/lake"
)

// Replay makes a pipeline of another: its source is taken out, and a lake put in. Records keep their versions, so that a
// sink that keeps the newest copy of a key is never set back. Steps remember nothing but the run's own records: all that is
// read has passed once already.
func Replay(p routers.Pipeline, from *lake.Source, run *ReplayRun) routers.Pipeline {
	from.Fix(run.Lanes(), run.Files)
	p.Source, p.Slots = from, ReplaySlots()
	p.Steps = slices.Clone(p.Steps)
	for i, s := range p.Steps {
		if stateful, ok := s.Handler.(handlers.Stateful); ok {
			p.Steps[i].Handler = ofRun{stateful, run}
		}
	}
	if p.Limits.Rows == 0 { // all lanes come at full speed: their open files share the memory
		p.Limits.Rows = groupRows / p.Slots
	}
	return p
}

// ofRun is a stateful handler that is not told what other lanes have seen.
type ofRun struct {
	handlers.Stateful
	run *ReplayRun
}

// Track gives it the blocks of the run's lanes alone.
func (o ofRun) Track(ctx context.Context, lane string, blocks handlers.Blocks) (handlers.Tracker, error) {
	return o.Stateful.Track(ctx, lane, func(lane string) iter.Seq2[handlers.Block, error] {
		return func(yield func(handlers.Block, error) bool) {
			for b, err := range blocks(lane) {
				if (err != nil || o.run.Of(b.Lane)) && !yield(b, err) {
					return
				}
			}
		}
	})
}

// groupRows is how many rows the open groups of all lanes have together.
const groupRows = 1_000_000

// ReplaySlots is how many lanes of a lake are read at a time: more than there are CPUs hold memory and win nothing.
func ReplaySlots() int { return min(4, runtime.GOMAXPROCS(0)) }

// ReplayRun is one run of a replay, as the state directory keeps it until the replay is done again: what is read was
// fixed when the run began, so that a run that was cut off goes on with the same files, and never reads what it wrote.
type ReplayRun struct {
	ID    string      `json:"id"`  // made of what was asked for
	Run   int         `json:"run"` // counts the runs of this ID, from 1
	Asked []string    `json:"asked"`
	Began time.Time   `json:"began"`
	Done  bool        `json:"done"`
	Files []lake.File `json:"files"`

	Resumed bool `json:"-"` // it was begun before, and cut off
}

// Lanes is what the IDs of the run's lanes begin with.
func (r *ReplayRun) Lanes() string { return "replay/" + r.ID + "-" + strconv.Itoa(r.Run) }

// replayID names what was asked for.
func replayID(asked []string) string {
	h := fnv.New64a()
	for _, a := range asked {
		_, _ = h.Write([]byte(strconv.Quote(a)))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// BeginReplay goes on with the run of what is asked for that was cut off, or begins the next one with the files that
// list gives.
func BeginReplay(ctx context.Context, state *blob.Dir, asked []string, list func() ([]lake.File, error)) (*ReplayRun, error) {
	run := &ReplayRun{}
	id := replayID(asked)
	err := state.Update(ctx, replayFile(id), func(old []byte) ([]byte, error) {
		if old != nil {
			if err := json.Unmarshal(old, run); err != nil {
				return nil, damagedReplay(id, err)
			}
			if !run.Done {
				run.Resumed = true
				return nil, nil
			}
		}
		files, err := list()
		if err != nil {
			return nil, err
		}
		*run = ReplayRun{ID: id, Run: run.Run + 1, Asked: asked, Began: time.Now().UTC(), Files: files}
		return json.Marshal(run)
	})
	return run, err
}

func replayFile(id string) string { return "replays/" + id + ".json" }

func damagedReplay(id string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-006", Place: replayFile(id), Err: fmt.Errorf("read the state of a replay: %w", err),
		Remedy: "restore the file from a copy, or ask for the replay in other words, such as --table",
	}
}

// EndReplay says that all of a run is durable: the next of its ID is another run.
func EndReplay(ctx context.Context, state *blob.Dir, run *ReplayRun) error {
	return state.Update(ctx, replayFile(run.ID), func(old []byte) ([]byte, error) {
		kept := &ReplayRun{}
		if err := json.Unmarshal(old, kept); err != nil {
			return nil, damagedReplay(run.ID, err)
		}
		if kept.Run != run.Run {
			return nil, errors.New("another process has begun the replay anew")
		}
		kept.Done, kept.Files = true, nil
		return json.Marshal(kept)
	})
}

// Of says whether a lane is one of the run's.
func (r *ReplayRun) Of(lane string) bool { return strings.HasPrefix(lane, r.Lanes()+"/") }
