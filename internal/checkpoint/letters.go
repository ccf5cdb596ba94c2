package checkpoint

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/acequia-io/acequia/record"
)

// saveLetter saves a first refusal, or what a letter that was sent again is now.
func saveLetter(ctx context.Context, tx session, lane Lane, d *DeadLetter) error {
	attempts, first := int64(1), d.At.UnixMicro()
	if d.Again > 0 {
		updated, err := refuseAgain(ctx, tx, d)
		if err != nil || updated {
			return err
		}
		// Another sink has refused the same record already, or the letter was dropped meanwhile.
		err = tx.QueryRowContext(ctx, `select attempts, first_at from dead_letter where id = ?`, d.Again).Scan(&attempts, &first)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	// A lane that was rewound may refuse another record where it refused one before: that one gives its place up.
	_, err := tx.ExecContext(ctx, `update dead_letter set grp = -id where pipeline = ? and lane = ? and stream = ? and position = ? and idx = ?
		and step = ? and grp = ? and attempts = 1 and coalesce(raw, "row") <> coalesce(cast(? as blob), cast(? as blob))`,
		lane.Pipeline, lane.ID, d.Stream, []byte(d.Position), d.Index, d.Step, d.Group, d.Raw, []byte(d.Row))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `insert into dead_letter(pipeline, lane, stream, position, idx, step, grp, col, code, reason,
		op, version, "row", raw, at, event_id, event_time, source, attempts, first_at, sinks, absent)
		values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
		lane.Pipeline, lane.ID, d.Stream, []byte(d.Position), d.Index, d.Step, d.Group, d.Column, d.Code, d.Reason,
		d.Op, d.Version, []byte(d.Row), d.Raw, d.At.UnixMicro(), d.EventID, micros(d.Event), d.Source, attempts, first, strings.Join(d.Sinks, ","), absentText(d))
	return err
}

// refuseAgain brings the letter that was sent again up to date, once: it is then no longer among those to be sent. A
// record belongs to the step that refused it, so another step's has to come with it. The bytes of the first read stay.
func refuseAgain(ctx context.Context, tx session, d *DeadLetter) (updated bool, err error) {
	result, err := tx.ExecContext(ctx, `update dead_letter set retry = 0, attempts = attempts + 1, at = ?1, step = ?2, col = ?3, code = ?4,
		reason = ?5, "row" = case when cast(?6 as blob) is not null then cast(?6 as blob) when step = ?2 then "row" end,
		raw = coalesce(raw, case when cast(?6 as blob) <> "row" then "row" end, nullif(cast(?7 as blob), "row")), sinks = ?9,
		absent = case when cast(?6 as blob) is not null then ?10 when step = ?2 then absent else '' end
		where id = ?8 and retry > 0`,
		d.At.UnixMicro(), d.Step, d.Column, d.Code, d.Reason, []byte(d.Row), d.Raw, d.Again, strings.Join(d.Sinks, ","), absentText(d))
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// absentText keeps the names of columns.
func absentText(d *DeadLetter) string {
	if len(d.Absent) == 0 {
		return ""
	}
	text, _ := json.Marshal(d.Absent) // texts
	return string(text)
}

// micros is 0 where there is no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

const letterColumns = `id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, "row", raw, at,
	event_id, event_time, source, retry, attempts, first_at, sinks, absent`

// DeadLetters gives the dead letters of a pipeline, or of all when it is "", oldest first: at most limit, after the
// given ID.
func (s *Store) DeadLetters(ctx context.Context, pipeline string, after int64, limit int) (letters []DeadLetter, err error) {
	return s.letters(ctx, `(?1 = '' or pipeline = ?1) and id > ?2 order by id limit ?3`, pipeline, after, limit)
}

// letters reads those that a condition names.
func (s *Store) letters(ctx context.Context, where string, args ...any) (letters []DeadLetter, err error) {
	rows, err := s.readers.QueryContext(ctx, "select "+letterColumns+" from dead_letter where "+where, args...)
	if err != nil {
		return nil, s.explain("read dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DeadLetter
		var position []byte
		var at, event, first int64
		var to, absent string
		err := rows.Scan(&d.ID, &d.Pipeline, &d.Lane, &d.Stream, &position, &d.Index, &d.Step, &d.Group, &d.Column, &d.Code,
			&d.Reason, &d.Op, &d.Version, (*[]byte)(&d.Row), &d.Raw, &at, &d.EventID, &event, &d.Source, &d.Retry, &d.Attempts, &first, &to, &absent)
		if err == nil && absent != "" {
			err = json.Unmarshal([]byte(absent), &d.Absent)
		}
		if err != nil {
			return nil, s.explain("read dead letters", err)
		}
		d.Position, d.At, d.First = record.Position(position), time.UnixMicro(at).UTC(), time.UnixMicro(first).UTC()
		if to != "" {
			d.Sinks = strings.Split(to, ",") // no name has a comma
		}
		if event != 0 {
			d.Event = time.UnixMicro(event).UTC()
		}
		letters = append(letters, d)
	}
	return letters, s.explain("read dead letters", rows.Err())
}

// CountDeadLetters counts the dead letters of a pipeline, or of all when it is "".
func (s *Store) CountDeadLetters(ctx context.Context, pipeline string) (int64, error) {
	var n int64
	_, err := s.first(ctx, "count dead letters", `select count(*) from dead_letter where ?1 = '' or pipeline = ?1`, []any{pipeline}, &n)
	return n, err
}

// DeadLetter gives one dead letter; found is false when there is none of that ID.
func (s *Store) DeadLetter(ctx context.Context, id int64) (d DeadLetter, found bool, err error) {
	letters, err := s.DeadLetters(ctx, "", id-1, 1)
	if err != nil || len(letters) == 0 || letters[0].ID != id {
		return d, false, err
	}
	return letters[0], true, nil
}

// EditDeadLetter puts another record in the place of a dead letter's; what there was first is kept in Raw. found is false
// when there is none of that ID.
func (s *Store) EditDeadLetter(ctx context.Context, id int64, row []byte) (found bool, err error) {
	return ask(ctx, s, "edit dead letter", func(ctx context.Context, tx session) (bool, error) {
		result, err := tx.ExecContext(ctx, `update dead_letter set raw = coalesce(raw, "row"), "row" = ? where id = ?`, row, id)
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		return n > 0, err
	})
}

// Refuser is what refused dead letters: a step or sink of a pipeline, for the records of a stream.
type Refuser struct{ Pipeline, Stream, Step string }

// retries is the counter that numbers the dead letters to be sent again.
const retries = "dead_letter.retry"

// ChooseDeadLetters gives those that are to be sent again a number each, ascending and never given before: those of one
// pipeline that the filter chooses. It tells who refused those that have a number now, also from an earlier time.
func (s *Store) ChooseDeadLetters(ctx context.Context, f LetterFilter) (refusers []Refuser, err error) {
	err = s.run(ctx, "choose dead letters", func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `insert into counter(stream, n) values(?, 0) on conflict do nothing`, retries)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `update dead_letter set retry = (select n from counter where stream = ?8) + o.nth
			from (select id, row_number() over (order by id) as nth from dead_letter where retry = 0 and `+matches+`) as o
			where dead_letter.id = o.id`, f.args(retries)...)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `update counter set n = (select case when max(retry) > counter.n then max(retry) else counter.n end from dead_letter)
			where stream = ?`, retries)
		return err
	})
	if err != nil {
		return nil, err
	}
	rows, err := s.readers.QueryContext(ctx, `select distinct stream, step from dead_letter where pipeline = ? and retry > 0 order by 1, 2`, f.Pipeline)
	if err != nil {
		return nil, s.explain("read dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r := Refuser{Pipeline: f.Pipeline}
		if err := rows.Scan(&r.Stream, &r.Step); err != nil {
			return nil, s.explain("read dead letters", err)
		}
		refusers = append(refusers, r)
	}
	return refusers, s.explain("read dead letters", rows.Err())
}

// ChosenDeadLetters gives the next of those to be sent again, after a number and in the order of the numbers.
func (s *Store) ChosenDeadLetters(ctx context.Context, by Refuser, after int64, limit int) ([]DeadLetter, error) {
	return s.letters(ctx, `pipeline = ? and stream = ? and step = ? and retry > ? order by retry limit ?`, by.Pipeline, by.Stream, by.Step, after, limit)
}

// TraceDeadLetters finds the letters that are behind refusals of records that were sent again, up to a number, and notes
// them in Again. Records are told apart by the identities of their events.
func (s *Store) TraceDeadLetters(ctx context.Context, by Refuser, upTo int64, refused []DeadLetter) (err error) {
	if len(refused) == 0 {
		return nil
	}
	behind := map[string][]int64{} // each identity's letters, in the order in which they were sent
	for i := range refused {
		behind[refused[i].Identity()] = nil
	}
	rows, err := s.readers.QueryContext(ctx, `select id, event_id, lane, position, idx from dead_letter
		where pipeline = ? and stream = ? and step = ? and retry between 1 and ? order by retry`, by.Pipeline, by.Stream, by.Step, upTo)
	if err != nil {
		return s.explain("read dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DeadLetter
		var position []byte
		if err := rows.Scan(&d.ID, &d.EventID, &d.Lane, &position, &d.Index); err != nil {
			return s.explain("read dead letters", err)
		}
		d.Position = record.Position(position)
		if ids, asked := behind[d.Identity()]; asked {
			behind[d.Identity()] = append(ids, d.ID)
		}
	}
	for i := range refused {
		if ids := behind[refused[i].Identity()]; len(ids) > 0 {
			refused[i].Again = ids[0]
			behind[refused[i].Identity()] = ids[min(1, len(ids)-1):] // the last is behind all that follow: several sinks refuse one record
		}
	}
	return s.explain("read dead letters", rows.Err())
}

// SettleDeadLetters forgets those that were sent again, up to a number.
func (s *Store) SettleDeadLetters(ctx context.Context, by Refuser, upTo int64) error {
	return s.run(ctx, "settle dead letters", func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `delete from dead_letter where pipeline = ? and stream = ? and step = ? and retry between 1 and ?`,
			by.Pipeline, by.Stream, by.Step, upTo)
		return err
	})
}
