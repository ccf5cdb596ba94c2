package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sinks"
)

// codeLost is an update that lacks columns, of a row that went away between Write and Publish.
const codeLost = "ACQ-WH-016"

// What a stage holds, in one look.
type contents struct {
	rows, deletes int64
	cut           string // the newest truncate; "": none
	remembered    bool   // the table has deletes that are remembered
}

// merge puts the rows of a stage into its table. The row of the table in the books is locked, so no other stage is merged meanwhile.
func (s *stage) merge(ctx context.Context, tx pgx.Tx) error {
	var c contents
	sql := fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE "_op" = 'D'), coalesce(max("_version") FILTER (WHERE "_op" = 'T'), ''), %s, (SELECT floor FROM acequia.tables WHERE id = %d) FROM %s`,
		s.remembers(), s.table, s.name)
	if err := tx.QueryRow(ctx, sql).Scan(&c.rows, &c.deletes, &c.cut, &c.remembered, &s.floor); err != nil {
		return err
	}
	if c.rows != s.rows {
		return fmt.Errorf("%s has %d rows of %d: %w", s.name, c.rows, s.rows, sinks.ErrVanished)
	}
	if len(s.key) == 0 {
		return s.mergeKeyless(ctx, tx, c)
	}
	if c.cut > s.floor {
		s.floor = c.cut
		if err := run(ctx, tx, s.truncates()); err != nil {
			return err
		}
	}
	switch {
	case s.absent:
		return s.mergeAbsent(ctx, tx)
	case !s.ordered:
		if _, err := tx.Exec(ctx, s.newest()); err != nil {
			return err
		}
	}
	return run(ctx, tx, s.merges(c))
}

func (s *stage) remembers() string {
	if len(s.key) == 0 {
		return "false"
	}
	return fmt.Sprintf("EXISTS (SELECT FROM %s)", deletesName(s.table))
}

// truncates take away what has a smaller version than the floor.
func (s *stage) truncates() []statement {
	return []statement{
		{"UPDATE acequia.tables SET floor = $2 WHERE id = $1", []any{s.table, s.floor}},
		{fmt.Sprintf(`DELETE FROM %s WHERE "_version" < $1`, s.into), []any{s.floor}},
		{fmt.Sprintf(`DELETE FROM %s WHERE "_version" < $1`, deletesName(s.table)), []any{s.floor}},
	}
}

// newest leaves one copy of each key in the stage.
func (s *stage) newest() string {
	return fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY %[2]s ORDER BY "_version" DESC, "_event_id" DESC) AS n `+
		`FROM %[1]s WHERE "_op" <> 'T') c WHERE n > 1)`, s.name, quoted(s.key, ""))
}

// same compares the key of a relation with that of the stage, s.
func (s *stage) same(a string) string {
	out := make([]string, len(s.key))
	for i, k := range s.key {
		out[i] = fmt.Sprintf("%s.%s = s.%[2]s", a, quote(k))
	}
	return strings.Join(out, " AND ")
}

// stands is a condition of a row of the stage, s: it is above the floor.
func (s *stage) stands() string {
	if s.floor == "" {
		return ""
	}
	return ` AND s."_version" >= '` + s.floor + "'" // digits and hyphens
}

// merges are the statements for rows that come whole, each key once. A delete that is newer than the row takes it away and is remembered,
// unless the table has a newer row; a row that is newer than the delete makes it forgotten.
func (s *stage) merges(c contents) []statement {
	var out []statement
	deletes, keys := deletesName(s.table), quoted(s.key, "")
	const older = `t."_version" < s."_version"`
	if c.deletes > 0 {
		out = append(
			out,
			statement{fmt.Sprintf(`INSERT INTO %[1]s AS d (%[2]s, "_version") SELECT %[3]s, s."_version" FROM %[4]s s WHERE s."_op" = 'D'%[5]s `+
				`AND NOT EXISTS (SELECT FROM %[6]s t WHERE %[7]s AND t."_version" >= s."_version") `+
				`ON CONFLICT (%[2]s) DO UPDATE SET "_version" = EXCLUDED."_version" WHERE d."_version" < EXCLUDED."_version"`,
				deletes, keys, quoted(s.key, "s."), s.name, s.stands(), s.into, s.same("t")), nil},
			statement{fmt.Sprintf(`DELETE FROM %s t USING %s s WHERE s."_op" = 'D' AND %s AND %s`, s.into, s.name, s.same("t"), older), nil},
		)
	}
	gone := ""
	if c.remembered || c.deletes > 0 {
		gone = fmt.Sprintf(` AND NOT EXISTS (SELECT FROM %s d WHERE %s AND d."_version" >= s."_version")`, deletes, s.same("d"))
	}
	columns := s.taken()
	var sets []string
	for _, f := range append(slices.Clone(s.known), systemColumns()...) {
		if !slices.Contains(s.key, f.Name) {
			sets = append(sets, fmt.Sprintf("%s = EXCLUDED.%[1]s", quote(f.Name)))
		}
	}
	out = append(out, statement{fmt.Sprintf(`INSERT INTO %s AS t (%s) SELECT %s FROM %s s WHERE s."_op" NOT IN ('D', 'T')%s%s `+
		`ON CONFLICT (%s) DO UPDATE SET %s WHERE t."_version" < EXCLUDED."_version"`,
		s.into, quoted(columns, ""), quoted(columns, "s."), s.name, s.stands(), gone, keys, strings.Join(sets, ", ")), nil})
	if c.remembered {
		out = append(out, statement{fmt.Sprintf(`DELETE FROM %s d USING %s s WHERE s."_op" NOT IN ('D', 'T') AND %s AND d."_version" < s."_version"`,
			deletes, s.name, s.same("d")), nil})
	}
	return out
}

// taken are the columns of the stage that the table has.
func (s *stage) taken() []string {
	return slices.DeleteFunc(slices.Clone(s.columns), func(n string) bool { return n == absentColumn })
}

// mergeAbsent changes rows by copies that lack columns: those of a key one after the other, since each may lack others.
func (s *stage) mergeAbsent(ctx context.Context, tx pgx.Tx) error {
	var rounds int64
	if err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM %s GROUP BY %s) c`, s.name, quoted(s.key, ""))).Scan(&rounds); err != nil {
		return err
	}
	for round := range rounds {
		of := fmt.Sprintf(`(SELECT s.*, row_number() OVER (PARTITION BY %s ORDER BY "_version") AS "_acequia_n" FROM %s s) s`, quoted(s.key, ""), s.name)
		var lost *string
		err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT (SELECT concat_ws(', ', %s) FROM %s WHERE "_acequia_n" = $1%s AND NOT EXISTS (SELECT FROM %s t WHERE %s) `+
			`AND NOT EXISTS (SELECT FROM %s d WHERE %s AND d."_version" >= s."_version") LIMIT 1)`,
			quoted(s.key, "s."), of, s.stands(), s.into, s.same("t"), deletesName(s.table), s.same("d")), round+1).Scan(&lost)
		if err != nil {
			return err
		}
		if lost != nil {
			return &fault.Error{
				Class: fault.Fatal, Code: codeLost, Place: s.stream + ", key " + *lost, Err: fmt.Errorf("an update lacks columns, and its row has gone from %s", s.into),
				Remedy: "read the rows again: acequia sync FILE --tables " + s.stream,
			}
		}
		if _, err := tx.Exec(ctx, s.change(of), round+1); err != nil {
			return err
		}
	}
	return nil
}

// change is the statement of one round of mergeAbsent.
func (s *stage) change(of string) string {
	var sets []string
	for _, f := range append(slices.Clone(s.known), systemColumns()...) {
		name := quote(f.Name)
		switch {
		case slices.Contains(s.key, f.Name):
		case !slices.Contains(s.columns, f.Name):
			sets = append(sets, name+" = NULL")
		default:
			sets = append(sets, fmt.Sprintf(`%[1]s = CASE WHEN '%[2]s' = ANY (s."_absent") THEN t.%[1]s ELSE s.%[1]s END`, name, strings.ReplaceAll(f.Name, "'", "''")))
		}
	}
	return fmt.Sprintf(`UPDATE %s t SET %s FROM %s WHERE s."_acequia_n" = $1%s AND %s AND t."_version" < s."_version"`,
		s.into, strings.Join(sets, ", "), of, s.stands(), s.same("t"))
}
