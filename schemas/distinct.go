package schemas

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// DistinctName is the name of the view with one row an event.
func (t *LakeTable) DistinctName() string { return t.Name + "_distinct" }

// distinct is the rows of which each event has one: a source that is at-least-once may give a row twice, with the same id. A
// row without an id stays. It is the same in DuckDB and in Athena.
func (t *LakeTable) distinct(names string) string {
	return fmt.Sprintf(`SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY "_event_id" ORDER BY "_version" DESC, "_ingest_ts") AS "_rank" FROM %s) `+
		`WHERE "_rank" = 1 OR "_event_id" IS NULL`, names, duckName(t.Name))
}

// DuckDBDistinct gives the query of the distinct view. A table with a key has none, "": its latest view has each record once.
func (t *LakeTable) DuckDBDistinct() string {
	if len(t.Key) > 0 {
		return ""
	}
	return t.distinct("* EXCLUDE (_rank)")
}

func (t *LakeTable) athenaDistinct() string {
	if len(t.Key) > 0 {
		return ""
	}
	return fmt.Sprintf("\nCREATE OR REPLACE VIEW %s AS\n%s;\n", duckName(t.DistinctName()), t.distinct(strings.Join(t.viewNames(), ", ")))
}

// viewNames are the columns of a view over the table.
func (t *LakeTable) viewNames() []string {
	names := make([]string, 0, len(t.Columns)+7)
	for _, f := range append(append([]record.Field{}, t.Columns...), SystemFields()...) {
		names = append(names, duckName(f.Name))
	}
	for _, p := range t.Partition {
		if p.From == EventTimeColumn {
			names = append(names, duckName(p.Name))
		}
	}
	return names
}
