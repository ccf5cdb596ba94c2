package postgres

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ownSchema is where acequia keeps what it installs.
const ownSchema = "acequia"

// StampColumn is the column, of type xid8, that acequia adds to a table whose changes it finds by it. It is none of the table's.
const StampColumn = "acequia_xid"

// ListTables gives the tables whose schema.name a glob matches and no glob after a ! does, in the order of their names. Partitions
// are not listed: their root is.
func ListTables(ctx context.Context, c *Conn, globs []string) ([]*Table, error) {
	tables, err := relations(ctx, c, globs)
	if err == nil && len(tables) > 0 {
		err = columns(ctx, c, tables)
	}
	if err == nil && len(tables) > 0 {
		err = keys(ctx, c, tables)
	}
	return tables, Explain(err, "list the tables", c.Config().Database)
}

// Matches says whether the globs choose a table.
func Matches(globs []string, schema, name string) (bool, error) {
	full, chosen := schema+"."+name, false
	for _, glob := range globs {
		pattern, not := strings.CutPrefix(glob, "!")
		if !strings.Contains(pattern, ".") {
			pattern = "public." + pattern
		}
		ok, err := path.Match(pattern, full)
		if err != nil {
			return false, fmt.Errorf("tables: %q: %w", glob, err)
		}
		switch {
		case ok && not:
			return false, nil
		case ok:
			chosen = true
		}
	}
	return chosen, nil
}

func relations(ctx context.Context, c *Conn, globs []string) ([]*Table, error) {
	rows, err := c.Query(ctx, `
		SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8, pg_table_size(c.oid), c.relreplident::text,
			coalesce(pg_relation_filenode(c.oid), 0),
			(SELECT count(*) FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND NOT k.relispartition)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', $1)
			AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
			AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
		ORDER BY n.nspname, c.relname`, ownSchema)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var tables []*Table
	for rows.Next() {
		t := &Table{}
		var kind, identity string
		var estimate float64
		if err := rows.Scan(&t.OID, &t.Schema, &t.Name, &kind, &estimate, &t.Bytes, &identity, &t.Filenode, &t.Children); err != nil {
			return nil, err
		}
		t.Kind, t.Identity, t.Rows = Kind(kind[0]), identity[0], int64(estimate)
		chosen, err := Matches(globs, t.Schema, t.Name)
		if err != nil {
			return nil, err
		}
		if chosen {
			tables = append(tables, t)
		}
	}
	return tables, rows.Err()
}

// columns fills in the columns of tables, with their types.
func columns(ctx context.Context, c *Conn, tables []*Table) error {
	byOID, oids := map[uint32]*Table{}, make([]uint32, len(tables))
	for i, t := range tables {
		byOID[t.OID], oids[i] = t, t.OID
	}
	rows, err := c.Query(ctx, `
		SELECT a.attrelid, a.attname::text, a.attnum, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> ''
		FROM pg_attribute a WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped AND NOT (a.attname = $2 AND a.atttypid = 'xid8'::regtype)
		ORDER BY a.attrelid, a.attnum`, oids, StampColumn)
	if err != nil {
		return err
	}
	defer rows.Close()
	var wanted []uint32
	for rows.Next() {
		var table uint32
		var col Column
		if err := rows.Scan(&table, &col.Name, &col.Num, &col.TypeOID, &col.Modifier, &col.TypeName, &col.NotNull, &col.Generated); err != nil {
			return err
		}
		byOID[table].Columns = append(byOID[table].Columns, col)
		wanted = append(wanted, col.TypeOID)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	known, err := loadTypes(ctx, c, wanted)
	if err != nil {
		return err
	}
	for _, t := range tables {
		for i := range t.Columns {
			t.Columns[i].Type = known.resolve(t.Columns[i].TypeOID, t.Columns[i].Modifier)
		}
	}
	return nil
}

// keys finds the key of each table: the primary key, else the first unique index over plain columns that are not null.
func keys(ctx context.Context, c *Conn, tables []*Table) error {
	byOID, oids := map[uint32]*Table{}, make([]uint32, len(tables))
	for i, t := range tables {
		byOID[t.OID], oids[i] = t, t.OID
	}
	rows, err := c.Query(ctx, `
		SELECT x.indrelid, x.indexrelid, array_agg(a.attname::text ORDER BY k.n)
		FROM pg_index x CROSS JOIN LATERAL unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY k(attnum, n)
			LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum AND a.attnotnull
		WHERE x.indrelid = ANY($1) AND x.indisunique AND x.indisvalid AND x.indimmediate AND x.indpred IS NULL
		GROUP BY x.indrelid, x.indexrelid, x.indisprimary, x.indnkeyatts HAVING count(a.attname) = count(*)
		ORDER BY x.indrelid, x.indisprimary DESC, x.indnkeyatts, x.indexrelid`, oids)
	if err != nil {
		return err
	}
	var table, index uint32
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&table, &index, &names}, func() error {
		if t := byOID[table]; t.KeyIndex == 0 {
			t.KeyIndex, t.Key = index, slices.Clone(names)
		}
		return nil
	})
	return err
}
