package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// blocks is a part of a table's heap: those from From on, up to and without To; 0: to the end.
type blocks struct {
	From uint32 `json:"from"`
	To   uint32 `json:"to,omitempty"`
}

// place is a row's ctid.
type place struct {
	Block uint32 `json:"b"`
	Row   uint16 `json:"r"`
}

func (p place) String() string { return fmt.Sprintf("(%d,%d)", p.Block, p.Row) }

// errMoved says that blocks are not those that the parts of a table were made of.
var errMoved = &fault.Error{Class: fault.Retryable, Err: errors.New("its rows were written anew in other places, as VACUUM FULL, CLUSTER and TRUNCATE do")}

// mayMove says whether a row that is moved while parts of the heap are read, each in a snapshot of its own, is not lost: an update
// moves it, and these strategies miss no update that was committed after the first part was begun.
func (t *table) mayMove() bool {
	switch t.note.Strategy {
	case byLog, queue, xid, xmin:
		return t.Kind == postgres.Ordinary && t.Filenode != 0
	}
	return false
}

// heapQuery reads blocks in their order. Whoever writes all rows anew, such as VACUUM FULL, waits for the statement, and is seen by the
// next one.
func heapQuery(t *table, part blocks, after *place) query {
	at := place{}
	return query{
		settings: "set local enable_seqscan = off; set local max_parallel_workers_per_gather = 0; set local synchronize_seqscans = off",
		lead:     1,
		leads: func(values [][]byte) error {
			if len(values[0]) != 6 {
				return fault.Stop(fmt.Errorf("postgres: a ctid of %d bytes", len(values[0])))
			}
			at = place{Block: binary.BigEndian.Uint32(values[0]), Row: binary.BigEndian.Uint16(values[0][4:])}
			return nil
		},
		position: func(*record.Batch) record.Position { return pack(rangePosition{Place: &at}) },
		sql: func(l selected) (string, []string) {
			begin := place{Block: part.From} // rows are counted from 1
			if after != nil {
				begin = *after
			}
			sql, args := "select ctid, "+l.list+" from "+from(t.Table)+" where ctid > $1::tid", []string{begin.String()}
			if part.To > 0 {
				sql, args = sql+" and ctid < $2::tid", append(args, place{Block: part.To}.String())
			}
			return sql, args
		},
		check: func(ctx context.Context, c *postgres.Conn) error {
			var node uint32
			if err := c.QueryRow(ctx, "select coalesce(pg_relation_filenode($1), 0)", t.OID).Scan(&node); err != nil {
				return postgres.Explain(err, "look where "+t.Quoted()+" is", t.stream)
			}
			if node != t.note.Filenode {
				return errMoved
			}
			return nil
		},
	}
}

// splitHeap cuts a table into n+1 parts of blocks.
func (s *Source) splitHeap(ctx context.Context, c *postgres.Conn, t *table, n int) error {
	var all uint32
	err := c.QueryRow(ctx, "select (pg_relation_size($1) / current_setting('block_size')::int)::int8, pg_relation_filenode($1)", t.OID).Scan(&all, &t.note.Filenode)
	if err != nil {
		return postgres.Explain(err, "ask how large "+t.Quoted()+" is", t.stream)
	}
	t.note.Parts = make([]part, n+1)
	for i := range t.note.Parts {
		b := &blocks{From: uint32(uint64(all) * uint64(i) / uint64(n+1))} //nolint:gosec // below all
		if t.note.Parts[i].Blocks = b; i > 0 {
			t.note.Parts[i-1].Blocks.To = b.From
		}
	}
	return nil
}
