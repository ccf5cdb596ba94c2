package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// committer commits the groups of one incarnation of a lane, in order, while the lane fills the next.
type committer struct {
	run      *Run
	lane     checkpoint.Lane
	state    checkpoint.State // of what is durable; the lane's goroutine reads it only while it holds the free token
	writers  []sinks.Writer   // one a sink
	reader   sources.Reader
	board    *laneBoard
	queue    chan *group   // holds at most the group that free allowed
	free     chan struct{} // holds a token while no group is being committed
	failed   chan struct{} // closed after err is set
	finished chan struct{}
	err      error
}

func newCommitter(run *Run, lane checkpoint.Lane, state checkpoint.State, writers []sinks.Writer, reader sources.Reader) *committer {
	c := &committer{
		run: run, lane: lane, state: state, writers: writers, reader: reader, board: run.status.lane(lane.ID),
		queue: make(chan *group, 1), free: make(chan struct{}, 1),
		failed: make(chan struct{}), finished: make(chan struct{}),
	}
	c.free <- struct{}{}
	return c
}

// cut ends a group and hands it over; the caller holds the free token.
func (c *committer) cut(g *group) {
	g.ordinal, g.from = c.state.Group+1, c.state.Position
	for _, w := range c.writers {
		g.stagings = append(g.stagings, w.Cut(sinks.Group{Ordinal: g.ordinal, From: g.from, To: g.to}))
	}
	c.queue <- g
}

// abandon releases the handlers of a group that will not be committed, and tells the reader. Its files are left to
// recovery.
func (c *committer) abandon(ctx context.Context, g *group, reason error) {
	reason = errors.Join(errAbandoned, reason)
	if !isClosed(g.done) {
		g.err = reason
		close(g.done)
	}
	if g.intended {
		return // recovery will roll it forward and settle it
	}
	for _, to := range g.chunks {
		if err := c.reader.Settle(ctx, to, reason); err != nil {
			c.run.Log.Warn("reader refused a settlement", errAttr(err))
			return
		}
	}
}

// finish waits for the last group.
func (c *committer) finish() error {
	close(c.queue)
	<-c.finished
	return c.err
}

func (c *committer) serve(ctx context.Context) {
	defer close(c.finished)
	for g := range c.queue {
		if err := c.commit(ctx, g); err != nil {
			c.err = err
			close(c.failed)
			c.abandon(ctx, g, err)
			return
		}
		c.free <- struct{}{}
	}
}

// commit goes through the steps. A failure ends the incarnation: the outcome of a write that failed is not known, so
// the next epoch reads the truth and rolls forward or discards.
func (c *committer) commit(ctx context.Context, g *group) error {
	ctx, cancel := context.WithTimeout(ctx, c.run.CommitTimeout)
	defer cancel()
	began := time.Now()
	for _, step := range c.run.protocol {
		c.run.Probe("before-" + step.name)
		if err := step.do(ctx, c, g); err != nil {
			return fmt.Errorf("%s of group %d: %w", step.name, g.ordinal, err)
		}
		c.run.Probe("after-" + step.name)
	}
	c.board.committed(g, time.Since(began))
	if c.run.Log.Enabled(ctx, slog.LevelDebug) {
		c.run.Log.Debug("group committed", slog.String("lane", c.lane.ID), slog.Int64("group", g.ordinal), slog.Int("rows", g.rows))
	}
	return nil
}
