package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// heldRow is a row of which values were not sent, or that comes behind such a one: large values that an update has not touched (their
// TOAST is not in the WAL), and generated columns. They are read from the table as it is later, by the key of the row:
//
//   - A value that was changed since then is newer than the record. The change that made it so is in the log, with a greater version,
//     so the newest record of the key is right in the end; no other column of the record is affected.
//   - A row that is gone, or has another key by now, has a delete in the log, with a greater version. Its record is left out.
//   - A read that does not see the transaction yet would give values that are older than the record, for ever. A commit is in the log
//     before others see it, so the read waits until they do.
type heldRow struct {
	logRow
	xid    uint32
	values []postgres.Value
}

// hold copies a row out of the message.
func (p *logPump) hold(row logRow, values []postgres.Value) heldRow {
	h := heldRow{logRow: row, xid: p.xid, values: slices.Clone(values)}
	for i, v := range values {
		if len(v.Data) == 0 {
			continue
		}
		if len(v.Data) > cap(p.arena)-len(p.arena) {
			p.arena = make([]byte, 0, max(len(v.Data), 64<<10))
		}
		at := len(p.arena)
		p.arena = append(p.arena, v.Data...)
		h.values[i].Data = p.arena[at:len(p.arena):len(p.arena)]
	}
	return h
}

// A lookup reads few rows at first: how large their values are is known when they are there. What is read at once is about a chunk.
const (
	firstLookup = 16
	mostLookup  = 1000
)

// fill reads what was not sent, and puts the rows that were held into the columns, in their order. A table that cannot be looked up
// stops alone.
func (p *logPump) fill(ctx context.Context, r *relation) error {
	held := r.held
	r.held, r.wanting = nil, 0
	l := lookup{relation: r, held: held, found: make([]bool, len(held))}
	xids := map[uint32]bool{}
	for i := range held {
		if held[i].op == record.Delete || !unsent(held[i].values) {
			continue
		}
		l.rows = append(l.rows, int32(i))
		xids[held[i].xid] = true
		for k := range held[i].values {
			if held[i].values[k].Kind == 'u' && !slices.Contains(l.columns, k) {
				l.columns = append(l.columns, k)
			}
		}
	}
	err := p.source.with(ctx, func(c *postgres.Conn) error {
		if err := p.visible(ctx, c, xids); err != nil {
			return err
		}
		return l.run(ctx, c)
	})
	if err != nil && fault.Of(err) == fault.Fatal && ctx.Err() == nil {
		r.live = false
		return p.source.breakLog(ctx, r.stream, err)
	}
	if err != nil {
		return err
	}
	p.looked = true
	p.bytes += l.bytes
	r.lookUp = max(1, min(chunkBytes*len(l.rows)/max(l.bytes, 1), 2*len(l.rows), mostLookup))
	for i := range held {
		if _, lacks := slices.BinarySearch(l.rows, int32(i)); lacks && !l.found[i] {
			continue
		}
		if err := p.decode(r, held[i].logRow, held[i].values); err != nil {
			return err
		}
	}
	return nil
}

// visible waits until others see what transactions have done.
func (p *logPump) visible(ctx context.Context, c *postgres.Conn, xids map[uint32]bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var snapshot string
		if err := c.QueryRow(ctx, "SELECT pg_current_snapshot()::text").Scan(&snapshot); err != nil {
			return postgres.Explain(err, "ask which transactions run", p.wal.slot)
		}
		now, err := parseVisible(snapshot)
		if err != nil || allVisible(now, xids) {
			return fault.Stop(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Since(p.wal.when) >= logBeat {
			if err := p.tell(ctx, false); err != nil {
				return err
			}
		}
	}
}

// allVisible says whether a moment saw all transactions of which the log gave the low halves of their numbers. They have begun, or are
// about to be seen, so that each is nearer than two thousand million to the moment.
func allVisible(now visible, xids map[uint32]bool) bool {
	for low := range xids {
		xid := now.xmax + uint64(int64(int32(low-uint32(now.xmax)))) //nolint:gosec // the nearest number with that low half
		if !now.sees(xid) {
			return false
		}
	}
	return true
}

// lookup reads columns of rows by their keys, as the server prints them.
type lookup struct {
	*relation
	held    []heldRow
	rows    []int32 // that lack values
	columns []int   // that some of them lack
	found   []bool  // of held
	bytes   int
}

// run looks the table up by its OID, for it may have another name by now. Where it is gone, so are its rows. A column that is gone is
// null from then on.
func (l *lookup) run(ctx context.Context, c *postgres.Conn) error {
	var name string
	var names []string
	err := c.QueryRow(ctx, `SELECT format('%I.%I', n.nspname, c.relname), ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1`, l.message.RelationID).Scan(&name, &names)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return postgres.Explain(err, "look at the columns of "+l.table.Quoted(), l.stream)
	}
	for _, k := range l.key {
		if key := l.table.Columns[k].Name; !slices.Contains(names, key) {
			return errUnfit(&l.known, "values that it leaves out cannot be read, for the key column "+key+" is gone", "it is read anew when the table is as it should be")
		}
	}
	l.columns = slices.DeleteFunc(l.columns, func(k int) bool {
		gone := !slices.Contains(names, l.table.Columns[k].Name)
		for _, row := range l.rows {
			if v := &l.held[row].values[k]; gone && v.Kind == 'u' {
				v.Kind = 'n'
			}
		}
		return gone
	})
	if l.table.Kind == postgres.Ordinary {
		name = "ONLY " + name
	}
	return l.read(ctx, c, name)
}

func (l *lookup) read(ctx context.Context, c *postgres.Conn, name string) error {
	names := []string{"k.n"}
	for _, k := range l.columns {
		names = append(names, "t."+quoted(l.table.Columns[k].Name))
	}
	keys, joins, aliases, args := make([]string, len(l.key)), make([]string, len(l.key)), make([]string, len(l.key)), make([][]byte, len(l.key))
	for i, k := range l.key {
		args[i] = textArray(l.held, l.rows, k)
		keys[i], aliases[i] = fmt.Sprintf("$%d::text[]", i+1), "k"+strconv.Itoa(i)
		joins[i] = fmt.Sprintf("t.%s = k.k%d%s", quoted(l.table.Columns[k].Name), i, l.casts[i])
	}
	sql := fmt.Sprintf("SELECT %s FROM unnest(%s) WITH ORDINALITY k(%s, n) JOIN %s t ON %s", strings.Join(names, ", "), strings.Join(keys, ", "),
		strings.Join(aliases, ", "), name, strings.Join(joins, " AND "))
	result := c.PgConn().ExecParams(ctx, sql, args, nil, nil, nil)
	for result.NextRow() {
		values := result.Values()
		n, err := strconv.Atoi(string(values[0]))
		if err != nil || n < 1 || n > len(l.rows) {
			_, _ = result.Close()
			return streamError(errMessage, l.stream)
		}
		row := l.rows[n-1]
		l.found[row] = true
		for i, k := range l.columns {
			v := &l.held[row].values[k]
			switch {
			case v.Kind != 'u':
			case values[i+1] == nil:
				v.Kind = 'n'
			default:
				v.Kind, v.Data = 't', bytes.Clone(values[i+1])
				l.bytes += len(v.Data)
			}
		}
	}
	_, err := result.Close()
	return postgres.Explain(err, "read what the log leaves out of "+l.table.Quoted(), l.stream)
}

// textArray writes the texts of one column as an array.
func textArray(held []heldRow, rows []int32, column int) []byte {
	out := []byte{'{'}
	for i, row := range rows {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		for _, b := range held[row].values[column].Data {
			if b == '"' || b == '\\' {
				out = append(out, '\\')
			}
			out = append(out, b)
		}
		out = append(out, '"')
	}
	return append(out, '}')
}
