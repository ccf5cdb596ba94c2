//go:build cgo

package oracle

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// naive polls accounts as most programs do: what is later than the latest seen. It is the control: the writers make it lose rows.
type naive struct {
	seen map[int64]int64 // the value of each key
	rows int
}

// follow polls until ctx ends, and then once more.
func (n *naive) follow(ctx context.Context, dsn string) (err error) {
	background := context.WithoutCancel(ctx)
	c, err := pgx.Connect(background, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(background)) }()
	n.seen = map[int64]int64{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	after := time.Unix(0, 0)
	for last := false; ; {
		if after, err = n.poll(background, c, after); err != nil || last {
			return err
		}
		select {
		case <-ctx.Done():
			last = true
		case <-tick.C:
		}
	}
}

func (n *naive) poll(ctx context.Context, c *pgx.Conn, after time.Time) (time.Time, error) {
	rows, err := c.Query(ctx, "select id, v, updated_at from accounts where updated_at > $1 order by updated_at", after)
	if err != nil {
		return after, err
	}
	var id, v int64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &v, &at}, func() error {
		n.seen[id], after = v, at
		n.rows++
		return nil
	})
	return after, err
}

// lost counts the rows that it lacks or has an old copy of.
func (n *naive) lost(ctx context.Context, c *pgx.Conn) (missing, stale int, err error) {
	rows, err := c.Query(ctx, "select id, v from accounts")
	if err != nil {
		return 0, 0, err
	}
	var id, v int64
	_, err = pgx.ForEachRow(rows, []any{&id, &v}, func() error {
		switch got, ok := n.seen[id]; {
		case !ok:
			missing++
		case got != v:
			stale++
		}
		return nil
	})
	return missing, stale, err
}
