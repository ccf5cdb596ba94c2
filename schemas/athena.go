package schemas

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// AthenaColumn is a column of a table or view as Glue and Athena have it.
type AthenaColumn struct {
	Name string
	Hive string // its type in Glue, such as decimal(10,2)
	DDL  string // the same in CREATE TABLE, where the names of members stand in back quotes: one may be a word of the language
}

func athenaColumn(name string, f record.Field) AthenaColumn {
	return AthenaColumn{name, athenaType(f, plain), athenaType(f, quoted)}
}

func plain(name string) string { return name }

func quoted(name string) string { return "`" + name + "`" }

// AthenaTable is what Glue has to know of a table, over files at an S3 location. The folders are found by partition projection: nothing
// has to be registered. See https://docs.aws.amazon.com/athena/latest/ug/partition-projection.html.
type AthenaTable struct {
	Name       string
	Location   string         // s3://bucket/prefix/name/
	Columns    []AthenaColumn // in their order, without those of Partition
	Partition  []AthenaColumn
	Properties [][2]string // names and values, in the order in which they are written
}

// Athena gives the table over files below location, an S3 address. firstDay, such as 2026-01-01, is where projected days begin: Athena does
// not look into folders before it.
func (t *LakeTable) Athena(location, firstDay string) AthenaTable {
	out := AthenaTable{
		Name: t.Name, Location: strings.TrimSuffix(location, "/") + "/" + t.Name + "/",
		Properties: [][2]string{{"parquet.column.index.access", "false"}, {"projection.enabled", "true"}},
	}
	parts := map[string]bool{}
	var template []string
	for _, p := range t.Partition {
		parts[p.From] = true
		out.Partition = append(out.Partition, athenaColumn(p.Name, record.Field{Kind: p.Kind}))
		template = append(template, p.Name+"=${"+p.Name+"}")
		out.Properties = append(out.Properties, projection(p, firstDay)...)
	}
	out.Properties = append(out.Properties, [2]string{"storage.location.template", out.Location + strings.Join(template, "/") + "/"})
	for _, f := range append(append([]record.Field{}, t.Columns...), SystemFields()...) {
		if !parts[f.Name] || f.Name == EventTimeColumn {
			out.Columns = append(out.Columns, athenaColumn(f.Name, f))
		}
	}
	return out
}

// DDL gives the statement that makes the table.
func (t AthenaTable) DDL() string {
	properties := make([]string, len(t.Properties))
	for i, p := range t.Properties {
		properties[i] = fmt.Sprintf("  '%s' = '%s'", p[0], p[1])
	}
	return fmt.Sprintf("CREATE EXTERNAL TABLE IF NOT EXISTS `%s` (\n%s\n)\nPARTITIONED BY (\n%s\n)\nSTORED AS PARQUET\nLOCATION '%s'\nTBLPROPERTIES (\n%s\n);\n",
		t.Name, athenaColumns(t.Columns), athenaColumns(t.Partition), t.Location, strings.Join(properties, ",\n"))
}

func athenaColumns(columns []AthenaColumn) string {
	lines := make([]string, len(columns))
	for i, c := range columns {
		lines[i] = fmt.Sprintf("  `%s` %s", c.Name, c.DDL)
	}
	return strings.Join(lines, ",\n")
}

// AthenaDDL gives the statements that make the table and its views in Athena, over files at an S3 location.
func (t *LakeTable) AthenaDDL(location string, firstDay string) string {
	var ddl strings.Builder
	ddl.WriteString(t.Athena(location, firstDay).DDL() + t.athenaLimits())
	for _, v := range t.AthenaViews() {
		fmt.Fprintf(&ddl, "\nCREATE OR REPLACE VIEW %s AS\n%s;\n", duckName(v.Name), v.SQL)
	}
	return ddl.String()
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
func projection(p Partition, firstDay string) [][2]string {
	key := func(name, value string) [2]string { return [2]string{"projection." + p.Name + "." + name, value} }
	switch {
	case p.From == EventTimeColumn || p.Kind == record.Date:
		return [][2]string{key("type", "date"), key("format", "yyyy-MM-dd"), key("range", firstDay+",NOW+1DAYS")}
	case p.Kind == record.Int32 || p.Kind == record.Int64:
		return [][2]string{key("type", "integer"), key("range", integerRange)}
	case p.Kind == record.Bool:
		return [][2]string{key("type", "enum"), key("values", "true,false")}
	}
	return [][2]string{key("type", "injected")}
}

// memberName is what the name of a member can be. Glue writes it into the text of a type, without quotes: `a-b`, or a name with a colon or a
// comma, makes that text unreadable, and Athena then reads nothing of the table.
var memberName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// AthenaMisfit says which column Glue cannot hold; nil: none. Its files have the names that the source gives, and Athena finds members by
// their names, whatever their case: another name in Glue would be read as null.
func (t *LakeTable) AthenaMisfit() error {
	for _, f := range t.Columns {
		if err := misfit(f); err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
	}
	return nil
}

func misfit(f record.Field) error {
	folded := map[string]string{}
	for _, m := range f.Fields {
		name := strings.ToLower(m.Name)
		switch other, twice := folded[name]; {
		case !memberName.MatchString(m.Name):
			return fmt.Errorf("the name of the member %q cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone", m.Name)
		case twice:
			return fmt.Errorf("the members %s and %s are one for Athena", other, m.Name)
		}
		folded[name] = m.Name
		if err := misfit(m); err != nil {
			return err
		}
	}
	return nil
}

func athenaType(f record.Field, name func(string) string) string {
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
		return "array<" + athenaType(f.Fields[0], name) + ">"
	case record.Struct:
		var members []string
		for _, m := range f.Fields {
			members = append(members, name(m.Name)+":"+athenaType(m, name))
		}
		return "struct<" + strings.Join(members, ",") + ">"
	case record.String, record.VersionText:
	}
	return "string"
}

// trinoType is how Athena's SQL names the type of a column, as the definition of a view has it.
func trinoType(f record.Field) string {
	switch f.Kind {
	case record.Int32:
		return "integer"
	case record.Float32:
		return "real"
	case record.Timestamp, record.LocalTimestamp:
		return "timestamp(3)" // what Athena makes of a timestamp in Parquet
	case record.Bytes:
		return "varbinary"
	case record.List:
		return "array(" + trinoType(f.Fields[0]) + ")"
	case record.Struct:
		var members []string
		for _, m := range f.Fields {
			members = append(members, duckName(m.Name)+" "+trinoType(m))
		}
		return "row(" + strings.Join(members, ", ") + ")"
	case record.String, record.VersionText:
		return "varchar"
	case record.Bool, record.Int64, record.Float64, record.Decimal, record.Date:
	}
	return athenaType(f, plain)
}
