package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many rows, or so many bytes of columns.
const (
	chunkRows  = 10_000
	chunkBytes = 4 << 20
)

// partRows is how many rows a part of a backfill should have: a file of the lake takes as many.
const partRows = 1_000_000

// mostRefused is how many rows that can be no records wait for their chunk.
const mostRefused = 10_000

func tooManyRefused(stream string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-MY-034", Place: stream, Err: fmt.Errorf("%d rows one after the other can be no records", mostRefused),
		Remedy: "look at the dead letters, and set on_unrepresentable: text",
	}
}

// rangePosition is where a part of a backfill stands: behind a key.
type rangePosition struct {
	After []string `json:"after"`
}

// query is a read of a table as it stands.
type query struct {
	after    record.Position
	sql      func(l *mysql.Layout) string
	position func(l *mysql.Layout, last *record.Batch) record.Position // after the last row of what was gathered
}

// backfill opens a part of a table's backfill. It is read in one statement that runs while its chunks are taken; it may be cut off
// anywhere, and goes on after what is durable.
func (s *Source) backfill(ctx context.Context, t *table, number string, after record.Position) (sources.Reader, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(t.note.Parts) {
		return nil, fault.Stop(fmt.Errorf("mysql: table %s has no part %q", t.stream, number))
	}
	p := t.note.Parts[i]
	if after != "" {
		var at rangePosition
		if err := json.Unmarshal([]byte(after), &at); err != nil || len(at.After) != len(t.Key) {
			return nil, fault.Stop(fmt.Errorf("mysql: %q is no position in %s", after, t.stream))
		}
		p.After = at.After
	}
	return s.stream(ctx, t, query{
		after: after,
		sql: func(l *mysql.Layout) string {
			return "SELECT " + l.Select("t") + " FROM " + t.Quoted() + " t" + byKey(t.Table) + keyRange(l, t.Table, p) + " ORDER BY " + keyOrder(l, t.Table)
		},
		position: func(l *mysql.Layout, b *record.Batch) record.Position {
			return pack(rangePosition{l.KeyText(b, b.Rows-1)})
		},
	}), nil
}

// snapshot opens the read of a table without a key. It cannot go on in the middle, since nothing says which rows were read: what is
// there of an attempt that was cut off is of an epoch that never completes, and the table is read anew.
func (s *Source) snapshot(ctx context.Context, t *table, after record.Position) (sources.Reader, error) {
	if after != "" {
		return tabular.Ended{}, s.mustBegin(ctx, t, "its snapshot was cut off, and without a key it cannot go on")
	}
	rows := 0
	return s.stream(ctx, t, query{
		sql: func(l *mysql.Layout) string { return "SELECT " + l.Select("t") + " FROM " + t.Quoted() + " t" },
		position: func(_ *mysql.Layout, b *record.Batch) record.Position {
			rows += b.Rows
			return record.Position(strconv.Itoa(rows))
		},
	}), nil
}

// stream runs a query on a connection of its own and gives its rows as chunks. They have one version, whose number is taken before the
// statement's snapshot.
func (s *Source) stream(ctx context.Context, t *table, q query) *tabular.Reading {
	return tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		r := &streaming{source: s, table: t, query: q, give: give, at: q.after}
		return r.settled(ctx, s.with(ctx, func(c *mysql.Conn) error { return r.run(ctx, c) }))
	})
}

// streaming is a stream that runs.
type streaming struct {
	source *Source
	table  *table
	query  query
	give   func(record.Chunk) error

	refused []record.Refused // since the last chunk
	at      record.Position  // of the last chunk
}

// run reads. Columns that are not as the catalog said when it was last asked make it ask again: the next incarnation of the lane has
// them.
func (r *streaming) run(ctx context.Context, c *mysql.Conn) error {
	s, t := r.source, r.table
	layout, err := s.layout(t)
	if err != nil {
		return err
	}
	read := &reading{table: t.Table, source: t.source, epoch: t.note.Epoch, file: t.note.File, low: t.logged()}
	err = s.read(ctx, c, read, func() error {
		d := layout.Decoder()
		send := func() error { return r.send(ctx, layout, d, read) }
		err := c.StreamInto(ctx, r.query.sql(layout), d, mysql.StreamOptions{
			Rows: s.chunkRows, Bytes: chunkBytes, Full: send,
			Refused: func(e *gather.RowError) error {
				if r.refused = append(r.refused, read.refuse(e)); len(r.refused) < mostRefused {
					return nil
				}
				return send()
			},
		})
		if err != nil {
			return err
		}
		return send()
	})
	if errors.Is(err, errOutdated) && s.role != sources.Assistant { // which looks anew at each incarnation of a lane
		return errors.Join(err, s.refresh(ctx, c))
	}
	return err
}

// send hands on what was gathered.
func (r *streaming) send(ctx context.Context, l *mysql.Layout, d *mysql.Decoder, read *reading) error {
	batches, err := d.Batches(read.system)
	if err != nil || len(batches) == 0 && len(r.refused) == 0 {
		return err
	}
	chunk := record.Chunk{Batches: batches, Refused: r.refused, To: r.at, ReadAt: time.Now()}
	if len(batches) > 0 {
		last := batches[len(batches)-1]
		chunk.To = r.query.position(l, last)
		r.source.tally(r.table.stream, d.Unfit())
		if err := r.source.met(ctx, r.table.stream, r.table.note.Epoch, last.Schema); err != nil {
			chunk.Release()
			return err
		}
	}
	r.refused, r.at = nil, chunk.To
	return r.give(chunk)
}

// met notes the columns that a stream has, before the first record that has them.
func (s *Source) met(ctx context.Context, stream string, epoch uint16, schema *record.Schema) error {
	if now := s.table(stream); now == nil || now.note.Schema.Has(schema) {
		return nil
	}
	return s.change(ctx, stream, epoch, func(n *note) (changed bool) {
		n.Schema, changed = n.Schema.With(schema)
		return changed
	})
}

// tally counts values that their columns cannot hold, for the report.
func (s *Source) tally(stream string, unfit map[string]int64) {
	if unfit == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unfit[stream] == nil {
		s.unfit[stream] = unfit
		return
	}
	for column, n := range unfit {
		s.unfit[stream][column] += n
	}
}

// settled makes the end of what the reader cannot go on with: a table that is gone, or whose rows are in another file, ends with what was
// read, and that it must be read anew if it is there again is noted first.
func (r *streaming) settled(ctx context.Context, err error) error {
	var why string
	switch {
	case errors.Is(err, errGone):
		why = "it was not there while a part of it was to be read"
	case errors.Is(err, errMoved):
		why = "while it was read it was truncated, or its rows were written anew by ALTER TABLE"
	default:
		return err
	}
	r.source.log.WarnContext(ctx, "a part of the table ends before all of it was read", slog.Any("table", r.table), slog.String("reason", err.Error()))
	return r.source.mustBegin(ctx, r.table, why)
}

// completion gives the one record that says that a stream was read to its end in this epoch: everything of epochs before is gone. When the
// table was last read whole is noted before the end is given: after a crash nobody tells a lane that has ended what was durable.
func (s *Source) completion(ctx context.Context, t *table, after record.Position) sources.Reader {
	return tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		now := s.table(t.stream)
		if now == nil || now.note.Epoch != t.note.Epoch || now.note.Anew != "" { // what was read is not complete
			return nil
		}
		if after == "" {
			layout, err := s.layout(t)
			if err != nil {
				return err
			}
			b := record.NewBuilder(layout.Schema, 1)
			b.Next()
			t.system(0, record.Truncate, time.Now())(1, b.System())
			if err := give(record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: completePart, ReadAt: time.Now()}); err != nil {
				return err
			}
		}
		return s.change(ctx, t.stream, t.note.Epoch, func(n *note) bool {
			n.Done = time.Now().UTC()
			return true
		})
	})
}

// pack writes a position.
func pack(at any) record.Position {
	text, _ := json.Marshal(at) // positions are numbers and texts, which always can be
	return record.Position(text)
}

// unpack reads a position that pack wrote.
func unpack[T any](stream string, from record.Position) (at T, err error) {
	if err := json.Unmarshal([]byte(from), &at); err != nil {
		return at, fault.Stop(fmt.Errorf("mysql: %q is no position in %s: %w", from, stream, err))
	}
	return at, nil
}

// byKey lets the server read in the order of the key by its index, instead of sorting the table.
func byKey(t *mysql.Table) string { return " FORCE INDEX (" + mysql.Quote(t.KeyIndex) + ")" }

// keyOrder is what rows are ordered by.
func keyOrder(l *mysql.Layout, t *mysql.Table) string {
	names := make([]string, len(t.Key))
	for i := range t.Key {
		names[i] = l.KeyName("t", i)
	}
	return strings.Join(names, ", ")
}

// keyRange gives the condition of a range, with its WHERE.
func keyRange(l *mysql.Layout, t *mysql.Table, r part) string {
	var conditions []string
	if r.After != nil {
		conditions = append(conditions, beyond(l, t, ">", ">", r.After))
	}
	if r.UpTo != nil {
		conditions = append(conditions, beyond(l, t, "<", "<=", r.UpTo))
	}
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// beyond is the condition that keys are beyond one. Servers find no range of an index for (a, b) > (1, 2), but for what says the same.
func beyond(l *mysql.Layout, t *mysql.Table, operator, last string, key []string) string {
	out := ""
	for i := range slices.Backward(t.Key) {
		name, value := l.KeyName("t", i), l.KeyLiteral(i, key[i])
		if out == "" {
			out = name + " " + last + " " + value
			continue
		}
		out = fmt.Sprintf("%s %s= %s AND (%[1]s %[2]s %[3]s OR %[4]s)", name, operator, value, out)
	}
	return "(" + out + ")"
}
