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
	"github.com/jackc/pgx/v5/pgconn"

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

// fill reads what was not sent, and puts the rows that were held into the columns, in their order.
func (p *logPump) fill(ctx context.Context, r *relation) error {
	held := r.held
	r.held = nil
	var columns []int   // that are read
	var wanting []int32 // rows that lack them
	xids := map[uint32]bool{}
	for i := range held {
		if held[i].op == record.Delete || !unsent(held[i].values) {
			continue
		}
		wanting = append(wanting, int32(i))
		xids[held[i].xid] = true
		for k := range held[i].values {
			if held[i].values[k].Kind == 'u' && !slices.Contains(columns, k) {
				columns = append(columns, k)
			}
		}
	}
	found := make([]bool, len(held))
	err := p.source.with(ctx, func(c *postgres.Conn) error {
		if err := p.visible(ctx, c, xids); err != nil {
			return err
		}
		return p.lookUp(ctx, c, r, held, wanting, columns, found)
	})
	if err != nil {
		return err
	}
	for i := range held {
		if _, lacks := slices.BinarySearch(wanting, int32(i)); lacks && !found[i] {
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

// lookUp reads columns of rows by their keys, as the server prints them. A column that is gone by now stays as it is, not sent; where
// the table is gone, so are the rows.
func (p *logPump) lookUp(ctx context.Context, c *postgres.Conn, r *relation, held []heldRow, rows []int32, columns []int, found []bool) error {
	columns, err := existing(ctx, c, r, columns)
	if err != nil {
		return err
	}
	names := []string{"k.n"}
	for _, k := range columns {
		names = append(names, "t."+pgx.Identifier{r.table.Columns[k].Name}.Sanitize())
	}
	keys, joins, aliases, args := make([]string, len(r.key)), make([]string, len(r.key)), make([]string, len(r.key)), make([][]byte, len(r.key))
	for i, k := range r.key {
		args[i] = textArray(held, rows, k)
		keys[i], aliases[i] = fmt.Sprintf("$%d::text[]", i+1), "k"+strconv.Itoa(i)
		joins[i] = fmt.Sprintf("t.%s = k.k%d%s", pgx.Identifier{r.table.Columns[k].Name}.Sanitize(), i, r.casts[i])
	}
	sql := fmt.Sprintf("SELECT %s FROM unnest(%s) WITH ORDINALITY k(%s, n) JOIN %s t ON %s", strings.Join(names, ", "), strings.Join(keys, ", "),
		strings.Join(aliases, ", "), from(r.table), strings.Join(joins, " AND "))
	result := c.PgConn().ExecParams(ctx, sql, args, nil, nil, nil)
	for result.NextRow() {
		values := result.Values()
		n, err := strconv.Atoi(string(values[0]))
		if err != nil || n < 1 || n > len(rows) {
			_, _ = result.Close()
			return streamError(errMessage, p.wal.slot)
		}
		row := rows[n-1]
		found[row] = true
		for i, k := range columns {
			v := &held[row].values[k]
			switch {
			case v.Kind != 'u':
			case values[i+1] == nil:
				v.Kind = 'n'
			default:
				v.Kind, v.Data = 't', bytes.Clone(values[i+1])
			}
		}
	}
	_, err = result.Close()
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "42P01" { // undefined_table
		return nil
	}
	return postgres.Explain(err, "read what the log leaves out of "+r.table.Quoted(), r.stream)
}

// existing gives those of the columns that the table still has.
func existing(ctx context.Context, c *postgres.Conn, r *relation, columns []int) (out []int, err error) {
	var names []string
	err = c.QueryRow(ctx, "SELECT array_agg(attname::text) FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
		r.message.RelationID).Scan(&names)
	for _, k := range columns {
		if slices.Contains(names, r.table.Columns[k].Name) {
			out = append(out, k)
		}
	}
	return out, postgres.Explain(err, "look at the columns of "+r.table.Quoted(), r.stream)
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
