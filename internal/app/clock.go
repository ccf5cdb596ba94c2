package app

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// The days of records that know no time of their own, the grace of replaced files and the schedule go by the machine's clock. Positions,
// versions and leases do not: a clock that jumps loses nothing, and is told of.
const (
	clockEvery = 10 * time.Second
	clockJump  = time.Minute // less is what a clock that is kept by the network does
)

const clockRemedy = "set the clock, best by NTP; no record is lost or repeated, but days of records without a time of their own, grace times and the schedule go by it"

// wallClock sees the wall clock jump.
type wallClock struct {
	log  *slog.Logger
	wall time.Time // when it was looked at last
}

// look compares how far the wall clock went with how long it took.
func (c *wallClock) look(ctx context.Context, wall time.Time, took time.Duration) {
	jump := wall.Sub(c.wall) - took
	if !c.wall.IsZero() && jump.Abs() >= clockJump {
		c.log.WarnContext(ctx, "the clock of this machine has jumped", slog.Duration("by", jump.Round(time.Second)), slog.Time("now", wall), slog.String("remedy", clockRemedy))
	}
	c.wall = wall
}

// watch looks until ctx ends.
func (c *wallClock) watch(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	last := time.Now()
	c.look(ctx, last.Round(0), 0) // without its monotonic part
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now()
			c.look(ctx, now.Round(0), now.Sub(last))
			last = now
		}
	}
}

// sawLater tells when a file was written at a time that is still to come: the clock was put back since.
func (c *wallClock) sawLater(ctx context.Context, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // it is made, or its opening says what is wrong
	}
	if ahead := time.Until(info.ModTime()); ahead >= clockJump {
		c.log.WarnContext(ctx, "the clock of this machine stands before the last run", slog.Duration("by", ahead.Round(time.Second)),
			slog.Time("last_run", info.ModTime().UTC()), slog.String("remedy", clockRemedy))
	}
}
