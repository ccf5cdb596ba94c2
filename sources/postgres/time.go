package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// timePoller finds rows by a column that every writer sets to the database's now(). The watermark of a round is a time that no
// transaction that is under way can still write: now() is when a transaction began. It is asked for before the rows are, and never
// goes back. It holds while every write sets the column by the database's clock, and that clock does not step back.
type timePoller struct {
	source *Source
	watch  watch
	hold   holdup
}

// stretch is where a round stands. Times are texts of timestamptz, with microseconds; "" is before all of them.
type stretch struct {
	Since string   `json:"c"`           // rows before it are given
	UpTo  string   `json:"w,omitempty"` // the watermark of the round under way; "": none is
	Time  string   `json:"t,omitempty"` // of the last row that was given of it
	Key   []string `json:"k,omitempty"`
}

// watermarkSQL gives a time before which all that was begun in the database has ended, and what keeps it from being known. A transaction
// of another database writes nothing here; those of autovacuum, and those of this pipeline, write no rows.
const watermarkSQL = `
SELECT least(clock_timestamp() - make_interval(secs => $1), min(a.xact_start) FILTER (WHERE a.backend_type <> 'autovacuum worker'))::text,
	count(*) FILTER (WHERE a.query = '<insufficient privilege>'), count(*) FILTER (WHERE a.state = 'disabled'),
	(SELECT string_agg(gid, ', ') FROM pg_prepared_xacts WHERE database = current_database())
FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() AND (a.datid IS NULL OR a.datname = current_database())
	AND (a.usename IS DISTINCT FROM current_user OR a.application_name IS DISTINCT FROM current_setting('application_name'))`

// watermark asks for it. held says why it is not known.
func (p *timePoller) watermark(ctx context.Context, c *postgres.Conn, t *table) (at, held string, err error) {
	var hidden, disabled int
	var prepared *string
	err = c.QueryRow(ctx, watermarkSQL, p.source.config.Capture.Margin.Seconds()).Scan(&at, &hidden, &disabled, &prepared)
	refuse := func(reason, remedy string) error {
		return &fault.Error{Class: fault.Fatal, Code: unfitCode, Place: t.stream, Err: errors.New("strategy time cannot be had: " + reason), Remedy: remedy}
	}
	switch {
	case err != nil:
		return "", "", postgres.Explain(err, "ask for the transactions that are under way", t.stream)
	case hidden > 0:
		return "", "", refuse("the role does not see the transactions of others, so that no time is known to be over", "GRANT pg_read_all_stats TO the role")
	case disabled > 0:
		return "", "", refuse("a session has track_activities = off, and does not show when its transaction began", "set it to on")
	case prepared != nil: // it does not show when it began
		return at, "prepared transactions are pending: " + *prepared, nil
	}
	return at, "", nil
}

// standbyBlind is why there is no watermark at a standby.
const standbyBlind = "a standby, which does not know the transactions of the primary"

// begin takes the watermark: what is under way will write later times. While a prepared transaction is pending nobody knows its
// time, and following begins with the first row.
func (p *timePoller) begin(ctx context.Context, c *postgres.Conn, t *table) (record.Position, error) {
	at, held, err := p.watermark(ctx, c, t)
	if err != nil {
		return "", err
	}
	if held != "" {
		p.source.log.WarnContext(ctx, "changes are followed from the first row on, so that rows come twice", slog.Any("table", t), slog.String("reason", held))
		at = ""
	}
	if _, err = p.watch.begin(ctx, c, t); err != nil {
		return "", err
	}
	if t.facts.timeNotNull {
		return pack(stretch{Since: at}), nil
	}
	return pack(stretch{Since: at}), p.source.countNulls(ctx, c, t)
}

// countNulls counts the rows that have no time: changes of theirs are not seen.
func (s *Source) countNulls(ctx context.Context, c *postgres.Conn, t *table) error {
	column := s.config.Capture.Column
	var nulls int64
	if err := c.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s IS NULL", from(t.Table), quoted(column))).Scan(&nulls); err != nil {
		return postgres.Explain(err, "count the rows without a time", t.stream)
	}
	t.found.nulls.Store(nulls)
	if nulls > 0 {
		s.log.WarnContext(ctx, "rows have no time, and their changes are not seen", slog.Any("table", t), slog.String("column", column),
			slog.Int64("rows", nulls), slog.String("remedy", "acequia sweep"))
	}
	return nil
}

func (p *timePoller) covers(at record.Position, m moment) bool {
	s, err := unpack[stretch]("", at)
	if err != nil || s.UpTo != "" {
		return false
	}
	since, err := time.Parse(timeLayout, s.Since)
	return err == nil && since.After(m.clock)
}

// timeLayout is how the server writes a timestamptz in UTC.
const timeLayout = "2006-01-02 15:04:05.999999-07"

func (p *timePoller) poll(ctx context.Context, c *postgres.Conn, t *table, at record.Position, give func(record.Chunk) error) (record.Position, error) {
	s, err := unpack[stretch](t.stream, at)
	if err != nil {
		return at, err
	}
	return polling(ctx, c, t, "READ COMMITTED", func() (record.Position, error) {
		now, err := p.watch.see(ctx, c, t, 0)
		switch column := p.source.config.Capture.Column; {
		case err != nil:
			return at, err
		case t.Column(column) == nil:
			return at, &anew{"column " + column + " is gone"}
		case now.standby: // the DSN has led to another server than when the strategy was chosen
			return at, p.hold.stuck(ctx, p.source, c, t, oldestSQL, standbyBlind)
		}
		if s.UpTo == "" {
			mark, held, err := p.watermark(ctx, c, t)
			switch {
			case err != nil:
				return at, err
			case held != "" || !later(mark, s.Since): // it never goes back
				return at, p.hold.stuck(ctx, p.source, c, t, oldestSQL, held)
			}
			p.hold.free(t)
			if err := lasting(ctx, c, now); err != nil {
				return at, err
			}
			s.UpTo = mark
		}
		return p.page(ctx, c, t, now, s, give)
	})
}

// later compares two times of the server's.
func later(a, b string) bool {
	if b == "" {
		return true
	}
	x, err1 := time.Parse(timeLayout, a)
	y, err2 := time.Parse(timeLayout, b)
	return err1 == nil && err2 == nil && x.After(y)
}

// page gives the next rows of a round.
func (p *timePoller) page(ctx context.Context, c *postgres.Conn, t *table, now sight, s stretch, give func(record.Chunk) error) (record.Position, error) {
	layout, err := p.source.layout(t)
	if err != nil {
		return "", err
	}
	column := quoted(t.Name) + "." + quoted(p.source.config.Capture.Column) // a bare name would be that of an expression of the select list
	as := p.source.momentCast(t.Column(p.source.config.Capture.Column))
	where, args := column+" < $1"+as, []string{s.UpTo}
	switch {
	case s.Time != "":
		var last string
		kind := "::" + t.Column(p.source.config.Capture.Column).TypeName
		last, args = parameters(args, append([]string{s.Time}, s.Key...), append([]string{kind}, layout.KeyCasts()...))
		where += " AND (" + column + ", " + quotedKey(t.Table) + ") > (" + last + ")"
	case s.Since != "":
		where += " AND " + column + " >= $2" + as
		args = append(args, s.Since)
	}
	var times []string // of the rows since the last chunk
	rows, err := p.source.polled(ctx, c, page{
		table: t, layout: layout, args: args, clock: now.clock, lead: 1, end: pack(stretch{Since: s.UpTo}),
		sql: fmt.Sprintf("SELECT %s::text, %s FROM %s WHERE %s ORDER BY %[1]s, %[5]s LIMIT %[6]d",
			column, layout.Select(), from(t.Table), where, quotedKey(t.Table), p.source.pageRows),
		leads: func(values [][]byte) error {
			times = append(times, string(values[0]))
			return nil
		},
		position: func(b *record.Batch, row int) record.Position {
			if row >= 0 { // of what is refused behind it the place is not known, and it comes again after a crash
				s.Time, s.Key = times[row], layout.KeyText(b, b.Rows-1)
			}
			times = times[:0]
			return pack(s)
		},
	}, give)
	switch {
	case err != nil:
		return "", err
	case rows == p.source.pageRows:
		return pack(s), nil
	}
	return pack(stretch{Since: s.UpTo}), nil
}
