package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// queueKeys is how many entries of the queue are read at a time at most.
const queueKeys = 10_000

// queuePoller finds rows by the keys that triggers put into the table acequia.queue (see install_queue.go). It reads the entries as
// xidPoller reads rows, by the transaction that made them, and for each key the row as it is in the same snapshot: no row is a
// delete. What is durable in every sink is removed from the queue, later, since the position says what was read.
type queuePoller struct {
	source  *Source
	watch   watch
	tidied  uint64  // no entry of a transaction below it is left
	claimed string  // who the queue says reads it
	removed *string // what it says was removed, as the last poll found it; nil: nobody has asked
}

func (p *queuePoller) most() int { return min(queueKeys, p.source.pageRows) }

// claim says in the queue who reads it: its entries go when one reader has them.
func (p *queuePoller) claim(ctx context.Context, c *postgres.Conn, t *table) error {
	me, err := p.me(ctx)
	if err != nil {
		return err
	}
	var before *string
	err = c.QueryRow(ctx, `WITH before AS (SELECT consumer FROM acequia.queued WHERE tab = $1)
		UPDATE acequia.queued SET consumer = $2 WHERE tab = $1 AND (consumer IS NULL OR split_part(consumer, '/', 1) = $3)
		RETURNING (SELECT consumer FROM before)`, t.OID, me, p.source.pipeline).Scan(&before)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p.taken(ctx, c, t)
	case err != nil:
		return postgres.Explain(err, "claim the queue", t.stream)
	case before != nil && *before != me:
		p.source.log.WarnContext(ctx, "the queue of the table was read by a run of this pipeline with another state; that one stops", slog.Any("table", t))
	}
	return nil
}

// taken says who else reads the queue.
func (p *queuePoller) taken(ctx context.Context, c *postgres.Conn, t *table) error {
	var consumer string
	err := c.QueryRow(ctx, "SELECT coalesce((SELECT consumer FROM acequia.queued WHERE tab = $1), '')", t.OID).Scan(&consumer)
	if err != nil {
		return postgres.Explain(err, "ask who reads the queue", t.stream)
	}
	name, _, _ := strings.Cut(consumer, "/")
	return &fault.Error{
		Class: fault.Fatal, Code: unfitCode, Place: t.stream, Err: fmt.Errorf("pipeline %q reads the queue of %s, and what it has read is removed", name, t.Quoted()),
		Remedy: fmt.Sprintf("take another strategy here; or, when that pipeline is no more: UPDATE acequia.queued SET consumer = NULL WHERE tab = %d", t.OID),
	}
}

// me is the name of this pipeline with this state.
func (p *queuePoller) me(ctx context.Context) (string, error) {
	if p.claimed != "" {
		return p.claimed, nil
	}
	const key = "queue consumer"
	text, err := p.source.state.Load(ctx, key)
	if err == nil && text == nil {
		text = []byte(p.source.pipeline + "/" + rand.Text())
		err = p.source.state.Save(ctx, key, text)
	}
	if err == nil {
		p.claimed = string(text)
	}
	return p.claimed, err
}

func (p *queuePoller) begin(ctx context.Context, c *postgres.Conn, t *table) (record.Position, error) {
	if err := p.claim(ctx, c, t); err != nil {
		return "", err
	}
	now, err := p.watch.begin(ctx, c, t)
	return rest(now.at), err
}

func (p *queuePoller) covers(at record.Position, m moment) bool { return spanCovers(at, m) }

// poll does a step, all statements of which are of one snapshot.
func (p *queuePoller) poll(ctx context.Context, c *postgres.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error) {
	return polling(ctx, c, t, "REPEATABLE READ", func() (record.Position, error) { return p.inSnapshot(ctx, c, t, from, give) })
}

func (p *queuePoller) inSnapshot(ctx context.Context, c *postgres.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error) {
	at, err := spanAt(t.stream, from)
	if err != nil {
		return from, err
	}
	p.watch.emptied = func() (bool, error) { return p.emptied(ctx, c, t, at) }
	now, err := p.watch.see(ctx, c, t, at.looked())
	if err != nil {
		return from, err
	}
	me, err := p.me(ctx)
	if err != nil {
		return from, err
	}
	var consumer, removed string
	var stopped bool
	err = c.QueryRow(ctx, "SELECT coalesce(consumer, ''), coalesce(removed, ''), coalesce(pg_sequence_last_value(to_regclass('acequia.stop_' || tab)) % 2 = 1, false) FROM acequia.queued WHERE tab = $1", t.OID).Scan(&consumer, &removed, &stopped)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return from, &anew{"its queue was uninstalled"}
	case err != nil:
		return from, postgres.Explain(err, "ask who reads the queue", t.stream)
	case consumer != me:
		return from, p.taken(ctx, c, t)
	case !at.has(removed):
		return from, &anew{"what is kept of it is older than what was removed from its queue"}
	case stopped:
		return from, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-043", Place: t.stream, Err: errors.New("the queue had reached its limit, and its triggers have stopped writing"),
			Remedy: fmt.Sprintf("acequia capture install --strategy queue --tables %s.%s --apply begins it anew; the table is then read anew", t.Schema, t.Name),
		}
	}
	p.removed = &removed
	return step(ctx, c, now, from, at, func(r span) (span, bool, error) { return p.page(ctx, c, t, now, r, give) })
}

// emptied says whether the queue has a TRUNCATE that was not given at a position.
func (p *queuePoller) emptied(ctx context.Context, c *postgres.Conn, t *table, at span) (found bool, err error) {
	given := at.Since
	if at.Emptied {
		given = at.UpTo
	}
	err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM acequia.queue WHERE tab = $1 AND xid >= pg_snapshot_xmin($2::text::pg_snapshot)
		AND key IS NULL AND NOT pg_visible_in_snapshot(xid, $2::text::pg_snapshot))`, t.OID, given).Scan(&found)
	return found, postgres.Explain(err, "look for a TRUNCATE in the queue", t.stream)
}

// page gives the next changes of a round. A TRUNCATE comes first: a transaction that has begun before it, and so stands before it in
// the queue, can have written after it; whatever was written before it is gone from the snapshot.
func (p *queuePoller) page(ctx context.Context, c *postgres.Conn, t *table, now sight, r span, give func(record.Chunk) error) (span, bool, error) {
	conditions, all := r.reads("xid")
	if len(conditions) == 0 {
		return r, false, nil
	}
	layout, err := p.source.layout(t)
	if err != nil {
		return r, false, err
	}
	if r.XID == 0 && !r.Emptied {
		truncated, err := p.emptied(ctx, c, t, r)
		if err == nil && truncated {
			r, err = p.truncate(ctx, t, layout, now.clock, r, give)
		}
		if err != nil {
			return r, false, err
		}
	}
	for i, condition := range conditions {
		entries, err := p.entries(ctx, c, t, condition, all[i], r)
		if err != nil {
			return r, false, err
		}
		more := len(entries.at) == p.most()
		end := record.Position("")
		if !more && i == len(conditions)-1 {
			end = rest(r.upTo)
		}
		if r, err = p.rows(ctx, c, t, layout, now.clock, r, entries, end, give); err != nil || more {
			return r, more, err
		}
	}
	return r, false, nil
}

// truncate gives the record that says that all that was given before is gone.
func (p *queuePoller) truncate(ctx context.Context, t *table, layout *postgres.Layout, clock time.Time, r span, give func(record.Chunk) error) (span, error) {
	number, err := p.source.state.Next(ctx, t.stream)
	if err != nil {
		return r, err
	}
	b := record.NewBuilder(layout.Schema, 1)
	b.Next()
	t.system(number, record.Truncate, clock)(1, b.System())
	r.Emptied = true
	return r, give(record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: pack(r), ReadAt: time.Now()})
}

// entries is a page of the queue.
type entries struct {
	at    []entry    // in their order
	keys  [][]string // the distinct ones, in the order of their first entries
	first []int      // the entry that each of them has first
}

type entry struct{ xid, seq uint64 }

// entries reads the next of a round.
func (p *queuePoller) entries(ctx context.Context, c *postgres.Conn, t *table, condition string, args []string, r span) (entries, error) {
	var out entries
	args = append(append([]string(nil), args...), strconv.FormatUint(uint64(t.OID), 10))
	sql := strings.Builder{}
	sql.WriteString("SELECT xid, seq")
	for i := range t.Key {
		fmt.Fprintf(&sql, ", key[%d]", i+1)
	}
	fmt.Fprintf(&sql, " FROM acequia.queue WHERE tab = $%d::oid AND %s", len(args), condition)
	if r.XID > 0 {
		args = append(args, strconv.FormatUint(r.XID, 10), r.Key[0])
		fmt.Fprintf(&sql, " AND (xid, seq) > ($%d::xid8, $%d::int8)", len(args)-1, len(args))
	}
	fmt.Fprintf(&sql, " AND key IS NOT NULL ORDER BY xid, seq LIMIT %d", p.most())
	known := map[string]bool{}
	var name []byte
	err := c.Stream(ctx, sql.String(), args, func(values [][]byte) error {
		name = name[:0]
		for _, v := range values[2:] {
			if v == nil {
				return &anew{"the queue has entries of another key"}
			}
			name = append(binary.AppendUvarint(name, uint64(len(v))), v...)
		}
		if !known[string(name)] {
			known[string(name)] = true
			key := make([]string, len(values)-2)
			for i, v := range values[2:] {
				key[i] = string(v)
			}
			out.keys, out.first = append(out.keys, key), append(out.first, len(out.at))
		}
		out.at = append(out.at, entry{binary.BigEndian.Uint64(values[0]), binary.BigEndian.Uint64(values[1])})
		return nil
	})
	return out, err
}

// rows gives the rows of a page of entries, those that are gone as deletes.
func (p *queuePoller) rows(ctx context.Context, c *postgres.Conn, t *table, layout *postgres.Layout, clock time.Time, r span, e entries, end record.Position, give func(record.Chunk) error) (span, error) {
	if len(e.keys) == 0 {
		return r, nil
	}
	var ops []record.Op
	given := uint64(0) // keys
	pg := page{
		table: t, layout: layout, sql: lookupSQL(t, layout), args: arrays(e.keys), lead: 2, clock: clock, end: end,
		leads: func(values [][]byte) error {
			given++
			if n := binary.BigEndian.Uint64(values[0]); n != given {
				return fault.Retry(fmt.Errorf("postgres: key %d of a page of the queue came as number %d", n, given))
			}
			op := record.Update
			if values[1] == nil {
				op = record.Delete
			}
			ops = append(ops, op)
			return nil
		},
		ops: func() []record.Op {
			out := ops
			ops = nil
			return out
		},
		position: func(*record.Batch, int) record.Position {
			upTo := len(e.at) - 1
			if given < uint64(len(e.first)) {
				upTo = e.first[given] - 1
			}
			r.XID, r.Key = e.at[upTo].xid, []string{strconv.FormatUint(e.at[upTo].seq, 10)}
			return pack(r)
		},
	}
	_, err := p.source.polled(ctx, c, pg, give)
	return r, err
}

// lookupSQL reads rows by their keys, which are parameters, an array for each column of the key: the number of the key, whether the
// row is there, and its columns; of one that is not there the key alone. Each row is looked up by the index, whatever the server
// thinks of their number.
func lookupSQL(t *table, layout *postgres.Layout) string {
	casts := layout.KeyCasts()
	var arrays, names, match []string
	column := map[string]string{}
	for i, k := range t.Key {
		quoted := pgx.Identifier{k}.Sanitize()
		arrays = append(arrays, fmt.Sprintf("$%d::text[]", i+1))
		names = append(names, fmt.Sprintf("k%d", i))
		match = append(match, fmt.Sprintf("t.%s = k.k%d%s", quoted, i, casts[i]))
		if severalTexts(&t.Column(k).Type) { // a row that is found by another text has that key now, and the one of this text is gone
			match = append(match, fmt.Sprintf(`t.%s::pg_catalog.text COLLATE "C" = k.k%d`, quoted, i))
		}
		column[k] = fmt.Sprintf("coalesce(p.%s, k.k%d%s) AS %[1]s", quoted, i, casts[i])
	}
	columns := make([]string, len(t.Columns))
	for i := range t.Columns {
		if columns[i] = column[t.Columns[i].Name]; columns[i] == "" {
			columns[i] = "p." + pgx.Identifier{t.Columns[i].Name}.Sanitize()
		}
	}
	return fmt.Sprintf(`SELECT r."acequia n", r."acequia there", %s FROM (
		SELECT k.n AS "acequia n", p."acequia there", %s FROM unnest(%s) WITH ORDINALITY AS k(%s, n)
		LEFT JOIN LATERAL (SELECT true AS "acequia there", t.* FROM %s t WHERE %s LIMIT 1) p ON true ORDER BY k.n) r`,
		layout.Select(), strings.Join(columns, ", "), strings.Join(arrays, ", "), strings.Join(names, ", "), from(t.Table), strings.Join(match, " AND "))
}

// severalTexts says whether values of a type can be equal to the server and have other texts, by which sinks tell them apart: 1.0 and
// 1.00, 0 and -0, a day and 24 hours, or texts under a collation that does not tell them.
func severalTexts(t *postgres.Type) bool {
	switch t.Name {
	case "numeric", "float4", "float8", "interval", "text", "varchar", "bpchar":
		return t.Schema == "pg_catalog"
	}
	return t.Name == "citext"
}

// arrays writes keys as array literals, one for each column.
func arrays(keys [][]string) []string {
	out := make([]string, len(keys[0]))
	column := make([]string, len(keys))
	for i := range out {
		for n, key := range keys {
			column[n] = key[i]
		}
		out[i] = arrayLiteral(column)
	}
	return out
}

// arrayLiteral writes texts as the server reads a text[].
func arrayLiteral(texts []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var out strings.Builder
	out.WriteByte('{')
	for i, text := range texts {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('"')
		_, _ = escape.WriteString(&out, text) // a Builder takes all
		out.WriteByte('"')
	}
	out.WriteByte('}')
	return out.String()
}

// has says whether all that was given at another position was given at this one.
func (p span) has(other string) bool {
	if other == "" {
		return true
	}
	o, err := spanAt("", record.Position(other))
	switch {
	case err != nil:
		return false
	case o.UpTo == "":
		return p.since.covers(o.since)
	case p.Since == o.Since && p.UpTo == o.UpTo:
		return o.XID == 0 || p.XID > o.XID || p.XID == o.XID && p.seq() >= o.seq()
	}
	return p.since.covers(o.upTo)
}

// seq is the last entry of its transaction that was given.
func (p span) seq() int64 {
	if len(p.Key) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(p.Key[0], 10, 64) // we wrote it
	return n
}

// tidy removes what was given at a position from the queue, and notes the position there: a state that is older has not had it.
func (p *queuePoller) tidy(ctx context.Context, c *postgres.Conn, t *table, upTo record.Position) error {
	at, err := spanAt(t.stream, upTo)
	if err != nil {
		return err
	}
	me, err := p.me(ctx)
	if err != nil {
		return err
	}
	if p.removed == nil {
		return nil
	}
	// It can say so already: an earlier try was noted, and its answer lost with the context.
	tag, err := c.Exec(ctx, `UPDATE acequia.queued SET removed = $2 WHERE tab = $1 AND consumer = $3 AND coalesce(removed, '') IN ($4, $2)`,
		t.OID, string(upTo), me, *p.removed)
	if err != nil || tag.RowsAffected() == 0 { // another run has taken it over: the poll says so
		return postgres.Explain(err, "note what is removed from the queue", t.stream)
	}
	p.removed = new(string(upTo))
	_, err = c.Exec(ctx, `DELETE FROM acequia.queue WHERE tab = $1 AND xid >= $2::text::xid8 AND xid < $3::text::xid8 AND xid <> ALL($4::text::xid8[])`,
		t.OID, strconv.FormatUint(p.tidied, 10), strconv.FormatUint(at.since.xmax, 10), "{"+joinXIDs(at.since.xip)+"}")
	if err != nil {
		return postgres.Explain(err, "remove what was read from the queue", t.stream)
	}
	p.tidied = at.since.xmin
	if at.XID == 0 {
		return nil
	}
	r := span{since: at.since, upTo: at.upTo}
	conditions, all := r.reads("xid")
	for i, condition := range conditions {
		names, args := parameters(all[i], []string{strconv.FormatUint(uint64(t.OID), 10), strconv.FormatUint(at.XID, 10), at.Key[0]}, []string{"::oid", "::xid8", "::int8"})
		table, last, _ := strings.Cut(names, ", ")
		sql := "DELETE FROM acequia.queue WHERE tab = " + table + " AND " + condition + " AND (xid, seq) <= (" + last + ")"
		if err := c.Stream(ctx, sql, args, func([][]byte) error { return nil }); err != nil {
			return postgres.Explain(err, "remove what was read from the queue", t.stream)
		}
	}
	return nil
}
