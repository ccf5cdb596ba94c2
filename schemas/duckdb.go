package schemas

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// DuckDBView gives the query that reads these files of the table, named below root, typed as the description says
// whatever the files hold: DuckDB alone would turn type drift into VARCHAR, a dt folder into DATE, and show the
// session's time zone. With no files it gives no rows of the right types. The files are named one by one because a
// pattern is looked up when the query runs, and then may find a file and what replaces it.
func (t *LakeTable) DuckDBView(root string, files []string) string {
	var shape, out, hive []string
	for _, f := range append(append([]record.Field{}, t.Columns...), SystemFields()...) {
		name, kind := duckName(f.Name), duckType(f)
		shape = append(shape, fmt.Sprintf("CAST(NULL AS %s) AS %s", kind, name))
		if f.Kind == record.Timestamp {
			out = append(out, fmt.Sprintf("(%s AT TIME ZONE 'UTC') AS %s", name, name))
			continue
		}
		out = append(out, fmt.Sprintf("CAST(%s AS %s) AS %s", name, kind, name))
	}
	for _, p := range t.Partition {
		kind := duckType(record.Field{Kind: p.Kind})
		hive = append(hive, fmt.Sprintf("%s: %s", duckText(p.Name), kind))
		if p.From == EventTimeColumn {
			shape = append(shape, fmt.Sprintf("CAST(NULL AS %s) AS %s", kind, duckName(p.Name)))
			out = append(out, fmt.Sprintf("CAST(%s AS %s) AS %s", duckName(p.Name), kind, duckName(p.Name)))
		}
	}
	from := "(SELECT " + strings.Join(shape, ", ") + " WHERE false)"
	if len(files) > 0 {
		quoted := make([]string, len(files))
		for i, name := range files {
			quoted[i] = duckText(root + "/" + name)
		}
		from = fmt.Sprintf("(SELECT %s WHERE false UNION ALL BY NAME SELECT * FROM read_parquet([%s], union_by_name = true, "+
			"hive_partitioning = true, hive_types_autocast = false, hive_types = {%s}))",
			strings.Join(shape, ", "), strings.Join(quoted, ", "), strings.Join(hive, ", "))
	}
	return "SELECT " + strings.Join(out, ", ") + " FROM " + from
}

func duckNames(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = duckName(n)
	}
	return strings.Join(out, ", ")
}

func duckName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func duckText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// DuckDBType gives the type that a column has in the view.
func DuckDBType(f record.Field) string {
	if f.Kind == record.Timestamp {
		return "TIMESTAMP"
	}
	return duckType(f)
}

// duckType is the type of the stored column; a UTC timestamp is shown without its zone by the view.
func duckType(f record.Field) string {
	switch f.Kind {
	case record.Bool:
		return "BOOLEAN"
	case record.Int32:
		return "INTEGER"
	case record.Int64:
		return "BIGINT"
	case record.Float32:
		return "FLOAT"
	case record.Float64:
		return "DOUBLE"
	case record.Decimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", f.Precision, f.Scale)
	case record.Date:
		return "DATE"
	case record.Timestamp:
		return "TIMESTAMPTZ"
	case record.LocalTimestamp:
		return "TIMESTAMP"
	case record.Bytes:
		return "BLOB"
	case record.List:
		return duckType(f.Fields[0]) + "[]"
	case record.Struct:
		var members []string
		for _, m := range f.Fields {
			members = append(members, duckName(m.Name)+" "+duckType(m))
		}
		return "STRUCT(" + strings.Join(members, ", ") + ")"
	case record.String, record.VersionText:
	}
	return "VARCHAR"
}
