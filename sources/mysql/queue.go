package mysql

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// queueKeys is how many entries of the queue are read at a time at most.
const queueKeys = 10_000

// queuePoller finds rows by the keys that triggers put into the table's queue (see install.go). It reads the entries that are there, and
// for each key the row as it is in the same snapshot: no row is a delete. Which entries were read is in the position, one by one:
// one that is committed late has a lower number than others, and is none of them. What is durable in every sink is removed.
type queuePoller struct {
	source  *Source
	watch   watch
	claimed string // who the queue says reads it
	removed ranges // that are not in the queue any more
}

// place is where a queue stands.
type place struct {
	Count uint64 `json:"n"`           // of the positions that were given; what was removed goes by it
	Given ranges `json:"r,omitempty"` // entries that were read, and may be in the queue still
}

func (p *queuePoller) most() int { return min(queueKeys, p.source.pageRows) }

// claim says in the queue who reads it: its entries go when one reader has them. It gives the count that it was removed by.
func (p *queuePoller) claim(ctx context.Context, c *mysql.Conn, t *table) (uint64, error) {
	me, err := p.me(ctx)
	if err != nil {
		return 0, err
	}
	consumer, removed, err := p.state(ctx, c, t)
	switch name, _, _ := strings.Cut(consumer, "/"); {
	case err != nil:
		return 0, err
	case consumer != "" && name != p.source.pipeline:
		return 0, taken(t, consumer)
	case consumer != "" && consumer != me:
		p.source.log.WarnContext(ctx, "the queue of the table was read by a run of this pipeline with another state; that one stops", slog.Any("table", t))
	}
	changed, err := c.Changed(ctx, "UPDATE "+mysql.OwnDatabase+".queued SET consumer = ? WHERE id = ? AND COALESCE(consumer, '') = ?", me, queueID(t.Table), consumer)
	if err == nil && changed == 0 {
		err = fault.Retry(fmt.Errorf("the queue of %s was claimed by another at the same time", t.Quoted()))
	}
	return removed, mysql.Explain(err, "claim the queue", t.stream)
}

// state asks who reads the queue, and up to which position it was removed.
func (p *queuePoller) state(ctx context.Context, c *mysql.Conn, t *table) (consumer string, removed uint64, err error) {
	row, err := c.QueryRow(ctx, "SELECT consumer, removed FROM "+mysql.OwnDatabase+".queued WHERE id = ?", queueID(t.Table))
	switch {
	case err != nil:
		return "", 0, mysql.Explain(err, "ask who reads the queue", t.stream)
	case row == nil:
		return "", 0, &anew{"its queue was uninstalled"}
	}
	removed, _ = strconv.ParseUint(row.Text(1), 10, 64) // the server wrote a number
	return row.Text(0), removed, nil
}

// taken says who else reads the queue.
func taken(t *table, consumer string) error {
	name, _, _ := strings.Cut(consumer, "/")
	return &fault.Error{
		Class: fault.Fatal, Code: unfitCode, Place: t.stream, Err: fmt.Errorf("pipeline %q reads the queue of %s, and what it has read is removed", name, t.Quoted()),
		Remedy: fmt.Sprintf("take another strategy here; or, when that pipeline is no more: UPDATE %s.queued SET consumer = NULL WHERE id = '%s'", mysql.OwnDatabase, queueID(t.Table)),
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

// islandsSQL gives the numbers of what is in a queue, as ranges.
const islandsSQL = "SELECT MIN(seq), MAX(seq) FROM (SELECT seq, CAST(seq AS SIGNED) - ROW_NUMBER() OVER (ORDER BY seq) AS island FROM %s) q GROUP BY island ORDER BY 1"

// begin takes what is in the queue for read: what is committed now is in the snapshots that the backfill takes later.
func (p *queuePoller) begin(ctx context.Context, c *mysql.Conn, t *table) (record.Position, error) {
	count, err := p.claim(ctx, c, t)
	if err != nil {
		return "", err
	}
	if err := p.watch.begin(ctx, c, t); err != nil {
		return "", err
	}
	rows, err := c.Query(ctx, fmt.Sprintf(islandsSQL, queueName(t.Table)))
	if err != nil {
		return "", mysql.Explain(err, "look at the queue", t.stream)
	}
	at := place{Count: count}
	for _, r := range rows {
		low, _ := strconv.ParseUint(r.Text(0), 10, 64) // the server wrote numbers
		high, _ := strconv.ParseUint(r.Text(1), 10, 64)
		at.Given = append(at.Given, [2]uint64{low, high})
	}
	return pack(at), nil
}

// covers needs no look: a round that gave nothing has seen all that was committed before it.
func (p *queuePoller) covers(record.Position, time.Time) bool { return true }

// poll does a step, all statements of which are of one snapshot.
func (p *queuePoller) poll(ctx context.Context, c *mysql.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error) {
	at, err := unpack[place](t.stream, from)
	if err != nil {
		return from, err
	}
	me, err := p.me(ctx)
	if err != nil {
		return from, err
	}
	err = p.source.locked(ctx, c, t.Table, repeatable, func(clock time.Time) error {
		if err := p.watch.see(ctx, c, t); err != nil {
			return err
		}
		consumer, removed, err := p.state(ctx, c, t)
		switch {
		case err != nil:
			return err
		case consumer != me:
			return taken(t, consumer)
		case at.Count < removed:
			return &anew{"what is kept of it is older than what was removed from its queue"}
		}
		at.Given = at.Given.without(p.removed)
		return p.page(ctx, c, t, clock, &at, give)
	})
	return pack(at), err
}

// page gives the changes of the next entries.
func (p *queuePoller) page(ctx context.Context, c *mysql.Conn, t *table, clock time.Time, at *place, give func(record.Chunk) error) error {
	entries := p.entries(t, at)
	rows, err := c.Query(ctx, "SELECT seq, first FROM ("+entries+") q ORDER BY seq")
	if err != nil || len(rows) == 0 {
		return mysql.Explain(err, "read the queue", t.stream)
	}
	seqs := make([]uint64, len(rows))
	var firsts []int // the entries whose keys no entry before them has
	for i, r := range rows {
		seqs[i], _ = strconv.ParseUint(r.Text(0), 10, 64) // the server wrote a number
		if r.Text(0) == r.Text(1) {
			firsts = append(firsts, i)
		}
	}
	layout, err := p.source.layout(t)
	if err != nil {
		return err
	}
	var ops []record.Op
	given, upTo := 0, 0 // keys, and entries
	_, err = p.source.polled(ctx, c, page{
		table: t, layout: layout, clock: clock, lead: []mysql.Lead{0, 0}, sql: joined(t, entries),
		leads: func(values [][]byte) error {
			if given >= len(firsts) || string(values[0]) != strconv.FormatUint(seqs[firsts[given]], 10) {
				return fault.Retry(fmt.Errorf("mysql: key %d of a page of the queue came as entry %s", given, values[0]))
			}
			given++
			op := record.Update
			if string(values[1]) == "0" {
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
			end := len(seqs)
			if given < len(firsts) {
				end = firsts[given]
			}
			at.Given, upTo = at.Given.with(seqs[upTo:end]), end
			at.Count++
			return pack(at)
		},
	}, give)
	return err
}

// entries is the SQL of those that come next, each with the first of its page that has the same key.
func (p *queuePoller) entries(t *table, at *place) string {
	var conditions []string
	next := uint64(0) // what is below is told by the ranges before
	for _, r := range at.Given {
		if r[0] > next {
			conditions = append(conditions, fmt.Sprintf("seq >= %d AND seq < %d", next, r[0]))
		}
		next = r[1] + 1
	}
	conditions = append(conditions, fmt.Sprintf("seq >= %d", next))
	keys := make([]string, len(t.Key))
	for i, k := range t.Key {
		keys[i] = fmt.Sprintf("k%d", i)
		if t.Column(k).Type.Charset != "" {
			keys[i] = "CAST(" + keys[i] + " AS BINARY)"
		}
	}
	return fmt.Sprintf("SELECT w.*, MIN(seq) OVER (PARTITION BY %s) AS first FROM (SELECT * FROM %s WHERE %s ORDER BY seq LIMIT %d) w",
		strings.Join(keys, ", "), queueName(t.Table), strings.Join(conditions, " OR "), p.most())
}

// joined is the SQL of the rows of entries: the entry's number, whether the row is there, and its columns; of one that is not there the
// key alone.
func joined(t *table, entries string) string {
	match := make([]string, len(t.Key))
	column := map[string]string{}
	for i, k := range t.Key {
		name, key := "t."+mysql.Quote(k), fmt.Sprintf("q.k%d", i)
		match[i] = name + " = " + key
		if t.Column(k).Type.Charset != "" { // a row that is found by another text has that key now, and the one of this text is gone
			match[i] += " AND CAST(" + name + " AS BINARY) = CAST(" + key + " AS BINARY)"
		}
		column[k] = key
	}
	list := make([]string, len(t.Columns))
	for i := range t.Columns {
		if list[i] = column[t.Columns[i].Name]; list[i] == "" {
			list[i] = "t." + mysql.Quote(t.Columns[i].Name)
		}
	}
	return fmt.Sprintf("SELECT CAST(q.seq AS CHAR), CAST(t.%s IS NOT NULL AS CHAR), %s FROM (%s) q LEFT JOIN %s t ON %s WHERE q.seq = q.first ORDER BY q.seq",
		mysql.Quote(t.Key[0]), strings.Join(list, ", "), entries, t.Quoted(), strings.Join(match, " AND "))
}

// tidy removes what was given at a position from the queue, and notes the position's count there: a state that is older has not had it.
// Entries are removed by their numbers, so that one of a transaction that is under way stays; without locks on what is between them.
func (p *queuePoller) tidy(ctx context.Context, c *mysql.Conn, t *table, upTo record.Position) error {
	at, err := unpack[place](t.stream, upTo)
	if err != nil {
		return err
	}
	me, err := p.me(ctx)
	if err != nil {
		return err
	}
	gone := at.Given.without(p.removed)
	if len(gone) == 0 {
		return nil
	}
	noted, err := c.Changed(ctx, "UPDATE "+mysql.OwnDatabase+".queued SET removed = ? WHERE id = ? AND consumer = ? AND removed <= ?", at.Count, queueID(t.Table), me, at.Count)
	if err != nil || noted == 0 { // another run has taken it over: the poll says so
		return mysql.Explain(err, "note what is removed from the queue", t.stream)
	}
	for _, r := range gone {
		for low := r[0]; low <= r[1]; low += queueKeys {
			err := c.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
			if err == nil {
				err = c.Exec(ctx, "DELETE FROM "+queueName(t.Table)+" WHERE seq BETWEEN ? AND ?", low, min(r[1], low+queueKeys-1))
			}
			if err != nil {
				return mysql.Explain(err, "remove what was read from the queue", t.stream)
			}
		}
	}
	p.removed = p.removed.union(gone)
	return nil
}

// queueMeans looks at the queue of a table.
func (s *Source) queueMeans(ctx context.Context, c *mysql.Conn, t *table, m *means) error {
	found, err := triggersOf(ctx, c, t.Table)
	if err != nil {
		return err
	}
	m.triggers = map[string]string{}
	for _, one := range found {
		m.triggers[one.name] = one.body
	}
	strays, err := c.Query(ctx, "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = ? AND trigger_name LIKE ? AND event_object_table <> ?",
		t.Database, ownTriggers+queueID(t.Table)+"%", t.Name)
	if err != nil {
		return err
	}
	for _, r := range strays {
		m.strays = append(m.strays, r.Text(0))
	}
	row, err := c.QueryRow(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name IN ('queued', ?)", mysql.OwnDatabase, "queue_"+queueID(t.Table))
	if err != nil || row.Int(0) < 2 {
		return err
	}
	row, err = c.QueryRow(ctx, "SELECT columns FROM "+mysql.OwnDatabase+".queued WHERE id = ?", queueID(t.Table))
	if mysql.Said(err) != 0 { // it may not be read
		m.queued, m.queueRight = true, false
		return nil
	}
	if err != nil || row == nil {
		return err
	}
	m.queued, m.queuedKey, m.queueRight = true, row.Text(0), true
	for _, sql := range []string{ // none of them changes a row
		"UPDATE " + mysql.OwnDatabase + ".queued SET consumer = consumer WHERE 1 = 0",
		"DELETE FROM " + queueName(t.Table) + " WHERE 1 = 0",
		"SELECT seq FROM " + queueName(t.Table) + " LIMIT 0",
	} {
		err := c.Exec(ctx, sql)
		if mysql.Said(err) != 0 {
			m.queueRight = false
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lacksQueue says why the queue of a table cannot be read; nil: it can.
func (s *Source) lacksQueue(t *table, m means, no func(string, string, ...any) *sources.Missing) *sources.Missing {
	install := func(reason string) *sources.Missing {
		return no(reason, "acequia capture install --strategy queue --tables %s.%s --apply", t.Database, t.Name)
	}
	there := 0
	for _, w := range wanted(t.Table) {
		if m.triggers[w.name] == w.body {
			there++
		}
	}
	switch {
	case !t.Transactional():
		return no("its engine "+t.Engine+" has no transactions", "ALTER TABLE %s ENGINE = InnoDB", t.Quoted())
	case m.replica:
		return no("the server is a replica, which calls no triggers for rows that its primary sends", "connect to the primary")
	case m.byText:
		return no("the server's log has statements (binlog_format = STATEMENT), so that entries cannot be removed beside those who write", "SET GLOBAL binlog_format = 'ROW', or MIXED")
	case !m.queued:
		return install("its queue is not there")
	case !m.queueRight:
		return no("the user may not read and delete from the queue", "GRANT SELECT, UPDATE, DELETE ON %s.* TO the user of the dsn", mysql.OwnDatabase)
	case there < len(wanted(t.Table)):
		return no("its triggers are not there, or the user may not see them", "acequia capture install --strategy queue --tables %s.%s --apply; GRANT TRIGGER ON %s TO the user of the dsn",
			t.Database, t.Name, t.Quoted())
	case m.queuedKey != keyOf(t.Table):
		return install("it is queued by another key than it has")
	}
	return nil
}

// ranges are numbers, as ranges that ascend and do not touch.
type ranges [][2]uint64

// with gives the ranges with more numbers, which ascend and are in none of them.
func (r ranges) with(numbers []uint64) ranges {
	var more ranges
	for _, n := range numbers {
		if last := len(more) - 1; last >= 0 && more[last][1]+1 == n {
			more[last][1] = n
		} else {
			more = append(more, [2]uint64{n, n})
		}
	}
	return r.union(more)
}

// union gives the numbers of both.
func (r ranges) union(o ranges) (out ranges) {
	all := slices.Concat(r, o)
	slices.SortFunc(all, func(a, b [2]uint64) int { return cmp.Compare(a[0], b[0]) })
	for _, one := range all {
		if last := len(out) - 1; last >= 0 && one[0] <= out[last][1]+1 {
			out[last][1] = max(out[last][1], one[1])
		} else {
			out = append(out, one)
		}
	}
	return out
}

// without gives the numbers that are not in o.
func (r ranges) without(o ranges) (out ranges) {
	for _, one := range r {
		for _, cut := range o {
			if cut[1] < one[0] || cut[0] > one[1] {
				continue
			}
			if cut[0] > one[0] {
				out = append(out, [2]uint64{one[0], cut[0] - 1})
			}
			if one[0] = cut[1] + 1; one[0] > one[1] {
				break
			}
		}
		if one[0] <= one[1] {
			out = append(out, one)
		}
	}
	return out
}
