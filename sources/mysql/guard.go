package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/mysql"
)

// fileOf tells a table's rows from those of another file: TRUNCATE, DROP and an ALTER TABLE that writes the rows anew give a table another
// number, and another time of its making. Numbers are to be had with the right PROCESS; they stay when a column is added in place.
func (s *Source) fileOf(ctx context.Context, c *mysql.Conn, t *mysql.Table) (string, error) {
	if t.View {
		return "", nil
	}
	s.mu.Lock()
	process, flavor := s.server.Process, s.server.Flavor
	s.mu.Unlock()
	if process && t.Transactional() && plainName(t.Database) && plainName(t.Name) {
		catalog := "innodb_tables"
		if flavor == mysql.MariaDB {
			catalog = "innodb_sys_tables"
		}
		name := t.Database + "/" + t.Name
		rows, err := c.Query(ctx, "SELECT table_id, name FROM information_schema."+catalog+" WHERE name = ? OR name LIKE ?", name, strings.ReplaceAll(name, "_", "|_")+"#p#%")
		if err != nil {
			return "", mysql.Explain(err, "look where "+t.Quoted()+" is", t.Stream())
		}
		var numbers []string
		for _, r := range rows {
			if folder, _, _ := strings.Cut(strings.ToLower(r.Text(1)), "#p#"); folder == strings.ToLower(name) {
				numbers = append(numbers, r.Text(0))
			}
		}
		if len(numbers) > 0 {
			slices.Sort(numbers)
			return numbered + strings.Join(numbers, ","), nil
		}
	}
	row, err := c.QueryRow(ctx, "SELECT create_time FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", t.Database, t.Name)
	if err != nil || row == nil {
		return "", mysql.Explain(err, "look where "+t.Quoted()+" is", t.Stream())
	}
	return "made " + row.Text(0), nil
}

// numbered begins what fileOf gives by numbers.
const numbered = "number "

// other says whether two files are not the same. What was told by numbers and by time is not compared: a right has come or gone.
func other(a, b string) bool {
	return a != b && strings.HasPrefix(a, numbered) == strings.HasPrefix(b, numbered)
}

// plainName says whether InnoDB's files are called as the table is.
func plainName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_'
	})
}

// guard is what the catalog said of a table when its changes were last complete. No trigger and no time tells of a TRUNCATE, of an ALTER
// TABLE that changes values, or of changes made while a trigger was away. Each of them leaves its mark in the catalog.
type guard struct {
	File     string   `json:"file"`
	Columns  []string `json:"columns"`
	Triggers string   `json:"triggers,omitempty"` // of the strategy, and when they were made
}

// watch is the guard of a table that is polled.
type watch struct {
	source   *Source
	triggers bool // the strategy has some
	guard    *guard
}

// key is where it is kept. Each incarnation of a stream has its own.
func (w *watch) key(t *table) string {
	return "guard " + t.stream + "@" + strconv.Itoa(int(t.note.Epoch))
}

// look asks for what is compared.
func (w *watch) look(ctx context.Context, c *mysql.Conn, t *table) (now guard, err error) {
	if now.File, err = w.source.fileOf(ctx, c, t.Table); err != nil {
		return now, err
	}
	for i := range t.Columns {
		now.Columns = append(now.Columns, t.Columns[i].Name)
	}
	if w.triggers {
		var made []string
		found, err := triggersOf(ctx, c, t.Table)
		for _, one := range found {
			made = append(made, one.name+" "+one.made)
		}
		now.Triggers = strings.Join(made, ", ")
		return now, err
	}
	return now, nil
}

// begin takes what is there now for what is complete.
func (w *watch) begin(ctx context.Context, c *mysql.Conn, t *table) error {
	now, err := w.look(ctx, c, t)
	if err != nil {
		return err
	}
	w.guard = &now
	return w.save(ctx, t)
}

func (w *watch) save(ctx context.Context, t *table) error {
	text, err := json.Marshal(w.guard)
	if err != nil {
		return fmt.Errorf("keep what the catalog says of %s: %w", t.stream, err)
	}
	return w.source.state.Save(ctx, w.key(t), text)
}

// see looks, and says whether the changes since the last look are complete: if not, the error is an *anew. The table is locked, so that
// nothing is altered before the poll has ended.
func (w *watch) see(ctx context.Context, c *mysql.Conn, t *table) error {
	if w.guard == nil {
		text, err := w.source.state.Load(ctx, w.key(t))
		if err != nil {
			return err
		}
		g := &guard{}
		if text == nil || json.Unmarshal(text, g) != nil {
			return &anew{"what is kept of it does not say what the catalog was"}
		}
		w.guard = g
	}
	now, err := w.look(ctx, c, t)
	if err != nil {
		return err
	}
	switch {
	case other(w.guard.File, now.File):
		return &anew{"it was truncated, or its rows were rewritten by ALTER TABLE"}
	case w.guard.Triggers != now.Triggers:
		return &anew{"a trigger of acequia was dropped or made since"}
	case slices.Equal(w.guard.Columns, now.Columns) && w.guard.File == now.File:
		return nil
	}
	if err := w.columns(t, now.Columns); err != nil {
		return err
	}
	w.guard = &now
	return w.save(ctx, t)
}

// columns looks at what changed of them. Rows that were there before have the default of a column that was added, or the values of one
// that has another name now, and nothing tells of it.
func (w *watch) columns(t *table, now []string) error {
	gone := slices.DeleteFunc(slices.Clone(w.guard.Columns), func(name string) bool { return slices.Contains(now, name) })
	for _, name := range now {
		switch {
		case slices.Contains(w.guard.Columns, name):
		case len(gone) > 0:
			return &anew{fmt.Sprintf("column %s is there, and %s is gone: it may have another name now", name, strings.Join(gone, ", "))}
		case t.Column(name).Filled:
			return &anew{"column " + name + " was added with a value, which its rows have without being changed"}
		}
	}
	return nil
}
