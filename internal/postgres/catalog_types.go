package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// typeRow is a row of pg_type.
type typeRow struct {
	Type
	base     uint32 // of a domain
	element  uint32 // of an array
	relation uint32 // of a composite
	members  []memberRow
}

type memberRow struct {
	name     string
	oid      uint32
	modifier int32
}

type typeTable map[uint32]*typeRow

// loadTypes reads the types and those that they are made of.
func loadTypes(ctx context.Context, c *Conn, wanted []uint32) (typeTable, error) {
	known := typeTable{}
	for len(wanted) > 0 {
		var missing []uint32
		for _, oid := range wanted {
			if _, ok := known[oid]; !ok && oid != 0 {
				known[oid] = &typeRow{}
				missing = append(missing, oid)
			}
		}
		if len(missing) == 0 {
			break
		}
		var err error
		if wanted, err = known.load(ctx, c, missing); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// load reads some types, and gives those that they are made of.
func (k typeTable) load(ctx context.Context, c *Conn, oids []uint32) (parts []uint32, err error) {
	rows, err := c.Query(ctx, `
		SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typtypmod, t.typlen, t.typbasetype, t.typrelid,
			CASE WHEN t.typcategory = 'A' AND t.typarray = 0 AND t.typdelim = ',' THEN t.typelem ELSE 0 END,
			CASE WHEN EXISTS (SELECT FROM pg_cast c WHERE c.castsource = t.oid AND c.casttarget = 'text'::regtype)
				THEN format('%I.%I', o.nspname, p.proname) ELSE '' END,
			ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
		FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_proc p ON p.oid = t.typoutput JOIN pg_namespace o ON o.oid = p.pronamespace
		WHERE t.oid = ANY($1)`, oids)
	if err != nil {
		return nil, err
	}
	var row typeRow
	var class string
	relations := map[uint32]*typeRow{}
	_, err = pgx.ForEachRow(rows, []any{
		&row.OID, &row.Schema, &row.Name, &class, &row.Modifier, &row.Length, &row.base, &row.relation, &row.element, &row.Output, &row.Labels,
	}, func() error {
		known := row
		known.Class = class[0]
		*k[row.OID] = known
		parts = append(parts, row.base, row.element)
		if known.Class == 'c' {
			relations[row.relation] = k[row.OID]
		}
		row.Labels = nil
		return nil
	})
	if err != nil || len(relations) == 0 {
		return parts, err
	}
	members, err := loadMembers(ctx, c, relations)
	return append(parts, members...), err
}

func loadMembers(ctx context.Context, c *Conn, relations map[uint32]*typeRow) (parts []uint32, err error) {
	oids := make([]uint32, 0, len(relations))
	for oid := range relations {
		oids = append(oids, oid)
	}
	rows, err := c.Query(ctx, `
		SELECT attrelid, attname::text, atttypid, atttypmod FROM pg_attribute
		WHERE attrelid = ANY($1) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum`, oids)
	if err != nil {
		return nil, err
	}
	var relation uint32
	var m memberRow
	_, err = pgx.ForEachRow(rows, []any{&relation, &m.name, &m.oid, &m.modifier}, func() error {
		relations[relation].members = append(relations[relation].members, m)
		parts = append(parts, m.oid)
		return nil
	})
	return parts, err
}

// resolve gives a type with all that it is made of. Types cannot contain themselves.
func (k typeTable) resolve(oid uint32, modifier int32) Type {
	row, ok := k[oid]
	if !ok || row.OID == 0 {
		return Type{OID: oid, Modifier: modifier}
	}
	if row.base != 0 {
		if modifier < 0 {
			modifier = row.Modifier
		}
		return k.resolve(row.base, modifier)
	}
	t := row.Type
	t.Modifier = modifier
	if row.element != 0 {
		element := k.resolve(row.element, modifier)
		t.Element = &element
	}
	for _, m := range row.members {
		t.Members = append(t.Members, Member{Name: m.name, Type: k.resolve(m.oid, m.modifier)})
	}
	return t
}
