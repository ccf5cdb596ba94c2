package schemas

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// AthenaDDL gives the statements that make the table and its views in Athena, over files at an S3 location. The
// folders are found by partition projection: nothing has to be registered.
func (t *LakeTable) AthenaDDL(location string, firstDay string) string {
	location = strings.TrimSuffix(location, "/") + "/" + t.Name
	parts := map[string]bool{}
	var levels, template []string
	properties := []string{"'parquet.column.index.access' = 'false'", "'projection.enabled' = 'true'"}
	for _, p := range t.Partition {
		parts[p.From] = true
		levels = append(levels, fmt.Sprintf("  `%s` %s", p.Name, athenaType(record.Field{Kind: p.Kind})))
		template = append(template, p.Name+"=${"+p.Name+"}")
		properties = append(properties, projection(p, firstDay)...)
	}
	properties = append(properties, fmt.Sprintf("'storage.location.template' = '%s/%s/'", location, strings.Join(template, "/")))
	var columns []string
	for _, f := range append(append([]record.Field{}, t.Columns...), SystemFields()...) {
		if !parts[f.Name] || f.Name == EventTimeColumn {
			columns = append(columns, fmt.Sprintf("  `%s` %s", f.Name, athenaType(f)))
		}
	}
	ddl := fmt.Sprintf("CREATE EXTERNAL TABLE IF NOT EXISTS `%s` (\n%s\n)\nPARTITIONED BY (\n%s\n)\nSTORED AS PARQUET\nLOCATION '%s/'\nTBLPROPERTIES (\n  %s\n);\n",
		t.Name, strings.Join(columns, ",\n"), strings.Join(levels, ",\n"), location, strings.Join(properties, ",\n  "))
	return ddl + t.athenaLimits() + t.athenaViews()
}

// nullFolder is what Hive calls the value of a folder of rows whose partition is null.
const nullFolder = "__HIVE_DEFAULT_PARTITION__"

// athenaLimits says, as comments, what partition projection does not see of the table. A truncate has no values, so that it is among
// the rows without a partition.
func (t *LakeTable) athenaLimits() string {
	var out strings.Builder
	for _, p := range t.Partition {
		if p.From == EventTimeColumn {
			continue
		}
		fmt.Fprintf(&out, "\n-- Athena does not look into %s=%s: rows whose %s is null are not seen, and neither are truncates,\n"+
			"-- so that %s keeps what a truncate or a new reading of the whole source has removed. Partition by dt where that matters.\n",
			p.Name, nullFolder, p.From, t.LatestName())
		switch p.Kind {
		case record.Int32, record.Int64:
			fmt.Fprintf(&out, "-- Of %s it sees %s; widen projection.%s.range where there are others.\n", p.Name, integerRange, p.Name)
		case record.Date, record.Bool:
		default:
			fmt.Fprintf(&out, "-- Its values of %s are not known beforehand: each query has to say %s = '...', and the views cannot be asked.\n", p.Name, p.Name)
		}
	}
	return out.String()
}

// integerRange is what a partition of integers is looked for in.
const integerRange = "0,9999"

// projection gives the properties of one partition: dates by day, numbers by a wide range, text injected by the query,
// because its values are not known beforehand.
func projection(p Partition, firstDay string) []string {
	key := func(name, value string) string { return fmt.Sprintf("'projection.%s.%s' = '%s'", p.Name, name, value) }
	switch {
	case p.From == EventTimeColumn || p.Kind == record.Date:
		return []string{key("type", "date"), key("format", "yyyy-MM-dd"), key("range", firstDay+",NOW+1DAYS")}
	case p.Kind == record.Int32 || p.Kind == record.Int64:
		return []string{key("type", "integer"), key("range", integerRange)}
	case p.Kind == record.Bool:
		return []string{key("type", "enum"), key("values", "true,false")}
	}
	return []string{key("type", "injected")}
}

func athenaType(f record.Field) string {
	switch f.Kind {
	case record.Bool:
		return "boolean"
	case record.Int32:
		return "int"
	case record.Int64:
		return "bigint"
	case record.Float32:
		return "float"
	case record.Float64:
		return "double"
	case record.Decimal:
		return fmt.Sprintf("decimal(%d,%d)", f.Precision, f.Scale)
	case record.Date:
		return "date"
	case record.Timestamp, record.LocalTimestamp:
		return "timestamp"
	case record.Bytes:
		return "binary"
	case record.List:
		return "array<" + athenaType(f.Fields[0]) + ">"
	case record.Struct:
		var members []string
		for _, m := range f.Fields {
			members = append(members, m.Name+":"+athenaType(m))
		}
		return "struct<" + strings.Join(members, ",") + ">"
	case record.String, record.VersionText:
	}
	return "string"
}
