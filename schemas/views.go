package schemas

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// LatestName is the name of the view with the records as they stand.
func (t *LakeTable) LatestName() string { return t.Name + "_latest" }

// DistinctName is the name of the view with one row an event.
func (t *LakeTable) DistinctName() string { return t.Name + "_distinct" }

// latest is the records as they stand. What has a smaller version than the newest truncate is gone, and of a key only the
// newest copy counts, unless that is its delete. Without a key rows cannot change: those of the newest truncate's epoch
// are there as often as their versions differ; those of a newer epoch belong to a snapshot that is not complete. As long
// as such a table has never been truncated it has one row an event. It is the same in DuckDB and in Athena.
func (t *LakeTable) latest(names string) string {
	since := fmt.Sprintf(`(SELECT coalesce(max("_version"), '') AS "_since" FROM %s WHERE "_op" = 'T')`, duckName(t.Name))
	if len(t.Key) > 0 { // the versions that are gone are left out last, when few rows are left: first, it takes 9 % more CPU
		return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY %s ORDER BY "_version" DESC, "_event_id" DESC) AS "_rank" FROM %s `+
			`WHERE "_op" <> 'T') CROSS JOIN %s WHERE "_rank" = 1 AND "_op" <> 'D' AND "_version" >= "_since"`, names, duckNames(t.Key), duckName(t.Name), since)
	}
	return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY CASE "_since" WHEN '' THEN "_event_id" ELSE "_version" END `+
		`ORDER BY "_version" DESC, "_ingest_ts") AS "_rank" FROM %s CROSS JOIN %s WHERE "_op" IN ('R', 'I') AND ("_since" = '' `+
		`OR "_version" >= "_since" AND substr("_version", 1, %d) = substr("_since", 1, %[4]d))) `+
		`WHERE "_rank" = 1 OR "_since" = '' AND "_event_id" IS NULL`, names, duckName(t.Name), since, record.EpochLen)
}

// distinct is the rows of which each event has one: a source that is at-least-once may give a row twice, with the same id. A
// row without an id stays. It is the same in DuckDB and in Athena.
func (t *LakeTable) distinct(names string) string {
	return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY "_event_id" ORDER BY "_version" DESC, "_ingest_ts") AS "_rank" FROM %s `+
		`WHERE "_op" <> 'T') WHERE "_rank" = 1 OR "_event_id" IS NULL`, names, duckName(t.Name))
}

// DuckDBLatest gives the query of the latest view.
func (t *LakeTable) DuckDBLatest() string { return t.latest("* EXCLUDE (_rank, _since)") }

// DuckDBDistinct gives the query of the distinct view. A table with a key has none, "": its latest view has each record once.
func (t *LakeTable) DuckDBDistinct() string {
	if len(t.Key) > 0 {
		return ""
	}
	return t.distinct("* EXCLUDE (_rank)")
}

// AthenaView is a view in Athena.
type AthenaView struct {
	Name    string
	SQL     string // the SELECT that it stands for, in Trino's dialect
	Columns []AthenaColumn
	Trino   []string // the types of Columns in SQL
}

// AthenaViews gives the views over the table.
func (t *LakeTable) AthenaViews() []AthenaView {
	fields := t.viewFields()
	shape := AthenaView{Name: t.LatestName()}
	quoted := make([]string, len(fields))
	for i, f := range fields {
		quoted[i] = duckName(f.Name)
		shape.Columns, shape.Trino = append(shape.Columns, athenaColumn(f.Name, f)), append(shape.Trino, trinoType(f))
	}
	names := strings.Join(quoted, ", ")
	shape.SQL = t.latest(names)
	if len(t.Key) > 0 {
		return []AthenaView{shape}
	}
	distinct := shape
	distinct.Name, distinct.SQL = t.DistinctName(), t.distinct(names)
	return []AthenaView{shape, distinct}
}

// viewFields are the columns of a view over the table.
func (t *LakeTable) viewFields() []record.Field {
	fields := append(append([]record.Field{}, t.Columns...), SystemFields()...)
	for _, p := range t.Partition {
		if p.From == EventTimeColumn {
			fields = append(fields, record.Field{Name: p.Name, Kind: p.Kind})
		}
	}
	return fields
}
