package itemstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// Fit looks at the size.
func (s *Store) Fit(p *Put, _ *record.Batch, _ int) error {
	if size := len(p.Doc) + len(p.Key); size > MaxItem {
		return fmt.Errorf("the item has %d bytes, the limit is %d", size, MaxItem)
	}
	return nil
}

// Get finds an item; a tombstone is found too.
func (s *Store) Get(ctx context.Context, name, key string) (Item, bool, error) {
	t, _, err := s.table(name)
	if err != nil {
		return Item{}, false, err
	}
	item := Item{Key: key}
	var version []byte
	var doc sql.NullString
	err = s.reads.QueryRowContext(ctx, `select version, doc from item where tbl = ? and key = ?`, t.id, key).Scan(&version, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return Item{}, false, nil
	}
	if err == nil {
		item.Version, err = parseVersion(version)
	}
	if err != nil {
		return Item{}, false, s.explain("read item", err)
	}
	if item.Deleted = !doc.Valid; doc.Valid {
		item.Doc = []byte(doc.String)
	}
	return item, true, nil
}

// List gives the items of a table in the order of their keys, at most limit of them, after a key; tombstones are left out.
func (s *Store) List(ctx context.Context, name string, limit int, after string) ([]Item, error) {
	t, _, err := s.table(name)
	if err != nil {
		return nil, err
	}
	return s.items(ctx, `select key, version, doc from item where tbl = ? and key > ? and doc is not null order by key limit ?`,
		t.id, after, limit)
}

// pageOfScan is how many items Scan reads at a time.
const pageOfScan = 2000

// Scan hands over all items of a table, some at a time, in the order of their keys; tombstones are left out. Documents are whole, whatever columns are
// named.
func (s *Store) Scan(ctx context.Context, name string, _ []string, do func(page []Item) error) error {
	for after := ""; ; {
		page, err := s.List(ctx, name, pageOfScan, after)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := do(page); err != nil {
			return err
		}
		after = page[len(page)-1].Key
	}
}

// GetEach hands over the items of keys as they stand now; those that are not there, and tombstones, are left out.
func (s *Store) GetEach(ctx context.Context, name string, keys []string, do func(item Item) error) error {
	for _, key := range keys {
		item, found, err := s.Get(ctx, name, key)
		if err != nil {
			return err
		}
		if !found || item.Deleted {
			continue
		}
		if err := do(item); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) items(ctx context.Context, query string, args ...any) (items []Item, err error) {
	rows, err := s.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, s.explain("read items", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var version sql.RawBytes
	for rows.Next() {
		var it Item
		err := rows.Scan(&it.Key, &version, &it.Doc)
		if err == nil {
			it.Version, err = parseVersion(version)
		}
		if err != nil {
			return nil, s.explain("read items", err)
		}
		it.After = it.Key
		items = append(items, it)
	}
	return items, s.explain("read items", rows.Err())
}

// Count counts the items of a table; tombstones are left out.
func (s *Store) Count(ctx context.Context, name string) (n int64, err error) {
	t, _, err := s.table(name)
	if err != nil {
		return 0, err
	}
	err = s.reads.QueryRowContext(ctx, `select count(*) from item where tbl = ? and doc is not null`, t.id).Scan(&n)
	return n, s.explain("count items", err)
}

// Ping says whether the store can be read.
func (s *Store) Ping(ctx context.Context) error {
	var n int
	return s.explain("look at the store", s.reads.QueryRowContext(ctx, `select count(*) from (select 1 from tbl limit 1)`).Scan(&n))
}
