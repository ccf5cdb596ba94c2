package mysql

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// findings is what following a table has found out about it, for status.
type findings struct {
	nulls atomic.Int64           // time: rows that have none
	held  atomic.Pointer[string] // what holds its changes back; nil: nothing
}

// holdAfter is how long changes may be held back before it is said by what.
const holdAfter = time.Minute

// holdup watches a strategy that gives what no transaction under way can change any more: one that stays open holds it up.
type holdup struct {
	since time.Time // by our own clock; zero: nothing does
}

// free notes that the strategy went on.
func (h *holdup) free(t *table) {
	h.since = time.Time{}
	t.found.held.Store(nil)
}

// stuck notes that it did not. After a while it says what holds it up.
func (h *holdup) stuck(ctx context.Context, s *Source, t *table, by string) {
	now := time.Now()
	if h.since.IsZero() {
		h.since = now
	}
	if now.Sub(h.since) < s.holdAfter || t.found.held.Load() != nil {
		return
	}
	text := fmt.Sprintf("changes are held back since %s by %s", h.since.UTC().Format(time.RFC3339), by)
	t.found.held.Store(&text)
	s.log.WarnContext(ctx, "changes of the table are held back", slog.Any("table", t), slog.String("by", by),
		slog.String("remedy", "end that transaction: it delays changes, and loses none"))
}
