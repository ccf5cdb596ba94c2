//go:build cgo

package oracle

import (
	"context"
	"fmt"
	"time"
)

// naive polls accounts as most programs do: what is later than the latest seen. It is the control: the writers make it lose rows.
type naive struct {
	seen map[int64]int64 // the value of each account
	rows int
}

// follow polls until ctx ends, and then once more.
func (n *naive) follow(ctx context.Context, d database) error {
	background := context.WithoutCancel(ctx)
	n.seen = map[int64]int64{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	after := time.Unix(0, 0)
	for last := false; ; {
		rows, err := d.changed(background, after)
		if err != nil {
			return fmt.Errorf("the naive poller: %w", err)
		}
		for _, r := range rows {
			n.seen[r.id], after = r.v, r.at
			n.rows++
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			last = true
		case <-tick.C:
		}
	}
}

// lost counts the rows that it lacks or has an old copy of.
func (n *naive) lost(ctx context.Context, d database) (missing, stale int, err error) {
	rows, err := d.changed(ctx, time.Unix(0, 0))
	for _, r := range rows {
		switch got, ok := n.seen[r.id]; {
		case !ok:
			missing++
		case got != r.v:
			stale++
		}
	}
	return missing, stale, err
}
