package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
)

// LetterFilter chooses dead letters: those that agree with every field that is not empty.
type LetterFilter struct {
	Pipeline, Stream, Step, Code string
	Text                         string // in the column, the reason, the record or the bytes; a to z in either case
	IDs                          []int64
	UpTo                         int64 // the greatest ID
}

// matches is the condition of a filter, over the arguments 1 to 7.
const matches = `(?1 = '' or pipeline = ?1) and (?2 = '' or stream = ?2) and (?3 = '' or step = ?3) and (?4 = '' or code = ?4)
	and (?5 = '' or instr(lower(col || '
' || reason || '
' || coalesce(cast("row" as text), '') || '
' || coalesce(cast(raw as text), '')), lower(?5)) > 0)
	and (?6 = '' or id in (select value from json_each(?6))) and (?7 = 0 or id <= ?7)`

func (f LetterFilter) args(more ...any) []any {
	ids := ""
	if len(f.IDs) > 0 {
		text, _ := json.Marshal(f.IDs) // numbers
		ids = string(text)
	}
	return append([]any{f.Pipeline, f.Stream, f.Step, f.Code, f.Text, ids, f.UpTo}, more...)
}

// FindDeadLetters gives the dead letters that a filter chooses, newest first: at most limit, before the given ID if it is
// not 0.
func (s *Store) FindDeadLetters(ctx context.Context, f LetterFilter, before int64, limit int) ([]DeadLetter, error) {
	return s.letters(ctx, matches+` and (?8 = 0 or id < ?8) order by id desc limit ?9`, f.args(before, limit)...)
}

// LetterCount is how many dead letters have the same reason: its code, where the reason has one.
type LetterCount struct {
	Pipeline, Stream, Step, Column, Code string
	Reason                               string // of the newest of them
	Count, Newest                        int64  // Newest is an ID
}

// CountReasons counts the dead letters that a filter chooses by their reasons, the most frequent first.
func (s *Store) CountReasons(ctx context.Context, f LetterFilter) (counts []LetterCount, err error) {
	rows, err := s.readers.QueryContext(ctx, `select pipeline, stream, step, col, code, (select reason from dead_letter where id = newest), n, newest from (
		select pipeline, stream, step, col, code, count(*) as n, max(id) as newest from dead_letter where `+matches+`
		group by pipeline, stream, step, col, code, case code when '' then reason end) as counted order by 7 desc, 8 desc`, f.args()...)
	if err != nil {
		return nil, s.explain("count dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c LetterCount
		if err := rows.Scan(&c.Pipeline, &c.Stream, &c.Step, &c.Column, &c.Code, &c.Reason, &c.Count, &c.Newest); err != nil {
			return nil, s.explain("count dead letters", err)
		}
		counts = append(counts, c)
	}
	return counts, s.explain("count dead letters", rows.Err())
}

// DropDeadLetters forgets the dead letters that a filter chooses for good, all of them or none, and counts them.
func (s *Store) DropDeadLetters(ctx context.Context, f LetterFilter) (int64, error) {
	return ask(ctx, s, "drop dead letters", func(ctx context.Context, tx session) (int64, error) {
		result, err := tx.ExecContext(ctx, "delete from dead_letter where "+matches, f.args()...)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	})
}

// SomeDeadLetters counts the dead letters up to a number: more need not be looked at.
func (s *Store) SomeDeadLetters(ctx context.Context, most int) (int, error) {
	var n int
	_, err := s.first(ctx, "count dead letters", `select count(*) from (select 1 from dead_letter limit ?) as found`, []any{most}, &n)
	return n, err
}
