package backup

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Verified is what was found of a backup.
type Verified struct {
	ID       string          `json:"id"`
	SourceDB string          `json:"source_db"`
	Source   string          `json:"source"`
	Whole    bool            `json:"whole"`              // every file is there, and holds what was kept
	Equal    *bool           `json:"equal,omitempty"`    // to the database, where it was compared
	Problems []string        `json:"problems,omitempty"` // what cannot be told of a table
	Tables   []VerifiedTable `json:"tables"`
}

// VerifiedTable is what was found of a table.
type VerifiedTable struct {
	Name     string   `json:"table_name"`
	Rows     int64    `json:"rows"`
	Files    int      `json:"files"`
	Problems []string `json:"problems,omitempty"` // of its files
	Now      *int64   `json:"rows_now,omitempty"` // of the database, where it was compared
	Differs  bool     `json:"differs,omitempty"`  // from the database
}

// VerifyOptions say how a backup is looked at.
type VerifyOptions struct {
	Against  *Database // compare with what it holds now; nil: not
	Progress *Progress // may be nil
}

// Verify reads all of a backup: each file must be the one that was written, and hold the rows that were kept. Against a database it also
// says which tables hold other rows there now.
func (s *Store) Verify(ctx context.Context, id string, f Filter, o VerifyOptions) (_ *Verified, err error) {
	m, release, err := s.hold(ctx, id, f)
	if err != nil {
		return nil, err
	}
	defer release()
	out := &Verified{ID: m.ID, SourceDB: m.SourceDB, Source: m.Source, Whole: true}
	progress := make([]TableProgress, len(m.Tables))
	for i := range m.Tables {
		progress[i] = TableProgress{Table: m.Tables[i].Name, Expected: m.Tables[i].Rows, Parts: 1}
	}
	o.Progress.begin(progress)
	for i := range m.Tables {
		t := &m.Tables[i]
		found := VerifiedTable{Name: t.Name, Rows: t.Rows, Files: len(t.Files)}
		err := s.whole(ctx, m, t, o.Progress)
		switch {
		case fault.Code(err) == codeDamaged, fault.Code(err) == codeOther:
			out.Whole = false
			for line := range strings.SplitSeq(err.Error(), "\n") {
				found.Problems = append(found.Problems, line)
			}
		case err != nil:
			return nil, err
		}
		out.Tables = append(out.Tables, found)
	}
	if o.Against != nil {
		err = out.compare(ctx, m, *o.Against)
	}
	return out, err
}

// whole looks at every file of a table, and then at its rows.
func (s *Store) whole(ctx context.Context, m *manifest, t *Table, progress *Progress) (err error) {
	from, err := s.rows(m, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	from.check = true
	var bad []error
	var sum verify.Digest
	for {
		b, err := from.next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if fault.Code(err) == codeDamaged { // and so may others be
			bad = append(bad, err)
			_ = from.Close() // what is wrong with it is told
			continue
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sum.Add(b)
		progress.add(t.Name, b.Rows, 0, 0)
		b.Release()
	}
	if len(bad) > 0 {
		return errors.Join(bad...)
	}
	progress.add(t.Name, 0, 0, 1)
	if sum.String() != t.Digest {
		return &fault.Error{Code: codeOther, Place: t.Name, Err: errors.New("its rows are not those that were kept: " + sum.String() + ", not " + t.Digest)}
	}
	return nil
}

// compare says which tables hold other rows in a database now.
func (v *Verified) compare(ctx context.Context, m *manifest, d Database) (err error) {
	source, ok := d.Source.(sources.Snapshotter)
	if !ok {
		return d.cannot("compared with a backup")
	}
	snapshot, err := source.Snapshot(ctx, m.Selection)
	var now []sources.SnapshotTable
	switch {
	case errors.Is(err, sources.ErrNoTables): // all of them are gone
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, snapshot.Close(ctx)) }()
		now = snapshot.About().Tables
	}
	equal := true
	for i := range m.Tables {
		at := -1
		for k := range now {
			if now[k].Schema.Stream == m.Tables[i].Name {
				at = k
			}
		}
		if at < 0 {
			v.Problems, equal = append(v.Problems, m.Tables[i].Name+": the database has no such table now"), false
			continue
		}
		sum, err := digestOf(ctx, snapshot, &now[at], limitOf(d.Source))
		if err != nil {
			return err
		}
		rows := sum.Rows()
		v.Tables[i].Now, v.Tables[i].Differs = &rows, sum.String() != m.Tables[i].Digest
		equal = equal && !v.Tables[i].Differs
	}
	v.Equal = &equal
	return nil
}

// digestOf reads a table of a snapshot, parts side by side.
func digestOf(ctx context.Context, s sources.Snapshot, t *sources.SnapshotTable, parallel int) (*verify.Digest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := make(chan int, t.Parts)
	for p := range t.Parts {
		parts <- p
	}
	close(parts)
	var all verify.Digest
	var mu sync.Mutex
	var reading sync.WaitGroup
	for range min(parallel, t.Parts) {
		reading.Go(func() {
			for p := range parts {
				var some verify.Digest
				err := s.Scan(ctx, t.Schema.Stream, p, func(b *record.Batch) error {
					some.Add(b)
					return nil
				})
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				all.Merge(&some)
				mu.Unlock()
			}
		})
	}
	reading.Wait()
	return &all, context.Cause(ctx)
}
