package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

// The types of columns that say when a row was changed.
const (
	withZone    = "timestamp"
	withoutZone = "datetime"
)

// means is what there is to find a table's changes by.
type means struct {
	process  bool     // the user sees the statements and transactions of others
	byText   bool     // the server's log has statements, which leaves no delete without locks between rows
	replica  bool     // rows come from another server, with its times, and call no triggers where its log has rows
	cascades []string // foreign keys of the table by which a change of another one changes its rows

	queued     bool              // the table of its queue is there, and its line in acequia.queued
	queueRight bool              // and the rights on them
	queuedKey  string            // that the triggers queue rows by
	triggers   map[string]string // those of acequia, with what they do
	strays     []string          // triggers of its names that are on another table, as after a RENAME TABLE

	timeType    string // of the column that strategy time goes by; "": there is none
	timeNotNull bool
	timeIndex   bool
}

// means asks the catalog.
func (s *Source) means(ctx context.Context, c *mysql.Conn, t *table) (m means, err error) {
	defer func() {
		err = mysql.Explain(err, fmt.Sprintf("look how changes of %s can be found", t.Quoted()), t.stream)
		t.facts = m
	}()
	s.mu.Lock()
	m.process = s.server.Process
	s.mu.Unlock()
	if m.replica, err = isReplica(ctx, c); err != nil {
		return m, err
	}
	rows, err := c.Query(ctx, `SELECT constraint_name, update_rule, delete_rule, referenced_table_name FROM information_schema.referential_constraints
		WHERE constraint_schema = ? AND table_name = ?`, t.Database, t.Name)
	if err != nil {
		return m, err
	}
	for _, r := range rows {
		for i, event := range []string{"UPDATE", "DELETE"} {
			if rule := r.Text(1 + i); rule == "CASCADE" || rule == "SET NULL" || rule == "SET DEFAULT" {
				m.cascades = append(m.cascades, fmt.Sprintf("%s (ON %s %s, of %s)", r.Text(0), event, rule, r.Text(3)))
			}
		}
	}
	logged, err := c.Query(ctx, "SHOW SESSION VARIABLES WHERE (Variable_name = 'log_bin' AND Value = 'ON') OR (Variable_name = 'binlog_format' AND Value = 'STATEMENT')")
	if err != nil {
		return m, err
	}
	m.byText = len(logged) > 1
	if err := s.queueMeans(ctx, c, t, &m); err != nil {
		return m, err
	}
	column := t.Column(s.config.Capture.Column)
	if column == nil {
		return m, nil
	}
	m.timeType, m.timeNotNull = column.Type.Data, column.NotNull
	row, err := c.QueryRow(ctx, `SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND column_name = ? AND seq_in_index = 1`,
		t.Database, t.Name, column.Name)
	if err == nil {
		m.timeIndex = row.Bool(0)
	}
	return m, err
}

// isReplica says whether the server follows another. One whose user may not ask is taken for none.
func isReplica(ctx context.Context, c *mysql.Conn) (bool, error) {
	row, err := c.QueryRow(ctx, `SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'system user' AND (command LIKE 'Slave%' OR command = 'Connect' OR state LIKE '%relay log%')`)
	return err == nil && row.Bool(0), err
}

// lacks says why a table cannot have a strategy; nil: it can.
func (s *Source) lacks(t *table, m means, strategy string) *sources.Missing {
	no := func(reason, remedy string, args ...any) *sources.Missing {
		return &sources.Missing{Strategy: strategy, Reason: reason, Remedy: fmt.Sprintf(remedy, args...)}
	}
	if len(m.cascades) > 0 && s.refusesCascades() {
		return no("foreign keys change its rows, and neither triggers nor the log tell of it: "+strings.Join(m.cascades, ", "),
			"say capture.cascades: sweep, and run acequia sweep every so often; or let the application change these rows")
	}
	switch strategy {
	case byLog:
		return s.lacksLog(t, no)
	case queue:
		return s.lacksQueue(t, m, no)
	case byTime:
		return s.lacksTime(m, no)
	}
	return nil
}

func (s *Source) refusesCascades() bool { return s.config.Capture.Cascades != sweepCascades }

func (s *Source) lacksTime(m means, no func(string, string, ...any) *sources.Missing) *sources.Missing {
	column := s.config.Capture.Column
	switch {
	case m.timeType == "":
		return no("it has no column "+column, "say capture.column")
	case m.timeType != withZone && (m.timeType != withoutZone || s.config.Capture.Zone == ""):
		return no("the column "+column+" is "+m.timeType+", which says no moment", "make it TIMESTAMP, or where every writer writes the time of one zone, say capture.zone")
	case m.replica:
		return no("the server is a replica, which does not know the statements of its primary", "connect to the primary")
	case !m.process:
		return no("the user does not see the statements of others, so that no time is known to be over", "GRANT PROCESS ON *.* TO the user of the dsn")
	case !m.timeIndex && s.config.Capture.Strategy == auto:
		return no("no index begins with "+column, "CREATE INDEX on it and the key")
	}
	return nil
}

// risks says what may be missed of a table as it is followed now.
func (s *Source) risks(t *table) []string { return s.risksOf(t, t.facts, t.note.Strategy) }

func (s *Source) risksOf(t *table, m means, strategy string) []string {
	var risks []string
	add := func(format string, args ...any) { risks = append(risks, fmt.Sprintf(format, args...)) }
	if len(m.cascades) > 0 && strategy != "" {
		add("changes by foreign keys are not seen: run acequia sweep; %s", strings.Join(m.cascades, ", "))
	}
	switch strategy {
	case "":
		add("changes are not followed: the table is read anew every %s", s.config.Capture.Snapshot)
	case byLog:
		add("the server throws its log away after a time, whether it was read or not; then the table is read anew")
	case queue:
		add("the queue grows while nothing reads it")
	case byTime:
		column := s.config.Capture.Column
		add("deletes, and old keys of rows whose key changed, are not seen: run acequia sweep")
		add("a row is missed whose %s was not set by the database's clock in each write: explicit values, SET timestamp, SYSDATE and LOAD DATA may do so", column)
		add("a transaction that stays open after it has written holds changes back")
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
	if strategy != "" && !strings.EqualFold(t.Engine, "InnoDB") {
		add("its engine %s has no transactions: a crash of the server may lose or bring back rows, and nothing tells of that", t.Engine)
	}
	return risks
}
