package mysql

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/mysql"
)

// lookEvery is how often the server is asked at most. Its list of transactions is one that it keeps for 100 ms, and goes on keeping while
// somebody asks for it sooner.
const lookEvery = 250 * time.Millisecond

// activity is what others do on the server, as all tables that are followed by time see it. It tells a time that nobody who is under way
// can still write. A writer's NOW() is when its statement began, which no list has once the statement has ended and its
// transaction is open: the transaction began later, perhaps after a wait for a table that was being altered. So each look
// remembers since when statements run, and a transaction that is new was begun by one of them, or after the last look. Times are
// those of the server's clock; when a transaction began, as the server says in a zone of its own, is not used.
type activity struct {
	mu      sync.Mutex
	asked   time.Time            // by our own clock
	at      time.Time            // of the server's, at the last look; zero: there was none
	before  time.Time            // at the one before it
	running map[int64]time.Time  // since when statements ran at the last look, by connection
	earlier map[int64]time.Time  // and at the one before it
	open    map[string]time.Time // before which transactions that were open have written nothing; zero: not known
	mark    time.Time            // the result
	held    string               // why there is none
}

// watermark gives the time, in UTC; held says why none is known. What is committed later has a later time.
func (a *activity) watermark(ctx context.Context, c *mysql.Conn, margin time.Duration) (at time.Time, held string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.asked) < lookEvery {
		return a.mark, a.held, nil
	}
	if err := a.look(ctx, c, margin); err != nil {
		return at, "", err
	}
	a.asked = time.Now()
	return a.mark, a.held, nil
}

// statementsSQL gives the connections that run something, with for how many whole seconds. Statements are listed before transactions: one
// that has ended between the two has its transaction in the second list.
const statementsSQL = `SELECT id, time FROM information_schema.processlist
	WHERE command NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID') AND id <> CONNECTION_ID() AND NOT (info IS NOT NULL AND info LIKE '` + mysql.ReadMark + `SELECT%')`

// transactionsSQL gives the transactions that have written, and our own: whether it is one, and whether it has this statement, which
// has a word that no other has. One without a connection is prepared, as XA has it.
const transactionsSQL = `SELECT trx_id, trx_mysql_thread_id, trx_mysql_thread_id = CONNECTION_ID(), COALESCE(trx_query LIKE '%%%[1]s%%', 0) FROM information_schema.innodb_trx
	WHERE trx_rows_modified > 0 OR trx_mysql_thread_id IN (0, CONNECTION_ID())`

// looks is how often the list of transactions is asked for in a row, with rests in which the server may make it anew: it does when
// nobody, of all its clients, has asked for 100 ms (https://dev.mysql.com/doc/refman/8.0/en/innodb-information-schema-internal-data.html).
const looks, restLeast, restMore = 6, 105 * time.Millisecond, 200 * time.Millisecond

// oldList is why there is no watermark.
const oldList = "the server's list of transactions, which is an old one: others ask for information_schema.innodb_trx all the time"

// transactions gives the transactions of others that have written, by a list that was made for this statement; nil: there is none.
func transactions(ctx context.Context, c *mysql.Conn) (found []mysql.Row, fresh bool, err error) {
	for n := range looks {
		if n > 0 && !rests(ctx, restLeast+mathrand.N(restMore)) { //nolint:gosec // so that several do not ask in step
			return nil, false, ctx.Err()
		}
		for _, sql := range []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"} { // it is listed
			if err := c.Exec(ctx, sql); err != nil {
				return nil, false, err
			}
		}
		all, err := c.Query(ctx, fmt.Sprintf(transactionsSQL, "look "+rand.Text()))
		if err == nil {
			err = c.Exec(ctx, "COMMIT")
		}
		if err != nil {
			return nil, false, err
		}
		found = found[:0]
		for _, r := range all {
			switch own := r.Int(2) != 0; {
			case !own:
				found = append(found, r)
			case r.Int(3) != 0:
				fresh = true
			}
		}
		if fresh {
			return found, true, nil
		}
	}
	return nil, false, nil
}

// rests waits, and says whether there is still somebody to wait for.
func rests(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *activity) look(ctx context.Context, c *mysql.Conn, margin time.Duration) error {
	now, err := clock(ctx, c)
	if err != nil {
		return err
	}
	statements, err := c.Query(ctx, statementsSQL)
	if err != nil {
		return mysql.Explain(err, "ask for the statements that run", c.Host())
	}
	listed, fresh, err := transactions(ctx, c)
	switch {
	case err != nil:
		return mysql.Explain(err, "ask for the transactions that are under way", c.Host())
	case !fresh: // what was seen now is forgotten: the times of the looks before are earlier
		a.held = oldList
		return nil
	}
	mark := now.Add(-margin)
	running := make(map[int64]time.Time, len(statements))
	for _, r := range statements {
		since := now.Add(-time.Duration(r.Int(1)+1) * time.Second) // whole seconds, rounded down
		running[r.Int(0)] = since
		mark = earliest(mark, since)
	}
	for id, since := range a.running { // its transaction may not be listed yet
		if s, ok := running[id]; !ok || s.After(since) {
			mark = earliest(mark, since)
		}
	}
	open, held := make(map[string]time.Time, len(listed)), ""
	for _, r := range listed {
		since := a.begun(r.Text(0), r.Int(1))
		open[r.Text(0)] = since
		switch {
		case since.IsZero() && r.Int(1) == 0:
			held = "the prepared transaction " + r.Text(0) + ", which shows no time"
		case since.IsZero():
			held = "transaction " + r.Text(0) + " of connection " + r.Text(1) + ", which was under way before it was looked for"
		default:
			mark = earliest(mark, since)
		}
	}
	a.before, a.at, a.earlier, a.running, a.open, a.mark, a.held = a.at, now, a.running, running, open, mark, held
	return nil
}

// begun gives a time before which a transaction has written nothing; zero: it is not known.
func (a *activity) begun(transaction string, connection int64) time.Time {
	if since, known := a.open[transaction]; known {
		return since
	}
	if a.before.IsZero() { // the list of the first look may have been an old one
		return time.Time{}
	}
	since := a.before
	for _, ran := range []map[int64]time.Time{a.running, a.earlier} {
		if at, ok := ran[connection]; ok {
			since = earliest(since, at)
		}
	}
	return since
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
