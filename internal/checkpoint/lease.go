package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
)

// Lease is the right of one process to do a piece of work. It says nothing of time: whoever watches it holds it for given up when
// its counter has not moved for so long on the watcher's own clock.
type Lease struct {
	Key     string // what it is of: see LaneLease and PipelineLease
	Owner   string
	Epoch   int64  // of this taking: never given again
	Counter int64  // moves for as long as the owner lives
	Wanted  string // the process that asks for it; "": none does
}

// LaneLease is the key of the lease of a lane. No name of a pipeline has a slash.
func LaneLease(lane Lane) string { return "lane/" + lane.Pipeline + "/" + lane.ID }

// PipelineLease is the key of the lease of a pipeline whose lanes one process reads.
func PipelineLease(pipeline string) string { return "pipeline/" + pipeline }

// LeasedLane reads a key that LaneLease made.
func LeasedLane(key string) (lane Lane, ok bool) {
	rest, ok := strings.CutPrefix(key, "lane/")
	if !ok {
		return lane, false
	}
	lane.Pipeline, lane.ID, ok = strings.Cut(rest, "/")
	return lane, ok
}

// Leases are those of a state that several processes share, for one of them.
type Leases struct {
	store *Store
	owner string
}

// Leases makes this process, under a name that no other has or had, one that takes leases: from then on it acquires no lane whose lease
// is another's. Nil: the state is one process's alone, which needs none. It is called before the store is used.
func (s *Store) Leases(owner string) *Leases {
	if !s.leased {
		return nil
	}
	s.owner = owner
	return &Leases{store: s, owner: owner}
}

// Owner is the name of this process.
func (l *Leases) Owner() string { return l.owner }

// mayAcquire refuses a lane whose lease is another's. One that is taken just afterwards is acquired after this transaction, with a
// newer epoch.
func (s *Store) mayAcquire(ctx context.Context, tx session, lane Lane) error {
	var others int
	err := tx.QueryRowContext(ctx, `select count(*) from lease where key = ? and owner <> ?`, LaneLease(lane), s.owner).Scan(&others)
	if err == nil && others > 0 {
		return ErrFenced
	}
	return err
}

// othersRead refuses what may not be done while another process has a pipeline, or a lane of it.
func (s *Store) othersRead(ctx context.Context, tx session, pipeline string) (refused, err error) {
	var owner string
	prefix := LaneLease(Lane{Pipeline: pipeline})
	err = tx.QueryRowContext(ctx, `select owner from lease where (key = ?1 or substr(key, 1, ?2) = ?3) and owner <> ?4 limit 1`,
		PipelineLease(pipeline), utf8.RuneCountInString(prefix), prefix, s.owner).Scan(&owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-011", Place: s.place, Err: fmt.Errorf("process %s has lanes of pipeline %s", owner, pipeline),
		Remedy: "stop the processes that run it; where one was killed, start one and stop it in order; nothing was changed",
	}, nil
}

// Under is the store for the lanes of a pipeline of which one process reads all: they are acquired only while it has the lease.
func (l *Leases) Under(key string) *Leased { return &Leased{Store: l.store, key: key} }

// Leased is a store whose lanes are acquired under a lease.
type Leased struct {
	*Store
	key string
}

// Acquire is that of the store, and refuses a lane that has a lease which is another's, or none while that of the pipeline is not this
// process's.
func (l *Leased) Acquire(ctx context.Context, lane Lane) (State, error) {
	return l.acquire(ctx, lane, func(ctx context.Context, tx session) error {
		var owner string
		err := tx.QueryRowContext(ctx, `select owner from lease where key = ?`, LaneLease(lane)).Scan(&owner)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return l.mine(ctx, tx)
		case err == nil && owner != l.owner:
			return ErrFenced
		}
		return err
	})
}

func (l *Leased) mine(ctx context.Context, tx session) error {
	var mine int
	err := tx.QueryRowContext(ctx, `select count(*) from lease where key = ? and owner = ?`, l.key, l.owner).Scan(&mine)
	if err == nil && mine == 0 {
		return ErrFenced
	}
	return err
}

// SaveNote is that of the store, and ErrFenced while the lease is not this process's.
func (l *Leased) SaveNote(ctx context.Context, pipeline, key string, value []byte) error {
	return l.run(ctx, "save note "+key, func(ctx context.Context, tx session) error {
		if err := l.mine(ctx, tx); err != nil {
			return err
		}
		return saveNote(ctx, tx, pipeline, key, value)
	})
}

// Look renews all leases of this process and gives those of all, as they were before.
func (l *Leases) Look(ctx context.Context) ([]Lease, error) {
	return ask(ctx, l.store, "renew leases", func(ctx context.Context, tx session) ([]Lease, error) {
		all, err := scanLeases(tx.QueryContext(ctx, allLeases))
		if err != nil {
			return nil, err
		}
		_, err = tx.ExecContext(ctx, `update lease set counter = counter + 1 where owner = ?`, l.owner)
		return all, err
	})
}

const allLeases = `select key, owner, epoch, counter, wanted from lease order by key`

// Held gives the leases of all processes, without renewing any. A state of one process has none.
func (s *Store) Held(ctx context.Context) ([]Lease, error) {
	if !s.leased {
		return nil, nil
	}
	all, err := scanLeases(s.readers.QueryContext(ctx, allLeases))
	return all, s.explain("read leases", err)
}

func scanLeases(rows *sql.Rows, err error) (all []Lease, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		var one Lease
		if err := rows.Scan(&one.Key, &one.Owner, &one.Epoch, &one.Counter, &one.Wanted); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Take takes a lease that nobody has (seen is nil), or one whose owner was seen not to move it. false: somebody else was faster, or
// the owner is back.
func (l *Leases) Take(ctx context.Context, key string, seen *Lease) (mine bool, err error) {
	return ask(ctx, l.store, "take lease "+key, func(ctx context.Context, tx session) (bool, error) {
		if possible, err := mayTake(ctx, tx, key, seen); err != nil || !possible {
			return false, err
		}
		epoch, err := nextEpoch(ctx, tx)
		if err != nil {
			return false, err
		}
		statement, args := `insert into lease(key, owner, epoch, counter) values(?, ?, ?, 0) on conflict do nothing`, []any{key, l.owner, epoch}
		if seen != nil {
			statement = `update lease set owner = ?1, epoch = ?6, counter = counter + 1, wanted = case when wanted = ?1 then '' else wanted end
				where key = ?2 and owner = ?3 and epoch = ?4 and counter = ?5`
			args = []any{l.owner, key, seen.Owner, seen.Epoch, seen.Counter, epoch}
		}
		return stands(fenced(tx.ExecContext(ctx, statement, args...)))
	})
}

// mayTake says whether a lease still stands as it was seen, so that none is numbered in vain.
func mayTake(ctx context.Context, tx session, key string, seen *Lease) (bool, error) {
	var now Lease
	err := tx.QueryRowContext(ctx, `select owner, epoch, counter from lease where key = ?`, key).Scan(&now.Owner, &now.Epoch, &now.Counter)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return seen == nil, nil
	case err != nil || seen == nil:
		return false, err
	}
	return now.Owner == seen.Owner && now.Epoch == seen.Epoch && now.Counter == seen.Counter, nil
}

// epochs is the counter that numbers the takings of leases.
const epochs = "lease.epoch"

// nextEpoch gives a number that no lease had.
func nextEpoch(ctx context.Context, tx session) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `insert into counter(stream, n) values(?, 1) on conflict(stream) do update set n = counter.n + 1 returning n`, epochs).Scan(&n)
	return n, err
}

// Want asks the owner of a lease for it.
func (l *Leases) Want(ctx context.Context, key string) error {
	return l.store.run(ctx, "ask for lease "+key, func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `update lease set wanted = ?1 where key = ?2 and owner <> ?1`, l.owner, key)
		return err
	})
}

// Release gives leases up at once, each to the process that asks for it, if one does and has a lease itself: one that has left has none.
func (l *Leases) Release(ctx context.Context, keys ...string) error {
	return l.store.run(ctx, "release leases", func(ctx context.Context, tx session) error {
		for _, key := range keys {
			if err := l.release(ctx, tx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *Leases) release(ctx context.Context, tx session, key string) error {
	var heirs int
	if err := tx.QueryRowContext(ctx, `select count(*) from lease where key = ? and owner = ? and wanted <> ''
		and exists (select 1 from lease other where other.owner = lease.wanted)`, key, l.owner).Scan(&heirs); err != nil {
		return err
	}
	if heirs == 0 {
		_, err := tx.ExecContext(ctx, `delete from lease where key = ? and owner = ?`, key, l.owner)
		return err
	}
	epoch, err := nextEpoch(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `update lease set owner = wanted, epoch = ?, wanted = '' where key = ? and owner = ? and wanted <> ''`, epoch, key, l.owner)
	return err
}
