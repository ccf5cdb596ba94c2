package mysql

import (
	"context"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

// The statements of a SEQUENCE (https://mariadb.com/kb/en/sequences/), and of the defaults that count by one: these want the sequence to be
// where they say that it is, so it gets its place before they are set, and the tables get theirs after.
const (
	makesSequence = "CREATE SEQUENCE "
	setsSequence  = "SELECT SETVAL("
	nextOf        = "nextval("
)

// sequence is one that is being made again.
type sequence struct{ name, from, to string } // as the backup's statements write it, while it is made, and in its place

// countsBy gives what makes a default again that counts by sequences of the table's database; ok: it can be. It is asked for where they stand
// after the snapshot, so that no row has a number that is still to come.
func (d *definer) countsBy(ctx context.Context, t *mysql.Table, c *sources.ColumnDefinition, name string) (statements []string, ok bool, err error) {
	value, rest := "", c.Default
	for {
		at := outside(rest, nextOf)
		if at < 0 {
			break
		}
		value += rest[:at] + nextOf
		parts, after := identifiers(rest[at+len(nextOf):])
		if len(parts) != 2 || parts[0] != t.Database || !strings.HasPrefix(after, ")") {
			return nil, false, nil
		}
		made, err := d.sequence(ctx, parts[0], parts[1])
		if err != nil || made == nil {
			return nil, false, err
		}
		statements = append(statements, made...)
		value, rest = value+d.name(parts[0], parts[1]), after
	}
	return append(statements, "ALTER TABLE "+name+" ALTER COLUMN "+mysql.Quote(c.Name)+" SET DEFAULT ("+value+rest+")"), true, nil
}

// sequence gives what makes one again and lets it go on; none: the user may not look.
func (d *definer) sequence(ctx context.Context, database, name string) ([]string, error) {
	quoted := mysql.Quote(database) + "." + mysql.Quote(name)
	made, err := d.conn.QueryRow(ctx, "SHOW CREATE SEQUENCE "+quoted)
	var next mysql.Row
	if err == nil {
		next, err = d.conn.QueryRow(ctx, "SELECT next_not_cached_value FROM "+quoted)
	}
	const denied, deniedColumn = 1142, 1143
	if said := mysql.Said(err); said == denied || said == deniedColumn {
		return nil, nil
	}
	if err != nil {
		return nil, mysql.Explain(err, "look at the sequence "+quoted, d.info.Database)
	}
	options, ok := strings.CutPrefix(made.Text(1), makesSequence+mysql.Quote(name)+" ")
	if !ok {
		return nil, nil
	}
	d.kept = append(d.kept, database+"."+name)
	own := d.name(database, name)
	return []string{makesSequence + own + " " + options, setsSequence + own + ", " + next.Text(0) + ", 0)"}, nil
}

// find notes the sequences of the backup's statements, each once.
func (r *restoration) find(t *sources.SnapshotTable) error {
	for _, s := range t.Definition.Finish {
		rest, ok := strings.CutPrefix(s, makesSequence)
		if !ok {
			continue
		}
		parts, after := identifiers(rest)
		name := strings.TrimSuffix(rest, after)
		if slices.ContainsFunc(r.sequences, func(o sequence) bool { return o.name == name }) {
			continue
		}
		database, own, err := r.target(&sources.SnapshotTable{Schema: t.Schema, Definition: sources.Definition{Name: name}})
		if err != nil || r.staged[database] == "" || len(parts) == 0 {
			return r.unlike(t, s)
		}
		r.sequences = append(r.sequences, sequence{name, mysql.Quote(r.staged[database]) + "." + mysql.Quote(own), mysql.Quote(database) + "." + mysql.Quote(own)})
	}
	return nil
}

// ofSequence says whether a statement is of a sequence, and gives it as it is run while that is made. One that two tables count by is made once.
func (r *restoration) ofSequence(s string) (statement string, ok bool) {
	for _, q := range r.sequences {
		if rest, is := strings.CutPrefix(s, makesSequence+q.name+" "); is {
			return "CREATE SEQUENCE IF NOT EXISTS " + q.from + " " + rest, true
		}
		if rest, is := strings.CutPrefix(s, setsSequence+q.name+", "); is {
			return setsSequence + q.from + ", " + rest, true
		}
	}
	return "", false
}

// counting gives a default that counts by sequences, which are in their places.
func (r *restoration) counting(s string) string {
	for _, q := range r.sequences {
		out, call := "", nextOf+q.name+")"
		for at := outside(s, call); at >= 0; at = outside(s, call) {
			out, s = out+s[:at]+nextOf+q.to+")", s[at+len(call):]
		}
		s = out + s
	}
	return s
}

// placeSequences puts the sequences into their places.
func (r *restoration) placeSequences(ctx context.Context) error {
	if len(r.sequences) == 0 {
		return nil
	}
	renames := make([]string, len(r.sequences))
	for i, q := range r.sequences {
		renames[i] = q.from + " TO " + q.to
	}
	if err := r.run(ctx, r.place(), "RENAME TABLE "+strings.Join(renames, ", ")); err != nil {
		return err
	}
	r.placed = true
	return nil
}
