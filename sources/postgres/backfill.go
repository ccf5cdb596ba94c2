package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many rows, or so many bytes of columns.
const (
	chunkRows  = 10_000
	chunkBytes = 4 << 20
)

// rangePosition is where a part of a backfill stands.
type rangePosition struct {
	After []string `json:"after"` // the last key that was read
}

// rangeReader reads the rows of a range of keys in their order, in one statement that runs while its chunks are taken. It may be
// cut off anywhere, and goes on after the last key that is durable.
type rangeReader struct {
	*stream
}

// backfill opens a part of a table's backfill.
func (s *Source) backfill(ctx context.Context, t *table, number string, after record.Position) (sources.Reader, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(t.note.Parts) {
		return nil, fault.Stop(fmt.Errorf("postgres: table %s has no part %q", t.stream, number))
	}
	r := t.note.Parts[i]
	if after != "" {
		var at rangePosition
		if err := json.Unmarshal([]byte(after), &at); err != nil || len(at.After) != len(t.Key) {
			return nil, fault.Stop(fmt.Errorf("postgres: %q is no position in %s", after, t.stream))
		}
		r.After = at.After
	}
	layout, err := s.layout(t)
	if err != nil {
		return nil, err
	}
	where, args := keyRange(t.Table, layout, r)
	sql := "select " + layout.Select() + " from " + from(t.Table) + where + " order by " + quotedKey(t.Table)
	position := func(b *record.Batch) record.Position {
		text, _ := json.Marshal(rangePosition{layout.KeyText(b, b.Rows-1)}) // texts always can be
		return record.Position(text)
	}
	return &rangeReader{s.stream(ctx, t, layout, sql, args, position)}, nil
}

// stream runs a statement on a connection of its own and gives its rows as chunks.
type stream struct {
	chunks chan record.Chunk
	err    error // valid when chunks is closed
	cancel context.CancelFunc
}

// stream starts reading. Its rows have one version, whose number is taken before the statement's snapshot.
func (s *Source) stream(ctx context.Context, t *table, layout *postgres.Layout, sql string, args []string, position func(*record.Batch) record.Position) *stream {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	out := &stream{chunks: make(chan record.Chunk), cancel: cancel}
	go func() {
		defer close(out.chunks)
		out.err = s.with(ctx, func(c *postgres.Conn) error {
			number, at, err := s.stand(ctx, c, t)
			if err != nil {
				return err
			}
			d := layout.Decoder()
			send := func() error {
				batches, err := d.Batches(t.system(number, record.Snapshot, at))
				if err != nil || len(batches) == 0 {
					return err
				}
				chunk := record.Chunk{Batches: batches, To: position(batches[len(batches)-1]), ReadAt: time.Now()}
				select {
				case out.chunks <- chunk:
					return nil
				case <-ctx.Done():
					chunk.Release()
					return ctx.Err()
				}
			}
			if err := c.StreamInto(ctx, sql, args, d, postgres.StreamOptions{Rows: chunkRows, Bytes: chunkBytes, Full: send}); err != nil {
				return postgres.Explain(err, "read "+t.Quoted(), t.stream)
			}
			return send()
		})
	}()
	return out
}

// stand gives the number of a read that shows a table as it stands, and the server's time. It is asked before the read.
func (s *Source) stand(ctx context.Context, c *postgres.Conn, t *table) (number uint64, at time.Time, err error) {
	if t.note.Strategy != byLog { // what the log tells of a row wins over any read of it: see joinLog
		if number, err = s.state.Next(ctx, t.stream); err != nil {
			return 0, at, err
		}
	}
	if err = c.QueryRow(ctx, "select clock_timestamp()").Scan(&at); err != nil {
		return 0, at, postgres.Explain(err, "ask for the time", t.stream)
	}
	return number, at, nil
}

// Read gives the next chunk.
func (r *stream) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case chunk, ok := <-r.chunks:
		switch {
		case ok:
			return chunk, nil
		case r.err != nil:
			return record.Chunk{}, r.err
		}
		return record.Chunk{}, io.EOF
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
}

// Settle has nothing to confirm.
func (r *stream) Settle(context.Context, record.Position, error) error { return nil }

// Close ends the statement.
func (r *stream) Close() error {
	r.cancel()
	for chunk := range r.chunks {
		chunk.Release()
	}
	return nil
}

// partRows is how many rows a part of a backfill should have: a file of the lake takes as many.
const partRows = 1_000_000

// split cuts a table's keys into parts of about partRows rows, by a sample in the order of the server.
func (s *Source) split(ctx context.Context, c *postgres.Conn, t *table) error {
	if len(t.Key) == 0 {
		t.note.Parts = nil
		return nil
	}
	layout, bounds, err := quantiles(ctx, c, t.Table, int((t.Rows-1)/partRows))
	if err != nil {
		return err
	}
	t.note.Parts = make([]part, 1)
	if bounds == nil {
		return nil
	}
	defer bounds.Release()
	for row := range bounds.Rows {
		b := layout.KeyText(bounds, row)
		t.note.Parts[row].UpTo = b
		t.note.Parts = append(t.note.Parts, part{After: b})
	}
	return nil
}
