package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

// LogStatus is how the slot of a pipeline stands. A slot keeps the WAL that nobody has read, whether the pipeline runs or not.
type LogStatus struct {
	Slot     string        `json:"slot"`
	Reader   int           `json:"reader,omitempty"`   // the server's process that reads it for somebody; 0: nobody does
	State    string        `json:"state"`              // pg_replication_slots.wal_status; missing: there is no such slot
	Held     int64         `json:"held"`               // bytes of WAL that the server keeps for it
	Room     int64         `json:"room"`               // bytes of WAL that may still be written before it loses some; -1: without limit
	Rate     float64       `json:"rate"`               // bytes of WAL a second: as seen, or on average since the server's statistics began
	Loss     time.Duration `json:"loss,omitempty"`     // until data is lost, at this rate; 0: never
	Warnings []string      `json:"warnings,omitempty"` // what may go wrong
}

// missingSlot is the state of a slot that is not there.
const missingSlot = "missing"

// walEnd is where the server's WAL ends, in SQL.
const walEnd = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"

// rateSpan is how long the WAL is watched before its rate counts.
const rateSpan = 10 * time.Second

// walSight is where the server's WAL was when it was looked at.
type walSight struct {
	at   time.Time
	end  int64
	rate float64
}

// LogStatus asks the server for the slot; nil: the pipeline has no tables of strategy log, and there is no slot of its name.
func (s *Source) LogStatus(ctx context.Context) (*LogStatus, error) {
	if s.state != nil {
		note, loaded := s.logNoted()
		if !loaded {
			var err error
			if note, err = s.loadLog(ctx); err != nil {
				return nil, err
			}
		}
		if note.Epoch == 0 {
			return nil, nil //nolint:nilnil // said above
		}
	}
	status := &LogStatus{Slot: s.logName()}
	err := s.with(ctx, func(c *postgres.Conn) error { return s.logStatus(ctx, c, status) })
	if err != nil || s.state == nil && status.State == missingSlot {
		return nil, err
	}
	return status, nil
}

func (s *Source) logStatus(ctx context.Context, c *postgres.Conn, status *LogStatus) error {
	var end, limit int64
	var average float64
	var version int
	err := c.QueryRow(ctx, `SELECT (`+walEnd+` - '0/0')::int8, current_setting('server_version_num')::int,
		(SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size')`).Scan(&end, &version, &limit)
	if err == nil && version >= 140000 {
		err = c.QueryRow(ctx, `SELECT coalesce(wal_bytes / nullif(extract(epoch FROM clock_timestamp() - stats_reset), 0), 0)::float8 FROM pg_stat_wal`).Scan(&average)
	}
	if err != nil {
		return postgres.Explain(err, "ask for the server's WAL", status.Slot)
	}
	err = c.QueryRow(ctx, `SELECT coalesce(active_pid, 0), coalesce(wal_status, 'unknown'), coalesce(`+walEnd+` - restart_lsn, 0)::int8,
		coalesce(safe_wal_size, -1) FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()`, status.Slot).Scan(&status.Reader, &status.State, &status.Held, &status.Room)
	if errors.Is(err, pgx.ErrNoRows) {
		status.State, status.Room = missingSlot, -1
		status.Warnings = append(status.Warnings, "the slot "+status.Slot+" is gone: its tables are read anew by the next run")
		return nil
	}
	if err != nil {
		return postgres.Explain(err, "look at the slot", status.Slot)
	}
	status.Rate = s.walRate(end, average)
	status.loses(limit)
	if s.unread() {
		status.Warnings = append(status.Warnings, "no table is followed by the log any more, and the slot holds WAL back for nothing: acequia capture uninstall --strategy log --apply removes it")
	}
	return nil
}

// unread says whether tables are known, and the log follows none of them.
func (s *Source) unread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if t.note.Strategy == byLog {
			return false
		}
	}
	return len(s.tables) > 0
}

// loses works out when data is lost.
func (l *LogStatus) loses(limit int64) {
	warn := func(text string) { l.Warnings = append(l.Warnings, text) }
	switch {
	case l.State == "lost":
		warn("the server has removed WAL that the slot needed: its tables are read anew by the next run")
		l.Loss = 1
	case limit < 0:
		warn("max_slot_wal_keep_size is -1: while nothing reads the slot its WAL grows until the server's disk is full")
	case l.Rate > 0:
		seconds := float64(max(l.Room, 0)) / l.Rate
		l.Loss = max(1, time.Duration(min(seconds, float64(100*365*24*3600))*float64(time.Second)))
	}
	switch l.State {
	case "extended":
		warn("the slot is extended: the server keeps more WAL for it than max_wal_size")
	case "unreserved":
		warn("the slot is unreserved: the server removes WAL that it needs at its next checkpoint, unless it is read until then")
	}
	warn("when a standby is promoted, all tables of the log are read anew")
}

// walRate gives how fast WAL is written.
func (s *Source) walRate(end int64, average float64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, now := &s.feed.wal, time.Now()
	switch {
	case seen.at.IsZero():
		*seen = walSight{at: now, end: end, rate: average}
	case now.Sub(seen.at) >= rateSpan:
		*seen = walSight{at: now, end: end, rate: float64(end-seen.end) / now.Sub(seen.at).Seconds()}
	}
	return seen.rate
}

// Lag says how old the oldest change is that the log gave and that is not durable yet, and when the slot loses data if nothing
// reads it.
func (s *Source) Lag(ctx context.Context) (sources.Lag, error) {
	lag := sources.Lag{Records: -1}
	status, err := s.LogStatus(ctx)
	if err != nil || status == nil {
		return lag, err
	}
	lag.Loss = status.Loss
	s.mu.Lock()
	reader := s.feed.reader
	s.mu.Unlock()
	if reader != nil {
		lag.Age = reader.age(time.Now())
	}
	return lag, nil
}
