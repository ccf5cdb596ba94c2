package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/acequia-io/acequia/fault"
)

// applicationID marks the file as ours: "acqs". See https://www.sqlite.org/pragma.html#pragma_application_id.
const applicationID = 0x61637173

// migrations bring the file from one version to the next: the first makes it. The version is PRAGMA user_version.
var migrations = []string{ //nolint:gochecknoglobals // a constant table
	`
create table lane(
	pipeline text not null, id text not null, epoch integer not null, grp integer not null default 0,
	position blob not null default x'', ended integer not null default 0, rows integer not null default 0,
	saved_at integer not null default 0, intent blob,
	primary key(pipeline, id)) without rowid;
create table dead_letter(
	id integer primary key autoincrement,
	pipeline text not null, lane text not null, stream text not null, position blob not null, idx integer not null,
	step text not null, grp integer not null, col text not null, code text not null, reason text not null,
	op text not null, version text not null, row blob, raw blob, at integer not null,
	unique(pipeline, stream, position, idx, step, grp));
create table counter(stream text primary key, n integer not null) without rowid;
`, `
create table letter(
	id integer primary key autoincrement,
	pipeline text not null, lane text not null, stream text not null, position blob not null, idx integer not null,
	step text not null, grp integer not null, col text not null, code text not null, reason text not null,
	op text not null, version text not null, row blob, raw blob, at integer not null,
	event_id text not null default '', event_time integer not null default 0, source text not null default '',
	retry integer not null default 0,
	unique(pipeline, lane, stream, position, idx, step, grp));
insert into letter(id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, row, raw, at)
	select id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, row, raw, at from dead_letter;
drop table dead_letter;
alter table letter rename to dead_letter;
create index dead_letter_retry on dead_letter(pipeline, stream, step, retry) where retry > 0;
`, `
create table letter(
	id integer primary key autoincrement,
	pipeline text not null, lane text not null, stream text not null, position blob not null, idx integer not null,
	step text not null, grp integer not null, col text not null, code text not null, reason text not null,
	op text not null, version text not null, row blob, raw blob, at integer not null,
	event_id text not null, event_time integer not null, source text not null,
	retry integer not null default 0, attempts integer not null, first_at integer not null, sinks text not null default '');
insert into letter(id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, row, raw, at,
	event_id, event_time, source, retry, attempts, first_at)
	select id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, row, raw, at,
	event_id, event_time, source, retry, 1, at from dead_letter;
delete from sqlite_sequence where name = 'letter';
insert into sqlite_sequence select 'letter', seq from sqlite_sequence where name = 'dead_letter';
drop table dead_letter;
alter table letter rename to dead_letter;
create unique index dead_letter_place on dead_letter(pipeline, lane, stream, position, idx, step, grp) where attempts = 1;
create index dead_letter_retry on dead_letter(pipeline, stream, step, retry) where retry > 0;
create table memory(
	pipeline text not null, step text not null, lane text not null, grp integer not null, newest integer not null, block blob not null,
	primary key(pipeline, step, lane, grp));
`, `
create table note(pipeline text not null, key text not null, value blob not null, primary key(pipeline, key)) without rowid;
`, `
alter table dead_letter add column absent text not null default '';
`, `
create table job(
	id text primary key, kind text not null, work text not null, state text not null, asked_by text not null, request blob, report blob,
	created_at integer not null, started_at integer not null, ended_at integer not null,
	code text not null, place text not null, reason text not null, remedy text not null, key text not null, digest text not null) without rowid;
create unique index job_work on job(work) where state in ('queued', 'running');
create unique index job_key on job(key) where key <> '';
create table schedule(name text primary key, last integer not null, paused integer not null, job text not null) without rowid;
`,
}

// kind is what a file turned out to be.
type kind struct{ application, version, tables int }

// blank says that there is nothing in the file: it is new, or its making was cut off.
func (k kind) blank() bool { return k == kind{} }

// check looks at the file without changing anything, and refuses what is damaged, newer or another program's.
func check(ctx context.Context, path string, newest int) (kind, error) {
	var k kind
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0:
		return k, nil
	case err == nil && !info.Mode().IsRegular():
		return k, unusable(path, errors.New("it is not a file"))
	}
	mode := "mode=ro"
	if _, err := os.Stat(path + "-journal"); err == nil {
		mode = "mode=rw" // a process died while it made the file: what it left half done must be taken back first
	}
	db, err := sql.Open("sqlite", dsn(path, mode))
	if err != nil {
		return k, explain(path, "open", err)
	}
	var health string
	err = db.QueryRowContext(ctx, `select (select application_id from pragma_application_id()),
		(select user_version from pragma_user_version()), (select count(*) from sqlite_schema)`).
		Scan(&k.application, &k.version, &k.tables)
	if err == nil {
		err = db.QueryRowContext(ctx, "pragma quick_check(1)").Scan(&health)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return k, explain(path, "read", err)
	}
	switch {
	case health != "ok":
		return k, damaged(path, errors.New(health))
	case k.application == applicationID && k.version > newest:
		return k, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-002", Place: path,
			Err:    fmt.Errorf("the state file has version %d, this program knows up to %d", k.version, newest),
			Remedy: "run the newer acequia that wrote it, or another state directory; the file was not touched",
		}
	case k.application != applicationID && !k.blank():
		return k, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-003", Place: path, Err: errors.New("the file belongs to another program"),
			Remedy: "name another state directory; the file was not touched",
		}
	}
	return k, nil
}

// upgrade brings the file to the newest version in one transaction; an older file is copied first.
func upgrade(ctx context.Context, conn *sql.Conn, path string, k kind, steps []string) error {
	if !k.blank() {
		if err := copyTo(ctx, conn, fmt.Sprintf("%s.v%d", path, k.version)); err != nil {
			return err
		}
	}
	return transact(ctx, conn, func() error {
		version := 0 // now: another process may have been faster
		if err := conn.QueryRowContext(ctx, "pragma user_version").Scan(&version); err != nil {
			return err
		}
		if version >= len(steps) {
			return nil
		}
		for _, step := range steps[version:] {
			if _, err := conn.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		_, err := conn.ExecContext(ctx, fmt.Sprintf("pragma application_id = %d; pragma user_version = %d", applicationID, len(steps)))
		return err
	})
}

// copyTo makes a consistent copy. A copy that is there already is of an upgrade that was cut off before it changed
// anything.
func copyTo(ctx context.Context, conn *sql.Conn, to string) error {
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := conn.ExecContext(ctx, "vacuum into ?", part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder of the state file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func dsn(path, options string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "_pragma=busy_timeout(10000)&" + options}).String()
}

func damaged(path string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-001", Place: path, Err: fmt.Errorf("the state file is damaged: %w", err),
		Remedy: "restore it from a copy, or move it away to start from nothing; it was not overwritten",
	}
}

func unusable(path string, err error) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-006", Place: path, Err: err,
		Remedy: "give this user the right to read and write the file and its directory",
	}
}

// explain classifies a failed statement: what a person must mend is fatal, what goes away is retryable.
// The codes are those of https://www.sqlite.org/rescode.html.
func explain(path, doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return &fault.Error{Class: fault.Fatal, Code: "ACQ-STATE-007", Place: path, Err: fmt.Errorf("%s: %w", doing, err)}
	}
	err = fmt.Errorf("%s: %w", doing, err)
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return damaged(path, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return unusable(path, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL: // the last: who holds the index of its log stands still
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-STATE-005", Place: path, Err: err,
			Remedy: "see which other process holds it, and whether it still works; it is tried again",
		}
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM:
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-STATE-005", Place: path, Err: err,
			Remedy: "see that its disk has space; it is tried again",
		}
	}
	return &fault.Error{Class: fault.Fatal, Code: "ACQ-STATE-007", Place: path, Err: err}
}

// isBusy says that another process has the file locked.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}
