package postgres

import (
	"context"
)

// ResolveColumns fills in the names and types of columns of which the type's OID and modifier are known, as the log tells them. A type
// that is gone by now has no name, and is read as text.
func ResolveColumns(ctx context.Context, c *Conn, columns []Column) error {
	oids, modifiers := make([]uint32, len(columns)), make([]int32, len(columns))
	for i := range columns {
		oids[i], modifiers[i] = columns[i].TypeOID, columns[i].Modifier
	}
	known, err := loadTypes(ctx, c, oids)
	if err != nil {
		return Explain(err, "look at the types", c.Config().Database)
	}
	var names []string
	if err := c.QueryRow(ctx, `SELECT array_agg(coalesce(format_type(t.oid, m), '') ORDER BY n)
		FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY k(o, m, n) LEFT JOIN pg_type t ON t.oid = k.o`, oids, modifiers).Scan(&names); err != nil {
		return Explain(err, "look at the types", c.Config().Database)
	}
	for i := range columns {
		columns[i].TypeName, columns[i].Type = names[i], known.resolve(columns[i].TypeOID, columns[i].Modifier)
	}
	return nil
}
