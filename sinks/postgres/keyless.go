package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/record"
)

// mergeKeyless puts rows without a key into their table. As long as the stream has no truncate each is appended, one a row event; then
// the table shows the snapshot of the newest truncate's epoch, where equal versions are one row, and those of newer epochs, which
// are not complete, wait. It is what the view of the latest rows of a lake shows.
func (s *stage) mergeKeyless(ctx context.Context, tx pgx.Tx, c contents) error {
	columns := quoted(s.taken(), "")
	if err := run(ctx, tx, s.appends(columns)); err != nil {
		return err
	}
	if c.cut <= s.floor {
		return nil
	}
	all := append(slices.Clip(s.known), systemColumns()...)
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return run(ctx, tx, s.replaces(c.cut, quoted(names, "")))
}

// appends are the statements for the rows of the stage, as the floor is before it.
func (s *stage) appends(columns string) []statement {
	if s.floor == "" {
		return []statement{{fmt.Sprintf(`INSERT INTO %[1]s (%[2]s) SELECT %[2]s FROM (SELECT *, row_number() OVER (PARTITION BY "_event_id" ORDER BY "_version" DESC) AS "_acequia_n" `+
			`FROM %[3]s WHERE "_op" <> 'T') s WHERE "_event_id" IS NULL OR "_acequia_n" = 1 AND NOT EXISTS (SELECT FROM %[1]s t WHERE t."_event_id" = s."_event_id")`,
			s.into, columns, s.name), nil}}
	}
	return []statement{
		{s.distinct(columns, s.name, `"_op" <> 'T'`), []any{s.floor}},
		{fmt.Sprintf(`INSERT INTO %s (%s) SELECT %[2]s FROM %s WHERE "_op" <> 'T' AND %s > left($1, %d)`, pendingName(s.table), columns, s.name, epochOf, record.EpochLen), []any{s.floor}},
	}
}

// epochOf is the epoch of a row.
var epochOf = fmt.Sprintf(`left("_version", %d)`, record.EpochLen) //nolint:gochecknoglobals // a constant text

// distinct is the statement that takes rows of the floor's epoch into the table, those that it has not.
func (s *stage) distinct(columns, from, where string) string {
	return fmt.Sprintf(`INSERT INTO %[1]s (%[2]s) SELECT %[2]s FROM (SELECT DISTINCT ON ("_version") * FROM %[3]s WHERE %[4]s AND "_version" >= $1 AND %[5]s = left($1, %[6]d) `+
		`ORDER BY "_version") s WHERE NOT EXISTS (SELECT FROM %[1]s t WHERE t."_version" = s."_version")`, s.into, columns, from, where, epochOf, record.EpochLen)
}

// replaces are the statements for a truncate: what is of its epoch, and not below it, is the table.
func (s *stage) replaces(cut, columns string) []statement {
	pending := pendingName(s.table)
	was := s.floor
	out := []statement{{"UPDATE acequia.tables SET floor = $2 WHERE id = $1", []any{s.table, cut}}}
	if was == "" { // until now all rows were in the table
		out = append(
			out,
			statement{fmt.Sprintf(`INSERT INTO %s (%s) SELECT %[2]s FROM %s WHERE %s > left($1, %d)`, pending, columns, s.into, epochOf, record.EpochLen), []any{cut}},
			statement{fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY "_version" ORDER BY "_ingest_ts") AS n FROM %[1]s) c WHERE n > 1)`, s.into), nil},
		)
	}
	return append(
		out,
		statement{fmt.Sprintf(`DELETE FROM %s WHERE "_version" < $1 OR %s <> left($1, %d)`, s.into, epochOf, record.EpochLen), []any{cut}},
		statement{s.distinct(columns, pending, "true"), []any{cut}},
		statement{fmt.Sprintf(`DELETE FROM %s WHERE %s <= left($1, %d)`, pending, epochOf, record.EpochLen), []any{cut}},
	)
}
