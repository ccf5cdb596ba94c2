//go:build cgo

package oracle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// postgresSession is a writer's session of PostgreSQL.
type postgresSession struct {
	*writer
	conn *pgx.Conn
}

func (p *postgres) session(ctx context.Context, w *writer) (session, error) {
	conn, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return nil, err
	}
	s := &postgresSession{w, conn}
	return s, s.exec(ctx, "set lock_timeout = '3s'; set deadlock_timeout = '100ms'")
}

func (w *postgresSession) close(ctx context.Context) error { return w.conn.Close(ctx) }

func (w *postgresSession) turn(ctx context.Context, n int) error {
	if w.number == 0 && n%15 == 10 {
		if err := w.reshape(ctx, n/15); err != nil {
			return err
		}
	}
	return w.transaction(ctx, w, n)
}

// errRolledBack is of a COMMIT that a failed statement has made a ROLLBACK.
var errRolledBack = errors.New("the transaction was rolled back instead")

func (w *postgresSession) exec(ctx context.Context, sql string, args ...any) error {
	tag, err := w.conn.Exec(ctx, sql, args...)
	if err == nil && sql == "commit" && tag.String() != "COMMIT" {
		return errRolledBack
	}
	return err
}

func (w *postgresSession) conflict(err error) bool {
	if errors.Is(err, errRolledBack) {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"40P01", "40001", "55P03", "23505", "42703", "25P02", "0A000"}, e.Code)
}

// commit ends the transaction, now and then by two phases.
func (w *postgresSession) commit(ctx context.Context, n int) error {
	if !w.chance(4) {
		return w.ended(w, w.exec(ctx, "commit"))
	}
	name := fmt.Sprintf("oracle_%s_%d_%d_%d", w.conn.Config().Database, w.seed, w.number, n)
	if err := w.exec(ctx, "prepare transaction '"+name+"'"); err != nil {
		w.aborts.Add(1)
		return errors.Join(unless(w, err), w.exec(ctx, "rollback"))
	}
	w.pause(ctx, w.some(w.hold/2))
	if w.chance(30) {
		w.aborts.Add(1)
		return w.exec(ctx, "rollback prepared '"+name+"'")
	}
	w.prepared.Add(1)
	return w.ended(w, w.exec(ctx, "commit prepared '"+name+"'"))
}

// write makes one change of one of the kinds that captures get wrong.
func (w *postgresSession) write(ctx context.Context) error {
	v := w.value.Add(1)
	account, region, n := w.rand.Int64N(accountKeys), w.region(), w.rand.IntN(pairKeys)
	exec := func(sql string, args ...any) error { return w.exec(ctx, sql, args...) }
	switch k := w.rand.IntN(1000); {
	case k < 250:
		return exec(`insert into accounts (id, v, body, price, open) values ($1, $2, $3, $4::int / 4.0, $5) on conflict (id) do update
			set v = excluded.v, body = excluded.body, price = excluded.price, open = excluded.open`, account, v, w.body(), v%9000, w.maybe())
	case k < 400: // the body, which is stored out of line, is not sent by the log
		return exec("update accounts set v = $2 where id = $1", account, v)
	case k < 450:
		return exec("delete from accounts where id = $1", account)
	case k < 490:
		if err := exec("delete from accounts where id = $1", account); err != nil {
			return err
		}
		return exec("insert into accounts (id, v, open) values ($1, $2, true)", account, v)
	case k < 530: // the key changes, to one that nobody has had
		return exec("update accounts set id = $2, v = $3 where id = $1", account, w.fresh.Add(1), v)
	case k < 570: // a key that nobody touches again: what is lost stays lost
		return exec("insert into accounts (id, v) values ($1, $2)", w.fresh.Add(1), v)
	case k < 660:
		return exec(`insert into pairs (region, n, v, note) values ($1, $2, $3, $4) on conflict (region, n) do update set v = excluded.v, note = excluded.note`,
			region, n, v, w.word())
	case k < 690:
		return exec("delete from pairs where region = $1 and n = $2", region, n)
	case k < 720: // half of a key changes
		return exec("update pairs set n = $3, v = $4 where region = $1 and n = $2", region, n, w.fresh.Add(1), v)
	case k < 820: // few keys, which everybody wants
		return exec("update counters set v = $2 where id = $1", 1+w.rand.IntN(counterKeys), v)
	case k < 860:
		return exec("insert into parted (id, v) values ($1, $2) on conflict (id) do update set v = excluded.v", w.rand.Int64N(partedKeys), v)
	case k < 880: // from one partition to another, or not
		return exec("update parted set id = $2, v = $3 where id = $1", w.rand.Int64N(partedKeys), w.fresh.Add(1), v)
	case k < 890:
		return exec("delete from parted where id = $1", w.rand.Int64N(partedKeys))
	case k < 930:
		return exec("insert into shifting (id, v) values ($1, $2) on conflict (id) do update set v = excluded.v", w.rand.Int64N(shiftingKeys), v)
	case k < 940:
		return exec("delete from shifting where id = $1", w.rand.Int64N(shiftingKeys))
	case k < 960:
		return exec("insert into scratch (id, v) values ($1, $2) on conflict (id) do update set v = excluded.v", w.rand.Int64N(100), v)
	case k < 966:
		return exec("truncate scratch")
	case k < 976:
		return w.copyRows(ctx)
	case k < 990:
		return exec("insert into loose values ($1, $2), ($1, $2)", v, w.word())
	case k < 995:
		return exec("delete from loose where v % 11 = $1", v%11)
	}
	return exec("update loose set word = $1 where v % 7 = $2", w.word(), v%7)
}

// copyRows brings many rows in one statement: all of them have the same time and the same transaction.
func (w *postgresSession) copyRows(ctx context.Context) error {
	rows := 50 + w.rand.IntN(300)
	if w.chance(10) {
		rows = 6000 // more than a page
	}
	_, err := w.conn.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "v"}, pgx.CopyFromSlice(rows, func(int) ([]any, error) {
		return []any{w.fresh.Add(1), w.value.Add(1)}, nil
	}))
	return err
}

// reshape adds, renames, fills and drops columns of one table.
func (w *postgresSession) reshape(ctx context.Context, n int) error {
	name := fmt.Sprintf("extra_%d", n/4)
	var sql string
	switch n % 4 {
	case 0:
		sql = "alter table shifting add column " + name + " text"
	case 1:
		sql = "update shifting set " + name + " = 'filled', v = nextval('shifted') where id % 3 = 0"
	case 2:
		sql = "alter table shifting rename column " + name + " to " + name + "_renamed"
	case 3:
		sql = "alter table shifting drop column if exists " + name + "_renamed"
	}
	sql = strings.ReplaceAll(sql, "nextval('shifted')", fmt.Sprint(w.value.Add(1)))
	return unless(w, w.exec(ctx, sql))
}
