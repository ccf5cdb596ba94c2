package mysql

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
)

// timePoller finds rows by a column that every writer sets to the database's NOW(). The watermark of a round is a time that no statement
// and no transaction that is under way can still write. It is asked for before the rows are, and never goes back. It holds while
// every write sets the column by the database's clock, and that clock does not step back.
type timePoller struct {
	source *Source
	watch  watch
	hold   holdup
}

// stretch is where a round stands. Times are texts in UTC, with microseconds; "" is before all of them.
type stretch struct {
	Since string   `json:"c"`           // rows before it are given
	UpTo  string   `json:"w,omitempty"` // the watermark of the round under way; "": none is
	Time  string   `json:"t,omitempty"` // of the last row that was given of it, as the column has it
	Key   []string `json:"k,omitempty"`
}

// watermark asks for it. A column without a fraction has the times of a whole second, or of a part of it.
func (p *timePoller) watermark(ctx context.Context, c *mysql.Conn, t *table) (at time.Time, held string, err error) {
	at, held, err = p.source.activity.watermark(ctx, c, p.source.config.Capture.Margin)
	const needsProcess = 1227
	if mysql.Said(err) == needsProcess {
		return at, held, &fault.Error{
			Class: fault.Fatal, Code: unfitCode, Place: t.stream, Err: fmt.Errorf("strategy time cannot be had: %w", err), Remedy: "GRANT PROCESS ON *.* TO the user of the dsn",
		}
	}
	unit := time.Second
	if column := t.Column(p.source.config.Capture.Column); column != nil {
		for range column.Type.Fraction {
			unit /= 10
		}
	}
	return at.Truncate(unit), held, err
}

// firstLooks is how long it is waited at most, until what was under way at the first look has ended.
const firstLooks = 10 * time.Second

// begin takes the watermark: what is under way will write later times. While a transaction that was there at the first look is
// pending nobody knows its times, and after a while following begins with the first row.
func (p *timePoller) begin(ctx context.Context, c *mysql.Conn, t *table) (record.Position, error) {
	at, held, err := p.watermark(ctx, c, t)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for late := time.After(firstLooks); err == nil && held != ""; {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick.C:
			at, held, err = p.watermark(ctx, c, t)
			continue
		case <-late:
		}
		break
	}
	if err != nil {
		return "", err
	}
	s := stretch{Since: at.Format(timeLayout)}
	if held != "" {
		p.source.log.WarnContext(ctx, "changes are followed from the first row on, so that rows come twice", slog.Any("table", t), slog.String("reason", held))
		s.Since = ""
	}
	if err := p.watch.begin(ctx, c, t); err != nil {
		return "", err
	}
	if t.facts.timeNotNull {
		return pack(s), nil
	}
	return pack(s), p.source.countNulls(ctx, c, t)
}

// countNulls counts the rows that have no time: changes of theirs are not seen.
func (s *Source) countNulls(ctx context.Context, c *mysql.Conn, t *table) error {
	column := s.config.Capture.Column
	row, err := c.QueryRow(ctx, fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s IS NULL", t.Quoted(), mysql.Quote(column)))
	if err != nil {
		return mysql.Explain(err, "count the rows without a time", t.stream)
	}
	nulls := row.Int(0)
	t.found.nulls.Store(nulls)
	if nulls > 0 {
		s.log.WarnContext(ctx, "rows have no time, and their changes are not seen", slog.Any("table", t), slog.String("column", column),
			slog.Int64("rows", nulls), slog.String("remedy", "acequia sweep"))
	}
	return nil
}

func (p *timePoller) covers(at record.Position, moment time.Time) bool {
	s, err := unpack[stretch]("", at)
	if err != nil || s.UpTo != "" {
		return false
	}
	since, err := time.Parse(timeLayout, s.Since)
	return err == nil && since.After(moment)
}

func (p *timePoller) poll(ctx context.Context, c *mysql.Conn, t *table, from record.Position, give func(record.Chunk) error) (at record.Position, err error) {
	s, err := unpack[stretch](t.stream, from)
	if err != nil {
		return from, err
	}
	if s.UpTo == "" { // before the rows, and before their snapshot
		mark, held, err := p.watermark(ctx, c, t)
		switch {
		case err != nil:
			return from, err
		case held != "":
			p.hold.stuck(ctx, p.source, t, held)
			return from, nil
		case !later(mark, s.Since): // it never goes back
			p.hold.stuck(ctx, p.source, t, "a statement or transaction that began at "+mark.Format(time.RFC3339)+" or before")
			return from, nil
		}
		p.hold.free(t)
		s.UpTo = mark.Format(timeLayout)
	}
	err = p.source.locked(ctx, c, t.Table, "READ COMMITTED", func(clock time.Time) error {
		if err := p.watch.see(ctx, c, t); err != nil {
			return err
		}
		if column := p.source.config.Capture.Column; t.Column(column) == nil {
			return &anew{"column " + column + " is gone"}
		}
		at, err = p.page(ctx, c, t, clock, s, give)
		return err
	})
	return at, err
}

// later compares a time with the text of one.
func later(a time.Time, text string) bool {
	if text == "" {
		return true
	}
	b, err := time.Parse(timeLayout, text)
	return err == nil && a.After(b)
}

// page gives the next rows of a round.
func (p *timePoller) page(ctx context.Context, c *mysql.Conn, t *table, clock time.Time, s stretch, give func(record.Chunk) error) (record.Position, error) {
	layout, err := p.source.layout(t)
	if err != nil {
		return "", err
	}
	column := t.Column(p.source.config.Capture.Column)
	name := "t." + mysql.Quote(column.Name)
	upTo, err := time.Parse(timeLayout, s.UpTo)
	if err != nil {
		return "", fault.Stop(err)
	}
	where := name + " < " + p.source.moment(column, upTo)
	if s.Time != "" {
		where += fmt.Sprintf(" AND %s >= '%s' AND (%[1]s > '%[2]s' OR %s)", name, s.Time, beyond(layout, t.Table, ">", ">", s.Key))
	} else if s.Since != "" {
		since, err := time.Parse(timeLayout, s.Since)
		if err != nil {
			return "", fault.Stop(err)
		}
		where += " AND " + name + " >= " + p.source.moment(column, since)
	}
	var times []string // of the rows since the last chunk
	rows, err := p.source.polled(ctx, c, page{
		table: t, layout: layout, clock: clock, lead: []mysql.Lead{0},
		sql: fmt.Sprintf("SELECT CAST(%s AS CHAR), %s FROM %s t WHERE %s ORDER BY %[1]s, %[5]s LIMIT %[6]d",
			name, layout.Select("t"), t.Quoted(), where, keyOrder(layout, t.Table), p.source.pageRows),
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
