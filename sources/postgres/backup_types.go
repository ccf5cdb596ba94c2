package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

// definer asks the catalog for what makes tables again. It runs in the transaction of the snapshot, with no search_path, so that the
// server writes every name with its schema.
type definer struct {
	conn  *postgres.Conn
	info  *sources.SnapshotInfo
	known map[uint32]bool // types that Prepare makes, or that are there anyway
	first []string        // schemas and extensions, in front of all types
	made  []string        // types, in the order of what they are made of
}

func (d *definer) notKept(format string, args ...any) {
	d.info.NotKept = append(d.info.NotKept, fmt.Sprintf(format, args...))
}

// asked gives what a query says, one text a row.
func (d *definer) asked(ctx context.Context, doing, sql string, args ...any) ([]string, error) {
	rows, err := d.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, postgres.Explain(err, doing, d.info.Database)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return texts, postgres.Explain(err, doing, d.info.Database)
}

// types notes what has to be there before the tables: schemas, extensions, and the types of the columns.
func (d *definer) types(ctx context.Context, tables []*postgres.Table) error {
	d.known = map[uint32]bool{}
	for _, t := range tables {
		d.schema(t.Schema)
		for i := range t.Columns {
			if err := d.typeOf(ctx, t.Columns[i].TypeOID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *definer) schema(name string) {
	if name == "public" || name == "pg_catalog" {
		return
	}
	if s := "CREATE SCHEMA IF NOT EXISTS " + quoted(name); !slices.Contains(d.first, s) {
		d.first = append(d.first, s)
	}
}

// extension notes one; its own schema has to be there before.
func (d *definer) extension(name, schema string) {
	d.schema(schema)
	s := "CREATE EXTENSION IF NOT EXISTS " + quoted(name)
	if schema != "pg_catalog" { // where only those are that the server itself brings
		s += " SCHEMA " + quoted(schema)
	}
	if !slices.Contains(d.first, s) {
		d.first = append(d.first, s)
	}
}

// typeRow is a type as the catalog has it.
type typeRow struct {
	name, schema, class string
	extension, within   *string // the extension that it is of, and that one's schema
	base, element       uint32
	relation            uint32
	subtype             uint32
	label               string // as format_type writes it
	definition          *string
}

const typeSQL = `
	select format('%I.%I', n.nspname, t.typname), n.nspname::text, t.typtype::text, e.extname::text, en.nspname::text, t.typbasetype,
		case when t.typcategory = 'A' then t.typelem else 0 end, t.typrelid, coalesce(r.rngsubtype, 0), format_type(t.oid, null),
		case t.typtype
		when 'e' then 'AS ENUM (' || (select coalesce(string_agg(quote_literal(enumlabel), ', ' order by enumsortorder), '') from pg_enum where enumtypid = t.oid) || ')'
		when 'c' then 'AS (' || (select coalesce(string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod) || case when attcollation <> 0 and attcollation <>
			(select typcollation from pg_type where oid = atttypid) then ' COLLATE ' || attcollation::regcollation else '' end, ', ' order by attnum), '')
			from pg_attribute where attrelid = t.typrelid and attnum > 0 and not attisdropped) || ')'
		when 'd' then 'AS ' || format_type(t.typbasetype, t.typtypmod) || case when t.typcollation <> 0 and t.typcollation <>
			(select typcollation from pg_type where oid = t.typbasetype) then ' COLLATE ' || t.typcollation::regcollation else '' end ||
			case when t.typnotnull then ' NOT NULL' else '' end || coalesce(' DEFAULT ' || t.typdefault, '') ||
			(select coalesce(string_agg(' CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid), '' order by conname), '')
			from pg_constraint where contypid = t.oid)
		when 'r' then 'AS RANGE (SUBTYPE = ' || format_type(r.rngsubtype, null) || case when r.rngcollation <> 0 then ', COLLATION = ' || r.rngcollation::regcollation else '' end ||
			case when o.opcdefault then '' else ', SUBTYPE_OPCLASS = ' || (select format('%I.%I', on_.nspname, o.opcname) from pg_namespace on_ where on_.oid = o.opcnamespace) end ||
			case when r.rngmultitypid <> 0 then ', MULTIRANGE_TYPE_NAME = ' || (select format('%I.%I', mn.nspname, m.typname)
				from pg_type m join pg_namespace mn on mn.oid = m.typnamespace where m.oid = r.rngmultitypid) else '' end ||
			case when r.rngsubdiff <> 0 then (select ', SUBTYPE_DIFF = pg_catalog.' || f.proname from pg_proc f
				where f.oid = r.rngsubdiff and f.pronamespace = 'pg_catalog'::regnamespace) else '' end ||
			case when r.rngcanonical <> 0 then null else '' end || ')'
		end
	from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_range r on r.rngtypid = t.oid or r.rngmultitypid = t.oid
		left join pg_opclass o on o.oid = r.rngsubopc
		left join pg_depend x on x.classid = 'pg_type'::regclass and x.objid = t.oid and x.deptype = 'e' left join pg_extension e on e.oid = x.refobjid
		left join pg_namespace en on en.oid = e.extnamespace
	where t.oid = $1`

// typeOf notes a type, after those that it is made of.
func (d *definer) typeOf(ctx context.Context, oid uint32) error {
	if oid == 0 || d.known[oid] {
		return nil
	}
	d.known[oid] = true
	var t typeRow
	err := d.conn.QueryRow(ctx, typeSQL, oid).Scan(&t.name, &t.schema, &t.class, &t.extension, &t.within, &t.base, &t.element, &t.relation, &t.subtype, &t.label, &t.definition)
	switch {
	case err != nil:
		return postgres.Explain(err, "look at a type", d.info.Database)
	case t.extension != nil:
		d.extension(*t.extension, *t.within)
		return nil
	case t.schema == "pg_catalog":
		return nil
	}
	parts := []uint32{t.base, t.element, t.subtype}
	if t.class == "c" {
		rows, err := d.conn.Query(ctx, "select atttypid from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped", t.relation)
		if err != nil {
			return postgres.Explain(err, "look at a type", d.info.Database)
		}
		members, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
		if err != nil {
			return postgres.Explain(err, "look at a type", d.info.Database)
		}
		parts = append(parts, members...)
	}
	for _, part := range parts {
		if err := d.typeOf(ctx, part); err != nil {
			return err
		}
	}
	return d.makeType(ctx, oid, t)
}

func (d *definer) makeType(ctx context.Context, oid uint32, t typeRow) error {
	if t.element != 0 || t.class == "m" { // they come with what they are made of
		if t.class != "m" {
			return nil
		}
		var of uint32
		if err := d.conn.QueryRow(ctx, "select rngtypid from pg_range where rngmultitypid = $1", oid).Scan(&of); err != nil {
			return postgres.Explain(err, "look at a type", d.info.Database)
		}
		return d.typeOf(ctx, of)
	}
	d.schema(t.schema)
	if t.class == "c" {
		var kind string
		if err := d.conn.QueryRow(ctx, "select relkind::text from pg_class where oid = $1", t.relation).Scan(&kind); err != nil {
			return postgres.Explain(err, "look at a type", d.info.Database)
		}
		if kind != "c" {
			d.notKept("type %s: it is the rows of a table, which must be made first", t.label)
			return nil
		}
	}
	if t.definition == nil {
		d.notKept("type %s: it is made of functions; make it in the database before a restore", t.label)
		return nil
	}
	what := "TYPE "
	if t.class == "d" {
		what = "DOMAIN "
	}
	if t.class == "d" && strings.Contains(*t.definition, "(") {
		functions, err := d.functions(ctx, `k.classid = 'pg_constraint'::regclass and k.objid in (select oid from pg_constraint where contypid = $1)`, oid)
		if err != nil {
			return err
		}
		if len(functions) > 0 {
			d.notKept("domain %s: it calls %s; make both in the database before a restore", t.label, strings.Join(functions, ", "))
			return nil
		}
	}
	d.made = append(d.made, "CREATE "+what+t.name+" "+*t.definition)
	return nil
}

// functions gives the functions of users that something depends on, which a backup does not have. Those of an extension come with it.
func (d *definer) functions(ctx context.Context, of string, arg any) (own []string, err error) {
	rows, err := d.conn.Query(ctx, `
		select distinct p.oid::regprocedure::text, e.extname::text, en.nspname::text
		from pg_depend k join pg_proc p on p.oid = k.refobjid
			left join pg_depend x on x.classid = 'pg_proc'::regclass and x.objid = p.oid and x.deptype = 'e' left join pg_extension e on e.oid = x.refobjid
			left join pg_namespace en on en.oid = e.extnamespace
		where k.refclassid = 'pg_proc'::regclass and p.pronamespace <> 'pg_catalog'::regnamespace and `+of+` order by 1`, arg)
	if err != nil {
		return nil, postgres.Explain(err, "ask which functions are used", d.info.Database)
	}
	var name string
	var extension, schema *string
	_, err = pgx.ForEachRow(rows, []any{&name, &extension, &schema}, func() error {
		if extension != nil {
			d.extension(*extension, *schema)
			return nil
		}
		own = append(own, name)
		return nil
	})
	return own, postgres.Explain(err, "ask which functions are used", d.info.Database)
}
