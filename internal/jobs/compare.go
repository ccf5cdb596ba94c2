package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// Side is the files of a table in one of two lakes.
type Side struct {
	Root  string
	Files []string // relative to the root
}

// Difference is what the latest rows of a table are in the lake, and what they would be.
type Difference struct {
	Counts
	Table      string            `json:"table"`
	Partitions []PartitionChange `json:"partitions"` // those with a difference, by name
}

// Counts are of keys, by what a replay makes of their newest rows.
type Counts struct {
	Equal   int64 `json:"equal,omitempty"`
	Changed int64 `json:"changed"`
	Gone    int64 `json:"only_here"`  // the replay has no such key, or deletes it
	New     int64 `json:"only_there"` // the lake has no such key, or it was deleted
	Newer   int64 `json:"newer_here"` // the lake has a version that the replay has not come to
}

// PartitionChange counts the differences of one partition. A row that moves counts in both.
type PartitionChange struct {
	Counts
	Folder   string `json:"partition"`
	FilesNow int    `json:"files"`
	FilesNew int    `json:"files_replayed"`
}

// add counts keys of a kind.
func (c *Counts) add(kind string, n int64) error {
	to, ok := map[string]*int64{"equal": &c.Equal, "changed": &c.Changed, "gone": &c.Gone, "new": &c.New, "newer": &c.Newer}[kind]
	if !ok {
		return fmt.Errorf("a difference of the kind %q", kind)
	}
	*to += n
	return nil
}

// compareTime bounds the comparison of a table.
const compareTime = time.Hour

// Compare tells the latest rows of a table apart: now is what the lake holds, then what a replay has made of the files of
// read. Whether a row of the lake is newer than the replay is told by what it read: what it made of it may be nothing.
func Compare(ctx context.Context, t *schemas.LakeTable, now, then, read Side) (_ Difference, err error) {
	views := []query.View{{Name: "now_rows", SQL: sideSQL(t, now)}, {Name: "then_rows", SQL: sideSQL(t, then)}, {Name: "read_rows", SQL: versionsSQL(read)}}
	engine, err := query.New(query.Config{
		Lake: now.Root, Also: []string{then.Root, read.Root}, Timeout: compareTime,
		Catalog: func(context.Context, string) ([]query.LakeTable, error) {
			return []query.LakeTable{{Name: "compared", Views: views}}, nil
		},
	})
	if err != nil {
		return Difference{}, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	out, partitions := Difference{Table: t.Name}, map[string]*PartitionChange{}
	of := func(folder string) *PartitionChange {
		if partitions[folder] == nil {
			partitions[folder] = &PartitionChange{Folder: folder}
		}
		return partitions[folder]
	}
	kinds := kindsSQL(t)
	err = eachRow(ctx, engine, "SELECT kind, f, g, count(*) FROM ("+kinds+") WHERE kind IS NOT NULL GROUP BY ALL", func(r []query.Value) error {
		n, err := strconv.ParseInt(r[3].Text, 10, 64)
		kind, here, there := r[0].Text, r[1], r[2]
		if err = errors.Join(err, out.add(kind, n)); err != nil || kind == "equal" && here == there {
			return err
		}
		if !here.Null {
			err = of(here.Text).add(kind, n)
		}
		if !there.Null && there != here {
			err = errors.Join(err, of(there.Text).add(kind, n))
		}
		return err
	})
	if err == nil && out.Gone > 0 {
		// an older row of such a key, in a partition that stays, would be the newest then
		err = eachRow(ctx, engine, "SELECT DISTINCT r._folder FROM now_rows r JOIN ("+kinds+") d ON "+joined(t, "r")+" WHERE d.kind = 'gone'",
			func(r []query.Value) error {
				of(r[0].Text)
				return nil
			})
	}
	if err != nil {
		return out, fmt.Errorf("compare table %s: %w", t.Name, err)
	}
	for _, p := range partitions {
		p.FilesNow, p.FilesNew = len(FilesOf(t.Name, p.Folder, now.Files)), len(FilesOf(t.Name, p.Folder, then.Files))
		out.Partitions = append(out.Partitions, *p)
	}
	slices.SortFunc(out.Partitions, func(a, b PartitionChange) int { return strings.Compare(a.Folder, b.Folder) })
	return out, nil
}

// eachRow calls do for each row of a query.
func eachRow(ctx context.Context, engine *query.Engine, text string, do func([]query.Value) error) (err error) {
	rows, err := engine.Query(ctx, query.Request{SQL: text, Timeout: compareTime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(rows.Row()); err != nil {
			return err
		}
	}
	if rows.Truncated() {
		return errors.New("it differs in too many partitions")
	}
	return rows.Err()
}

// FilesOf gives the files of a partition.
func FilesOf(table, folder string, files []string) []string {
	prefix := table + "/" + folder + "/"
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool {
		rest, ok := strings.CutPrefix(name, prefix)
		return !ok || strings.Contains(rest, "/")
	})
}

// columnsOf gives the columns that are compared, then those of the system that decide.
func columnsOf(t *schemas.LakeTable) []record.Field {
	return append(slices.Clone(t.Columns), schemas.SystemFields()[:3]...)
}

// sideSQL reads files as the table is described now, each row with its partition.
func sideSQL(t *schemas.LakeTable, s Side) string {
	var shape, out []string
	for _, f := range columnsOf(t) {
		shape = append(shape, fmt.Sprintf("CAST(NULL AS %s) AS %s", schemas.DuckDBType(f), sqlName(f.Name)))
		out = append(out, fmt.Sprintf("CAST(%s AS %s) AS %s", sqlName(f.Name), schemas.DuckDBType(f), sqlName(f.Name)))
	}
	from := "(SELECT " + strings.Join(shape, ", ") + ", CAST(NULL AS VARCHAR) AS filename WHERE false"
	if len(s.Files) > 0 {
		from += fmt.Sprintf(" UNION ALL BY NAME SELECT * FROM read_parquet(%s, union_by_name = true, hive_partitioning = false, filename = true)", s.list())
	}
	// the folder is what stands between the table and the name of the file
	skip := len(s.Root) + len(t.Name) + 3
	folder := fmt.Sprintf("substr(filename, %d, length(filename) - %d - length(parse_filename(filename)))", skip, skip)
	return "SELECT " + strings.Join(out, ", ") + ", " + folder + " AS _folder FROM " + from + ")"
}

// versionsSQL reads the versions of files.
func versionsSQL(s Side) string {
	if len(s.Files) == 0 {
		return "SELECT '' AS _version WHERE false"
	}
	return fmt.Sprintf("SELECT _version FROM read_parquet(%s, union_by_name = true, hive_partitioning = false)", s.list())
}

// list writes the files as SQL names them.
func (s Side) list() string {
	quoted := make([]string, len(s.Files))
	for i, name := range s.Files {
		quoted[i] = sqlText(s.Root + "/" + name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// keyOf gives what tells the records of a table apart: its key, or else the event that brought them.
func keyOf(t *schemas.LakeTable) []string {
	if len(t.Key) == 0 {
		return []string{"coalesce(_event_id, _version)"}
	}
	out := make([]string, len(t.Key))
	for i, k := range t.Key {
		out[i] = sqlName(k)
	}
	return out
}

// joined compares the keys of rows and of what kindsSQL gives.
func joined(t *schemas.LakeTable, rows string) string {
	var on []string
	for i, k := range keyOf(t) {
		if len(t.Key) > 0 {
			k = rows + "." + k
		}
		on = append(on, fmt.Sprintf("%s = d._k%d", k, i))
	}
	return strings.Join(on, " AND ")
}

// latestSQL gives the newest row of each key, deletes among them. What a truncate of either side took is deleted on both: a
// replay of a part may not have come to it.
func latestSQL(t *schemas.LakeTable, rows string) string {
	var out []string
	for i, k := range keyOf(t) {
		out = append(out, fmt.Sprintf("%s AS _k%d", k, i))
	}
	for i, f := range t.Columns {
		out = append(out, fmt.Sprintf("%s AS _c%d", sqlName(f.Name), i))
	}
	return fmt.Sprintf("(SELECT %s, CASE WHEN _version < _since THEN 'D' ELSE _op END AS _op, _version, _folder FROM %s CROSS JOIN (SELECT coalesce(max(_version), '') AS _since "+
		"FROM (SELECT _op, _version FROM now_rows UNION ALL SELECT _op, _version FROM then_rows) WHERE _op = 'T') WHERE _op <> 'T' "+
		"QUALIFY row_number() OVER (PARTITION BY %s ORDER BY _version DESC, _event_id DESC) = 1)",
		strings.Join(out, ", "), rows, strings.Join(keyOf(t), ", "))
}

// kindsSQL says of each key what becomes of it, and the partitions of its newest rows in the lake and in the replay.
func kindsSQL(t *schemas.LakeTable) string {
	var key, on, same []string
	for i := range keyOf(t) {
		key = append(key, fmt.Sprintf("coalesce(n._k%d, t._k%d) AS _k%d", i, i, i))
		on = append(on, fmt.Sprintf("n._k%d = t._k%d", i, i))
	}
	for i := range t.Columns {
		same = append(same, fmt.Sprintf("n._c%d IS NOT DISTINCT FROM t._c%d", i, i))
	}
	return fmt.Sprintf(`SELECT CASE
  WHEN n._version > coalesce(t._version, (SELECT max(_version) FROM read_rows), '') THEN 'newer'
  WHEN coalesce(n._op, 'D') = 'D' AND coalesce(t._op, 'D') = 'D' THEN NULL
  WHEN coalesce(t._op, 'D') = 'D' THEN 'gone'
  WHEN coalesce(n._op, 'D') = 'D' THEN 'new'
  WHEN %s THEN 'equal'
  ELSE 'changed' END AS kind, n._folder AS f, t._folder AS g, %s
FROM %s n FULL JOIN %s t ON %s`, strings.Join(same, " AND "), strings.Join(key, ", "), latestSQL(t, "now_rows"), latestSQL(t, "then_rows"),
		strings.Join(on, " AND "))
}

func sqlName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
