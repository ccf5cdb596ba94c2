package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
)

// guard is what the catalog said of a table when its changes were last complete. No trigger and no row's transaction tells of a
// TRUNCATE, of an ALTER TABLE that writes the rows anew, of a partition that was attached with rows in it, or of changes made
// while a trigger was disabled. Each of them leaves its mark in the catalog.
type guard struct {
	Seen    string          `json:"seen"`             // the moment of the look
	Columns string          `json:"columns"`          // as markOf writes them
	Files   map[uint32]file `json:"files"`            // by the table's OID, or its partitions' and children's
	Labels  string          `json:"labels,omitempty"` // of its enums: number and name, a line each
	Gone    []string        `json:"gone,omitempty"`   // columns that were dropped
}

// file is where the rows of a table or partition are.
type file struct {
	Node     uint32 `json:"node"`               // pg_class.relfilenode: another one after each rewrite
	Triggers string `json:"triggers,omitempty"` // of the strategy: a row of pg_trigger has another xmin after each change
	joined   string // the transaction that made it a partition or child
	made     string // and that which made it, or changed its name or owner since
}

// sight is one look at the catalog; all of it is of one snapshot.
type sight struct {
	guard
	at      visible
	standby bool
	clock   time.Time // the server's
}

// anew says that a table must be read anew, since its changes are not complete any more.
type anew struct{ why string }

// Error gives the reason.
func (a *anew) Error() string { return "the table must be read anew: " + a.why }

// lookSQL asks for a table and its partitions: a row each. It reads the catalog as any table is read, so that what it says is of the
// snapshot that it gives.
const lookSQL = `
WITH RECURSIVE tree(oid, joined) AS (
	SELECT $1::oid, '' UNION ALL SELECT i.inhrelid, i.xmin::text FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
		JOIN pg_class p ON p.oid = i.inhrelid AND p.relispartition WHERE NOT i.inhdetachpending)
SELECT pg_current_snapshot()::text, pg_is_in_recovery(), clock_timestamp(), c.oid, c.relfilenode, tree.joined,
	coalesce((SELECT y.xmin::text FROM pg_type y WHERE y.oid = c.reltype), ''),
	coalesce((SELECT string_agg(concat_ws(':', t.oid, t.xmin, t.tgenabled), ',' ORDER BY t.oid) FROM pg_trigger t
		WHERE t.tgrelid = c.oid AND $2 <> '' AND starts_with(t.tgname::text, $2)), ''),
	CASE WHEN c.oid = $1 THEN ` + columnsSQL + ` ELSE '' END,
	CASE WHEN c.oid = $1 THEN (SELECT coalesce(string_agg(concat_ws(' ', e.oid, e.enumlabel), E'\n' ORDER BY e.oid), '') FROM pg_enum e WHERE e.enumtypid = ANY($3)) ELSE '' END,
	c.oid <> $1 OR coalesce(to_regclass($4) = c.oid, false)
FROM tree JOIN pg_class c ON c.oid = tree.oid`

// look asks for the moment, and for what the guard of a table is compared with. triggers is how the names of the strategy's begin.
func look(ctx context.Context, c *postgres.Conn, t *table, triggers string) (sight, error) {
	s := sight{guard: guard{Files: map[uint32]file{}}}
	rows, err := c.Query(ctx, lookSQL, t.OID, triggers, enums(t.Table), t.Quoted())
	if err != nil {
		return s, postgres.Explain(err, "look at "+t.Quoted(), t.stream)
	}
	var oid uint32
	var columns, labels string
	var f file
	var itself, moved bool
	_, err = pgx.ForEachRow(rows, []any{&s.Seen, &s.standby, &s.clock, &oid, &f.Node, &f.joined, &f.made, &f.Triggers, &columns, &labels, &itself}, func() error {
		if oid == t.OID {
			s.Columns, s.Labels = columns, labels
		}
		moved = moved || !itself
		s.Files[oid] = f
		return nil
	})
	switch {
	case err != nil:
		return s, postgres.Explain(err, "look at "+t.Quoted(), t.stream)
	case len(s.Files) == 0:
		return s, errGone
	case moved || s.Columns != markOf(t.Table): // another table may have its name by now
		return s, fmt.Errorf("poll %s: %w", t.Quoted(), errOutdated)
	}
	if s.at, err = parseVisible(s.Seen); err != nil {
		return s, fault.Stop(err)
	}
	if s.standby {
		s.at = s.at.floor()
	}
	return s, nil
}

// enums gives the types of a table's columns, and of what they are made of, whose values have names.
func enums(t *postgres.Table) []uint32 {
	found := []uint32{}
	var in func(of *postgres.Type)
	in = func(of *postgres.Type) {
		if of.Class == 'e' {
			found = append(found, of.OID)
		}
		if of.Element != nil {
			in(of.Element)
		}
		for i := range of.Members {
			in(&of.Members[i].Type)
		}
	}
	for i := range t.Columns {
		in(&t.Columns[i].Type)
	}
	return found
}

// watch is the guard of a table that is polled.
type watch struct {
	source   *Source
	table    *table
	writers  bool                 // the strategy goes by the writers of rows
	triggers string               // how the names of the strategy's begin; "": it has none
	deletes  bool                 // the strategy sees them, so that a partition that is gone must not go unseen
	emptied  func() (bool, error) // whether the strategy itself tells of a TRUNCATE since the last look; nil: it never does
	guard    *guard
	looked   uint64
}

// key is where it is kept. Each incarnation of a stream has its own.
func (w *watch) key() string {
	return "guard " + w.table.stream + "@" + strconv.Itoa(int(w.table.note.Epoch))
}

// begin takes what is there now for what is complete.
func (w *watch) begin(ctx context.Context, c *postgres.Conn, t *table) (sight, error) {
	w.table = t
	now, err := look(ctx, c, t, w.triggers)
	if err != nil {
		return now, err
	}
	w.guard = new(now.guard)
	return now, w.save(ctx)
}

func (w *watch) save(ctx context.Context) error {
	text, err := json.Marshal(w.guard)
	if err != nil {
		return fmt.Errorf("keep what the catalog says of %s: %w", w.table.stream, err)
	}
	return w.source.state.Save(ctx, w.key(), text)
}

func (w *watch) load(ctx context.Context) error {
	if w.guard != nil {
		return nil
	}
	text, err := w.source.state.Load(ctx, w.key())
	if err != nil {
		return err
	}
	g := &guard{}
	if text == nil || json.Unmarshal(text, g) != nil {
		return &anew{"what is kept of it does not say what the catalog was"}
	}
	w.guard = g
	return nil
}

// see looks, and says whether the changes since the last look are complete: if not, the error is an *anew. looked is a transaction
// below which all had ended when a look gave the position that the table stands at; 0: not known.
func (w *watch) see(ctx context.Context, c *postgres.Conn, t *table, looked uint64) (sight, error) {
	w.table, w.looked = t, looked
	if err := w.load(ctx); err != nil {
		return sight{}, err
	}
	now, err := look(ctx, c, t, w.triggers)
	if err != nil {
		return now, err
	}
	return now, w.compare(ctx, c, now)
}

func (w *watch) compare(ctx context.Context, c *postgres.Conn, now sight) error {
	if now.Columns == w.guard.Columns && now.Labels == w.guard.Labels && maps.EqualFunc(now.Files, w.guard.Files, func(a, b file) bool {
		return a.Node == b.Node && a.Triggers == b.Triggers
	}) {
		w.guard.Seen = now.Seen
		return nil
	}
	if err := w.labels(now); err != nil {
		return err
	}
	gone := w.guard.Gone
	if now.Columns != w.guard.Columns {
		var err error
		if gone, err = w.columns(ctx, c); err != nil {
			return err
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(w.guard.Files)) {
		if err := w.file(ctx, c, now, oid); err != nil {
			return err
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(now.Files)) {
		if _, known := w.guard.Files[oid]; !known {
			if err := w.joined(ctx, c, now, oid); err != nil {
				return err
			}
		}
	}
	w.guard = new(now.guard)
	w.guard.Gone = gone
	return w.save(ctx)
}

// numbered reads lines of which each begins with a number: what stands after so many words, by that number.
func numbered(lines string, words int) map[string]string {
	names := map[string]string{}
	for line := range strings.SplitSeq(lines, "\n") {
		if parts := strings.SplitN(line, " ", words+1); len(parts) == words+1 {
			names[parts[0]] = parts[words]
		}
	}
	return names
}

// labels looks at the names of enums' values: rows that have one are others when it is called otherwise.
func (w *watch) labels(now sight) error {
	labels := numbered(now.Labels, 1)
	for number, before := range numbered(w.guard.Labels, 1) {
		if label, there := labels[number]; there && label != before {
			return &anew{"the value " + before + " of an enum is called " + label + " now"}
		}
	}
	return nil
}

// columns looks at what changed of them, and gives all that were dropped. Rows that were there before have the default of a column that
// was added, or the values of one that has another name now, or none in one that was dropped and made again, and nothing tells of it.
func (w *watch) columns(ctx context.Context, c *postgres.Conn) (gone []string, err error) {
	names := numbered(w.guard.Columns, 3) // by number
	var added []int16
	for i := range w.table.Columns {
		column := &w.table.Columns[i]
		number := strconv.Itoa(int(column.Num))
		switch before, there := names[number]; {
		case !there:
			added = append(added, column.Num)
		case before != column.Name:
			return nil, &anew{"column " + before + " is called " + column.Name + " now"}
		}
		delete(names, number)
	}
	gone = slices.Concat(w.guard.Gone, slices.Sorted(maps.Values(names)))
	for i := range w.table.Columns {
		if column := &w.table.Columns[i]; slices.Contains(added, column.Num) && slices.Contains(gone, column.Name) {
			return nil, &anew{"column " + column.Name + " was dropped and made again"}
		}
	}
	var filled bool
	err = c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1 AND attnum = ANY($2)
		AND (atthasdef OR atthasmissing OR attidentity <> '' OR attgenerated <> ''))`, w.table.OID, added).Scan(&filled)
	switch {
	case err != nil:
		return nil, postgres.Explain(err, "look at the columns of "+w.table.Quoted(), w.table.stream)
	case filled:
		return nil, &anew{"a column was added with a default, which its rows have without being changed"}
	}
	return gone, nil
}

// file compares a table or partition that was there before.
func (w *watch) file(ctx context.Context, c *postgres.Conn, now sight, oid uint32) error {
	before := w.guard.Files[oid]
	f, there := now.Files[oid]
	switch {
	case !there && w.deletes:
		return &anew{"a partition was detached or dropped"}
	case !there:
		w.source.log.WarnContext(ctx, "a partition was detached or dropped; its rows are deletes that this strategy does not see",
			slog.Any("table", w.table), slog.String("remedy", "acequia sweep"))
		return nil
	case f.Triggers != before.Triggers:
		return &anew{"a trigger of acequia was disabled, enabled, dropped or made since"}
	case f.Node == before.Node:
		return nil
	}
	seen, err := parseVisible(w.guard.Seen)
	if err != nil {
		return fault.Stop(err)
	}
	last := max(seen.xmin, w.looked)
	same, err := w.older(ctx, c, oid, "age(xmin) > age($1::text::xid)", low32(last))
	switch {
	case err != nil:
		return err
	case now.at.xmax-last > mostXIDs:
		return &anew{"its rows are in another file than so long ago that their writers do not tell whether they are the same"}
	case !same && w.emptied != nil && oid == w.table.OID:
		if told, err := w.emptied(); err != nil || told {
			return err
		}
		fallthrough
	case !same:
		return &anew{"it was truncated, or its rows were rewritten by ALTER TABLE"}
	}
	w.source.log.InfoContext(ctx, "the table was rewritten with the rows that it had, as VACUUM FULL does", slog.Any("table", w.table))
	return nil
}

// joined looks at a partition or child that was not there before. One that was made empty gets its rows from writers whom the
// strategy sees; rows that were in it when it was attached it does not. When it was there before it was attached, others can have
// written it after the transaction that attached it had begun: then the writers do not tell, but to a strategy that goes by them.
func (w *watch) joined(ctx context.Context, c *postgres.Conn, now sight, oid uint32) error {
	f, condition := now.Files[oid], "age(xmin) >= age($1::text::xid)"
	if seen, err := parseVisible(w.guard.Seen); err != nil {
		return fault.Stop(err)
	} else if !w.writers && f.made != f.joined || now.at.xmax-max(seen.xmin, w.looked) > mostXIDs {
		condition = "$1::text <> ''"
	}
	had, err := w.older(ctx, c, oid, condition, f.joined)
	switch {
	case err != nil:
		return err
	case had:
		return &anew{"a partition was attached with rows in it"}
	case w.triggers != "" && f.Triggers == "" && w.guard.Files[w.table.OID].Triggers != "":
		return &anew{"a partition or child has no trigger of acequia"}
	}
	return nil
}

// older says whether a table or partition has a row of which a condition is true, of its writer and a transaction. VACUUM FULL, CLUSTER and pg_repack
// keep the writers of rows; TRUNCATE leaves no row, and ALTER TABLE writes all of them itself.
func (w *watch) older(ctx context.Context, c *postgres.Conn, oid uint32, condition, than string) (found bool, err error) {
	var name, kind string
	err = c.QueryRow(ctx, `SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = $1`, oid).Scan(&name, &kind)
	if err == nil && (kind == "r" || kind == "m") {
		err = c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ONLY "+name+" WHERE "+condition+")", than).Scan(&found)
	}
	return found, postgres.Explain(err, "look for rows from before in "+name, w.table.stream)
}

// low32 is a transaction as the xmin of a row has it. The first three numbers are none of transactions.
func low32(xid uint64) string {
	return strconv.FormatUint(max(xid&(1<<32-1), 3), 10)
}
