package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// xminPoller finds rows by the transaction that PostgreSQL itself notes in each, xmin, and needs nothing installed; but no index is by
// it, so that a round reads the whole table, a range of blocks at a time. A round gives the rows whose writers are below the xmin of the
// snapshot that it begins with, and were not below that of the round before: xmin may be a savepoint's, which no snapshot lists, and
// of those below nothing is under way any more. A row that is written again while the round is under way, wherever it is put, has a
// writer that is not below it, and comes in the next.
type xminPoller struct {
	source *Source
	watch  watch
	hold   holdup
	told   uint64 // the xmin of the last position that was given
}

// scan is where a round stands.
type scan struct {
	Since uint64 `json:"c"`           // writers below it are given
	UpTo  uint64 `json:"s,omitempty"` // and those below it are, of the round under way; 0: none is
	OID   uint32 `json:"o,omitempty"` // the table or partition that is read; those before it are done
	Node  uint32 `json:"n,omitempty"` // its file: when it is another one, rows are elsewhere in it
	TID   tid    `json:"t,omitzero"`  // the last row that was given
}

// tid is where a row is in a file.
type tid struct {
	Block uint32 `json:"b"`
	Item  uint16 `json:"i"`
}

func (t tid) String() string { return fmt.Sprintf("(%d,%d)", t.Block, t.Item) }

func (t tid) before(o tid) bool { return t.Block < o.Block || t.Block == o.Block && t.Item < o.Item }

const (
	// scanBlocks is how many blocks one statement reads: 64 MiB.
	scanBlocks = 8192
	// mostXIDs is how many transactions may lie between two rounds. The numbers in rows have 32 bits: half of them are the past.
	mostXIDs = 1<<31 - 1<<24
	// tellXIDs is after how many transactions a position is given, though nothing was found.
	tellXIDs = 1 << 28
)

func (p *xminPoller) begin(ctx context.Context, c *postgres.Conn, t *table) (record.Position, error) {
	now, err := p.watch.begin(ctx, c, t)
	return pack(scan{Since: now.at.xmin}), err
}

func (p *xminPoller) covers(at record.Position, m moment) bool {
	s, err := unpack[scan]("", at)
	return err == nil && s.UpTo == 0 && s.Since >= m.at.xmax
}

func (p *xminPoller) poll(ctx context.Context, c *postgres.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error) {
	at, err := unpack[scan](t.stream, from)
	if err != nil {
		return from, err
	}
	return polling(ctx, c, t, "READ COMMITTED", func() (record.Position, error) {
		last := max(at.Since, at.UpTo)
		now, err := p.watch.see(ctx, c, t, last)
		switch {
		case err != nil:
			return from, err
		case now.at.xmin < last && now.standby: // it lags
			return from, nil
		case now.at.xmin == at.Since && at.UpTo == 0 && now.at.xmax == now.at.xmin: // nothing has been written in the cluster
			p.hold.free(t)
			return from, nil
		case now.at.xmin == at.Since && at.UpTo == 0:
			return from, p.hold.stuck(ctx, p.source, c, t, holderSQL, low32(now.at.xmin))
		case now.at.xmin < last:
			return from, &anew{"the server has gone back to an earlier time"}
		case now.at.xmax-at.Since > mostXIDs:
			return from, &anew{"too many transactions went by since it was last asked for its changes"}
		}
		p.hold.free(t)
		return p.round(ctx, c, t, now, at, give)
	})
}

// round goes on with the round under way, or does the next: until a page of rows was given, or all of the table was read.
func (p *xminPoller) round(ctx context.Context, c *postgres.Conn, t *table, now sight, at scan, give func(record.Chunk) error) (record.Position, error) {
	if at.UpTo == 0 {
		if err := lasting(ctx, c, now); err != nil {
			return "", err
		}
		at.UpTo = now.at.xmin
	}
	layout, err := p.source.layout(t)
	if err != nil {
		return "", err
	}
	for _, oid := range slices.Sorted(maps.Keys(now.Files)) {
		node := now.Files[oid].Node
		switch {
		case node == 0 || oid < at.OID: // a partitioned table has no rows of its own
			continue
		case oid > at.OID || node != at.Node:
			at.OID, at.Node, at.TID = oid, node, tid{}
		}
		more, err := p.file(ctx, c, t, layout, now, &at, give)
		if err != nil {
			return "", err
		}
		if more {
			return pack(at), nil
		}
	}
	rest := scan{Since: at.UpTo}
	if p.told == 0 {
		p.told = at.Since
	}
	if rest.Since-p.told > tellXIDs {
		if err := p.tell(rest, give); err != nil {
			return "", err
		}
	}
	return pack(rest), nil
}

// tell gives a position without rows, so that a run that begins after a long time does not find one that is too old.
func (p *xminPoller) tell(at scan, give func(record.Chunk) error) error {
	p.told = at.Since
	return give(record.Chunk{To: pack(at)})
}

// file reads what is left of a table or partition, and says whether there is more, for a page is full.
func (p *xminPoller) file(ctx context.Context, c *postgres.Conn, t *table, layout *postgres.Layout, now sight, at *scan, give func(record.Chunk) error) (more bool, err error) {
	var name string
	var blocks int64
	err = c.QueryRow(ctx, `SELECT format('%I.%I', n.nspname, c.relname), pg_relation_size(c.oid) / current_setting('block_size')::int8
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1`, at.OID).Scan(&name, &blocks)
	if err != nil {
		return false, postgres.Explain(err, "look at a partition of "+t.Quoted(), t.stream)
	}
	// The order of the rows is that of the file: a scan of a range of it does not join another that is under way, as whole scans do.
	sql := fmt.Sprintf(`SELECT ctid, %s FROM ONLY %s WHERE ctid > $1::tid AND ctid < $2::tid
		AND age(xmin) > age($3::xid) AND age(xmin) <= age($4::xid) LIMIT %d`, layout.Select(), name, p.source.pageRows)
	for at.TID.Block < uint32(blocks) { //nolint:gosec // a table has less than 2^32 blocks
		next := tid{Block: at.TID.Block - at.TID.Block%scanBlocks + scanBlocks}
		last := at.TID
		rows, err := p.source.polled(ctx, c, page{
			table: t, layout: layout, clock: now.clock, lead: 1, sql: sql,
			args: []string{at.TID.String(), next.String(), low32(at.UpTo), low32(at.Since)},
			leads: func(values [][]byte) error {
				row := tid{binary.BigEndian.Uint32(values[0]), binary.BigEndian.Uint16(values[0][4:])}
				if !last.before(row) {
					return fmt.Errorf("postgres: row %s of %s came after %s", row, name, last)
				}
				last = row
				return nil
			},
			position: func(*record.Batch, int) record.Position {
				at.TID = last
				p.told = at.Since
				return pack(*at)
			},
		}, give)
		if err != nil || rows == p.source.pageRows {
			return true, err
		}
		at.TID = next
	}
	return false, nil
}
