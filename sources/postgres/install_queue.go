package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

// The queue of all tables. The key is texts that its types read back exactly; null is a TRUNCATE. An entry is deleted soon after it
// was made, so that vacuuming the table must be cheap and often.
const (
	queueDDL = `CREATE TABLE IF NOT EXISTS acequia.queue (
	tab oid NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigint GENERATED ALWAYS AS IDENTITY (CACHE 32),
	key text[], at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tab, xid, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0.2,
	autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000)`
	queuedDDL = `CREATE TABLE IF NOT EXISTS acequia.queued (tab oid PRIMARY KEY, key text[] NOT NULL, consumer text, removed text)`
	stampDDL  = `CREATE OR REPLACE FUNCTION acequia.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.` + postgres.StampColumn + ` := pg_catalog.pg_current_xact_id(); RETURN NEW; END$$`
)

// plainKeys are the types whose text is the same in every session.
var plainKeys = []string{ //nolint:gochecknoglobals // a constant table
	"int2", "int4", "int8", "oid", "uuid", "text", "varchar", "bpchar", "numeric", "bool", "bytea", "name", "inet", "cidr", "macaddr",
}

// queue adds the function, the entry and the triggers of strategy queue.
func (in *installation) queue(ctx context.Context) error {
	t := in.table
	perRow := in.request.PerRow || t.Kind == postgres.Partitioned || in.means.rowsAlone()
	source := in.queueSource(perRow)
	var there string
	err := in.conn.QueryRow(ctx, "SELECT coalesce((SELECT prosrc FROM pg_proc WHERE oid = to_regproc($1)), '')", "acequia."+queueFunction(t.OID, perRow)).Scan(&there)
	if err != nil {
		return postgres.Explain(err, "look at the functions of acequia", t.stream)
	}
	if in.request.Overflow == overflowStops {
		if !in.means.sequence {
			in.add("says whether the queue has reached its limit, to all transactions at once", "CREATE SEQUENCE IF NOT EXISTS acequia.%s", stopSequence(t.OID))
		}
	}
	if there != source {
		in.add("puts the keys of changed rows into the queue, with the rights of its owner", "CREATE OR REPLACE FUNCTION acequia.%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\nSET search_path TO pg_catalog, pg_temp%s AS $$%s$$",
			queueFunction(t.OID, perRow), in.settings(), source)
	}
	if !slices.Equal(in.means.queuedKey, t.Key) {
		in.add("the table is queued, by this key", "INSERT INTO acequia.queued (tab, key) VALUES (%d, %s) ON CONFLICT (tab) DO UPDATE SET key = excluded.key",
			t.OID, literal(arrayLiteral(t.Key)))
	}
	in.queueTriggers(perRow)
	return nil
}

// queueTriggers adds the triggers that are wanted and drops those that are not. To begin again a queue that has stopped is one
// transaction with the making of a trigger, which waits for all who have written the table while it was stopped.
func (in *installation) queueTriggers(perRow bool) {
	t := in.table
	again := ""
	if in.means.stopped {
		again = fmt.Sprintf("SELECT setval('acequia.%s', (last_value | 1) + 1) FROM acequia.%[1]s;\n", stopSequence(t.OID))
	}
	unwanted := []string{queueTrigger}
	if perRow {
		unwanted = []string{queueInsert, queueUpdate, queueDelete}
	}
	other := slices.ContainsFunc(unwanted, func(name string) bool { return in.means.has(t.OID, name) })
	trigger := func(name, when, how, why string) {
		if in.means.has(t.OID, name) && again == "" && (!other || name != queueTruncate) { // that one calls the other function
			return
		}
		in.add(why, "%sCREATE OR REPLACE TRIGGER %s AFTER %s ON %s %s EXECUTE FUNCTION acequia.%s();\n%s",
			again, name, when, t.Quoted(), how, queueFunction(t.OID, perRow), in.always(name))
		again = ""
	}
	if perRow {
		trigger(queueTrigger, "INSERT OR UPDATE OR DELETE", "FOR EACH ROW", "each row that is written, in partitions too")
	} else {
		trigger(queueInsert, "INSERT", "REFERENCING NEW TABLE AS acequia_new FOR EACH STATEMENT", "the rows of a statement at once")
		trigger(queueUpdate, "UPDATE", "REFERENCING OLD TABLE AS acequia_old NEW TABLE AS acequia_new FOR EACH STATEMENT", "old keys and new ones")
		trigger(queueDelete, "DELETE", "REFERENCING OLD TABLE AS acequia_old FOR EACH STATEMENT", "the keys that are gone")
	}
	trigger(queueTruncate, "TRUNCATE", "FOR EACH STATEMENT", "all of them are gone")
	for _, name := range unwanted {
		if in.means.has(t.OID, name) {
			in.add("the other kind of triggers does it", "DROP TRIGGER IF EXISTS %s ON %s", name, t.Quoted())
		}
	}
	if other {
		in.add("its triggers are gone", "DROP FUNCTION IF EXISTS acequia.%s()", queueFunction(t.OID, !perRow))
	}
}

// queueSource is the body of the function.
func (in *installation) queueSource(perRow bool) string {
	t := in.table
	key := func(row string) string {
		texts := make([]string, len(t.Key))
		for i, k := range t.Key {
			texts[i] = row + "." + pgx.Identifier{k}.Sanitize() + `::pg_catalog.text COLLATE "C"` // that of the column may tell fewer apart
		}
		return "ARRAY[" + strings.Join(texts, ", ") + "]"
	}
	put := fmt.Sprintf("INSERT INTO acequia.queue (tab, key) SELECT %d, ", t.OID)
	var s strings.Builder
	s.WriteString("\n")
	if in.request.Overflow == overflowStops {
		limit := in.request.MaxRows
		if limit == 0 {
			limit = maxQueued
		}
		fmt.Fprintf(&s, stopSource, stopSequence(t.OID), t.OID, limit)
	} else {
		s.WriteString("BEGIN\n")
	}
	s.WriteString("IF TG_OP = 'TRUNCATE' THEN\n\tINSERT INTO acequia.queue (tab) VALUES (" + strconv.FormatUint(uint64(t.OID), 10) + ");\n")
	if perRow {
		s.WriteString("ELSIF TG_OP = 'INSERT' THEN\n\t" + put + key("NEW") + ";\nELSE\n\t" + put + key("OLD") + ";\n")
		s.WriteString("\tIF TG_OP = 'UPDATE' AND " + key("OLD") + " IS DISTINCT FROM " + key("NEW") + " THEN\n\t\t" + put + key("NEW") + ";\n\tEND IF;\n")
	} else {
		s.WriteString("ELSIF TG_OP = 'INSERT' THEN\n\t" + put + key("n") + " FROM acequia_new n;\n")
		s.WriteString("ELSIF TG_OP = 'DELETE' THEN\n\t" + put + key("o") + " FROM acequia_old o;\nELSE\n\t")
		s.WriteString(put + "u.key FROM (SELECT " + key("o") + " AS key FROM acequia_old o UNION SELECT " + key("n") + " FROM acequia_new n) u;\n")
	}
	s.WriteString("END IF;\nRETURN NULL;\nEND")
	return s.String()
}

// stopSource looks, once in a thousand calls, whether the table has too many entries. A sequence tells it to all, even to those whose
// snapshot is older: an odd value stops the triggers, and to install again makes it even.
const stopSource = `DECLARE
	stop CONSTANT regclass := 'acequia.%[1]s';
BEGIN
IF pg_sequence_last_value(stop) %% 2 = 1 THEN
	RETURN NULL;
ELSIF random() < 0.001 AND (SELECT count(*) FROM (SELECT FROM acequia.queue WHERE tab = %[2]d LIMIT %[3]d + 1) q) > %[3]d THEN
	RAISE WARNING 'acequia: the queue of table %% has more than %[3]d entries, and takes no more', TG_RELID::regclass;
	PERFORM setval(stop, coalesce(pg_sequence_last_value(stop), 0) | 1);
	RETURN NULL;
END IF;
`

// overflowStops is what InstallRequest.Overflow says for it.
const overflowStops = "stop_trigger"

// settings make the text of a key the same in every session.
func (in *installation) settings() string {
	for _, k := range in.table.Key {
		if ty := in.table.Column(k).Type; ty.Class != 'e' && (ty.Schema != "pg_catalog" || !slices.Contains(plainKeys, ty.Name)) {
			return "\nSET timezone TO 'UTC' SET datestyle TO 'ISO, YMD' SET intervalstyle TO 'iso_8601' SET extra_float_digits TO 3"
		}
	}
	return ""
}

// queueFunction is what the triggers of a table call. Those of rows and those of statements have one each, so that no write meets
// the other's while they are changed.
func queueFunction(oid uint32, perRow bool) string {
	if perRow {
		return fmt.Sprintf("queue_%d_row", oid)
	}
	return fmt.Sprintf("queue_%d", oid)
}

func stopSequence(oid uint32) string { return fmt.Sprintf("stop_%d", oid) }

// removeQueue takes away the function and the entries.
func (in *installation) removeQueue(ctx context.Context) error {
	t := in.table
	var functions []string
	var entries bool
	err := in.conn.QueryRow(ctx, `SELECT ARRAY(SELECT proname::text FROM pg_proc WHERE pronamespace = 'acequia'::regnamespace AND proname = ANY($1)),
		EXISTS (SELECT FROM acequia.queue WHERE tab = $2)`, []string{queueFunction(t.OID, false), queueFunction(t.OID, true)}, t.OID).Scan(&functions, &entries)
	if err != nil {
		return postgres.Explain(err, "look at the queue", t.stream)
	}
	for _, name := range functions {
		in.add("no trigger calls it", "DROP FUNCTION IF EXISTS acequia.%s()", name)
	}
	if in.means.sequence {
		in.add("no trigger looks at it", "DROP SEQUENCE IF EXISTS acequia.%s", stopSequence(t.OID))
	}
	if in.means.queuedKey != nil {
		in.add("the table is not queued any more", "DELETE FROM acequia.queued WHERE tab = %d", t.OID)
	}
	if entries {
		in.add("nobody reads them any more", "DELETE FROM acequia.queue WHERE tab = %d", t.OID)
	}
	return nil
}

// addShared puts before the statements of tables what they stand on.
func (s *Source) addShared(ctx context.Context, c *postgres.Conn, r sources.InstallRequest, all *[]sources.Statement) error {
	if len(*all) == 0 {
		return nil
	}
	var schema, stamp, queueThere, queuedThere bool
	err := c.QueryRow(ctx, `SELECT to_regnamespace('acequia') IS NOT NULL, to_regproc('acequia.stamp') IS NOT NULL, to_regclass('acequia.queue') IS NOT NULL,
		to_regclass('acequia.queued') IS NOT NULL`).Scan(&schema, &stamp, &queueThere, &queuedThere)
	if err != nil {
		return postgres.Explain(err, "look at the schema acequia", c.Config().Database)
	}
	var first []sources.Statement
	add := func(there bool, why, sql string) {
		if !there {
			first = append(first, sources.Statement{SQL: sql, Why: why})
		}
	}
	add(schema, "all that acequia adds beside triggers and columns is in here", "CREATE SCHEMA IF NOT EXISTS acequia")
	if r.Strategy == xid {
		add(stamp, "what the triggers call", stampDDL)
	} else {
		add(queueThere, "keys of rows that were changed, until they are read", queueDDL)
		add(queuedThere, "which tables are queued, and who reads them", queuedDDL)
	}
	*all = append(first, *all...)
	return nil
}

// dropShared takes away what no table needs any more once the statements were run.
func (s *Source) dropShared(ctx context.Context, c *postgres.Conn, r sources.InstallRequest, tables []*table, all *[]sources.Statement) error {
	var below []uint32
	for _, t := range tables {
		below = slices.AppendSeq(below, maps.Keys(t.facts.relations))
	}
	var schema, stamp, queueThere, stampLeft, queueLeft bool
	var others int
	err := c.QueryRow(ctx, `WITH ours AS (SELECT t.tgname = $2 AS stamps FROM pg_trigger t WHERE starts_with(t.tgname::text, $1) AND t.tgrelid <> ALL($3))
		SELECT to_regnamespace('acequia') IS NOT NULL, to_regproc('acequia.stamp') IS NOT NULL, to_regclass('acequia.queue') IS NOT NULL,
			EXISTS (SELECT FROM ours WHERE stamps), EXISTS (SELECT FROM ours WHERE NOT stamps),
			(SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('acequia') AND relkind <> 'i' AND relname NOT IN ('queue', 'queued', 'queue_seq_seq')
				AND NOT starts_with(relname::text, 'stop_')) +
			(SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('acequia') AND proname <> 'stamp' AND NOT starts_with(proname::text, 'queue_'))`,
		ownTriggers, stampTrigger, below).Scan(&schema, &stamp, &queueThere, &stampLeft, &queueLeft, &others)
	if err != nil {
		return postgres.Explain(err, "look at the schema acequia", c.Config().Database)
	}
	add := func(sql string) { *all = append(*all, sources.Statement{SQL: sql, Why: "no table needs it any more"}) }
	dropStamp := stamp && !stampLeft && r.Strategy != queue
	dropQueue := queueThere && !queueLeft && r.Strategy != xid
	if dropStamp {
		add("DROP FUNCTION IF EXISTS acequia.stamp()")
	}
	if dropQueue {
		add("DROP TABLE IF EXISTS acequia.queue, acequia.queued")
	}
	if schema && others == 0 && (dropStamp || !stamp) && (dropQueue || !queueThere) {
		add("DROP SCHEMA IF EXISTS acequia")
	}
	return nil
}
