package postgres

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
)

// ownSchema is where acequia keeps what it installs.
const ownSchema = "acequia"

// StampColumn is the column, of type xid8, that acequia adds to a table whose changes it finds by it. It is none of the table's.
const StampColumn = "acequia_xid"

// ListTables gives the tables whose schema.name a glob matches and no glob after a ! does, in the order of their names. Partitions
// are not listed: their root is.
func ListTables(ctx context.Context, c *Conn, globs []string) ([]*Table, error) {
	tables, err := readable(ctx, c, globs)
	return tables, Explain(err, "list the tables", c.Config().Database)
}

// Denied gives the GRANT statements for the tables that the globs choose, and those of among where there are any, and that the role may
// not read.
func Denied(ctx context.Context, c *Conn, globs, among []string) (grants []string, err error) {
	found, err := relations(ctx, c, globs)
	for _, r := range found {
		if len(among) > 0 {
			if in, err := Matches(among, r.Schema, r.Name); err != nil || !in {
				if err != nil {
					return nil, fault.Stop(err)
				}
				continue
			}
		}
		for _, g := range r.grants() {
			if !slices.Contains(grants, g) {
				grants = append(grants, g)
			}
		}
	}
	return grants, Explain(err, "list the tables", c.Config().Database)
}

func readable(ctx context.Context, c *Conn, globs []string) ([]*Table, error) {
	found, err := relations(ctx, c, globs)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r *relation) bool { return len(r.grants()) > 0 })
	if len(found) == 0 {
		return nil, nil
	}
	tables := make([]*Table, len(found))
	for i, r := range found {
		tables[i] = &r.Table
	}
	if err := columns(ctx, c, tables); err != nil {
		return nil, err
	}
	if err := keys(ctx, c, tables); err != nil {
		return nil, err
	}
	for _, r := range found {
		r.estimate()
	}
	return tables, nil
}

// Matches says whether the globs choose a table.
func Matches(globs []string, schema, name string) (bool, error) {
	full, chosen := schema+"."+name, false
	for _, glob := range globs {
		pattern, not := strings.CutPrefix(glob, "!")
		if !strings.Contains(pattern, ".") {
			pattern = "public." + pattern
		}
		ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(full, "/", "\x00")) // a / is a letter
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

// chosen are the relations that may be streams. Partitions are rows of their root, whose size and rows are theirs.
const chosen = `
	WITH RECURSIVE tree(root, oid) AS (
		SELECT oid, oid FROM pg_class WHERE relkind = 'p' AND NOT relispartition
		UNION ALL SELECT t.root, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
	), parts AS (
		SELECT t.root, sum(k.reltuples) FILTER (WHERE k.reltuples >= 0 AND k.relpages > 0)::float8 AS rows,
			sum(pg_table_size(k.oid))::int8 AS bytes, sum(pg_relation_size(k.oid)) FILTER (WHERE k.reltuples < 0 OR k.relpages = 0)::int8 AS unknown
		FROM tree t JOIN pg_class k ON k.oid = t.oid WHERE k.relkind = 'r' GROUP BY t.root
	)
	SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, coalesce(p.rows, CASE WHEN c.relkind = 'p' THEN 0 ELSE c.reltuples END)::float8,
		coalesce(p.bytes, pg_table_size(c.oid), 0),
		coalesce(p.unknown, CASE WHEN c.relkind IN ('r', 'm') AND (c.reltuples < 0 OR c.relpages = 0) THEN pg_relation_size(c.oid) END, 0),
		c.relreplident::text, coalesce(pg_relation_filenode(c.oid), 0),
		(SELECT count(*) FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND NOT k.relispartition),
		has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'), current_user::text
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN parts p ON p.root = c.oid
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', $1)
		AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
	ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// relation is a table and what its rights and statistics say.
type relation struct {
	Table
	unknown       int64 // bytes of which no statistics say how many rows they are
	usage, access bool
	role          string
}

// grants are the statements that let the role read the table.
func (r *relation) grants() (all []string) {
	role := quote(r.role)
	if !r.usage {
		all = append(all, "GRANT USAGE ON SCHEMA "+quote(r.Schema)+" TO "+role)
	}
	if !r.access {
		all = append(all, "GRANT SELECT ON "+r.Quoted()+" TO "+role)
	}
	return all
}

// relations gives the tables that the globs choose, also those that cannot be read.
func relations(ctx context.Context, c *Conn, globs []string) (all []*relation, err error) {
	rows, err := c.Query(ctx, chosen, ownSchema)
	if err != nil {
		return nil, err
	}
	var r relation
	var kind, identity string
	var estimate float64
	_, err = pgx.ForEachRow(rows, []any{
		&r.OID, &r.Schema, &r.Name, &kind, &estimate, &r.Bytes, &r.unknown, &identity, &r.Filenode, &r.Children, &r.usage, &r.access, &r.role,
	}, func() error {
		ok, err := Matches(globs, r.Schema, r.Name)
		if err != nil || !ok {
			return err
		}
		one := r
		one.Kind, one.Identity, one.Rows, one.anyBytes = Kind(kind[0]), identity[0], int64(estimate), c.anyBytes()
		all = append(all, &one)
		return nil
	})
	return all, err
}

// estimate counts the rows of what has no statistics by its size, as the planner does.
func (r *relation) estimate() {
	switch r.Kind {
	case View, Foreign:
		r.Rows = -1
		return
	case Ordinary, Partitioned, Materialized:
	}
	const header = 28 // of a row and its pointer
	width := int64(header)
	for i := range r.Columns {
		width += int64(r.Columns[i].Type.width())
	}
	r.Rows = max(r.Rows, 0) + r.unknown/width
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
		WHERE x.indrelid = ANY($1) AND x.indisunique AND x.indisvalid AND (x.indimmediate OR x.indisprimary) AND x.indpred IS NULL
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
