package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
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

// stuck notes that it did not. After a while it says what holds it up, by a query that gives a text.
func (h *holdup) stuck(ctx context.Context, s *Source, c *postgres.Conn, t *table, query string, args ...any) error {
	now := time.Now()
	if h.since.IsZero() {
		h.since = now
	}
	if now.Sub(h.since) < s.holdAfter || t.found.held.Load() != nil {
		return nil
	}
	var by string
	if err := c.QueryRow(ctx, query, args...).Scan(&by); err != nil {
		return postgres.Explain(err, "ask what holds changes back", t.stream)
	}
	text := fmt.Sprintf("changes are held back since %s by %s", h.since.UTC().Format(time.RFC3339), by)
	t.found.held.Store(&text)
	s.log.WarnContext(ctx, "changes of the table are held back", slog.Any("table", t), slog.String("by", by),
		slog.String("remedy", "end that transaction: it delays changes, and loses none"))
	return nil
}

// holderSQL names the transaction $1, as the server numbers those under way.
const holderSQL = `SELECT coalesce((SELECT format('process %s of role %s in database %s, in a transaction since %s', pid, usename, datname, xact_start)
		FROM pg_stat_activity WHERE backend_xid::text = $1 LIMIT 1),
	(SELECT format('the prepared transaction %s of role %s in database %s, since %s', gid, owner, database, prepared)
		FROM pg_prepared_xacts WHERE transaction::text = $1 LIMIT 1), 'transaction ' || $1)`

// oldestSQL names the transaction of this database that began first; $1 is what else is known.
const oldestSQL = `SELECT coalesce(nullif($1, ''), (SELECT format('process %s of role %s, in a transaction since %s', pid, usename, xact_start)
	FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
		AND (usename IS DISTINCT FROM current_user OR application_name IS DISTINCT FROM current_setting('application_name'))
	ORDER BY xact_start LIMIT 1), 'a transaction that has ended meanwhile')`
