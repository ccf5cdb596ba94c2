package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

// means is what there is to find a table's changes by.
type means struct {
	standby   bool
	allStats  bool // the role sees the transactions of others
	bytes     int64
	foreign   bool // a partition is on another server
	unlogged  bool
	relations map[uint32]string   // the table and its partitions, with their kinds
	triggers  map[uint32][]string // those of acequia that are enabled for everyone, by relation

	stamp, stampIndex bool // the column acequia_xid, and a valid index that begins with it

	queueTable bool     // acequia.queue
	queueRight bool     // and the rights on it
	queuedKey  []string // that the triggers queue rows by; nil: it is not queued
	sequence   bool     // that says whether the triggers have stopped
	stopped    bool     // for the queue had reached its limit
	subscribed bool     // changes come to the table by a subscription, which calls no trigger for statements

	inherits bool // from a table whose statements change its rows, and call no trigger for statements of its own

	timeType    string // of the column that strategy time goes by; "": there is none
	timeNotNull bool
	timeIndex   bool
	published   bool // by the publication of strategy log
}

const meansSQL = `
WITH RECURSIVE tree(oid) AS (
	SELECT $1::oid UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
		JOIN pg_class p ON p.oid = i.inhrelid AND p.relispartition WHERE NOT i.inhdetachpending),
indexed AS (
	SELECT a.attname FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
	WHERE x.indrelid = $1 AND x.indisvalid AND x.indisready AND x.indpred IS NULL)
SELECT pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
	(SELECT coalesce(sum(pg_table_size(oid)), 0)::int8 FROM tree),
	(SELECT bool_or(relkind = 'f') FROM pg_class JOIN tree USING (oid)), (SELECT bool_or(relpersistence = 'u') FROM pg_class JOIN tree USING (oid)),
	ARRAY(SELECT concat_ws(':', oid, relkind) FROM pg_class JOIN tree USING (oid)),
	ARRAY(SELECT concat_ws(':', tgrelid, tgname) FROM pg_trigger JOIN tree ON tgrelid = tree.oid WHERE tgenabled = 'A' AND starts_with(tgname::text, $4)),
	EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1 AND attname = $2 AND atttypid = 'xid8'::regtype AND NOT attisdropped),
	EXISTS (SELECT FROM indexed WHERE attname = $2),
	to_regclass('acequia.queue') IS NOT NULL,
	coalesce(has_table_privilege(to_regclass('acequia.queue')::oid, 'SELECT') AND has_table_privilege(to_regclass('acequia.queue')::oid, 'DELETE')
		AND has_table_privilege(to_regclass('acequia.queued')::oid, 'SELECT') AND has_table_privilege(to_regclass('acequia.queued')::oid, 'UPDATE'), false),
	EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid IN (SELECT oid FROM tree)),
	EXISTS (SELECT FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid WHERE i.inhrelid = $1 AND NOT k.relispartition),
	coalesce((SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = $1 AND attname = $3 AND attnum > 0 AND NOT attisdropped), ''),
	coalesce((SELECT attnotnull FROM pg_attribute WHERE attrelid = $1 AND attname = $3 AND attnum > 0 AND NOT attisdropped), false),
	EXISTS (SELECT FROM indexed WHERE attname = $3)`

// means asks the catalog.
func (s *Source) means(ctx context.Context, c *postgres.Conn, t *table) (means, error) {
	m := means{relations: map[uint32]string{}, triggers: map[uint32][]string{}}
	var relations, triggers []string
	place := fmt.Sprintf("look how changes of %s can be found", t.Quoted())
	err := c.QueryRow(ctx, meansSQL, t.OID, postgres.StampColumn, s.config.Capture.Column, ownTriggers).Scan(
		&m.standby, &m.allStats, &m.bytes, &m.foreign, &m.unlogged, &relations, &triggers, &m.stamp, &m.stampIndex, &m.queueTable, &m.queueRight,
		&m.subscribed, &m.inherits, &m.timeType, &m.timeNotNull, &m.timeIndex)
	if err != nil {
		return m, postgres.Explain(err, place, t.stream)
	}
	var oid uint32
	for _, r := range relations {
		text, kind, _ := strings.Cut(r, ":")
		_, _ = fmt.Sscan(text, &oid) // the server wrote a number
		m.relations[oid] = kind
	}
	for _, r := range triggers {
		text, name, _ := strings.Cut(r, ":")
		_, _ = fmt.Sscan(text, &oid)
		m.triggers[oid] = append(m.triggers[oid], name)
	}
	if m.queueTable {
		err = c.QueryRow(ctx, `SELECT (SELECT key FROM acequia.queued WHERE tab = $1), to_regclass('acequia.stop_' || $1::text) IS NOT NULL,
			coalesce(pg_sequence_last_value(to_regclass('acequia.stop_' || $1::text)) % 2 = 1, false)`, t.OID).Scan(&m.queuedKey, &m.sequence, &m.stopped)
		if err != nil {
			return m, postgres.Explain(err, place, t.stream)
		}
	}
	published, err := s.logInstalled(ctx, c)
	m.published = published[t.OID]
	t.facts = m
	return m, err
}

// fires says whether a trigger of each row is there, on a table and on all its partitions.
func (m *means) fires(name string) bool {
	for oid, kind := range m.relations {
		if kind == "r" && !m.has(oid, name) {
			return false
		}
	}
	return len(m.relations) > 0
}

func (m *means) has(oid uint32, name string) bool {
	return slices.Contains(m.triggers[oid], name)
}

// rowsAlone says whether rows are changed by what calls no trigger for statements.
func (m *means) rowsAlone() bool { return len(m.relations) > 1 || m.subscribed || m.inherits }

// perStatement says whether the queue is filled by triggers that are called once a statement.
func (m *means) perStatement(oid uint32) bool {
	return m.has(oid, queueInsert) && m.has(oid, queueUpdate) && m.has(oid, queueDelete)
}

// lacks says why a table cannot have a strategy; nil: it can.
func (s *Source) lacks(t *table, m means, strategy string) *sources.Missing {
	no := func(reason, remedy string, args ...any) *sources.Missing {
		return &sources.Missing{Strategy: strategy, Reason: reason, Remedy: fmt.Sprintf(remedy, args...)}
	}
	if m.foreign && strategy != byTime {
		return no("a partition of it is on another server", "take the table in at that server")
	}
	install := func(reason string) *sources.Missing {
		return no(reason, "acequia capture install --strategy %s --tables %s.%s --apply", strategy, t.Schema, t.Name)
	}
	switch strategy {
	case byLog:
		if !m.published {
			return install(s.logLacks(t.OID))
		}
	case queue:
		return s.lacksQueue(t, m, no, install)
	case xid:
		switch {
		case !m.stamp:
			return install("the column " + postgres.StampColumn + " is not there")
		case !m.fires(stampTrigger):
			return install("the trigger " + stampTrigger + " is not there, or not enabled always")
		case !m.stampIndex:
			return install("no index begins with " + postgres.StampColumn)
		}
	case xmin:
		if limit := int64(s.config.Capture.MaxScan); m.bytes > limit {
			return no(fmt.Sprintf("each poll would read all of its %s, and capture.max_scan is %s", config.Size(m.bytes), config.Size(limit)),
				"raise capture.max_scan, or install a strategy: acequia capture install")
		}
	case byTime:
		return s.lacksTime(m, no)
	}
	return nil
}

func (s *Source) lacksQueue(t *table, m means, no func(string, string, ...any) *sources.Missing, install func(string) *sources.Missing) *sources.Missing {
	rows := m.fires(queueTrigger)
	switch {
	case !m.queueTable:
		return install("the table acequia.queue is not there")
	case !rows && !m.perStatement(t.OID) || !m.has(t.OID, queueTruncate):
		return install("its triggers are not there, or not enabled always")
	case !slices.Equal(m.queuedKey, t.Key):
		return install("it is queued by another key than it has")
	case m.stopped:
		return install("the queue had reached its limit, and its triggers have stopped")
	case !rows && m.rowsAlone():
		return no("a subscription, a partition or a table that it inherits from changes rows without calling the triggers for statements",
			"acequia capture install --strategy queue --per-row --tables %s.%s --apply", t.Schema, t.Name)
	case m.standby:
		return no("a standby cannot delete from the queue", "connect to the primary")
	case !m.queueRight:
		return no("the role may not read and delete from the queue",
			"GRANT USAGE ON SCHEMA acequia TO CURRENT_ROLE; GRANT SELECT, DELETE ON acequia.queue TO CURRENT_ROLE; GRANT SELECT, UPDATE ON acequia.queued TO CURRENT_ROLE, with its name")
	}
	return nil
}

func (s *Source) lacksTime(m means, no func(string, string, ...any) *sources.Missing) *sources.Missing {
	switch {
	case m.timeType == "":
		return no("it has no column "+s.config.Capture.Column, "say capture.column")
	case m.timeType != withZone && (m.timeType != withoutZone || s.config.Capture.Zone == ""):
		return no("the column "+s.config.Capture.Column+" is "+m.timeType+", which says no moment",
			"make it timestamptz, or where every writer writes the time of one zone, say capture.zone")
	case m.standby:
		return no("the server is "+standbyBlind, "connect to the primary")
	case !m.allStats:
		return no("the role does not see the transactions of others, so that no time is known to be over", "GRANT pg_read_all_stats TO the role")
	case m.subscribed && s.config.Capture.Strategy == auto:
		return no("a subscription brings rows with the times of another server", "acequia capture install")
	case !m.timeIndex && s.config.Capture.Strategy == auto:
		return no("no index begins with "+s.config.Capture.Column, "CREATE INDEX CONCURRENTLY on it and the key")
	}
	return nil
}

// withZone is the type of a moment, and withoutZone that of a time that is none.
const (
	withZone    = "timestamp with time zone"
	withoutZone = "timestamp without time zone"
)

// risks says what may be missed of a table as it is followed now.
func (s *Source) risks(t *table) []string { return s.risksOf(t, t.facts, t.note.Strategy) }

func (s *Source) risksOf(t *table, m means, strategy string) []string {
	var risks []string
	add := func(format string, args ...any) { risks = append(risks, fmt.Sprintf(format, args...)) }
	switch strategy {
	case "":
		add("changes are not followed: the table is read anew every %s", s.config.Capture.Snapshot)
		return risks
	case xid, xmin, byTime:
		add("deletes, and old keys of rows whose key changed, are not seen: run acequia sweep")
	case queue:
		add("the queue grows while nothing reads it")
	case byLog:
		add("the server keeps its log while nothing reads it")
	}
	switch strategy {
	case xmin:
		add("each poll reads the whole table, %s now", config.Size(m.bytes))
		add("a transaction that stays open after it has written, in any database of the server, holds changes back")
	case byTime:
		column := s.config.Capture.Column
		add("a row is missed whose %s was not set by the database's clock in each write, such as by a trigger", column)
		if m.subscribed {
			add("a subscription brings rows with the times of another server: they are missed, but where an ENABLE ALWAYS trigger sets %s", column)
		}
		add("a transaction that stays open in this database holds changes back")
		if !m.timeNotNull {
			add("rows without %s are missed; there are %d", column, t.found.nulls.Load())
		}
		if !m.timeIndex {
			add("no index begins with %s: each poll reads the whole table", column)
		}
	}
	if held := t.found.held.Load(); held != nil {
		add("%s", *held)
	}
	if m.unlogged && strategy != byLog {
		add("it is unlogged: a crash of the server empties it, and nothing tells of that")
	}
	return risks
}
