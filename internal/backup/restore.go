package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// RestoreOptions say what is made again.
type RestoreOptions struct {
	Choose   func(table string) (bool, error) // nil: all
	Progress *Progress                        // may be nil
}

// Restored is what was made again.
type Restored struct {
	ID       string   `json:"id"`
	SourceDB string   `json:"source_db"`
	Into     string   `json:"into"`
	Rows     int64    `json:"rows"`
	Tables   []Table  `json:"tables"`
	NotKept  []string `json:"not_kept,omitempty"`
	LeftOut  []string `json:"left_out,omitempty"` // links to tables that were not chosen
	Seconds  float64  `json:"seconds"`
}

// Restore makes the tables of a backup again in a database that has none of them. Each is read back and compared with the backup before
// anybody sees it; when it returns with an error, or the process dies, the database is as it was.
func (s *Store) Restore(ctx context.Context, id string, f Filter, into Database, o RestoreOptions) (_ *Restored, err error) {
	target, ok := into.Source.(sources.Restorer)
	if !ok {
		return nil, into.cannot("restored into")
	}
	began := time.Now()
	m, release, err := s.hold(ctx, id, f)
	if err != nil {
		return nil, err
	}
	defer release()
	if m.Encrypted && len(s.o.Identities) == 0 {
		return nil, locked(m, m.ID, errors.New("no identities"))
	}
	chosen, err := m.choose(o.Choose)
	if err != nil {
		return nil, err
	}
	info, err := m.info(chosen)
	if err != nil {
		return nil, err
	}
	out := &Restored{ID: m.ID, SourceDB: m.SourceDB, Into: into.Name, NotKept: m.NotKept, LeftOut: leftOut(info)}
	r, err := target.Restore(ctx, info)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	s.o.Probe(AfterBegin)
	progress := make([]TableProgress, len(chosen))
	for i, t := range chosen {
		progress[i] = TableProgress{Table: m.Tables[t].Name, Expected: m.Tables[t].Rows, Parts: 1}
	}
	o.Progress.begin(progress)
	for _, i := range chosen {
		t := &m.Tables[i]
		if err := s.restoreTable(ctx, m, t, r, o.Progress); err != nil {
			return nil, err
		}
		out.Rows += t.Rows
		out.Tables = append(out.Tables, *t)
		s.o.Probe(AfterTable)
	}
	s.o.Probe(BeforeFinish)
	if err := r.Finish(ctx); err != nil {
		return nil, err
	}
	s.o.Probe(AfterFinish)
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}

// choose gives the tables that are asked for.
func (m *manifest) choose(in func(table string) (bool, error)) ([]int, error) {
	var out []int
	for i := range m.Tables {
		if in != nil {
			ok, err := in(m.Tables[i].Name)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		out = append(out, i)
	}
	if len(out) == 0 {
		return nil, &fault.Error{Code: codeTables, Place: m.ID, Err: errors.New("the backup has none of these tables"), Remedy: "see which it has: acequia backup list --json"}
	}
	return out, nil
}

// info is what the chosen tables were, as their database takes it back.
func (m *manifest) info(chosen []int) (sources.SnapshotInfo, error) {
	info := sources.SnapshotInfo{
		Engine: m.SourceDB, Database: m.Database, Server: m.Server, At: m.At, Consistent: m.Consistent, Position: m.Position, Prepare: m.Prepare, NotKept: m.NotKept,
	}
	for _, i := range chosen {
		schema, err := m.Tables[i].schema()
		if err != nil {
			return info, &fault.Error{Code: codeUnread, Place: m.ID, Err: err}
		}
		info.Tables = append(info.Tables, sources.SnapshotTable{Schema: schema, Rows: m.Tables[i].Rows, Definition: m.Definitions[i]})
	}
	return info, nil
}

// leftOut names the links to tables that are not made.
func leftOut(info sources.SnapshotInfo) (out []string) {
	for i := range info.Tables {
		for _, link := range info.Tables[i].Definition.Links {
			if !slices.ContainsFunc(info.Tables, func(t sources.SnapshotTable) bool { return t.Schema.Stream == link.To }) {
				out = append(out, link.Statement)
			}
		}
	}
	return out
}

// restoreTable puts the rows of a table in, and compares what is there then.
func (s *Store) restoreTable(ctx context.Context, m *manifest, t *Table, into sources.Restoration, progress *Progress) (err error) {
	from, err := s.rows(m, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	err = into.Load(ctx, t.Name, func() (*record.Batch, error) {
		b, err := from.next(ctx)
		if err == nil {
			progress.add(t.Name, b.Rows, 0, 0)
		}
		return b, err
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var there verify.Digest
	err = into.Scan(ctx, t.Name, func(b *record.Batch) error {
		there.Add(b)
		return nil
	})
	if err != nil {
		return err
	}
	progress.add(t.Name, 0, 0, 1)
	if there.String() != t.Digest {
		return &fault.Error{
			Code: codeOther, Place: t.Name, Err: fmt.Errorf("%s rows were made of the %d of the backup, and they are not the same: %s, not %s",
				strings.SplitN(there.String(), "-", 2)[0], t.Rows, there.String(), t.Digest),
			Remedy: "nothing was changed; look at the backup: acequia backup verify " + m.ID,
		}
	}
	return nil
}
