package mysql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
)

// errOutdated says that a table is no longer what the catalog said when it was last asked.
var errOutdated = fault.Retry(errors.New("the table was changed meanwhile"))

// errGone says that there is no such table any more: it was dropped, or has another name.
var errGone = fault.Stop(errors.New("there is no such table any more"))

// errMoved says that a table's rows are not those that its first part was read of.
var errMoved = fault.Retry(errors.New("it is in another file: it was truncated, or its rows were written anew as ALTER TABLE does"))

// changedCode is of rows that are not as the statement was made for.
const changedCode = "ACQ-MY-022"

// reading is what a read that shows a table as it stood gives to its records.
type reading struct {
	table  *mysql.Table
	source string // as _source tells it
	epoch  uint16
	number uint64    // taken before the read's snapshot
	at     time.Time // the server's, before the read
	given  uint32    // records so far: without a key only their number in the read tells them apart
	file   string    // that the rows must be of; "": of any
	low    bool      // the log tells of all that the read may not show: its number is 0
	logged bool      // the number is that of the log which the read's snapshot shows
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
	sys.Versions.Lo = make([]uint64, rows)
	sys.Versions.Index = make([]uint32, rows)
	for i := range rows {
		sys.Versions.Lo[i], sys.Versions.Index[i] = r.number, r.given
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
		Err:     &fault.Error{Class: fault.Poison, Code: "ACQ-MY-021", Place: place, Err: e},
		Version: record.Version{Epoch: r.epoch, Lo: r.number},
	}
}

// read runs a read of a table that the catalog was asked for before: in a transaction that keeps the table from being altered, after a
// look whether it was, and with a number of the stream, taken before. do runs its statement, whose snapshot is its own.
func (s *Source) read(ctx context.Context, c *mysql.Conn, r *reading, do func() error) (err error) {
	if s.state != nil && !r.low && !r.logged {
		if r.number, err = s.state.Next(ctx, r.table.Stream()); err != nil {
			return err
		}
	}
	isolation := "READ COMMITTED"
	if r.logged {
		isolation = repeatable
	}
	return s.locked(ctx, c, r.table, isolation, func(at time.Time) error {
		r.at = at
		if r.logged {
			shown, err := snapshotAt(ctx, c)
			if err == nil {
				r.number, err = shown.number()
			}
			if err != nil {
				return err
			}
		}
		if r.file != "" {
			file, err := s.fileOf(ctx, c, r.table)
			if err != nil {
				return err
			}
			if other(r.file, file) {
				return errMoved
			}
		}
		return do()
	})
}

// locked runs a transaction that reads: it locks the table as every read does, compares it with what the catalog said when it was last
// asked, which holds still from then on, and gives the server's time. With REPEATABLE READ all that is read is of one moment, which is
// before that time.
func (s *Source) locked(ctx context.Context, c *mysql.Conn, t *mysql.Table, isolation string, do func(at time.Time) error) (err error) {
	begin := "START TRANSACTION READ ONLY"
	if isolation == repeatable {
		begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
	}
	for _, sql := range []string{"SET TRANSACTION ISOLATION LEVEL " + isolation, begin, "SELECT * FROM " + t.Quoted() + " LIMIT 0"} {
		if err := c.Exec(ctx, sql); err != nil {
			return s.rolledBack(ctx, c, t, changed(err, mysql.Explain(err, "read "+t.Quoted(), t.Stream())))
		}
	}
	at, err := s.unchanged(ctx, c, t)
	if err == nil {
		err = do(at)
	}
	if err != nil {
		return s.rolledBack(ctx, c, t, changed(err, mysql.Explain(err, "read "+t.Quoted(), t.Stream())))
	}
	return mysql.Explain(c.Exec(ctx, "COMMIT"), "end the read of "+t.Quoted(), t.Stream())
}

// repeatable is the isolation of what is read in several statements of one moment.
const repeatable = "REPEATABLE READ"

func (s *Source) rolledBack(ctx context.Context, c *mysql.Conn, t *mysql.Table, err error) error {
	if c.IsClosed() {
		return err
	}
	return errors.Join(err, mysql.Explain(c.Exec(ctx, "ROLLBACK"), "end the read of "+t.Quoted(), t.Stream()))
}

// timeLayout is how the server writes a DATETIME(6).
const timeLayout = "2006-01-02 15:04:05.999999"

// unchanged compares a table with the catalog, which holds still while the table is locked, and asks for the server's time.
func (s *Source) unchanged(ctx context.Context, c *mysql.Conn, t *mysql.Table) (time.Time, error) {
	now, err := mysql.Look(ctx, c, t)
	switch {
	case err != nil:
		return time.Time{}, err
	case now == nil || now.Mark() != t.Mark():
		return time.Time{}, fmt.Errorf("read %s: %w", t.Quoted(), errOutdated)
	}
	return clock(ctx, c)
}

// clock asks for the server's time.
func clock(ctx context.Context, c *mysql.Conn) (time.Time, error) {
	row, err := c.QueryRow(ctx, "SELECT UTC_TIMESTAMP(6)")
	if err != nil {
		return time.Time{}, mysql.Explain(err, "ask for the time", c.Host())
	}
	at, err := time.Parse(timeLayout, row.Text(0))
	return at, fault.Stop(err)
}

// changed marks the errors that say that a table is no longer as the catalog said, or not there.
func changed(err, explained error) error {
	const noTable, noDatabase, noColumn, otherDefinition = 1146, 1049, 1054, 1412
	switch {
	case errors.Is(explained, errOutdated), errors.Is(explained, errGone):
		return explained
	case fault.Code(explained) == changedCode:
		return fmt.Errorf("%w: %w", errOutdated, explained)
	}
	switch mysql.Said(err) {
	case noTable, noDatabase:
		return fmt.Errorf("%w: %w", errGone, explained)
	case noColumn, otherDefinition:
		return fmt.Errorf("%w: %w", errOutdated, explained)
	}
	return explained
}
