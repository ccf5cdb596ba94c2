package routers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// group is a commit group: open while the lane fills it, then the committer's.
type group struct {
	ordinal     int64 // given when it is cut
	from, to    record.Position
	chunks      []record.Position // the end of each, to settle one by one
	rows, bytes int               // as read
	truncates   int               // of the rows
	streams     tally             // the rows by stream
	letters     []checkpoint.DeadLetter
	letterBytes int
	ended       bool             // the lane ends with this group
	stagings    []sinks.Staging  // one a sink
	manifests   []sinks.Manifest // one a sink
	files       int
	memory      map[string]checkpoint.Memory // by step
	remembers   bool                         // some of it is new
	intended    bool                         // its intent may have been saved: recovery may roll it forward, and then settles it
	settled     bool                         // every chunk was settled
	done        chan struct{}                // closed when durable or failed: lets the group's handlers return
	err         error                        // valid when done is closed
}

// maxLetterBytes closes a group before its dead letters make a large intent.
const maxLetterBytes = 4 << 20

func newGroup(at record.Position) *group {
	return &group{from: at, to: at, done: make(chan struct{})}
}

// tally counts rows by stream. A group has few of them.
type tally []streamRows

type streamRows struct {
	stream string
	rows   int64
}

func (t *tally) add(stream string, rows int) {
	for i := range *t {
		if (*t)[i].stream == stream {
			(*t)[i].rows += int64(rows)
			return
		}
	}
	*t = append(*t, streamRows{stream, int64(rows)})
}

func (g *group) empty() bool { return len(g.chunks) == 0 && !g.ended }

func (g *group) full(l Limits) bool {
	return g.rows >= l.Rows || g.bytes >= l.Bytes || len(g.chunks) >= l.Messages || g.letterBytes >= maxLetterBytes
}

// still says that the group moves nothing: no file, no dead letter, no memory, no position, no end of the lane.
func (g *group) still() bool {
	return g.files == 0 && !g.remembers && len(g.letters) == 0 && g.to == g.from && !g.ended
}

// release lets the group's handlers return.
func (g *group) release(err error) {
	if !isClosed(g.done) {
		g.err = err
		close(g.done)
	}
}

// unsettled gives the chunks that nobody else will settle.
func (g *group) unsettled() []record.Position {
	if g.settled || g.intended {
		return nil
	}
	return g.chunks
}

// result is what the checkpoint takes of the group.
func (g *group) result() checkpoint.Intent {
	return checkpoint.Intent{Group: g.ordinal, To: g.to, Ended: g.ended, Rows: int64(g.rows), DeadLetters: g.letters, Memory: g.kept()}
}

// intent is the result with the manifests of the sinks.
func (g *group) intent(named []NamedSink) (checkpoint.Intent, error) {
	in := g.result()
	in.Manifests = map[string]json.RawMessage{}
	for i, m := range g.manifests {
		if len(m.Files) == 0 {
			continue
		}
		text, err := json.Marshal(m)
		if err != nil {
			return in, fmt.Errorf("encode manifest of %s: %w", named[i].Name, err)
		}
		in.Manifests[named[i].Name] = text
	}
	return in, nil
}

// committer commits the groups of one incarnation, in order, while the lane fills the next.
type committer struct {
	*incarnation
	last     *group        // that was taken; the lane's goroutine uses it
	queue    chan *group   // holds at most the group that free allowed
	free     chan struct{} // holds a token while no group is being committed
	failed   chan struct{} // closed after err is set
	finished chan struct{}
	broken   *group
	err      error
}

func newCommitter(in *incarnation) *committer {
	c := &committer{
		incarnation: in, queue: make(chan *group, 1), free: make(chan struct{}, 1),
		failed: make(chan struct{}), finished: make(chan struct{}),
	}
	c.free <- struct{}{}
	return c
}

// take ends a group and starts its commit; the caller holds the free token.
func (c *committer) take(g *group) {
	g.ordinal, g.from = c.state.Group+1, c.state.Position
	for i := range g.letters {
		if g.letters[i].Position == g.from { // the position does not move, so it does not tell groups apart
			g.letters[i].Group = g.ordinal
		}
	}
	for _, w := range c.writers {
		g.stagings = append(g.stagings, w.Cut(sinks.Group{Ordinal: g.ordinal, From: g.from, To: g.to}))
	}
	c.remember(g)
	c.account.cut()
	c.last = g
	c.queue <- g
}

// finish waits for the last group. It gives the group that failed, if one did.
func (c *committer) finish() (*group, error) {
	close(c.queue)
	<-c.finished
	return c.broken, c.err
}

func (c *committer) serve(ctx context.Context) {
	defer close(c.finished)
	for g := range c.queue {
		if err := c.commit(ctx, g); err != nil {
			g.release(err)
			c.broken, c.err = g, err
			close(c.failed)
			return
		}
		c.account.committed()
		c.free <- struct{}{}
	}
}

// commit goes through the steps. A failure ends the incarnation: the outcome of a write that failed is not known, so
// the next epoch reads the truth and rolls forward or discards.
func (c *committer) commit(ctx context.Context, g *group) error {
	began := time.Now()
	for _, step := range c.run.protocol {
		c.run.probe(step.before)
		if err := c.step(ctx, step, g); err != nil {
			return fmt.Errorf("%s of group %d: %w", step.name, g.ordinal, err)
		}
		c.run.probe(step.after)
	}
	c.board.committed(g, time.Since(began))
	if c.log.Enabled(ctx, slog.LevelDebug) {
		c.log.DebugContext(ctx, "group committed", slog.Int64("group", g.ordinal), slog.Int("rows", g.rows), slog.Int("files", g.files))
	}
	return nil
}

func (c *committer) step(ctx context.Context, step protocolStep, g *group) error {
	limit := c.run.pipeline.StepTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := guard(func() error { return step.do(ctx, c, g) })
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-RUN-001", Err: fmt.Errorf("not done in %s: %w", limit, err),
			Remedy: "see that the sink and the state store answer; it is tried again",
		}
	}
	return err
}
