package itemstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/acequia-io/acequia/record"
)

// floor is the version below which nothing of the table counts, as the open transaction has it; nil: none.
func (w *writer) floor(t *table) []byte {
	if floor, ok := w.floors[t]; ok {
		return floor
	}
	return t.floor
}

// truncate lifts the floor. From then on no older copy gets in, also of keys that were never there, so that it does not
// matter in how many steps, and how often, the items below it are swept away. A truncate at the floor is one whose sweep may
// have been cut off.
func (w *writer) truncate(ctx context.Context, t *table, version []byte) (Outcome, error) {
	floor := append([]byte(nil), version...)
	if _, err := w.conn.ExecContext(ctx, `update tbl set truncated = ? where id = ?`, floor, t.id); err != nil {
		return 0, err
	}
	w.floors[t] = floor
	return Written, nil
}

// A slice of a sweep ends at whichever comes first, so that other callers do not wait long.
const (
	sweepRows  = 500
	sweepBytes = 4 << 20 // of documents
)

// sweep leaves a tombstone of the truncate's version for each item below it, in slices.
func (s *Store) sweep(ctx context.Context, to *target, p *Put) error {
	version := appendVersion(nil, p.Version)
	after, more := "", true
	for more {
		err := s.do(ctx, func(ctx context.Context, w *writer) (err error) {
			after, more, err = w.sweep(ctx, to, version, p.Expires, after)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep does one slice, after a key, and tells the last key that it looked at.
func (w *writer) sweep(ctx context.Context, to *target, version []byte, expires int64, after string) (last string, more bool, err error) {
	keys, docs, err := w.below(ctx, to.table, version, after)
	if err != nil || len(keys) == 0 {
		return after, false, err
	}
	for i, key := range keys {
		if _, err := w.replace.ExecContext(ctx, to.table.id, key, version, nil, expires); err != nil {
			return after, false, err
		}
		if err := w.tell(ctx, to, key, version, docs[i], sql.NullString{}); err != nil {
			return after, false, err
		}
	}
	return keys[len(keys)-1], true, nil
}

// below reads the next items with a smaller version.
func (w *writer) below(ctx context.Context, t *table, version []byte, after string) (keys []string, docs []sql.NullString, err error) {
	rows, err := w.conn.QueryContext(ctx, `select key, doc from item where tbl = ? and key > ? and doc is not null and version < ?
		order by key limit ?`, t.id, after, version, sweepRows)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for size := 0; size < sweepBytes && rows.Next(); {
		var key string
		var doc sql.NullString
		if err := rows.Scan(&key, &doc); err != nil {
			return nil, nil, err
		}
		keys, docs, size = append(keys, key), append(docs, doc), size+len(doc.String)
	}
	return keys, docs, rows.Err()
}

// merge does a put whose document lacks members that the stored one has.
func (w *writer) merge(ctx context.Context, to *target, p *Put, version []byte) (Outcome, error) {
	var stored []byte
	var old sql.NullString
	err := w.look.QueryRowContext(ctx, to.table.id, p.Key).Scan(&stored, &old)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Missing, nil
	case err != nil:
		return 0, err
	case string(stored) >= string(version):
		return Superseded, nil
	case !old.Valid || string(stored) < string(w.floor(to.table)):
		return Missing, nil
	}
	merged, ok := withKept(p.Doc, old.String, p.Kept)
	if !ok {
		return Missing, nil
	}
	doc := sql.NullString{String: merged, Valid: true}
	if _, err := w.replace.ExecContext(ctx, to.table.id, p.Key, version, doc, p.Expires); err != nil {
		return 0, err
	}
	return Written, w.tell(ctx, to, p.Key, version, old, doc)
}

// withKept gives a document with the named members of an older one behind its own; false: the older one is no JSON object.
func withKept(doc []byte, old string, names []string) (merged string, ok bool) {
	out := append(make([]byte, 0, len(doc)+len(old)), doc[:len(doc)-1]...)
	err := record.EachMember([]byte(old), func(name []byte, kind record.JSONKind, text []byte) error {
		for _, n := range names {
			if n != string(name) {
				continue
			}
			if out[len(out)-1] != '{' {
				out = append(out, ',')
			}
			out = append(record.AppendJSONString(out, n), ':')
			if kind == record.JSONString {
				out = record.AppendJSONString(out, text)
			} else {
				out = append(out, text...)
			}
		}
		return nil
	})
	return string(append(out, '}')), err == nil
}
