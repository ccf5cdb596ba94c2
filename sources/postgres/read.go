package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// errOutdated says that a table is no longer what the catalog said when it was last asked.
var errOutdated = fault.Retry(errors.New("the table was changed meanwhile"))

// errGone says that there is no such table any more: it was dropped, or has another name.
var errGone = fault.Stop(errors.New("there is no such table any more"))

// changedCode is of rows that are not as the statement was made for.
const changedCode = "ACQ-PG-022"

// reading is what a read that shows a table as it stood gives to its records.
type reading struct {
	table  *postgres.Table
	source string // as _source tells it
	epoch  uint16
	number uint64    // taken before the read's snapshot
	at     time.Time // the server's, before the read
	given  uint32    // records so far: without a key only their number in the read tells them apart

	log      bool   // the log follows the stream
	backfill bool   // then its rows have no number: what the log tells of a row wins over any backfill
	settings string // of the transaction
	snapshot string // exported, to read in; "": its own
	behind   uint64 // its own shows all transactions below
}

// system fills what acequia knows of a batch.
func (r *reading) system(rows int, sys *record.System) {
	sys.Source, sys.IngestTime = r.source, time.Now().UnixMicro()
	sys.EventTimes = []int64{r.at.UnixMicro()}
	sys.Ops = []record.Op{record.Snapshot}
	sys.Versions = record.Versions{Epoch: r.epoch, Lo: []uint64{r.number}}
	if len(r.table.Key) > 0 {
		return
	}
	sys.Versions.Index = make([]uint32, rows)
	for i := range sys.Versions.Index {
		sys.Versions.Index[i] = r.given
		r.given++
	}
}

// refuse keeps a row that can be no record, as the dead letter that it becomes.
func (r *reading) refuse(e *gather.RowError) record.Refused {
	place := r.table.Stream()
	if len(e.Key) > 0 {
		place += ", key " + strings.Join(e.Key, ", ")
	}
	return record.Refused{
		Stream: r.table.Stream(), Column: e.Column, Raw: e.Raw, Source: r.source, EventTime: r.at.UnixMicro(),
		Err:     &fault.Error{Class: fault.Poison, Code: "ACQ-PG-021", Place: place, Err: e},
		Version: record.Version{Epoch: r.epoch, Lo: r.number},
	}
}

// read runs a read of a table that the catalog was asked for before: in a transaction that keeps the table from being changed, after
// a look whether it was, and with a number of the stream where one is to be had. do runs its statement, whose snapshot is its own. The
// number comes before the lock: to take it waits for transactions, and one of them may wait for the table.
func (s *Source) read(ctx context.Context, c *postgres.Conn, r *reading, do func() error) (err error) {
	place := r.table.Stream()
	if r.number, err = s.number(ctx, c, r); err != nil {
		return err
	}
	if err := s.lock(ctx, c, r); err != nil {
		return err
	}
	defer func() {
		if err != nil && !c.IsClosed() {
			_, failed := c.Exec(ctx, "rollback")
			err = errors.Join(err, postgres.Explain(failed, "end the read of "+r.table.Quoted(), place))
		}
	}()
	if err := s.unchanged(ctx, c, r); err != nil {
		return err
	}
	if err := do(); err != nil {
		return changed(err, postgres.Explain(err, "read "+r.table.Quoted(), place))
	}
	_, err = c.Exec(ctx, "commit")
	return postgres.Explain(err, "end the read of "+r.table.Quoted(), place)
}

// number takes the number of the read's version, before its snapshot.
func (s *Source) number(ctx context.Context, c *postgres.Conn, r *reading) (uint64, error) {
	switch {
	case s.state == nil, r.log && r.backfill:
		return 0, nil
	case r.log:
		return s.logStand(ctx, c)
	}
	return s.state.Next(ctx, r.table.Stream())
}

// lock begins a transaction and locks the table as every read does, until the end. An exported snapshot is used where it is still
// there, and where the table was not written anew since: to a snapshot from before such a table is empty.
func (s *Source) lock(ctx context.Context, c *postgres.Conn, r *reading) error {
	place := r.table.Stream()
	for {
		begin := "begin read only; " + r.settings
		if r.snapshot == "" && r.behind > 0 {
			if err := allEnded(ctx, c, r.behind); err != nil {
				return err
			}
		}
		if r.snapshot != "" {
			begin = "begin isolation level repeatable read read only; set transaction snapshot " + literal(r.snapshot) + "; " + r.settings
		}
		_, err := c.Exec(ctx, begin)
		if err == nil {
			_, err = c.Exec(ctx, "select from "+from(r.table)+" limit 0")
		}
		same := true
		if err == nil && r.snapshot != "" {
			err = c.QueryRow(ctx, `select bool_and(relfilenode = coalesce(pg_relation_filenode(c.oid), 0)) from pg_class c
				where c.oid = $1 or c.oid in (select relid from pg_partition_tree($1))`, r.table.OID).Scan(&same)
		}
		if err == nil && same {
			return nil
		}
		if !c.IsClosed() {
			if _, failed := c.Exec(ctx, "rollback"); failed != nil {
				return postgres.Explain(failed, "end the read of "+r.table.Quoted(), place)
			}
		}
		if r.snapshot == "" || c.IsClosed() {
			return changed(err, postgres.Explain(heldBy(ctx, c, r.table, err), "read "+r.table.Quoted(), place))
		}
		r.snapshot = ""
	}
}

// heldBy adds to an error who holds the lock that was not given in time.
func heldBy(ctx context.Context, c *postgres.Conn, t *postgres.Table, err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "55P03" || c.IsClosed() {
		return err
	}
	var who string
	failed := c.QueryRow(ctx, `
		select string_agg(format('process %s (user %s, %s): %s', a.pid, a.usename, a.application_name, left(a.query, 200)), '; ')
		from pg_locks l join pg_stat_activity a on a.pid = l.pid
		where l.relation = $1 and l.granted and l.mode = 'AccessExclusiveLock' and l.database = (select oid from pg_database where datname = current_database())`,
		t.OID).Scan(&who)
	if failed != nil { // nobody holds it any more
		return err
	}
	return fmt.Errorf("%w; it is held by %s", err, who)
}

// unchanged compares a table with the catalog, which holds still while the table is locked, and asks for the server's time.
func (s *Source) unchanged(ctx context.Context, c *postgres.Conn, r *reading) error {
	t := r.table
	var same bool
	var mark string
	err := c.QueryRow(ctx, `
		select clock_timestamp(), $2::regclass::oid = $1 and ($3 = 0 or exists (select from pg_index where indexrelid = $3 and indisvalid)),
			`+columnsSQL,
		t.OID, t.Quoted(), t.KeyIndex).Scan(&r.at, &same, &mark)
	switch {
	case err != nil:
		return changed(err, postgres.Explain(err, "look at the columns of "+t.Quoted(), t.Stream()))
	case !same || mark != markOf(t):
		return fmt.Errorf("read %s: %w", t.Quoted(), errOutdated)
	}
	return nil
}

// columnsSQL asks for the columns of the table $1, without the one that acequia adds.
const columnsSQL = `(SELECT coalesce(string_agg(concat_ws(' ', attnum, atttypid, atttypmod, attname), E'\n' ORDER BY attnum), '')
	FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
		AND NOT (attname = '` + postgres.StampColumn + `' AND atttypid = 'xid8'::regtype))`

// markOf is the columns of a table as columnsSQL gives them.
func markOf(t *postgres.Table) string {
	lines := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		lines[i] = fmt.Sprintf("%d %d %d %s", c.Num, c.TypeOID, c.Modifier, c.Name)
	}
	return strings.Join(lines, "\n")
}

// changed marks the errors that say that a table is no longer as the catalog said, or not there.
func changed(err, explained error) error {
	if fault.Code(explained) == changedCode {
		return fmt.Errorf("%w: %w", errOutdated, explained)
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return explained
	}
	switch pg.Code {
	case "42P01", "3F000": // undefined table, undefined schema
		return fmt.Errorf("%w: %w", errGone, explained)
	case "42703", "0A000": // undefined column, cached plan
		return fmt.Errorf("%w: %w", errOutdated, explained)
	}
	return explained
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
