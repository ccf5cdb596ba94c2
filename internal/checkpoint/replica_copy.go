package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// replicaMigrations make the tables of a state in a log: those of the file, and the leases.
var replicaMigrations = append(slices.Clone(migrations), leaseTable) //nolint:gochecknoglobals // a constant table

const leaseTable = `
create table lease(
	key text primary key, owner text not null, epoch integer not null, counter integer not null, wanted text not null default '') without rowid;
create index lease_owner on lease(owner);
`

// copyFolder makes a folder that no other process has, and removes those of processes that were killed.
func copyFolder(dir string) (string, *os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", nil, err
	}
	old, err := filepath.Glob(filepath.Join(dir, "replica-*"))
	if err != nil {
		return "", nil, err
	}
	for _, folder := range old {
		lock, err := claim(folder)
		if err != nil {
			continue // it is in use, or was removed just now
		}
		if err := errors.Join(os.RemoveAll(folder), lock.Close()); err != nil {
			return "", nil, err
		}
	}
	folder, err := os.MkdirTemp(dir, "replica-*")
	if err != nil {
		return "", nil, err
	}
	lock, err := claim(folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK) {
		return copyFolder(dir) // another process took it for one that was left
	}
	return folder, lock, err
}

// claim locks a folder for as long as the file is open.
func claim(folder string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the folder of our copy
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if _, err := os.Stat(lock.Name()); err != nil { // removed between the two
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// restore puts a snapshot in the place of the copy.
func (r *replica) restore(ctx context.Context, data []byte) (err error) {
	data, err = decompress(data)
	if err != nil {
		return damaged(r.Place, err)
	}
	path := filepath.Join(r.copyDir, "restored.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return unusable(path, err)
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if _, err := r.conn.ExecContext(ctx, "attach ? as snapshot", path); err != nil {
		return err
	}
	err = transact(ctx, r.conn, func() error { return r.replace(ctx) })
	_, detachErr := r.conn.ExecContext(ctx, "detach snapshot")
	return errors.Join(err, detachErr)
}

// replace makes the tables of the copy those of the attached snapshot.
func (r *replica) replace(ctx context.Context) error {
	tables, err := r.tables(ctx, "main")
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.kind == "table" { // its indexes go with it
			if _, err := r.conn.ExecContext(ctx, fmt.Sprintf("drop table main.%q", t.name)); err != nil {
				return err
			}
		}
	}
	if tables, err = r.tables(ctx, "snapshot"); err != nil {
		return err
	}
	for _, t := range tables {
		if _, err := r.conn.ExecContext(ctx, t.sql); err != nil {
			return err
		}
		if t.kind == "table" {
			if _, err := r.conn.ExecContext(ctx, fmt.Sprintf("insert into main.%q select * from snapshot.%q", t.name, t.name)); err != nil {
				return err
			}
		}
	}
	var version int
	if err := r.conn.QueryRowContext(ctx, "pragma snapshot.user_version").Scan(&version); err != nil {
		return err
	}
	_, err = r.conn.ExecContext(ctx, fmt.Sprintf(`delete from main.sqlite_sequence;
		insert into main.sqlite_sequence select * from snapshot.sqlite_sequence; pragma main.user_version = %d`, version))
	return err
}

// made is what has made a table or an index.
type made struct{ kind, name, sql string }

// tables gives the tables of the copy or of a snapshot, then their indexes. Those that SQLite makes by itself are none of them.
func (r *replica) tables(ctx context.Context, of string) (all []made, err error) {
	rows, err := r.conn.QueryContext(ctx, "select type, name, sql from "+of+".sqlite_schema where sql is not null and name not like 'sqlite_%' order by type desc, name") //nolint:gosec // main, or snapshot
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m made
		if err := rows.Scan(&m.kind, &m.name, &m.sql); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, rows.Err()
}
