package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// stampTrigger sets the column acequia_xid to the transaction that writes the row. It is called last of the triggers that are
// called before a row is written, which are called in the order of their names.
const stampTrigger = "zzz_acequia_stamp"

// xidPoller finds rows by the transaction that wrote them, which a trigger notes in a column (see install.go). A round gives what is
// visible in the snapshot that it begins with and was not in that of the round before. So no transaction is missed however late it
// commits, none holds up the others, and the clock has no part in it.
type xidPoller struct {
	source *Source
	watch  watch
}

// span is where a round stands.
type span struct {
	Since   string   `json:"c"`           // the snapshot that all is given of
	UpTo    string   `json:"s,omitempty"` // that of the round under way; "": none is
	XID     uint64   `json:"x,omitempty"` // of the last row that was given of it
	Key     []string `json:"k,omitempty"` // and the rest of what rows are in order by
	Emptied bool     `json:"t,omitempty"` // queue: the TRUNCATE of the round was given

	since, upTo visible
}

// spanAt reads a position.
func spanAt(stream string, from record.Position) (p span, err error) {
	if p, err = unpack[span](stream, from); err != nil {
		return p, err
	}
	if p.since, err = parseVisible(p.Since); err == nil && p.UpTo != "" {
		p.upTo, err = parseVisible(p.UpTo)
	}
	return p, err
}

// looked is the xmin of the last snapshot of it: see watch.see.
func (p span) looked() uint64 { return max(p.since.xmin, p.upTo.xmin) }

// rest is the position between two rounds.
func rest(v visible) record.Position { return pack(span{Since: v.String()}) }

// round is the span of what is new in a moment.
func (p span) round(now visible) span {
	return span{Since: p.Since, since: p.since, UpTo: now.String(), upTo: now}
}

// reads gives the conditions on a column of transactions, with their parameters, whose rows in the order of transaction and key
// are what is left of the round. The first is for the transactions that were under way when the round before began.
func (p span) reads(column string) (conditions []string, args [][]string) {
	if late := p.upTo.late(p.since); len(late) > 0 && p.XID < p.since.xmax {
		conditions = append(conditions, column+" >= $1::xid8 AND "+column+" <= $2::xid8 AND "+column+" = ANY($3::xid8[])")
		first, last := late[0], late[len(late)-1]
		args = append(args, []string{strconv.FormatUint(first, 10), strconv.FormatUint(last, 10), "{" + joinXIDs(late) + "}"})
	}
	if p.upTo.xmax > p.since.xmax {
		conditions = append(conditions, column+" >= $1::xid8 AND "+column+" < $2::xid8 AND "+column+" <> ALL($3::xid8[])")
		args = append(args, []string{strconv.FormatUint(p.since.xmax, 10), strconv.FormatUint(p.upTo.xmax, 10), "{" + joinXIDs(p.upTo.xip) + "}"})
	}
	return conditions, args
}

// errBehind says that nothing can be new.
var errBehind = errors.New("the standby is behind")

// turned says what a moment that is before the one a table stands at means. In the middle of a round that is the round's: another server
// can have been asked for it.
func turned(now sight, p span) error {
	last := max(p.since.xmax, p.upTo.xmax)
	switch {
	case now.at.xmax >= last:
		return nil
	case now.standby: // it lags, or a transaction is under way that has begun before
		return errBehind
	}
	return &anew{"the server has gone back to an earlier time: transaction " + strconv.FormatUint(last, 10) + " is not there yet"}
}

func (p *xidPoller) begin(ctx context.Context, c *postgres.Conn, t *table) (record.Position, error) {
	now, err := p.watch.begin(ctx, c, t)
	return rest(now.at), err
}

func (p *xidPoller) covers(at record.Position, m moment) bool { return spanCovers(at, m) }

// spanCovers says whether all that was visible at a moment is given.
func spanCovers(at record.Position, m moment) bool {
	p, err := unpack[span]("", at)
	if err != nil || p.UpTo != "" {
		return false
	}
	since, err := parseVisible(p.Since)
	return err == nil && since.covers(m.at)
}

func (p *xidPoller) poll(ctx context.Context, c *postgres.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error) {
	at, err := spanAt(t.stream, from)
	if err != nil {
		return from, err
	}
	return polling(ctx, c, t, "READ COMMITTED", func() (record.Position, error) {
		now, err := p.watch.see(ctx, c, t, at.looked())
		if err != nil {
			return from, err
		}
		return step(ctx, c, now, from, at, func(r span) (span, bool, error) { return p.page(ctx, c, t, now, r, give) })
	})
}

// polling runs a step of a poll in a transaction that keeps the table from being changed. It is locked before the first snapshot is
// taken: rows that ALTER TABLE writes anew are invisible to older ones.
func polling(ctx context.Context, c *postgres.Conn, t *table, isolation string, do func() (record.Position, error)) (at record.Position, err error) {
	begin := "BEGIN ISOLATION LEVEL " + isolation + " READ ONLY; LOCK TABLE " + from(t.Table) + " IN ACCESS SHARE MODE"
	if _, err := c.PgConn().Exec(ctx, begin).ReadAll(); err != nil {
		return "", changed(err, postgres.Explain(err, "begin to poll "+t.Quoted(), t.stream))
	}
	if at, err = do(); err != nil {
		return "", err
	}
	_, err = c.Exec(ctx, "COMMIT")
	return at, postgres.Explain(err, "end the poll of "+t.Quoted(), t.stream)
}

// step goes on with the round under way, or begins the next. do reads a page, and says whether the round has more.
func step(
	ctx context.Context, c *postgres.Conn, now sight, from record.Position, at span, do func(span) (r span, more bool, err error),
) (record.Position, error) {
	switch err := turned(now, at); {
	case errors.Is(err, errBehind):
		return from, nil
	case err != nil:
		return from, err
	}
	if at.UpTo == "" {
		at = at.round(now.at)
		if conditions, _ := at.reads(""); len(conditions) > 0 {
			if err := lasting(ctx, c, now); err != nil {
				return from, err
			}
		}
	}
	r, more, err := do(at)
	switch {
	case err != nil:
		return from, err
	case more:
		return pack(r), nil
	}
	return rest(at.upTo), nil
}

// page gives the next rows of a round, by a statement for what is late and one for what is new.
func (p *xidPoller) page(ctx context.Context, c *postgres.Conn, t *table, now sight, r span, give func(record.Chunk) error) (span, bool, error) {
	layout, err := p.source.layout(t)
	if err != nil {
		return r, false, err
	}
	column := quoted(postgres.StampColumn)
	conditions, all := r.reads(column)
	for i, where := range conditions {
		args := all[i]
		if r.XID > 0 {
			var last string
			last, args = parameters(args, append([]string{strconv.FormatUint(r.XID, 10)}, r.Key...), append([]string{"::xid8"}, layout.KeyCasts()...))
			where += " AND (" + column + ", " + quotedKey(t.Table) + ") > (" + last + ")"
		}
		var writers []uint64 // of the rows since the last chunk
		pg := page{
			table: t, layout: layout, args: args, clock: now.clock, lead: 1,
			sql: fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s ORDER BY %[1]s, %[5]s LIMIT %[6]d",
				column, layout.Select(), from(t.Table), where, quotedKey(t.Table), p.source.pageRows),
			leads: func(values [][]byte) error {
				writers = append(writers, binary.BigEndian.Uint64(values[0]))
				return nil
			},
			position: func(b *record.Batch, row int) record.Position {
				if row >= 0 { // of what is refused behind it the place is not known, and it comes again after a crash
					r.XID, r.Key = writers[row], layout.KeyText(b, b.Rows-1)
				}
				writers = writers[:0]
				return pack(r)
			},
		}
		if i == len(conditions)-1 {
			pg.end = rest(r.upTo)
		}
		rows, err := p.source.polled(ctx, c, pg, give)
		if err != nil || rows == p.source.pageRows {
			return r, true, err
		}
	}
	return r, false, nil
}
