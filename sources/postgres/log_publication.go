package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

// publication is what the log gives of the tables: it is installed by the owner of the database, never by a run.
type publication struct {
	found   bool
	oid     uint32
	members map[uint32]string // by OID: what tells this membership from one that was ended and begun anew; other tables are not in the log
	reasons map[uint32]string // by OID: why the log cannot follow a table, though it may be published
}

// name is that of the slot and of the publication: only letters, digits and _ may be in a slot's.
func (s *Source) logName() string {
	if s.config.Capture.Slot != "" {
		return s.config.Capture.Slot
	}
	name := "acequia_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(s.pipeline))
	return name[:min(len(name), 63)]
}

// logInstalled says which tables the publication covers so that the log can follow them. None are where the server does not let it.
func (s *Source) logInstalled(ctx context.Context, c *postgres.Conn) (map[uint32]bool, error) {
	s.mu.Lock()
	hindered := s.feed.err
	s.mu.Unlock()
	if hindered != nil && fault.Of(hindered) == fault.Fatal {
		return nil, nil //nolint:nilnil // said above
	}
	p, err := s.published(ctx, c)
	if err != nil {
		return nil, err
	}
	covered := map[uint32]bool{}
	for oid := range p.members {
		covered[oid] = p.reasons[oid] == ""
	}
	return covered, nil
}

// logLacks says why the log cannot follow a table.
func (s *Source) logLacks(oid uint32) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := &s.feed; f.err != nil {
		return f.err.Error()
	} else if f.public != nil && f.public.reasons[oid] != "" {
		return f.public.reasons[oid]
	}
	return "no publication of acequia has the table"
}

// published asks the catalog for the publication. A membership that was ended and begun anew has another OID, and a publication
// that was altered another xmin: what happened in between is not in the log.
func (s *Source) published(ctx context.Context, c *postgres.Conn) (*publication, error) {
	p := &publication{members: map[uint32]string{}, reasons: map[uint32]string{}}
	var oid uint32
	var all, everything, viaRoot bool
	var version int
	var mark string
	err := c.QueryRow(ctx, `SELECT oid, puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot, xmin::text,
			current_setting('server_version_num')::int FROM pg_publication WHERE pubname = $1`, s.logName()).Scan(
		&oid, &all, &everything, &viaRoot, &mark, &version)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return nil, postgres.Explain(err, "look at the publication", s.logName())
	}
	p.found, p.oid = true, oid
	rows, err := c.Query(ctx, membership(version), oid, all)
	if err != nil {
		return nil, postgres.Explain(err, "look at the publication", s.logName())
	}
	var table, member uint32
	var filtered, partitioned bool
	_, err = pgx.ForEachRow(rows, []any{&table, &member, &filtered, &partitioned}, func() error {
		p.members[table] = fmt.Sprintf("%d %s %d", oid, mark, member)
		switch {
		case !everything:
			p.reasons[table] = "the publication " + s.logName() + " leaves out some of insert, update, delete and truncate"
		case filtered:
			p.reasons[table] = "the publication " + s.logName() + " has a row filter or a list of columns for it"
		case partitioned && !viaRoot:
			p.reasons[table] = "the publication " + s.logName() + " does not publish partitions as their root (publish_via_partition_root)"
		}
		return nil
	})
	if err != nil {
		return nil, postgres.Explain(err, "look at the publication", s.logName())
	}
	oids := make([]uint32, 0, len(p.members))
	for oid := range p.members {
		oids = append(oids, oid)
	}
	unfit, err := unidentified(ctx, c, oids)
	maps.Copy(p.reasons, unfit)
	return p, err
}

// membership is the query of a publication's tables, $1 its OID, $2 whether it is for all. Filters and schemas came with version 15.
func membership(version int) string {
	filtered, schemas := "false", ""
	if version >= 150000 {
		filtered = "r.prqual IS NOT NULL OR r.prattrs IS NOT NULL"
		schemas = `UNION ALL SELECT c.oid, n.oid, false, c.relkind = 'p' FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid
			WHERE n.pnpubid = $1 AND c.relkind IN ('r', 'p')`
	}
	return `SELECT r.prrelid, r.oid, ` + filtered + `, c.relkind = 'p' FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid WHERE r.prpubid = $1
		` + schemas + `
		UNION ALL SELECT c.oid, 0::oid, false, c.relkind = 'p' FROM pg_class c WHERE $2 AND c.relkind IN ('r', 'p') AND c.oid >= 16384`
}

// unidentified says of which tables updates and deletes do not tell the row: their owners could not even make them while they are
// published. Those of a partitioned table are told by the partition's replica identity. The key is the one that the catalog is read for.
func unidentified(ctx context.Context, c *postgres.Conn, oids []uint32) (map[uint32]string, error) {
	rows, err := c.Query(ctx, `
		WITH identity AS (
			SELECT c.oid, c.relreplident, c.relpersistence, c.relkind, ARRAY(
				SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) k
					JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k
				WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END) AS columns, ARRAY(
				SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) k
					JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k
				WHERE i.indexrelid = (SELECT x.indexrelid FROM pg_index x WHERE x.indrelid = c.root AND x.indisunique AND x.indisvalid AND (x.indimmediate OR x.indisprimary)
					AND x.indpred IS NULL AND NOT EXISTS (SELECT FROM unnest(x.indkey[0:x.indnkeyatts - 1]) k
						LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k AND a.attnotnull WHERE a.attname IS NULL)
					ORDER BY x.indisprimary DESC, x.indnkeyatts, x.indexrelid LIMIT 1)) AS key, c.root
			FROM (SELECT *, coalesce(pg_partition_root(oid)::oid, oid) AS root FROM pg_class WHERE oid = ANY($1)
				OR oid IN (SELECT p.relid FROM unnest($1::oid[]) r CROSS JOIN LATERAL pg_partition_tree(r) p WHERE p.isleaf)) c)
		SELECT i.relreplident::text, i.relpersistence::text, cardinality(i.columns), i.key <@ i.columns, i.root
		FROM identity i`, oids)
	if err != nil {
		return nil, postgres.Explain(err, "look at the replica identities", c.Config().Database)
	}
	unfit := map[uint32]string{}
	var root uint32
	var identity, persistence string
	var columns int
	var whole bool
	_, err = pgx.ForEachRow(rows, []any{&identity, &persistence, &columns, &whole, &root}, func() error {
		switch {
		case persistence != "p":
			unfit[root] = "it is not logged"
		case identity == "n":
			unfit[root] = "its replica identity is nothing"
		case identity == "f":
		case columns == 0:
			unfit[root] = "it has no primary key, and no other replica identity"
		case !whole:
			unfit[root] = "its replica identity leaves out columns of its key"
		}
		return nil
	})
	return unfit, postgres.Explain(err, "look at the replica identities", c.Config().Database)
}

// logStatements gives what makes the publication cover the tables, and the tables that it leaves out, each with the reason. A table
// without a replica identity must not be published, or else its owners' updates fail.
func (s *Source) logStatements(ctx context.Context, c *postgres.Conn, tables []*postgres.Table) (do []sources.Statement, left map[string]string, err error) {
	p, err := s.published(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	oids := make([]uint32, len(tables))
	for i, t := range tables {
		oids[i] = t.OID
	}
	unfit, err := unidentified(ctx, c, oids)
	if err != nil {
		return nil, nil, err
	}
	left = map[string]string{}
	var names []string
	for _, t := range tables {
		_, published := p.members[t.OID]
		switch why := unfit[t.OID]; {
		case t.Kind != postgres.Ordinary && t.Kind != postgres.Partitioned:
			left[t.Quoted()] = "it is a " + t.Kind.String()
		case len(t.Key) == 0:
			left[t.Quoted()] = "it has no key"
		case why != "":
			left[t.Quoted()] = why
		case !published:
			name := t.Quoted()
			if t.Children > 0 && t.Kind == postgres.Ordinary { // its children would be published too, and those without a key could not be updated any more
				name = "ONLY " + name
			}
			names = append(names, name)
		}
	}
	name := pgx.Identifier{s.logName()}.Sanitize()
	switch {
	case !p.found && len(names) > 0:
		do = append(do, sources.Statement{
			SQL: "CREATE PUBLICATION " + name + " FOR TABLE " + strings.Join(names, ", ") + " WITH (publish_via_partition_root = true)",
			Why: "the log tells the changes of these tables; the run makes the slot " + s.logName() + ", which holds WAL back until it is removed",
		})
	case len(names) > 0:
		do = append(do, sources.Statement{SQL: "ALTER PUBLICATION " + name + " ADD TABLE " + strings.Join(names, ", "), Why: "the log tells the changes of these tables too"})
	}
	return do, left, nil
}

// unlogStatements gives what takes the publication and the slot away again. The slot of another database may have the same name.
func (s *Source) unlogStatements() []sources.Statement {
	name := s.logName()
	return []sources.Statement{
		{SQL: "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = " + literal(name) + " AND database = current_database()", Why: "no WAL is held back any more"},
		{SQL: "DROP PUBLICATION IF EXISTS " + pgx.Identifier{name}.Sanitize(), Why: "the log tells no changes any more"},
	}
}

// literal quotes a text for SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
