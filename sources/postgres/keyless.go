package postgres

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// counted is the reader of a snapshot that notes how many rows there were.
type counted struct {
	*stream
	rows    *int
	refused int
}

// Read gives the next chunk.
func (r *counted) Read(ctx context.Context) (record.Chunk, error) {
	chunk, err := r.stream.Read(ctx)
	r.refused += len(chunk.Refused)
	if errors.Is(err, io.EOF) {
		noted := r.source.change(ctx, r.table.stream, r.table.note.Epoch, func(n *note) bool {
			n.Rows = int64(*r.rows + r.refused)
			return true
		})
		if noted != nil {
			return chunk, noted
		}
	}
	return chunk, err
}

// since gives the xmin of the server: below it nothing is under way any more.
func since(ctx context.Context, c *postgres.Conn, t *table) (uint64, error) {
	var text string
	if err := c.QueryRow(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text").Scan(&text); err != nil {
		return 0, postgres.Explain(err, "ask for the server's transactions", t.stream)
	}
	return strconv.ParseUint(text, 10, 64)
}

// shape gives what the catalog says of a table's columns, the values of its enums and its partitions: a column that is added with a
// default, or one that has another name, is in rows that nobody has written.
func shape(ctx context.Context, c *postgres.Conn, t *table) (text string, err error) {
	if t.Kind != postgres.Ordinary && t.Kind != postgres.Partitioned {
		return "", nil
	}
	err = c.QueryRow(ctx, `SELECT md5(concat_ws('|', `+columnsSQL+`, (SELECT string_agg(concat_ws(' ', oid, enumlabel), ',' ORDER BY oid) FROM pg_enum WHERE enumtypid = ANY($2)),
		(SELECT string_agg(relid::oid::text, ',' ORDER BY relid) FROM pg_partition_tree($1))))`, t.OID, enums(t.Table)).Scan(&text)
	return text, postgres.Explain(err, "look at the columns of "+t.Quoted(), t.stream)
}

// isDue says whether a table that nothing follows is to be read again: when a run begins that ends when nothing is left, and after
// a while in one that does not end; but only when it holds other rows than before, as far as that can be told.
func (s *Source) isDue(ctx context.Context, c *postgres.Conn, t *table, first bool) (bool, error) {
	if t.note.Strategy != "" || t.note.Done.IsZero() {
		return false, nil
	}
	late := time.Since(t.note.Done) >= s.config.Capture.Snapshot
	if !late && (!first || !s.drains) {
		return false, nil
	}
	if t.Kind != postgres.Ordinary && t.Kind != postgres.Partitioned {
		return late, nil // a view does not tell
	}
	moved, err := s.moved(ctx, c, t)
	if err != nil || moved {
		return moved, err
	}
	t.note.Done = time.Now().UTC()
	return false, s.save(ctx, t)
}

// moved says whether a table has other rows than its last snapshot: one that was written since has the number of its writer, and
// where none has, the number of rows tells whether some are gone. A row of a writer so long ago that its number comes round again is
// taken for a new one.
func (s *Source) moved(ctx context.Context, c *postgres.Conn, t *table) (bool, error) {
	is, err := shape(ctx, c, t)
	if err != nil || is != t.note.Shape {
		return true, err
	}
	now, err := since(ctx, c, t)
	if err != nil || now < t.note.Since || now-t.note.Since > mostXIDs {
		return true, err
	}
	var rows int64
	var written bool
	err = c.QueryRow(ctx, "SELECT count(*), coalesce(bool_or(age(xmin) <= age($1::text::xid)), false) FROM "+from(t.Table),
		strconv.FormatUint(t.note.Since&(1<<32-1), 10)).Scan(&rows, &written)
	if err != nil {
		return false, postgres.Explain(err, "look whether "+t.Quoted()+" has changed", t.stream)
	}
	return written || rows != t.note.Rows, nil
}
