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

// The triggers of the queue. Triggers of one moment are called in the order of their names: ours come last.
const (
	ownTriggers   = "zzz_acequia_"
	queueTrigger  = "zzz_acequia_queue" // for each row
	queueInsert   = "zzz_acequia_queue_insert"
	queueUpdate   = "zzz_acequia_queue_update"
	queueDelete   = "zzz_acequia_queue_delete"
	queueTruncate = "zzz_acequia_queue_truncate"
)

// maxQueued is how many entries of a table the queue takes before its triggers stop, where they may.
const maxQueued = 10_000_000

// installation makes the statements for one table.
type installation struct {
	table   *table
	means   means
	request sources.InstallRequest
	conn    *postgres.Conn

	statements []sources.Statement
}

func (in *installation) add(why, sql string, args ...any) {
	in.statements = append(in.statements, sources.Statement{SQL: fmt.Sprintf(sql, args...), Why: why, Table: in.table.Schema + "." + in.table.Name})
}

// xid adds the column, the trigger and the index of strategy xid. The trigger is there before a run takes its first snapshot, and
// to make it waits for all who have written the table: every later writer is stamped.
func (in *installation) xid(ctx context.Context) error {
	t, column := in.table, pgx.Identifier{postgres.StampColumn}.Sanitize()
	if !in.means.stamp {
		in.add("the transaction that last wrote the row; null where it was written before, so that no row is rewritten",
			"ALTER TABLE %s ADD COLUMN %s xid8", t.Quoted(), column)
	}
	if !in.means.fires(stampTrigger) {
		in.add("sets the column in every insert and update, partitions too",
			"CREATE OR REPLACE TRIGGER %s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION acequia.stamp();\n%s", stampTrigger, t.Quoted(),
			in.always(stampTrigger))
	}
	if in.means.stampIndex {
		return nil
	}
	return in.index(ctx, column)
}

// always lets a trigger be called also for writes that replication applies, and under session_replication_role = replica.
func (in *installation) always(trigger string) string {
	return fmt.Sprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", in.table.Quoted(), trigger)
}

// index adds the index that a poll goes by. A partitioned table takes no index that is made beside its writers; its partitions do, and
// the table's own is then made of theirs.
func (in *installation) index(ctx context.Context, column string) error {
	rows, err := in.conn.Query(ctx, `SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
			coalesce((SELECT format('%I.%I', n.nspname, i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
				WHERE x.indrelid = c.oid AND a.attname = $2 AND NOT x.indisvalid LIMIT 1), ''),
			EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
				WHERE x.indrelid = c.oid AND a.attname = $2 AND x.indisvalid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1) AND c.relkind IN ('r', 'p') ORDER BY c.relkind DESC, c.oid`,
		slices.Sorted(maps.Keys(in.means.relations)), postgres.StampColumn)
	if err != nil {
		return postgres.Explain(err, "look at the indexes of "+in.table.Quoted(), in.table.stream)
	}
	var oid uint32
	var schema, name, kind, broken string
	var there bool
	_, err = pgx.ForEachRow(rows, []any{&oid, &schema, &name, &kind, &broken, &there}, func() error {
		on := pgx.Identifier{schema, name}.Sanitize()
		columns := []string{column}
		for _, k := range in.table.Key {
			columns = append(columns, quoted(k))
		}
		switch {
		case there:
		case kind == "p":
			in.add("made of those of the partitions, without reading rows", "CREATE INDEX IF NOT EXISTS %s ON %s (%s)", stampIndexName(oid), on, strings.Join(columns, ", "))
		default:
			if broken != "" {
				in.add("an attempt that was cut off has left it, and it cannot be used", "DROP INDEX CONCURRENTLY %s", broken)
			}
			in.add("a poll reads what is new, and nothing else; writers go on meanwhile",
				"CREATE INDEX CONCURRENTLY IF NOT EXISTS %s ON %s (%s)", stampIndexName(oid), on, strings.Join(columns, ", "))
		}
		return nil
	})
	// The roots come first in the list, and their indexes after those of their partitions.
	slices.SortStableFunc(in.statements, func(a, b sources.Statement) int { return indexRank(a.SQL) - indexRank(b.SQL) })
	return postgres.Explain(err, "look at the indexes of "+in.table.Quoted(), in.table.stream)
}

// indexRank puts an index of a partitioned table behind all else.
func indexRank(sql string) int {
	if strings.HasPrefix(sql, "CREATE INDEX IF") {
		return 1
	}
	return 0
}

// stampIndexName is that of the index on the table with an OID: names of tables can be too long to be made longer.
func stampIndexName(oid uint32) string {
	return pgx.Identifier{"acequia_xid_" + strconv.FormatUint(uint64(oid), 10)}.Sanitize()
}

// remove takes away what xid and queue have put on a table.
func (in *installation) remove(ctx context.Context) error {
	rows, err := in.conn.Query(ctx, `SELECT t.tgname::text, format('%I.%I', n.nspname, c.relname) FROM pg_trigger t
		JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE t.tgrelid = ANY($1) AND t.tgparentid = 0 AND starts_with(t.tgname::text, $2) ORDER BY t.oid`,
		slices.Sorted(maps.Keys(in.means.relations)), ownTriggers)
	if err != nil {
		return postgres.Explain(err, "look at the triggers of "+in.table.Quoted(), in.table.stream)
	}
	var name, on string
	_, err = pgx.ForEachRow(rows, []any{&name, &on}, func() error {
		if strategy := in.request.Strategy; strategy == "" || (name == stampTrigger) == (strategy == xid) {
			in.add("writes go on as before", "DROP TRIGGER IF EXISTS %s ON %s", pgx.Identifier{name}.Sanitize(), on)
		}
		return nil
	})
	if err != nil {
		return postgres.Explain(err, "look at the triggers of "+in.table.Quoted(), in.table.stream)
	}
	if in.means.stamp && in.request.Strategy != queue {
		in.add("its index goes with it", "ALTER TABLE %s DROP COLUMN IF EXISTS %s", in.table.Quoted(), pgx.Identifier{postgres.StampColumn}.Sanitize())
	}
	if in.means.queueTable && in.request.Strategy != xid {
		return in.removeQueue(ctx)
	}
	return nil
}
