package itemstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/acequia-io/acequia/fault"
)

// The file says whose it is and how new: see https://www.sqlite.org/pragma.html#pragma_application_id.
const (
	applicationID = 0x61637169 // "acqi"
	fileVersion   = 3
)

// The changes of table t with sequence n have the id t<<seqBits | n: one B-tree, in which each table appends at its own
// place and is read as a range.
const seqBits = 48

const ddl = `
create table tbl(
	id integer primary key, name text not null unique, no_changes integer not null, trimmed integer not null default 0, truncated blob) strict;
create table item(
	tbl integer not null, key text not null, version blob not null, doc text, expires integer not null,
	primary key(tbl, key)) without rowid, strict;
create index item_expires on item(expires) where expires > 0;
create table change(
	id integer primary key, key text not null, op integer not null, version blob not null, old text, new text, at integer not null) strict;
create table reader(name text not null, tbl integer not null, seq integer not null, primary key(name, tbl)) without rowid, strict;` + indexTables

// upgrades bring the file from one version to the next, beginning with the first.
var upgrades = []string{`alter table tbl add column truncated blob`, indexTables} //nolint:gochecknoglobals // a constant table

// check looks at a file without writing to it, and tells its version; 0: it is to be created.
func (s *Store) check(ctx context.Context) (version int, err error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, s.refused(err)
	}
	mode := "ro"
	if _, err := os.Stat(s.path + "-journal"); err == nil {
		mode = "rw" // a process died while it made the file: what it left half done must be taken back first
	}
	db, err := sql.Open("sqlite", "file:"+s.path+"?mode="+mode+"&_pragma=busy_timeout(10000)")
	if err != nil {
		return 0, s.refused(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var app, tables int
	row := db.QueryRowContext(ctx, `select (select application_id from pragma_application_id()),
		(select user_version from pragma_user_version()), (select count(*) from sqlite_schema)`)
	if err := row.Scan(&app, &version, &tables); err != nil {
		return 0, s.refused(err)
	}
	switch {
	case app == 0 && version == 0 && tables == 0: // the process died while it made the file
		return 0, nil
	case app != applicationID:
		return 0, s.refused(errors.New("it is an SQLite file of another program"))
	case version > fileVersion:
		return 0, &fault.Error{
			Code: "ACQ-ITEMS-002", Place: s.path, Err: fmt.Errorf("the item file has version %d, this program knows %d", version, fileVersion),
			Remedy: "run the newer acequia that wrote it; the file was not touched",
		}
	}
	return version, nil
}

// upgrade brings an older file to the newest version in one transaction, after it was copied. A copy that is there already
// is of an upgrade that was cut off before it changed anything.
func (s *Store) upgrade(ctx context.Context, from int) error {
	copied := fmt.Sprintf("%s.v%d", s.path, from)
	if err := os.Remove(copied + ".part"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return s.refused(err)
	}
	if _, err := s.writes.ExecContext(ctx, "vacuum into ?", copied+".part"); err != nil {
		return s.explain("copy item file", err)
	}
	if err := os.Rename(copied+".part", copied); err != nil {
		return s.refused(err)
	}
	_, err := s.writes.ExecContext(ctx, fmt.Sprintf("begin immediate; %s; pragma user_version = %d; commit",
		strings.Join(upgrades[from-1:], "; "), fileVersion))
	return s.explain("upgrade item file", err)
}

// create makes the tables of a new file in one transaction.
func (s *Store) create(ctx context.Context) error {
	_, err := s.writes.ExecContext(ctx, fmt.Sprintf("begin immediate; %s pragma application_id = %d; pragma user_version = %d; commit",
		ddl, applicationID, fileVersion))
	return s.explain("create item file", err)
}

// load reads what tables there are, and where their logs end.
func (s *Store) load(ctx context.Context, db *sql.DB) (err error) {
	rows, err := db.QueryContext(ctx, `select id, name, no_changes, truncated,
		max(trimmed, coalesce((select max(c.id) from change c where c.id between t.id << ?1 and (t.id + 1 << ?1) - 1), 0) - (t.id << ?1)) from tbl t`, seqBits)
	if err != nil {
		return s.refused(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		t := &table{changed: make(chan struct{})}
		if err := rows.Scan(&t.id, &t.Name, &t.NoChanges, &t.floor, &t.last); err != nil {
			return s.refused(err)
		}
		s.tables[t.Name] = t
	}
	if err := rows.Err(); err != nil {
		return s.refused(err)
	}
	for _, t := range s.tables {
		indexes, err := readIndexes(ctx, db, t.id)
		if err != nil {
			return s.refused(err)
		}
		for _, x := range indexes {
			t.Indexes = append(t.Indexes, x.Index)
		}
	}
	return nil
}

// readIndexes gives the indexes of a table, by name.
func readIndexes(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, table int64,
) (out []indexed, err error) {
	rows, err := db.QueryContext(ctx, `select id, name, columns, each from item_index where tbl = ? order by name`, table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var x indexed
		var names []byte
		if err := rows.Scan(&x.id, &x.Name, &names, &x.Each); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(names, &x.Columns); err != nil {
			return nil, fmt.Errorf("index %s: %w", x.Name, err)
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

func (s *Store) refused(err error) error {
	return &fault.Error{
		Code: "ACQ-ITEMS-001", Place: s.path, Err: fmt.Errorf("the item file cannot be used: %w", err),
		Remedy: "restore it from a backup, or move it away to start from nothing; it was not overwritten",
	}
}

// explain classifies the failure of a statement: a damaged file is fatal; a full disk, a lock or an I/O error may pass.
func (s *Store) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, errClosed) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return &fault.Error{
				Code: "ACQ-ITEMS-005", Place: s.path, Err: fmt.Errorf("%s: %w", doing, err),
				Remedy: "the item file is damaged: stop acequia, restore the file from a backup, and start again",
			}
		case sqlite3.SQLITE_INTERRUPT:
			return fmt.Errorf("%s: %w: %w", doing, context.Canceled, err)
		}
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-ITEMS-003", Place: s.path, Err: fmt.Errorf("%s: %w", doing, err),
		Remedy: "see that the disk has space and can be written; nothing was half written, it is tried again",
	}
}
