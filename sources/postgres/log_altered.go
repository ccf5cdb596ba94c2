package postgres

import (
	"context"
	"errors"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// publishedCatalog tells what the catalog says of the tables of a publication, their partitions and children, by the transactions that
// wrote its rows.
func publishedCatalog(ctx context.Context, c *postgres.Conn, publication string) (mark string, err error) {
	err = c.QueryRow(ctx, `
		WITH RECURSIVE tables(oid) AS (
			SELECT t.relid::oid FROM pg_publication p, pg_get_publication_tables(p.pubname) t WHERE p.pubname = $1
			UNION SELECT i.inhrelid FROM pg_inherits i JOIN tables ON i.inhparent = tables.oid
		)
		SELECT coalesce(md5(string_agg(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relfilenode, c.relreplident, (
			SELECT string_agg(concat_ws(' ', a.attnum, a.xmin, a.attname), ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
		)), ';' ORDER BY c.oid)), '') FROM pg_class c JOIN tables USING (oid)`, publication).Scan(&mark)
	return mark, postgres.Explain(err, "look at the published tables", publication)
}

// unaltered refuses a slot while whose making published tables were altered: the server decodes a transaction that was under way, and what
// follows in that session, with the columns of before, without a word (seen with PostgreSQL 15.18, when the ALTER TABLE committed before
// the slot's first phase had ended). The note still says that the slot is being made, so the next try drops it and makes another.
func unaltered(ctx context.Context, c *postgres.Conn, publication, before string) error {
	after, err := publishedCatalog(ctx, c, publication)
	if err != nil || after == before {
		return err
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-PG-068", Place: publication, Err: errors.New("published tables were altered while the slot was made"),
		Remedy: "nothing: it is made again",
	}
}
