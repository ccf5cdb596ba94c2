package app

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/compaction"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/sinks/lake"
)

// upkeepEvery is how often it is looked for work, and how long replaced files stay, where the file does not say.
const upkeepEvery = time.Hour

// chore is a compaction or expiry that comes again and again.
type chore struct {
	name  string
	root  string // of the lake
	every time.Duration
	due   time.Time
	do    func(ctx context.Context) ([]compaction.Result, error)
}

// lease is the key of who does it.
func (c *chore) lease() string { return "chore/" + c.name + "/" + c.root }

// chores gives those that the lake sinks of the project declare, all of them due.
func (s *Service) chores(ctx context.Context) (all []*chore) {
	for part := range s.sinks {
		c, ok := part.Settings.(*lake.Config)
		if !ok {
			continue
		}
		bucket, err := c.Bucket(ctx)
		if err != nil {
			continue // the sink could not have been made
		}
		o := compaction.Options{Bucket: bucket, Lanes: s.state, Column: int(s.project.Memory / 16), Probe: s.Probe} // pipelines have the most of it
		if e := c.Expire; e != nil {
			all = append(all, &chore{name: "expire", root: bucket.Root(), every: cmp.Or(e.Every, upkeepEvery), do: func(ctx context.Context) ([]compaction.Result, error) {
				o := o
				o.Grace, o.Before = cmp.Or(e.Grace, upkeepEvery), time.Now().Add(-e.After)
				return compaction.Expire(ctx, o)
			}})
		}
		if k := c.Compact; k != nil {
			all = append(all, &chore{name: "compact", root: bucket.Root(), every: cmp.Or(k.Every, upkeepEvery), do: func(ctx context.Context) ([]compaction.Result, error) {
				o := o
				o.Grace, o.OlderThan, o.Target = cmp.Or(k.Grace, upkeepEvery), cmp.Or(k.OlderThan, upkeepEvery), int64(k.Target)
				return compaction.Compact(ctx, o)
			}})
		}
	}
	return all
}

// keepLakes does the chores, one at a time, the first time at once: that also ends what a crash left half done. It returns
// when ctx ends; what is under way is then taken back, and done by the next run.
func (s *Service) keepLakes(ctx context.Context) {
	chores := s.chores(ctx)
	if len(chores) == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := time.Now().Add(upkeepEvery)
		for _, c := range chores {
			if now := time.Now(); !now.Before(c.due) && ctx.Err() == nil {
				if c.due = now.Add(c.every); !s.doesChore(ctx, c) || !s.chore(ctx, c) {
					c.due = now.Add(min(c.every, choreLater))
				}
			}
			if c.due.Before(next) {
				next = c.due
			}
		}
		timer.Reset(time.Until(next))
	}
}

// chore does one, and logs what came of it. A failure is tried again when it is due next; sooner (false) where another process has the
// table, such as one that stood still and whose lock is not yet free.
func (s *Service) chore(ctx context.Context, c *chore) bool {
	log := s.Log.With(slog.String("chore", c.name))
	mine, cancel := s.whileMine(ctx, c)
	defer cancel()
	results, err := c.do(mine)
	for _, r := range results {
		if r.Inputs+r.Deleted > 0 {
			log.InfoContext(ctx, "lake table is kept", slog.String("table", r.Table), slog.Int("files", r.Inputs), slog.Int("became", r.Outputs),
				slog.Int64("rows", r.Rows), slog.Int("deleted", r.Deleted))
		}
	}
	if err == nil || ctx.Err() != nil {
		return true
	}
	if mine.Err() != nil {
		err = context.Cause(mine)
	}
	log.WarnContext(ctx, "lake table could not be kept", slog.String("error", err.Error()), slog.String("code", fault.Code(err)))
	return fault.Code(err) != lakefiles.CodeLocked && mine.Err() == nil
}
