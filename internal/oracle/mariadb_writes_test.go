//go:build cgo

package oracle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/acequia-io/acequia/internal/mysql"
)

// mariaSession is a writer's session of MariaDB.
type mariaSession struct {
	*writer
	of   *mariaDB
	conn *client.Conn
}

func (m *mariaDB) session(_ context.Context, w *writer) (session, error) {
	conn, err := m.open()
	if err != nil {
		return nil, err
	}
	return &mariaSession{w, m, conn}, nil
}

func (w *mariaSession) close(context.Context) error { return w.conn.Quit() }

// turn makes a transaction, one in two phases, or what ends a transaction by itself.
func (w *mariaSession) turn(ctx context.Context, n int) error {
	switch {
	case w.number == 0 && n%15 == 10:
		if err := w.reshape(ctx, n/15); err != nil {
			return err
		}
	case w.number == 1 && n%20 == 9:
		return w.twoPhases(ctx, n)
	case w.number == 2 && n%12 == 7:
		return unless(w, w.exec(ctx, "truncate scratch"))
	}
	return w.transaction(ctx, w, n)
}

func (w *mariaSession) exec(_ context.Context, sql string, args ...any) error {
	_, err := w.conn.Execute(sql, args...)
	return err
}

// conflict knows what the server says (https://mariadb.com/kb/en/mariadb-error-codes/).
func (w *mariaSession) conflict(err error) bool {
	const (
		taken, unknownColumn, noSuchColumn, sameColumn        = 1062, 1054, 1091, 1060
		lockWait, deadlock, noSavepoint, altered              = 1205, 1213, 1305, 1412
		branchRolledBack, branchTimeout, branchDeadlock, rerr = 1402, 1613, 1614, 1399
	)
	return slices.Contains([]int{
		taken, unknownColumn, noSuchColumn, sameColumn, lockWait, deadlock, noSavepoint, altered, branchRolledBack, branchTimeout, branchDeadlock, rerr,
	}, int(mysql.Said(err)))
}

func (w *mariaSession) commit(ctx context.Context, _ int) error {
	return w.ended(w, w.exec(ctx, "commit"))
}

// twoPhases makes a transaction that is prepared, left for a while, also without a session, and then ended.
func (w *mariaSession) twoPhases(ctx context.Context, n int) (err error) {
	id := fmt.Sprintf("'%s %d %d'", w.of.name, w.number, n)
	if err := w.exec(ctx, "xa start "+id); err != nil {
		return err
	}
	for range 1 + w.rand.IntN(3) {
		if err = w.write(ctx); err != nil {
			break
		}
	}
	for _, sql := range []string{"xa end ", "xa prepare "} {
		if err == nil {
			err = w.exec(ctx, sql+id)
		}
	}
	if err != nil {
		w.aborts.Add(1)
		_ = w.exec(ctx, "xa end "+id)                                                 // it may have ended
		return errors.Join(unless(w, err), unless(w, w.exec(ctx, "xa rollback "+id))) // the server can have rolled it back itself
	}
	if w.chance(50) {
		if err := w.conn.Quit(); err != nil {
			return err
		}
		if w.conn, err = w.of.open(); err != nil {
			return err
		}
	}
	w.pause(ctx, w.some(w.hold/2))
	if w.chance(30) {
		w.aborts.Add(1)
		return unless(w, w.branch(ctx, "xa rollback "+id))
	}
	w.prepared.Add(1)
	return w.ended(w, w.branch(ctx, "xa commit "+id))
}

// branch ends what was prepared. The server knows it a moment later when the session that has prepared it is gone.
func (w *mariaSession) branch(ctx context.Context, sql string) (err error) {
	const unknown = 1397
	for range 500 {
		if err = w.exec(ctx, sql); mysql.Said(err) != unknown {
			break
		}
		w.pause(ctx, 20*time.Millisecond)
	}
	return err
}

// write makes one change of one of the kinds that captures get wrong.
func (w *mariaSession) write(ctx context.Context) error {
	v := w.value.Add(1)
	account, region, n := w.rand.Int64N(accountKeys), w.region(), w.rand.IntN(pairKeys)
	exec := func(sql string, args ...any) error { return w.exec(ctx, sql, args...) }
	switch k := w.rand.IntN(1000); {
	case k < 250:
		return exec(`insert into accounts (id, v, body, price, open) values (?, ?, ?, ? / 4, ?)
			on duplicate key update v = values(v), body = values(body), price = values(price), open = values(open)`, account, v, w.body(), v%9000, w.maybe())
	case k < 400:
		return exec("update accounts set v = ? where id = ?", v, account)
	case k < 450:
		return exec("delete from accounts where id = ?", account)
	case k < 470:
		if err := exec("delete from accounts where id = ?", account); err != nil {
			return err
		}
		return exec("insert into accounts (id, v, open) values (?, ?, true)", account, v)
	case k < 490:
		return exec("replace into accounts (id, v, body) values (?, ?, ?)", account, v, w.body())
	case k < 530: // the key changes, to one that nobody has had
		return exec("update accounts set id = ?, v = ? where id = ?", w.fresh.Add(1), v, account)
	case k < 570: // a key that nobody touches again: what is lost stays lost
		return exec("insert into accounts (id, v) values (?, ?)", w.fresh.Add(1), v)
	case k < 650:
		return exec("insert into pairs (region, n, v, note) values (?, ?, ?, ?) on duplicate key update v = values(v), note = values(note)", region, n, v, w.word())
	case k < 660: // the server takes it for the same key
		return exec("update pairs set region = if(binary region = upper(region), lower(region), upper(region)), v = ? where region = ? and n = ?", v, region, n)
	case k < 690:
		return exec("delete from pairs where region = ? and n = ?", region, n)
	case k < 720: // half of a key changes
		return exec("update pairs set n = ?, v = ? where region = ? and n = ?", w.fresh.Add(1), v, region, n)
	case k < 820: // few keys, which everybody wants
		return exec("update counters set v = ? where id = ?", v, 1+w.rand.IntN(counterKeys))
	case k < 860:
		return exec("insert into parted (id, v) values (?, ?) on duplicate key update v = values(v)", w.rand.Int64N(partedKeys), v)
	case k < 880: // from one partition to another, or not
		return exec("update parted set id = ?, v = ? where id = ?", w.fresh.Add(1), v, w.rand.Int64N(partedKeys))
	case k < 890:
		return exec("delete from parted where id = ?", w.rand.Int64N(partedKeys))
	case k < 930:
		return exec("insert into shifting (id, v) values (?, ?) on duplicate key update v = values(v)", w.rand.Int64N(shiftingKeys), v)
	case k < 940:
		return exec("delete from shifting where id = ?", w.rand.Int64N(shiftingKeys))
	case k < 965:
		return exec("insert into scratch (id, v) values (?, ?) on duplicate key update v = values(v)", w.rand.Int64N(100), v)
	case k < 975:
		return w.bulk(ctx)
	case k < 990:
		return exec("insert into loose values (?, ?), (?, ?)", v, w.word(), v, w.word())
	case k < 995:
		return exec("delete from loose where v % 11 = ?", v%11)
	}
	return exec("update loose set word = ? where v % 7 = ?", w.word(), v%7)
}

// bulk brings many rows in one statement, all of which have the same time: as a query gives them, or as a file has them.
func (w *mariaSession) bulk(ctx context.Context) error {
	rows := 50 + w.rand.IntN(300)
	if w.chance(10) {
		rows = 6000 // more than a page
	}
	last, value := w.fresh.Add(int64(rows)), w.value.Add(int64(rows))
	query := fmt.Sprintf("select %d - seq, %d - seq from seq_1_to_%d", last+1, value+1, rows)
	if w.chance(50) {
		return w.exec(ctx, "insert into accounts (id, v) "+query)
	}
	file := filepath.Join(w.of.server.Data, fmt.Sprintf("%s-%d.txt", w.of.name, last))
	if err := w.exec(ctx, query+" into outfile '"+file+"'"); err != nil {
		return err
	}
	return w.exec(ctx, "load data infile '"+file+"' into table accounts (id, v)")
}

// reshape adds, renames, fills and drops columns of one table.
func (w *mariaSession) reshape(ctx context.Context, n int) error {
	name := fmt.Sprintf("extra_%d", n/4)
	sql := []string{
		"alter table shifting add column " + name + " text",
		fmt.Sprintf("update shifting set %s = 'filled', v = %d where id %% 3 = 0", name, w.value.Add(1)),
		"alter table shifting rename column " + name + " to " + name + "_renamed",
		"alter table shifting drop column if exists " + name + "_renamed",
	}
	return unless(w, w.exec(ctx, sql[n%4]))
}
