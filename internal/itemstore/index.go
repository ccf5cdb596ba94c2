package itemstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Index finds items by the values of some of their columns.
type Index struct {
	Name    string   `yaml:"name" doc:"Name of the index."`
	Columns []string `yaml:"columns" doc:"Columns that a query gives the values of."`
	// Each has an item found by every element of its one column, which is a list or the JSON text of one: a film by each of its
	// genres. In DynamoDB, whose indexes have one entry an item, that is copies of the item under the elements.
	Each bool `yaml:"each" doc:"The one column is a list, or JSON text of one: the item is found by each of its elements."`
}

// indexed is a declared index as the file knows it.
type indexed struct {
	Index
	id int64
}

// same says whether two indexes of one name find the same.
func (x Index) same(y Index) bool { return x.Each == y.Each && slices.Equal(x.Columns, y.Columns) }

// An index of columns is one of SQLite over the documents. One of elements has rows of its own, which triggers keep: so they
// follow an item whatever changes it, in the transaction that does.
const indexTables = `
create table item_index(
	id integer primary key, tbl integer not null, name text not null, columns text not null, each integer not null, unique(tbl, name)) strict;
create table entry(idx integer not null, value any not null, key text not null, primary key(idx, value, key)) without rowid, strict;`

// defineIndexes makes the indexes of a table that are not there, or are of other columns, and gives all that the table has.
func (w *writer) defineIndexes(ctx context.Context, table int64, wanted []Index) ([]Index, error) {
	known, err := readIndexes(ctx, w.conn, table)
	if err != nil {
		return nil, err
	}
	for _, x := range wanted {
		i := slices.IndexFunc(known, func(k indexed) bool { return k.Name == x.Name })
		if i >= 0 && known[i].same(x) {
			continue
		}
		if i >= 0 {
			gone := known[i]
			known = slices.Delete(known, i, i+1)
			if err := w.dropIndex(ctx, table, gone, known); err != nil {
				return nil, fmt.Errorf("index %s: %w", x.Name, err)
			}
		}
		made, err := w.makeIndex(ctx, table, x)
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", x.Name, err)
		}
		known = append(known, made)
	}
	out := make([]Index, len(known))
	for i, k := range known {
		out[i] = k.Index
	}
	return out, nil
}

func (w *writer) makeIndex(ctx context.Context, table int64, x Index) (indexed, error) {
	if x.Each && len(x.Columns) != 1 {
		return indexed{}, fmt.Errorf("it is of each element of a list, and has %d columns: it can have one", len(x.Columns))
	}
	names, err := json.Marshal(x.Columns)
	if err != nil {
		return indexed{}, err
	}
	made := indexed{Index: x}
	row := w.conn.QueryRowContext(ctx, `insert into item_index(tbl, name, columns, each) values(?, ?, ?, ?) returning id`, table, x.Name, string(names), x.Each)
	if err := row.Scan(&made.id); err != nil {
		return made, err
	}
	statements := []string{fmt.Sprintf("create index if not exists %s on item(%s, key) where tbl = %d", columnIndex(table, x), columns(x.Columns), table)}
	if x.Each {
		statements = elementIndex(table, made.id, x.Columns[0])
	}
	for _, s := range statements {
		if _, err := w.conn.ExecContext(ctx, s); err != nil {
			return made, err
		}
	}
	return made, nil
}

// elementIndex fills the entries of an index and has them follow the items.
func elementIndex(table, id int64, column string) []string {
	trigger := func(on string) string { return quote(fmt.Sprintf("entry_%d_%s", id, on)) }
	add := func(from, doc, key, where string) string {
		return fmt.Sprintf("insert into entry(idx, value, key) select distinct %d, e.value, %s from %s%s e where e.value is not null%s",
			id, key, from, elements(doc, column), where)
	}
	remove := fmt.Sprintf("delete from entry where idx = %d and key = old.key and value in (select e.value from %s e)", id, elements("old.doc", column))
	return []string{
		add("item i, ", "i.doc", "i.key", fmt.Sprintf(" and i.tbl = %d and i.doc is not null", table)),
		fmt.Sprintf("create trigger %s after insert on item when new.tbl = %d and new.doc is not null begin %s; end",
			trigger("insert"), table, add("", "new.doc", "new.key", "")),
		fmt.Sprintf("create trigger %s after update on item when new.tbl = %d and old.doc is not new.doc begin %s; %s; end",
			trigger("update"), table, remove, add("", "new.doc", "new.key", "")),
		fmt.Sprintf("create trigger %s after delete on item when old.tbl = %d and old.doc is not null begin %s; end", trigger("delete"), table, remove),
	}
}

// elements is the table of a column's elements in a document, also where the column is the JSON text of a list; a value that is
// no list is its own element. Objects and lists within are found by their JSON.
func elements(doc, column string) string {
	path := literal(`$."` + column + `"`)
	return fmt.Sprintf(`json_each(iif(json_type(%[1]s, %[2]s) = 'text' and json_valid(%[1]s ->> %[2]s) and json_type(%[1]s ->> %[2]s) = 'array', %[1]s ->> %[2]s,
		iif(json_type(%[1]s, %[2]s) in ('array', 'null'), %[1]s -> %[2]s, json_array(%[1]s -> %[2]s))))`, doc, path)
}

func (w *writer) dropIndex(ctx context.Context, table int64, x indexed, others []indexed) error {
	statements := []string{fmt.Sprintf("delete from item_index where id = %d", x.id)}
	shared := slices.ContainsFunc(others, func(o indexed) bool { return o.same(x.Index) })
	switch {
	case x.Each:
		for _, on := range []string{"insert", "update", "delete"} {
			statements = append(statements, "drop trigger "+quote(fmt.Sprintf("entry_%d_%s", x.id, on)))
		}
		statements = append(statements, fmt.Sprintf("delete from entry where idx = %d", x.id))
	case !shared:
		statements = append(statements, "drop index if exists "+columnIndex(table, x.Index))
	}
	for _, s := range statements {
		if _, err := w.conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func columnIndex(table int64, x Index) string {
	return quote(fmt.Sprintf("item_%d_%s", table, strings.Join(x.Columns, "_")))
}

// columns gives the expressions that an index and its queries share: SQLite matches them by their text.
func columns(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "json_extract(doc, " + literal(`$."`+n+`"`) + ")"
	}
	return strings.Join(out, ", ")
}

// Query gives the items that an index finds by values, one for each of its columns, in the order of their keys, at most limit of
// them, after a key; tombstones are left out. A value that is text of a number finds the number too.
func (s *Store) Query(ctx context.Context, name, index string, values []any, limit int, after string) ([]Item, error) {
	t, declared, err := s.table(name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(declared.Indexes, func(x Index) bool { return x.Name == index })
	if i < 0 || len(values) != len(declared.Indexes[i].Columns) {
		return nil, fmt.Errorf("items table %s has no index %q of %d columns", name, index, len(values))
	}
	query, args := indexQuery(t.id, declared.Indexes[i], values)
	return s.items(ctx, query, append(args, after, limit)...)
}

// indexQuery is the statement that reads an index, and the arguments before the key after which it begins and the limit.
func indexQuery(table int64, x Index, values []any) (query string, args []any) {
	var where strings.Builder
	for i, v := range values {
		column := "e.value"
		if !x.Each {
			column = columns(x.Columns[i : i+1])
		}
		meant := readings(v)
		where.WriteString(" and " + column + " in (?" + strings.Repeat(", ?", len(meant)-1) + ")")
		args = append(args, meant...)
	}
	// Left alone, SQLite takes the order of the table's keys and looks at every item until it has found enough.
	from, key := fmt.Sprintf("item indexed by %s where tbl = %d", columnIndex(table, x), table), "item.key"
	if x.Each {
		from, key = fmt.Sprintf(`item_index x cross join entry e on e.idx = x.id cross join item on item.tbl = x.tbl and item.key = e.key
			where x.tbl = %d and x.name = %s`, table, literal(x.Name)), "e.key"
	}
	return fmt.Sprintf(`select item.key, version, doc from %s%s and %s > ? and doc is not null order by %[3]s limit ?`, from, &where, key), args
}

// readings are the values that an argument may mean: text of a number stands for the number as well, for it is text in a URL.
func readings(v any) []any {
	text, ok := v.(string)
	if !ok {
		return []any{v}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return []any{v, n}
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return []any{v, f}
	}
	return []any{v}
}
