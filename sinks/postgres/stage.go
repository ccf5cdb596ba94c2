package postgres

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
)

// staging is a group that was cut.
type staging struct {
	writer *writer
	group  sinks.Group
	parts  []*part

	first   string        // the name of its first part, once it is staged
	visible chan struct{} // closed when it is
}

// Stage copies each part into a table of its own, which no reader looks at, in one transaction.
func (s *staging) Stage(ctx context.Context) (m sinks.Manifest, err error) {
	if len(s.parts) == 0 {
		return m, nil
	}
	err = s.writer.sink.with(ctx, func(c *postgres.Conn) error {
		m.Files = nil
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			for n, p := range s.parts {
				if p.rows == 0 {
					continue
				}
				f, err := s.stage(ctx, tx, p)
				if err != nil {
					return explain(err, "stage records", p.table.schema.Stream)
				}
				f.Name = partName(p.table.name, s.writer.lane, s.group.Ordinal, n)
				m.Files = append(m.Files, f)
			}
			return nil
		})
	})
	if err == nil && len(m.Files) > 0 {
		s.writer.mu.Lock()
		defer s.writer.mu.Unlock()
		s.first, s.parts = m.Files[0].Name, nil
	}
	return m, err
}

// stage copies a part. The table is made in the transaction, so that its rows are frozen as they come.
func (s *staging) stage(ctx context.Context, tx pgx.Tx, p *part) (f sinks.File, err error) {
	t, lane := p.table, s.writer.lane
	columns := t.staged
	if p.absent {
		columns = append(slices.Clip(columns), absentColumn)
	}
	var id int64
	if err := tx.QueryRow(ctx, `INSERT INTO acequia.stages (table_id, pipeline, lane, epoch, columns, rows, ordered, absent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`, t.id, lane.Pipeline, lane.ID, lane.Epoch, columns, p.rows, p.ordered, p.absent).Scan(&id); err != nil {
		return f, err
	}
	f = sinks.File{Staged: stageName(id), Rows: int64(p.rows)}
	if _, err := tx.Exec(ctx, t.stageTable(f.Staged, p.absent)); err != nil {
		return f, err
	}
	from := &copied{blocks: p.blocks, digest: xxhash.New()}
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, from, fmt.Sprintf("COPY %s FROM STDIN (FORMAT binary, FREEZE)", f.Staged))
	if err == nil && tag.RowsAffected() != f.Rows {
		err = fault.Stop(fmt.Errorf("the server took %d of %d rows", tag.RowsAffected(), f.Rows))
	}
	f.Bytes, f.Digest = from.bytes, fmt.Sprintf("%016x", from.digest.Sum64())
	return f, err
}

// stageTable is the statement that makes a stage: its columns may all be null.
func (t *table) stageTable(name string, absent bool) string {
	columns := []string{quote(opColumn) + " text", quote(versionColumn) + ` text COLLATE "C"`}
	for n, i := range t.order {
		f := &t.schema.Fields[i]
		columns = append(columns, quote(f.Name)+" "+postgres.TypeOf(f, n < len(t.schema.Key)))
	}
	columns = append(columns, quote(schemas.EventIDColumn)+" text", quote(schemas.EventTimeColumn)+" timestamptz", quote(schemas.IngestColumn)+" timestamptz")
	if absent {
		columns = append(columns, quote(absentColumn)+" text[]")
	}
	return fmt.Sprintf("CREATE TABLE %s (%s) WITH (autovacuum_enabled = false)", name, strings.Join(columns, ", "))
}

// copied reads the blocks of a part, between what begins and ends a COPY.
type copied struct {
	blocks [][]byte
	now    []byte
	step   int // 0: before the header
	bytes  int64
	digest *xxhash.Digest
}

// Read gives the next bytes.
func (c *copied) Read(dst []byte) (int, error) {
	for len(c.now) == 0 {
		switch {
		case c.step == 0:
			c.now = postgres.AppendCopyHeader(nil)
		case c.step <= len(c.blocks):
			c.now = c.blocks[c.step-1]
			c.bytes += int64(len(c.now))
			_, _ = c.digest.Write(c.now) // it never fails
		case c.step == len(c.blocks)+1:
			c.now = postgres.AppendCopyTrailer(nil)
		default:
			return 0, io.EOF
		}
		c.step++
	}
	n := copy(dst, c.now)
	c.now = c.now[n:]
	return n, nil
}

// partName names a part for good: no other part has the name, and it tells its group.
func partName(table string, lane sinks.Lane, group int64, n int) string {
	return fmt.Sprintf("%s/e%d-%d/g%d", table, lane.Epoch, n, group)
}

// groupOf reads the group out of the name of a part.
func groupOf(part string) (int64, error) {
	_, text, _ := cutLast(part, "/g")
	group, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.Stop(fmt.Errorf("%q is no part of a group: %w", part, err))
	}
	return group, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// stageID reads the number out of the name of a stage.
func stageID(name string) (int64, error) {
	text, ok := strings.CutPrefix(name, books+".stage_")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !ok {
		return 0, fault.Stop(fmt.Errorf("%q is no stage", name))
	}
	return id, nil
}

// keyBytes gives operation, version and key of each row of a part, as they were written.
func (p *part) keyBytes(each func(op record.Op, version record.Version, key []byte)) error {
	for _, block := range p.blocks {
		for len(block) > 0 {
			row, err := postgres.ReadCopyRow(&block)
			if err != nil {
				return err
			}
			var version record.Version
			if version, err = record.ParseVersionText(row[1]); err != nil {
				return err
			}
			each(record.Op(row[0][0]), version, joined(row[2:2+len(p.table.schema.Key)]))
		}
	}
	return nil
}

// joined makes one text of the values of a key.
func joined(values [][]byte) (key []byte) {
	for _, v := range values {
		key = postgres.AppendCopyText(key, v)
	}
	return key
}
