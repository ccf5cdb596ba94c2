package mysql

import (
	"context"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

// logMeans is what of the server's settings and the user's rights the log needs.
type logMeans struct {
	asked     bool
	replica   bool              // the user may read the log
	filters   string            // databases that are left out of the log, or alone in it
	variables map[string]string // in upper case
}

// inspectLog asks the server. It asks for nothing that the user may not know: what is missing is said by lacksLog.
func inspectLog(ctx context.Context, c *mysql.Conn) (m logMeans, err error) {
	rows, err := c.Query(ctx, `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata',
		'binlog_row_value_options', 'binlog_transaction_compression', 'server_id', 'binlog_expire_logs_seconds', 'expire_logs_days')`)
	if err != nil {
		return m, mysql.Explain(err, "ask the server for its settings", c.Host())
	}
	m.asked, m.variables = true, map[string]string{}
	for _, r := range rows {
		m.variables[strings.ToLower(r.Text(0))] = strings.ToUpper(r.Text(1))
	}
	grants, err := c.Query(ctx, "SHOW GRANTS")
	if err != nil {
		return m, mysql.Explain(err, "ask for the rights of the user", c.Host())
	}
	slave, monitor := false, false
	for _, r := range grants {
		text := strings.ToUpper(r.Text(0))
		if rights, _, found := strings.Cut(text, " ON *.* TO "); found {
			all := strings.HasPrefix(rights, "GRANT ALL PRIVILEGES")
			slave = slave || all || strings.Contains(rights, "REPLICATION SLAVE")
			monitor = monitor || all || strings.Contains(rights, "BINLOG MONITOR") || strings.Contains(rights, "REPLICATION CLIENT") || strings.Contains(rights, "SUPER")
		}
	}
	m.replica = slave && monitor
	if m.replica && m.variables["log_bin"] == "ON" {
		row, err := c.QueryRow(ctx, "SHOW MASTER STATUS")
		if err != nil {
			return m, mysql.Explain(err, "ask where the log stands", c.Host())
		}
		if row != nil {
			m.filters = strings.TrimSpace(row.Text(2) + " " + row.Text(3))
		}
	}
	return m, nil
}

// logSettings are what the log needs of the server's settings, which can be changed while it runs.
var logSettings = []struct{ name, value, why string }{ //nolint:gochecknoglobals // a constant table
	{"binlog_format", "ROW", "the log must have the rows, not the statements that changed them; sessions that are open keep theirs"},
	{"binlog_row_image", "FULL", "each row must have all of its columns; sessions that are open keep theirs"},
	{"binlog_row_metadata", "FULL", "the log must name the columns"},
}

// never says why no statement makes a log that can be read, or "".
func (m logMeans) never(flavor mysql.Flavor) (reason, remedy string) {
	switch {
	case flavor != mysql.MariaDB:
		return "the logs of MySQL are not read yet, those of MariaDB are", "use another strategy"
	case m.variables["log_bin"] != "ON":
		return "the server has no binary log", "set log_bin in the server's configuration, and start it again"
	}
	return "", ""
}

// installLog gives the statements that let the log tell all, and the user read it. They last until the server starts again: its configuration
// must say the same.
func (s *Source) installLog(ctx context.Context, c *mysql.Conn) (all []sources.Statement, err error) {
	m, err := inspectLog(ctx, c)
	if err != nil {
		return nil, err
	}
	if reason, remedy := m.never(c.Flavor); reason != "" {
		return nil, &fault.Error{Class: fault.Fatal, Code: unfitCode, Place: c.Host(), Err: fmt.Errorf("strategy %s cannot be had: %s", byLog, reason), Remedy: remedy}
	}
	for _, w := range logSettings {
		if m.variables[w.name] != w.value {
			all = append(all, sources.Statement{SQL: "SET GLOBAL " + w.name + " = " + w.value, Why: w.why + "; write it into the server's configuration too"})
		}
	}
	if m.replica {
		return all, nil
	}
	row, err := c.QueryRow(ctx, "SELECT CURRENT_USER()")
	if err != nil {
		return nil, mysql.Explain(err, "ask who the user is", c.Host())
	}
	at := strings.LastIndexByte(row.Text(0), '@')
	user := mysql.Quote(row.Text(0)[:at]) + "@" + mysql.Quote(row.Text(0)[at+1:])
	return append(all, sources.Statement{SQL: "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO " + user, Why: "the user must read the log"}), nil
}

// lacksLog says why a table cannot be followed by the log; nil: it can.
func (s *Source) lacksLog(t *table, no func(string, string, ...any) *sources.Missing) *sources.Missing {
	s.mu.Lock()
	m, flavor := s.feed.means, s.server.Flavor
	s.mu.Unlock()
	if reason, remedy := m.never(flavor); reason != "" {
		return no(reason, "%s", remedy)
	}
	for _, w := range logSettings {
		if m.variables[w.name] != w.value {
			return no(fmt.Sprintf("%s is %s", w.name, m.variables[w.name]), "SET GLOBAL %s = %s, in the server's configuration too; sessions that are open keep theirs until they are made anew", w.name, w.value)
		}
	}
	switch {
	case !m.replica:
		return no("the user may not read the log", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO the user of the dsn")
	case m.filters != "":
		return no("the log leaves databases out (binlog_do_db, binlog_ignore_db): "+m.filters, "take the filters out of the server's configuration")
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Virtual {
			return no("the values of column "+c.Name+" are computed when they are read, and are not in the log", "make it STORED, or use another strategy")
		}
	}
	return nil
}
