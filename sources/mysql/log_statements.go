package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/acequia-io/acequia/record"
)

// query takes a statement of the log. Those that change what tables are, and those that change rows and are there as statements, concern
// tables that they name.
func (p *logPump) query(ctx context.Context, h *replication.EventHeader, e *replication.QueryEvent) error {
	words := statementWords(string(e.Query))
	first := ""
	if len(words) > 0 {
		first = strings.ToUpper(words[0])
	}
	switch first {
	case "BEGIN", "SAVEPOINT", "RELEASE":
		return nil
	case "COMMIT":
		return p.commit(ctx, h)
	case "ROLLBACK":
		if len(words) > 1 { // to a savepoint: rows of tables without transactions stand between
			return nil
		}
		if err := p.all(ctx, "a transaction that was rolled back has changed tables without transactions"); err != nil {
			return err
		}
		return p.commit(ctx, h)
	case "XA":
		if err := p.prepares(ctx, words); err != nil {
			return err
		}
	default:
		if err := p.statement(ctx, string(e.Schema), first, words); err != nil {
			return err
		}
	}
	if p.single || !p.inside {
		return p.commit(ctx, h)
	}
	return nil
}

// prepares takes the beginning and the end of a transaction that is prepared. Its rows come when it is, and it may be rolled back: the tables
// that it changes are read anew when it is committed. Those of one that was prepared before the log was first read are not known.
func (p *logPump) prepares(ctx context.Context, words []string) error {
	if len(words) < 3 {
		return nil
	}
	id := strings.Join(words[2:], "")
	switch strings.ToUpper(words[1]) {
	case "START", "BEGIN":
		p.xid = id
		return nil
	case "COMMIT":
	case "ROLLBACK":
		delete(p.prepared, id)
		return nil
	default:
		return nil
	}
	const why = "a prepared transaction (XA) was committed, whose rows the log has from before that was known"
	streams, known := p.prepared[id]
	delete(p.prepared, id)
	if !known {
		return p.all(ctx, why)
	}
	for _, stream := range streams {
		if t := p.source.table(stream); t != nil && t.logged() {
			if err := p.readAnew(ctx, t, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// all has all tables of the log read anew.
func (p *logPump) all(ctx context.Context, why string) error {
	p.source.mu.Lock()
	tables := p.source.sorted()
	p.source.mu.Unlock()
	for _, t := range tables {
		if p.follows(t) {
			if err := p.readAnew(ctx, t, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// follows says whether what the transaction tells of a table concerns what is known of it.
func (p *logPump) follows(t *table) bool {
	return t.logged() && t.note.Log.Feed == p.epoch && t.note.Log.Broken == "" && p.number >= t.note.Log.From
}

// harmless are statements that change no rows of tables that have any, by their first word.
var harmless = []string{ //nolint:gochecknoglobals // a constant table
	"GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK", "USE", "#",
}

// harmlessObjects are what may be made, altered or dropped without a change of rows.
var harmlessObjects = []string{ //nolint:gochecknoglobals // a constant table
	"USER", "ROLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE", "SERVER", "SEQUENCE", "TABLESPACE",
}

// statement takes any other statement: each table of the log that it names is told what has become of it.
func (p *logPump) statement(ctx context.Context, database, first string, words []string) error {
	if slices.Contains(harmless, first) || (first == "CREATE" || first == "ALTER" || first == "DROP") && concerns(words) {
		return nil
	}
	p.source.mu.Lock()
	tables := p.source.sorted()
	p.source.mu.Unlock()
	for _, t := range tables {
		if !p.follows(t) || !names(words, database, t, first) {
			continue
		}
		var err error
		switch first {
		case "TRUNCATE":
			err = p.truncate(ctx, t)
		case "ALTER", "CREATE", "DROP", "RENAME":
			err = p.altered(ctx, t, first, words)
		default:
			err = p.readAnew(ctx, t, "a session has written the statement "+first+" into the log, not the rows that it changed (binlog_format)")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// concerns says whether what is made, altered or dropped is none that has rows.
func concerns(words []string) bool {
	for _, w := range words[1:min(len(words), 12)] {
		w = strings.ToUpper(w)
		if w == "TABLE" || w == "INDEX" || w == "DATABASE" || w == "SCHEMA" {
			return false
		}
		if slices.Contains(harmlessObjects, w) {
			return true
		}
	}
	return false
}

// names says whether a statement names a table, or its database as a whole.
func names(words []string, database string, t *table, first string) bool {
	for i, w := range words {
		before := i >= 2 && words[i-1] == "."
		switch {
		case strings.EqualFold(w, t.Name) && before:
			if strings.EqualFold(words[i-2], t.Database) {
				return true
			}
		case strings.EqualFold(w, t.Name) && strings.EqualFold(database, t.Database):
			return true
		case first == "DROP" && i > 0 && i < 5 && strings.EqualFold(w, t.Database) &&
			slices.ContainsFunc(words[:i], func(w string) bool { return strings.EqualFold(w, "DATABASE") || strings.EqualFold(w, "SCHEMA") }):
			return true
		}
	}
	return false
}

// altered looks what a statement has done to a table. One that adds a column that is empty in all rows, drops one, or makes or drops an
// index leaves the rows that the log has told of as they are. Anything else may not.
func (p *logPump) altered(ctx context.Context, t *table, first string, words []string) error {
	upper := make([]string, len(words))
	for i, w := range words {
		upper[i] = strings.ToUpper(w)
	}
	has := func(some ...string) bool {
		return slices.ContainsFunc(upper, func(w string) bool { return slices.Contains(some, w) })
	}
	p.source.stale()
	indexes := (first == "CREATE" || first == "DROP") && has("INDEX")
	switch {
	case indexes:
		return nil
	case first != "ALTER":
		return p.readAnew(ctx, t, fmt.Sprintf("the statement %s %s concerns it", first, strings.Join(upper[1:min(len(upper), 3)], " ")))
	case has("CHANGE", "MODIFY", "RENAME", "CONVERT", "DEFAULT", "NOT", "PARTITION", "EXCHANGE", "IMPORT", "DISCARD", "AS", "GENERATED", "PERIOD", "SYSTEM", "ENGINE", "AUTO_INCREMENT", "SERIAL", "TIMESTAMP", "PRIMARY"): // a TIMESTAMP may be filled without a word of it (explicit_defaults_for_timestamp)
		return p.readAnew(ctx, t, "ALTER TABLE may have changed its rows, or the names of their columns")
	}
	return nil
}

// stale lets the catalog be asked again at once.
func (s *Source) stale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = s.refreshed.Add(-refreshEvery)
}

// truncate gives the record that says that all of a table is gone.
func (p *logPump) truncate(ctx context.Context, t *table) error {
	r := p.relations[t.Database+"\x00"+t.Name]
	if r == nil {
		r = &relation{}
		p.relations[t.Database+"\x00"+t.Name] = r
	}
	if err := p.flush(ctx, r); err != nil {
		return err
	}
	layout, err := p.source.layout(t)
	if err != nil {
		return err
	}
	r.table, r.raw, r.gather, r.live = *t, nil, nil, false // it is described anew before its next rows
	b := record.NewBuilder(layout.Schema, 1)
	b.Next()
	r.rows = []logRow{{op: record.Truncate, index: 2, number: p.number, when: p.when}}
	r.system(1, b.System())
	if p.rows == 0 {
		p.first, p.oldest = time.Now(), p.when
	}
	p.batches = append(p.batches, b.Batch(nil))
	p.rows++
	return nil
}

// statementWords cuts a statement into names, words and signs. Comments are left out, but for those that the server runs; texts keep their quotes, so
// that they are no names.
func statementWords(sql string) (words []string) {
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case strings.HasPrefix(sql[i:], "/*!") || strings.HasPrefix(sql[i:], "/*M!"):
			i += 3 + strings.IndexByte(sql[i+2:], '!')
			for i < len(sql) && sql[i] >= '0' && sql[i] <= '9' {
				i++
			}
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 {
				return words
			}
			i += end + 4
		case strings.HasPrefix(sql[i:], "*/"):
			i += 2
		case c == '#' || strings.HasPrefix(sql[i:], "-- "):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return words
			}
			i += end
		case c == '`' || c == '"' || c == '\'':
			text, n := quotedWord(sql[i:])
			if c == '\'' {
				text = "'" + text + "'"
			}
			words, i = append(words, text), i+n
		case wordByte(c):
			from := i
			for i < len(sql) && wordByte(sql[i]) {
				i++
			}
			words = append(words, sql[from:i])
		default:
			words, i = append(words, sql[i:i+1]), i+1
		}
	}
	return words
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// quotedWord reads what stands in quotes, and says how long it is with them.
func quotedWord(sql string) (text string, n int) {
	var out strings.Builder
	quote := sql[0]
	for n = 1; n < len(sql); n++ {
		switch {
		case sql[n] == '\\' && quote != '`' && n+1 < len(sql):
			n++
			out.WriteByte(sql[n])
		case sql[n] != quote:
			out.WriteByte(sql[n])
		case n+1 < len(sql) && sql[n+1] == quote:
			out.WriteByte(quote)
			n++
		default:
			return out.String(), n + 1
		}
	}
	return out.String(), n
}
