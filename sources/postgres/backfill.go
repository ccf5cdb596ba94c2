package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many rows, or so many bytes of columns.
const (
	chunkRows  = 10_000
	chunkBytes = 4 << 20
)

// mostRefused is how many rows that can be no records wait for their chunk.
const mostRefused = 10_000

func tooManyRefused(stream string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-PG-034", Place: stream, Err: fmt.Errorf("%d rows one after the other can be no records", mostRefused),
		Remedy: "look at the dead letters, and set on_unrepresentable: text",
	}
}

// rangePosition is where a part of a backfill stands: behind a key, or behind a place in the heap.
type rangePosition struct {
	After []string `json:"after,omitempty"`
	Place *place   `json:"place,omitempty"`
}

// backfill opens a part of a table's backfill. It is read in one statement that runs while its chunks are taken; it may be cut off
// anywhere, and goes on after what is durable.
func (s *Source) backfill(ctx context.Context, t *table, lane, number string, after record.Position) (sources.Reader, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(t.note.Parts) {
		return nil, fault.Stop(fmt.Errorf("postgres: table %s has no part %q", t.stream, number))
	}
	var at rangePosition
	p := t.note.Parts[i]
	if after != "" {
		if err := json.Unmarshal([]byte(after), &at); err != nil || (at.Place == nil) != (p.Blocks == nil) || p.Blocks == nil && len(at.After) != len(t.Key) {
			return nil, fault.Stop(fmt.Errorf("postgres: %q is no position in %s", after, t.stream))
		}
	}
	var q query
	if p.Blocks != nil {
		q = heapQuery(t, *p.Blocks, at.Place)
	} else {
		if at.After != nil {
			p.After = at.After
		}
		q = keyQuery(t, p)
	}
	q.after = after
	if q.lane = lane; after == "" {
		q.snapshot = s.exported(t)
	}
	return s.stream(ctx, t, q), nil
}

// keyQuery reads a range of keys in their order.
func keyQuery(t *table, p part) query {
	var layout *postgres.Layout
	return query{
		sql: func(l selected) (string, []string) {
			layout = l.layout
			where, args := keyRange(t.Table, layout, p)
			return "select " + l.list + " from " + from(t.Table) + where + " order by " + quotedKey(t.Table), args
		},
		position: func(b *record.Batch) record.Position { return pack(rangePosition{After: layout.KeyText(b, b.Rows-1)}) },
	}
}

// query is a read of a table as it stands.
type query struct {
	lane     string
	after    record.Position
	snapshot string // of the log's beginning, to read in; "": its own
	settings string // of its transaction
	sql      func(selected) (sql string, args []string)
	lead     int // expressions before the columns
	leads    func(values [][]byte) error
	position func(last *record.Batch) record.Position // after the last row of what was gathered
	check    func(ctx context.Context, c *postgres.Conn) error
}

// selected is what is read of a table.
type selected struct {
	layout *postgres.Layout
	list   string // of the SELECT
}

// stream runs a statement on a connection of its own and gives its rows as chunks.
type stream struct {
	*tabular.Reading

	source *Source
	table  *table
	query  query
	give   func(record.Chunk) error

	refused []record.Refused // since the last chunk
	at      record.Position  // of the last chunk
}

// stream starts reading. The rows have one version, whose number is taken before the statement's snapshot.
func (s *Source) stream(ctx context.Context, t *table, q query) *stream {
	r := &stream{source: s, table: t, query: q, at: q.after}
	r.Reading = tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		r.give = give
		return r.settled(ctx, s.with(ctx, func(c *postgres.Conn) error { return r.run(ctx, c) }))
	})
	return r
}

// run reads. Columns that are not as the catalog said when it was last asked make it ask again: the next incarnation of the lane has
// them.
func (r *stream) run(ctx context.Context, c *postgres.Conn) error {
	s, t := r.source, r.table
	layout, err := s.layout(t)
	if err != nil {
		return err
	}
	read := &reading{table: t.Table, source: t.source, epoch: t.note.Epoch, log: t.note.Strategy == byLog, backfill: true, settings: r.query.settings, snapshot: r.query.snapshot}
	if t.note.Log != nil {
		read.behind = t.note.Log.Behind
	}
	err = s.read(ctx, c, read, func() error {
		s.opened(ctx, r.query.lane)
		if r.query.check != nil {
			if err := r.query.check(ctx, c); err != nil {
				return err
			}
		}
		d := layout.Decoder()
		send := func() error { return r.send(ctx, d, read) }
		sql, args := r.query.sql(selected{layout, layout.Select()})
		err := c.StreamInto(ctx, sql, args, d, postgres.StreamOptions{
			Lead: r.query.lead, Leads: r.query.leads, Rows: s.chunkRows, Bytes: chunkBytes, Full: send,
			Refused: func(e *gather.RowError) error {
				if r.refused = append(r.refused, read.refuse(e)); len(r.refused) < mostRefused {
					return nil
				}
				if r.query.lead > 0 { // they may be ahead of the rows that were gathered
					return tooManyRefused(t.stream)
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
func (r *stream) send(ctx context.Context, d *postgres.Decoder, read *reading) error {
	batches, err := d.Batches(read.system)
	if err != nil || len(batches) == 0 && len(r.refused) == 0 {
		return err
	}
	chunk := record.Chunk{Batches: batches, Refused: r.refused, To: r.at, ReadAt: time.Now()}
	if len(batches) > 0 {
		last := batches[len(batches)-1]
		chunk.To = r.query.position(last)
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

// settled makes the end of what the reader cannot go on with: a table that is gone, or whose rows were moved, ends with what was
// read, and that it must be read anew if it is there again is noted first.
func (r *stream) settled(ctx context.Context, err error) error {
	var why string
	switch {
	case errors.Is(err, errGone):
		why = "it was not there while a part of it was to be read"
	case errors.Is(err, errMoved):
		why = errMoved.Err.Error()
	default:
		return err
	}
	r.source.log.WarnContext(ctx, "a part of the table ends before all of it was read", slog.Any("table", r.table), slog.String("reason", err.Error()))
	return r.source.mustBegin(ctx, r.table, why)
}

// A part of a backfill should have partRows rows, for a file of the lake takes as many. A smaller table is cut too, so that all lanes
// have some of it, but into no parts of less than partBytes.
const (
	partRows  = 1_000_000
	partBytes = 32 << 20
)

// split cuts a table into parts of about the same size: by its keys, or by its blocks where the keys' order has nothing to do with where
// the rows stand.
func (s *Source) split(ctx context.Context, c *postgres.Conn, t *table) error {
	t.note.Parts = nil
	if len(t.Key) == 0 {
		return nil
	}
	n := int((t.Rows - t.Rows/50 - 1) / s.partRows) // an estimate that is a little high makes no part more
	n = max(n, min(s.config.Parallel, int(t.Bytes/partBytes))-1)
	sample, err := quantiles(ctx, c, t.Table, n)
	if err != nil {
		return err
	}
	defer sample.release()
	if sample.scattered() && t.mayMove() {
		return s.splitHeap(ctx, c, t, n)
	}
	t.note.Parts = make([]part, 1, 1+n)
	for row := range sample.rows() {
		b := sample.layout.KeyText(sample.bounds, row)
		t.note.Parts[row].UpTo = b
		t.note.Parts = append(t.note.Parts, part{After: b})
	}
	return nil
}
