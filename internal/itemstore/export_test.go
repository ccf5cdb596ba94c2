package itemstore

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// KeepUp does at once what the store does now and then, as if it were now.
func (s *Store) KeepUp(ctx context.Context, now time.Time) error { return s.keepUpOnce(ctx, now) }

// LimitPages lets the file grow to so many pages only, as a full disk does.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	return s.do(ctx, func(ctx context.Context, w *writer) error {
		_, err := w.conn.ExecContext(ctx, fmt.Sprintf("pragma max_page_count = %d", pages))
		return err
	})
}

// TruncateCutOff does of a truncate what is durable when the process dies before the items below it are swept away.
func (s *Store) TruncateCutOff(ctx context.Context, p Put) error {
	t, _, err := s.table(p.Table)
	if err != nil {
		return err
	}
	return s.do(ctx, func(ctx context.Context, w *writer) error {
		_, err := w.put(ctx, &target{table: t}, &p)
		return err
	})
}

// QueryPlan is how SQLite reads an index.
func (s *Store) QueryPlan(ctx context.Context, name string, index int, values ...any) (string, error) {
	t, declared, err := s.table(name)
	if err != nil {
		return "", err
	}
	query, args := indexQuery(t.id, declared.Indexes[index], values)
	rows, err := s.reads.QueryContext(ctx, "explain query plan "+query, append(args, "", 10)...)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		plan.WriteString(detail + "; ")
	}
	return plan.String(), rows.Err()
}

// Loads says whether a table is being loaded in bulk.
func (d *Dynamo) Loads(table string) bool {
	t, err := d.table(table)
	return err == nil && t.load != nil
}

// CountUnits counts the units of writes that a table is asked for from now on.
func (d *Dynamo) CountUnits(table string) (count func() float64) {
	t, err := d.table(table)
	if err != nil {
		return func() float64 { return -1 }
	}
	t.limit.mu.Lock()
	defer t.limit.mu.Unlock()
	t.limit.begun, t.limit.spent = time.Now().Add(time.Hour), 0 // the window does not end
	return func() float64 {
		t.limit.mu.Lock()
		defer t.limit.mu.Unlock()
		return t.limit.spent
	}
}
