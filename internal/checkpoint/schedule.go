package checkpoint

import (
	"context"
	"time"
)

// Scheduled is how a job of the schedule stands.
type Scheduled struct {
	Last   time.Time // the time for which it was last begun, or from which on it is looked after
	Paused bool
	Job    string // the last that was begun; "": none
}

// ClaimRun takes the run of a scheduled job that is due at a time: of all processes on this state one gets it, once, and none for a time
// before one that was taken. One that is paused is not given.
func (s *Store) ClaimRun(ctx context.Context, name string, due time.Time) (bool, error) {
	return ask(ctx, s, "claim run of "+name, func(ctx context.Context, tx session) (bool, error) {
		result, err := tx.ExecContext(ctx, `insert into schedule(name, last, paused, job) values(?1, ?2, false, '')
			on conflict(name) do update set last = ?2 where schedule.last < ?2 and not schedule.paused`, name, micros(due))
		if err != nil {
			return false, err
		}
		n, err := result.RowsAffected()
		return n == 1, err
	})
}

// WatchSchedule begins to look after a scheduled job that nobody knows yet: what was due before now was not missed. It gives how it stands.
func (s *Store) WatchSchedule(ctx context.Context, name string, now time.Time) (Scheduled, error) {
	err := s.run(ctx, "watch "+name, func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `insert into schedule(name, last, paused, job) values(?, ?, false, '') on conflict do nothing`, name, micros(now))
		return err
	})
	if err != nil {
		return Scheduled{}, err
	}
	return s.Scheduled(ctx, name)
}

// Scheduled tells how a scheduled job stands; one that nobody knows has the zero value.
func (s *Store) Scheduled(ctx context.Context, name string) (Scheduled, error) {
	var out Scheduled
	var last int64
	_, err := s.first(ctx, "read schedule", `select last, paused, job from schedule where name = ?`, []any{name}, &last, &out.Paused, &out.Job)
	out.Last = moment(last)
	return out, err
}

// SaveRun notes the job that a run has begun.
func (s *Store) SaveRun(ctx context.Context, name, job string) error {
	return s.run(ctx, "save run of "+name, func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `update schedule set job = ? where name = ?`, job, name)
		return err
	})
}

// PauseSchedule pauses a scheduled job, or lets it go on: what was due while it was paused was not missed.
func (s *Store) PauseSchedule(ctx context.Context, name string, paused bool, now time.Time) error {
	return s.run(ctx, "pause "+name, func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `insert into schedule(name, last, paused, job) values(?1, ?3, ?2, '')
			on conflict(name) do update set last = case when schedule.paused and not ?2 and schedule.last < ?3 then ?3 else schedule.last end,
			paused = ?2`, name, paused, micros(now))
		return err
	})
}
