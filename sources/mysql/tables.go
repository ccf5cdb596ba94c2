package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var (
	_ sources.Tables    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Since     = (*Source)(nil)
	_ sources.Marker    = (*Source)(nil)
)

// Streams gives the tables that the settings choose, as the catalog has them now.
func (s *Source) Streams(ctx context.Context) (streams []sources.Stream, err error) {
	err = s.with(ctx, func(c *mysql.Conn) error {
		found, err := s.catalog(ctx, c)
		if err != nil {
			return err
		}
		for _, t := range found {
			layout, err := mysql.NewLayout(t, s.layoutOptions(t))
			if err != nil {
				return err
			}
			streams = append(streams, sources.Stream{Schema: layout.Schema, Rows: t.Rows, Bytes: t.Bytes})
		}
		return nil
	})
	return streams, err
}

// Describe gives the schemas of the tables as the catalog has them now.
func (s *Source) Describe(ctx context.Context) ([]*record.Schema, error) {
	streams, err := s.Streams(ctx)
	schemas := make([]*record.Schema, len(streams))
	for i, stream := range streams {
		schemas[i] = stream.Schema
	}
	return schemas, err
}

// lookUp finds the table of a stream: as it was when the catalog was last asked, which a read makes sure of (errOutdated), or as it
// is when fresh is set or it was not there.
func (s *Source) lookUp(ctx context.Context, c *mysql.Conn, stream string, fresh bool) (*mysql.Table, error) {
	s.mu.Lock()
	t := s.listed[stream]
	s.mu.Unlock()
	if t == nil || fresh {
		if _, err := s.catalog(ctx, c); err != nil {
			return nil, err
		}
		s.mu.Lock()
		t = s.listed[stream]
		s.mu.Unlock()
	}
	if t != nil {
		return t, nil
	}
	return nil, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-MY-032", Place: stream,
		Err:    errors.New("the server has no such table, or the settings leave it out"),
		Remedy: "look at tables: in the settings of the source",
	}
}

// Split cuts the keys of a stream into parts of about rows records.
func (s *Source) Split(ctx context.Context, stream string, rows int) ([]sources.KeyRange, error) {
	parts := []sources.KeyRange{{}}
	err := s.with(ctx, func(c *mysql.Conn) error {
		t, err := s.lookUp(ctx, c, stream, true)
		if err != nil || !ordered(t) {
			return err
		}
		b, err := cut(ctx, c, t, int64(max(rows, 1)))
		if err != nil {
			return err
		}
		defer b.release()
		for row := range b.rows() {
			key := keyValues(b.keys, row)
			parts[len(parts)-1].UpTo = key
			parts = append(parts, sources.KeyRange{After: key})
		}
		return nil
	})
	return parts, err
}

// ordered says whether acequia sees the keys of a table in the order that the server sees: numbers, times and bytes. Texts are there under
// a collation.
func ordered(t *mysql.Table) bool {
	if len(t.Key) == 0 {
		return false
	}
	for _, name := range t.Key {
		switch ty := &t.Column(name).Type; ty.Data {
		case "tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit", "date", "datetime", "timestamp", "binary", "varbinary":
		case "decimal":
			if ty.Precision > 38 { // held as text
				return false
			}
		default:
			return false
		}
	}
	return true
}

// Scan reads a part of a stream in one snapshot.
func (s *Source) Scan(ctx context.Context, stream string, r sources.KeyRange, each func(*record.Batch) error) error {
	return s.asked(ctx, stream, func(t *mysql.Table, l *mysql.Layout) (sql string, err error) {
		sql = "SELECT " + l.Select("t") + " FROM " + t.Quoted() + " t"
		if r.After == nil && r.UpTo == nil {
			return sql, nil
		}
		var p part
		if p.After, err = keyTexts(t, r.After); err != nil {
			return "", err
		}
		if p.UpTo, err = keyTexts(t, r.UpTo); err != nil {
			return "", err
		}
		return sql + byKey(t) + keyRange(l, t, p) + " ORDER BY " + keyOrder(l, t), nil
	}, each)
}

// lookUpKeys is how many keys a statement looks up: so few that the server asks its index for each.
const lookUpKeys = 500

// Lookup reads the records with the given keys.
func (s *Source) Lookup(ctx context.Context, stream string, keys *record.Batch, each func(*record.Batch) error) error {
	for lo := 0; lo < keys.Rows; lo += lookUpKeys {
		hi := min(keys.Rows, lo+lookUpKeys)
		err := s.asked(ctx, stream, func(t *mysql.Table, l *mysql.Layout) (string, error) {
			if len(t.Key) == 0 || len(keys.Schema.Fields) != len(t.Key) {
				return "", fault.Stop(fmt.Errorf("mysql: keys of %d columns for the %d of %s", len(keys.Schema.Fields), len(t.Key), t.Quoted()))
			}
			keyed := make([]string, 0, hi-lo)
			for row := lo; row < hi; row++ {
				keyed = append(keyed, keyIs(l, t, l.KeyText(keys, row)))
			}
			return "SELECT " + l.Select("t") + " FROM " + t.Quoted() + " t WHERE " + strings.Join(keyed, " OR "), nil
		}, each)
		if err != nil {
			return err
		}
	}
	return nil
}

// ScanSince reads the rows whose column of times, that of strategy time, is not before a moment. A transaction that is under way may still
// write an earlier one.
func (s *Source) ScanSince(ctx context.Context, stream string, since time.Time, each func(*record.Batch) error) error {
	return s.asked(ctx, stream, func(t *mysql.Table, l *mysql.Layout) (string, error) {
		name := s.config.Capture.Column
		refuse := func(reason, remedy string) error {
			return &fault.Error{Class: fault.Fatal, Code: "ACQ-MY-045", Place: stream, Err: fmt.Errorf("%s: %w", reason, sources.ErrNoTimes), Remedy: remedy}
		}
		switch column := t.Column(name); {
		case column == nil || column.Type.Data != withZone && column.Type.Data != withoutZone:
			return "", refuse(fmt.Sprintf("it has no column %s of times", name),
				"name the column with capture.column, or read the whole table")
		case column.Type.Data == withoutZone && s.config.Capture.Zone == "":
			return "", refuse(fmt.Sprintf("the times of column %s have no zone", name), "say it with capture.zone")
		default:
			return fmt.Sprintf("SELECT %s FROM %s t WHERE t.%s >= %s", l.Select("t"), t.Quoted(), mysql.Quote(name), s.moment(column, since)), nil
		}
	}, each)
}

// moment makes of a moment what a column of times is compared with.
func (s *Source) moment(column *mysql.Column, at time.Time) string {
	at = at.UTC()
	if column.Type.Data == withoutZone && s.config.Capture.Zone != "UTC" {
		zone, err := time.Parse("-07:00", s.config.Capture.Zone)
		if err == nil { // the settings were checked
			at = at.In(zone.Location())
		}
	}
	return "'" + at.Format(timeLayout) + "'"
}

// Mark gives what the records of a read that begins now would have: its number is taken before whatever is read after it.
func (s *Source) Mark(ctx context.Context, stream string) (record.System, error) {
	var sys record.System
	err := s.retried(ctx, func(fresh bool) error {
		return s.with(ctx, func(c *mysql.Conn) error {
			t, err := s.lookUp(ctx, c, stream, fresh)
			if err != nil {
				return err
			}
			r, err := s.reading(ctx, t)
			if err != nil {
				return err
			}
			return s.read(ctx, c, r, func() error {
				r.system(1, &sys)
				return nil
			})
		})
	})
	return sys, err
}

// statement makes the SQL that reads a table, once its columns are known.
type statement func(t *mysql.Table, l *mysql.Layout) (sql string, err error)

// retried does something with the table as the catalog was last asked for, and when it is not so with how it is now.
func (s *Source) retried(ctx context.Context, do func(fresh bool) error) error {
	err := do(false)
	if ctx.Err() == nil && (errors.Is(err, errOutdated) || errors.Is(err, errGone)) {
		return do(true)
	}
	return err
}

// asked runs a statement over a table.
func (s *Source) asked(ctx context.Context, stream string, sql statement, each func(*record.Batch) error) error {
	return s.retried(ctx, func(fresh bool) error {
		return s.with(ctx, func(c *mysql.Conn) error { return s.ask(ctx, c, stream, fresh, sql, each) })
	})
}

func (s *Source) ask(ctx context.Context, c *mysql.Conn, stream string, fresh bool, sql statement, each func(*record.Batch) error) error {
	t, err := s.lookUp(ctx, c, stream, fresh)
	if err != nil {
		return err
	}
	layout, err := mysql.NewLayout(t, s.layoutOptions(t))
	if err != nil {
		return err
	}
	text, err := sql(t, layout)
	if err != nil {
		return err
	}
	r, err := s.reading(ctx, t)
	if err != nil {
		return err
	}
	return s.read(ctx, c, r, func() error {
		d := layout.Decoder()
		hand := func() error {
			batches, err := d.Batches(r.system)
			for _, b := range batches {
				if err == nil {
					err = each(b)
				}
				b.Release()
			}
			return err
		}
		if err := c.StreamInto(ctx, text, d, mysql.StreamOptions{Rows: s.chunkRows, Bytes: chunkBytes, Full: hand}); err != nil {
			return err
		}
		return hand()
	})
}

// reading begins a read beside the lanes: its records are of the incarnation that the stream has now.
func (s *Source) reading(ctx context.Context, t *mysql.Table) (*reading, error) {
	r := &reading{table: t, source: sourceName(t)}
	if s.state == nil {
		return r, nil
	}
	kept := &table{Table: t, stream: t.Stream()}
	if _, err := s.load(ctx, kept); err != nil {
		return nil, err
	}
	r.epoch, r.logged = kept.note.Epoch, kept.logged()
	return r, nil
}
