package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

var errUnsent = errors.New("the source did not send the value, and there is no row that has it")

const remedyUnsent = "let the source read the row again, or send the record again with all of its columns"

// copies are the newest copies of keys in the open group.
type copies struct {
	newest map[place]copyOf
	floors map[int64]record.Version // by table: what has a smaller version is gone
}

// place is a key of a table.
type place struct {
	table int64
	key   string
}

// copyOf is what a copy makes of its key.
type copyOf struct {
	version record.Version
	live    bool // it is no delete
}

func (c *copies) addAll(parts []*part) error {
	for _, p := range parts {
		if err := p.keyBytes(func(op record.Op, version record.Version, key []byte) { c.add(p.table, op, version, key) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *copies) add(t *table, op record.Op, version record.Version, key []byte) {
	if op == record.Truncate {
		if version.Compare(c.floors[t.id]) > 0 {
			c.floors[t.id] = version
		}
		return
	}
	at := place{t.id, string(key)}
	if old, ok := c.newest[at]; !ok || version.Compare(old.version) > 0 {
		c.newest[at] = copyOf{version, op != record.Delete}
	}
}

// keep refuses the rows that lack columns and of which there is no copy, in the table or on its way there, whose values could stay.
func (w *writer) keep(ctx context.Context, t *table, b *record.Batch, lacking []bool) error {
	if err := w.settled(ctx); err != nil {
		return err
	}
	live := &copies{newest: map[place]copyOf{}, floors: map[int64]record.Version{}}
	if err := live.addAll(w.parts); err != nil {
		return err
	}
	var bad fault.Rows
	for row := range b.Rows {
		op, version := b.System.Op(row), b.System.Versions.At(row)
		var key []byte
		if op != record.Truncate {
			for _, k := range b.Schema.Key {
				key = postgres.AppendCopy(key, &b.Schema.Fields[k], &b.Columns[k], row)
			}
		}
		if lacking[row] {
			there, err := w.there(ctx, t, live, b, row, key)
			if err != nil {
				return err
			}
			if !there {
				bad.Bad = append(bad.Bad, fault.Row{Index: row, Column: absentNames(b, row)[0], Err: &fault.Error{
					Class: fault.Poison, Code: codeUnsent, Err: errUnsent, Remedy: remedyUnsent,
				}})
				continue
			}
		}
		live.add(t, op, version, key)
	}
	return bad.Or()
}

// there says whether a row has an older copy whose values can stay, or a newer one that it cannot change.
func (w *writer) there(ctx context.Context, t *table, live *copies, b *record.Batch, row int, key []byte) (bool, error) {
	version := b.System.Versions.At(row)
	stored, floor, err := w.sink.stored(ctx, t, b, row)
	if err != nil {
		return false, err
	}
	if pending := live.floors[t.id]; pending.Compare(floor) > 0 {
		floor = pending
	}
	if version.Compare(floor) < 0 {
		return true, nil
	}
	newest := copyOf{}
	for _, c := range append(stored, live.newest[place{t.id, string(key)}]) {
		if c.version.Compare(newest.version) >= 0 {
			newest = copyOf{c.version, c.live || newest.live && c.version == newest.version}
		}
	}
	return newest.version.Compare(version) >= 0 && newest != (copyOf{}) || newest.live && newest.version.Compare(floor) >= 0, nil
}

// stored asks the table and its deletes for a key, and for the version below which all is gone.
func (s *Sink) stored(ctx context.Context, t *table, b *record.Batch, row int) (found []copyOf, floor record.Version, err error) {
	var is []string
	var args []any
	for _, k := range b.Schema.Key {
		f, c := &b.Schema.Fields[k], &b.Columns[k]
		text := string(record.AppendText(nil, f, c, row))
		if f.Kind == record.Bytes {
			text = fmt.Sprintf(`\x%x`, text)
		}
		args = append(args, text)
		is = append(is, fmt.Sprintf("%s = $%d::text::%s", quote(f.Name), len(args), postgres.TypeOf(f, false)))
	}
	where := strings.Join(is, " AND ")
	sql := fmt.Sprintf("SELECT (SELECT %[1]s FROM %[2]s WHERE %[3]s), (SELECT %[1]s FROM %[4]s WHERE %[3]s), floor FROM acequia.tables WHERE id = %[5]d",
		quote(versionColumn), t.name, where, deletesName(t.id), t.id)
	err = s.with(ctx, func(c *postgres.Conn) error {
		var row, deleted *string
		var least string
		if err := c.QueryRow(ctx, sql, args...).Scan(&row, &deleted, &least); err != nil {
			return explain(err, "look up a row of "+t.name, t.schema.Stream)
		}
		for _, at := range []struct {
			text *string
			live bool
		}{{row, true}, {deleted, false}} {
			if at.text == nil {
				continue
			}
			version, err := record.ParseVersion(*at.text)
			if err != nil {
				return err
			}
			found = append(found, copyOf{version, at.live})
		}
		if least == "" {
			return nil
		}
		floor, err = record.ParseVersion(least)
		return err
	})
	return found, floor, err
}

// settled waits until the groups before are visible, so that the tables tell what they have made of a key.
func (w *writer) settled(ctx context.Context) error {
	w.mu.Lock()
	waiting := slices.Clone(w.waiting)
	w.mu.Unlock()
	for _, s := range waiting {
		select {
		case <-s.visible:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seen notes that a group is visible.
func (w *writer) seen(first string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(s *staging) bool {
		if s.first != first {
			return false
		}
		close(s.visible)
		return true
	})
}
