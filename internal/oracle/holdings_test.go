//go:build cgo

package oracle

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2" // what SQL sees of the lake
	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/query"
)

// inWarehouse reads a subject from the warehouse, in the same words. A table that no record came to is not there, nor is a column.
func inWarehouse(ctx context.Context, c *pgx.Conn, s subject, columns []string) (held, error) {
	if _, err := c.Exec(ctx, "set TimeZone = 'UTC'"); err != nil {
		return held{}, err
	}
	name := pgx.Identifier{"analytics", s.name}
	var there []string
	err := c.QueryRow(ctx, "select coalesce(array_agg(attname::text), '{}') from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped", name.Sanitize()).Scan(&there)
	if err != nil {
		return held{}, err
	}
	if len(there) == 0 {
		return hold(s, columns, nil)
	}
	known := slices.DeleteFunc(slices.Clone(columns), func(column string) bool { return !slices.Contains(there, column) })
	return selected(ctx, c, s, name, known)
}

func selected(ctx context.Context, c *pgx.Conn, s subject, name pgx.Identifier, columns []string) (held, error) {
	casts := make([]string, len(columns))
	for i, name := range columns {
		casts[i] = pgx.Identifier{name}.Sanitize() + "::text"
	}
	found, err := c.Query(ctx, "select "+strings.Join(casts, ", ")+" from "+name.Sanitize())
	if err != nil {
		return held{}, err
	}
	rows, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (row, error) {
		values := make([]*string, len(columns))
		to := make([]any, len(columns))
		for i := range to {
			to[i] = &values[i]
		}
		err := r.Scan(to...)
		return rowOf(columns, values), err
	})
	if err != nil {
		return held{}, err
	}
	return hold(s, columns, rows)
}

func rowOf(columns []string, values []*string) row {
	r := row{}
	for i, name := range columns {
		r[name] = null
		if values[i] != nil {
			r[name] = *values[i]
		}
	}
	if at, ok := r["updated_at"]; ok {
		r["updated_at"] = moment(at)
	}
	return r
}

// moment writes the texts of a moment in UTC in one way: 2026-01-02 03:04:05.06+00, or without the zone, and 2026-01-02T03:04:05.060000Z.
func moment(text string) string {
	text = strings.Replace(strings.TrimSuffix(strings.TrimSuffix(text, "Z"), "+00"), "T", " ", 1)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// noItems is the code of a table that nobody has declared.
const noItems = "ACQ-ITEMS-006"

// inItems reads a subject from the item store.
func inItems(ctx context.Context, path string, s subject, columns []string) (h held, err error) {
	store, err := itemstore.Open(ctx, path, itemstore.Options{})
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	items, err := store.List(ctx, s.name, 1<<30, "")
	if fault.Code(err) == noItems { // nothing was ever in it
		err = nil
	}
	if err != nil {
		return h, err
	}
	rows := make([]row, len(items))
	for i, item := range items {
		d := json.NewDecoder(bytes.NewReader(item.Doc))
		d.UseNumber()
		var doc map[string]any
		if err := d.Decode(&doc); err != nil {
			return h, fmt.Errorf("item %s: %w", item.Key, err)
		}
		rows[i] = row{}
		for name, v := range doc {
			rows[i][name] = null
			if v != nil {
				rows[i][name] = fmt.Sprint(v)
			}
		}
		if at, ok := rows[i]["updated_at"]; ok {
			rows[i]["updated_at"] = moment(at)
		}
	}
	return hold(s, columns, rows)
}

// lake asks the lake's files with plain SQL.
type lake struct {
	root string
	db   *sql.DB
}

func openLake(ctx context.Context, root string) (*lake, error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, "set threads = 1; set TimeZone = 'UTC'; set memory_limit = '512MB'")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &lake{root, db}, nil
}

// texts runs a query and gives its rows as texts.
func (l *lake) texts(ctx context.Context, from string) (_ []row, err error) {
	found, err := l.db.QueryContext(ctx, "select columns(*)::varchar from "+from)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	var rows []row
	for found.Next() {
		values := make([]*string, len(columns))
		to := make([]any, len(columns))
		for i := range to {
			to[i] = &values[i]
		}
		if err := found.Scan(to...); err != nil {
			return nil, err
		}
		rows = append(rows, rowOf(columns, values))
	}
	return rows, found.Err()
}

// latest reads the view that acequia makes of a table.
func (l *lake) latest(ctx context.Context, s subject, columns []string) (held, error) {
	tables, err := query.DescribedTables(ctx, l.root)
	if err != nil {
		return held{}, err
	}
	for _, t := range tables {
		if t.Name != s.name {
			continue
		}
		for _, v := range t.Views {
			if _, err := l.db.ExecContext(ctx, fmt.Sprintf("create or replace view %s as %s", v.Name, v.SQL)); err != nil {
				return held{}, fmt.Errorf("view %s: %w", v.Name, err)
			}
		}
		rows, err := l.texts(ctx, s.name+"_latest")
		if err != nil {
			return held{}, fmt.Errorf("view %s_latest: %w", s.name, err)
		}
		return hold(s, columns, rows)
	}
	return hold(s, columns, nil) // nothing was ever in it
}

// files reads all rows of a table's files, and finds what is newest by itself: of each key the greatest version, unless that is a
// delete; nothing older than the newest truncate; without a key, what is of the newest complete epoch.
func (l *lake) files(ctx context.Context, s subject, columns []string) (held, error) {
	if _, err := os.Stat(filepath.Join(l.root, s.name)); errors.Is(err, fs.ErrNotExist) {
		return hold(s, columns, nil) // nothing was ever in it
	}
	pattern := strings.ReplaceAll(filepath.Join(l.root, s.name, "**", "*.parquet"), "'", "''")
	rows, err := l.texts(ctx, "read_parquet('"+pattern+"', union_by_name = true, hive_partitioning = false)")
	if err != nil {
		return held{}, fmt.Errorf("files of %s: %w", s.name, err)
	}
	truncated, doubled := "", 0
	seen := map[string]bool{}
	for _, r := range rows {
		if r["_op"] == "T" {
			truncated = max(truncated, r["_version"])
		}
		copied := r.of(append(append([]string{}, s.key...), "_version", "_op"))
		if seen[copied] {
			doubled++
		}
		seen[copied] = true
	}
	newest := map[string]row{}
	var kept []row
	for _, r := range rows {
		switch key := r.of(s.key); {
		case r["_op"] == "T" || r["_version"] < truncated:
		case len(s.key) == 0:
			if truncated == "" || epochOf(r["_version"]) == epochOf(truncated) {
				kept = append(kept, r)
			}
		case newest[key] == nil || newest[key]["_version"] < r["_version"]:
			newest[key] = r
		}
	}
	for _, r := range newest {
		if r["_op"] != "D" {
			kept = append(kept, r)
		}
	}
	h, err := hold(s, columns, kept)
	h.doubled = doubled
	return h, err
}

// history gives what the files hold of one key, oldest first.
func (l *lake) history(ctx context.Context, s subject, key string) (lines []string) {
	pattern := strings.ReplaceAll(filepath.Join(l.root, s.name, "**", "*.parquet"), "'", "''")
	rows, err := l.texts(ctx, "read_parquet('"+pattern+"', union_by_name = true, hive_partitioning = false, filename = true)")
	if err != nil {
		return []string{err.Error()}
	}
	for _, r := range rows {
		if r.of(s.key) == key || r["_op"] == "T" {
			r["filename"] = filepath.Base(r["filename"])
			delete(r, "body")
			lines = append(lines, fmt.Sprintf("%s %s %q", r["_version"], r["_op"], map[string]string(r)))
		}
	}
	slices.Sort(lines)
	return lines
}

// epochOf is the part of a version's text that counts the incarnations of a stream.
func epochOf(version string) string { return version[:min(4, len(version))] }
