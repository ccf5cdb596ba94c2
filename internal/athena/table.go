package athena

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/schemas"
)

// What Glue says of a table of Parquet files.
// See https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html.
const (
	parquetSerDe  = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
	parquetInput  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
	parquetOutput = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
	external      = "EXTERNAL_TABLE"
	versionKey    = "acequia.version" // the version of the table's description, so that an older one never replaces a newer one
)

// missing says whether Glue does not know what was asked for.
func missing(err error) bool { return awsconfig.Code(err) == "EntityNotFoundException" }

// Database plans the database.
func (c *Client) Database(ctx context.Context) ([]Change, error) {
	name := c.place.Database
	_, err := c.glue.GetDatabase(ctx, &glue.GetDatabaseInput{Name: &name})
	if err == nil {
		return []Change{{Kind: "database", Name: name, Action: Same}}, nil
	}
	if !missing(err) {
		return nil, awsconfig.Explain(err, "find the database (glue:GetDatabase)", c.catalogName())
	}
	return []Change{{Kind: "database", Name: name, Action: Create, do: func(ctx context.Context) error {
		_, err := c.glue.CreateDatabase(ctx, &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{Name: &name, Description: aws.String("The lake of acequia")}})
		if awsconfig.Code(err) == "AlreadyExistsException" { // made meanwhile
			return nil
		}
		return awsconfig.Explain(err, "make the database (glue:CreateDatabase)", c.catalogName())
	}}}, nil
}

// Check says whether the database is there; ACQ-ATHENA-001: it is not.
func (c *Client) Check(ctx context.Context) error {
	changes, err := c.Database(ctx)
	if err == nil && changes[0].Action != Same {
		err = notMade(c.catalogName(), errors.New("the database is not there"))
	}
	return err
}

// Table plans a table and its views.
func (c *Client) Table(ctx context.Context, t *schemas.LakeTable) ([]Change, error) {
	found, err := c.get(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	out := []Change{c.table(t, found)}
	for _, v := range t.AthenaViews() {
		found, err := c.get(ctx, v.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, c.view(v, t.Version, found))
	}
	return out, nil
}

// attempts is how often Ensure looks again at a table that others change.
const attempts = 5

// Ensure makes Glue know a table and its views, now, with all columns that the description has. It is done when it returns. Processes that
// do so at the same time end with the columns of the newest description.
func (c *Client) Ensure(ctx context.Context, t *schemas.LakeTable) error {
	for attempt := 1; ; attempt++ {
		changes, err := c.Table(ctx, t)
		if err == nil {
			err = Refused(changes)
		}
		if err == nil {
			err = Apply(ctx, changes, func(Change) {})
		}
		if fault.Code(err) != codeRaced || attempt == attempts {
			return err
		}
	}
}

// codeRaced is of a table that somebody else changed between our look and our write.
const codeRaced = "ACQ-ATHENA-003"

// get gives a table or view; nil: there is none.
func (c *Client) get(ctx context.Context, name string) (*types.Table, error) {
	out, err := c.glue.GetTable(ctx, &glue.GetTableInput{DatabaseName: &c.place.Database, Name: &name})
	if missing(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, awsconfig.Explain(err, "find the table "+name+" (glue:GetTable)", c.catalogName())
	}
	return out.Table, nil
}

// table plans the table alone.
func (c *Client) table(t *schemas.LakeTable, found *types.Table) Change {
	if err := t.AthenaMisfit(); err != nil {
		return refuse("table", t.Name, err.Error()+" (stream "+t.Stream+"): rename the member at the source, or leave the column out")
	}
	shall := t.Athena(c.place.Lake, c.place.FirstDay)
	if found == nil {
		return Change{Kind: "table", Name: t.Name, Action: Create, Details: []string{
			fmt.Sprintf("%d columns at %s", len(shall.Columns)+len(shall.Partition), shall.Location),
		}, do: c.create(tableInput(shall, t.Version, nil), func(made *types.Table) Change { return c.table(t, made) })}
	}
	if why := foreign(shall, found); why != "" {
		return refuse("table", t.Name, why)
	}
	if ahead(found, t.Version, shall.Columns) {
		return Change{Kind: "table", Name: t.Name, Action: Same, Details: []string{"Glue has a newer version of it"}}
	}
	input := tableInput(shall, t.Version, found)
	var d differences
	d.columns(found.StorageDescriptor.Columns, input.StorageDescriptor.Columns)
	d.text("input format", aws.ToString(found.StorageDescriptor.InputFormat), parquetInput)
	d.text("output format", aws.ToString(found.StorageDescriptor.OutputFormat), parquetOutput)
	d.serde(found.StorageDescriptor.SerdeInfo, input.StorageDescriptor.SerdeInfo)
	d.properties(found.Parameters, input.Parameters)
	return d.change("table", t.Name, c.update(found, input, func(made *types.Table) Change { return c.table(t, made) }))
}

// foreign says why a table that is there is not ours; "": it is.
func foreign(shall schemas.AthenaTable, found *types.Table) string {
	switch {
	case aws.ToString(found.TableType) != external || found.StorageDescriptor == nil:
		return "there is a " + strings.ToLower(orNothing(aws.ToString(found.TableType))) + " of this name, and no table of files"
	case strings.TrimRight(aws.ToString(found.StorageDescriptor.Location), "/") != strings.TrimRight(shall.Location, "/"):
		return "there is a table of this name over " + orNothing(aws.ToString(found.StorageDescriptor.Location)) + ", not over " + shall.Location
	}
	keys := glueColumns(shall.Partition, nil)
	if !slices.EqualFunc(keys, found.PartitionKeys, sameColumn) {
		return "it is partitioned by " + list(found.PartitionKeys) + ", not by " + list(keys)
	}
	return ""
}

// ahead says whether Glue has a later version of a table or view, with all of these columns or wider ones. The version of a lake that was
// made anew begins at 1 again: then it has not all of them.
func ahead(found *types.Table, version int, columns []schemas.AthenaColumn) bool {
	has, err := strconv.Atoi(found.Parameters[versionKey])
	if err != nil || has <= version {
		return false
	}
	return !slices.ContainsFunc(columns, func(c schemas.AthenaColumn) bool {
		return !slices.ContainsFunc(found.StorageDescriptor.Columns, func(has types.Column) bool {
			return aws.ToString(has.Name) == c.Name && holds(aws.ToString(has.Type), c.Hive)
		})
	})
}

// holds says whether a column of one type can have been widened from another.
func holds(wide, narrow string) bool {
	return wide == narrow || wide == "bigint" && narrow == "int" || wide == "double" && narrow == "float" ||
		strings.HasPrefix(wide, "decimal(") && strings.HasPrefix(narrow, "decimal(")
}

// tableInput is the table as Glue takes it. What others have added to the one that is there stays: parameters, comments, its owner.
func tableInput(t schemas.AthenaTable, version int, found *types.Table) *types.TableInput {
	input := &types.TableInput{Parameters: map[string]string{}}
	comments := map[string]*string{}
	if found != nil {
		input = kept(found)
		for _, c := range found.StorageDescriptor.Columns {
			comments[aws.ToString(c.Name)] = c.Comment
		}
	}
	input.Name, input.TableType = aws.String(t.Name), aws.String(external)
	input.PartitionKeys = glueColumns(t.Partition, nil)
	if found != nil {
		input.PartitionKeys = found.PartitionKeys // with their comments
	}
	input.StorageDescriptor = &types.StorageDescriptor{
		Columns: glueColumns(t.Columns, comments), Location: aws.String(t.Location), InputFormat: aws.String(parquetInput), OutputFormat: aws.String(parquetOutput),
		SerdeInfo: &types.SerDeInfo{SerializationLibrary: aws.String(parquetSerDe), Parameters: map[string]string{
			"serialization.format": "1", "parquet.column.index.access": "false", // columns are found by their names
		}},
	}
	for _, p := range append([][2]string{{"EXTERNAL", "TRUE"}, {"classification", "parquet"}, {versionKey, strconv.Itoa(version)}}, t.Properties...) {
		if input.Parameters[p[0]] == "" || !widenedByHand(p[0], input.Parameters) {
			input.Parameters[p[0]] = p[1]
		}
	}
	return input
}

// widenedByHand says whether a property is the range of a partition of integers, of which only people know what values there are.
func widenedByHand(name string, parameters map[string]string) bool {
	of, ok := strings.CutSuffix(name, ".range")
	return ok && parameters[of+".type"] == "integer"
}

// kept is what stays of a table that is there.
func kept(found *types.Table) *types.TableInput {
	input := &types.TableInput{
		Description: found.Description, Owner: found.Owner, Retention: found.Retention, LastAccessTime: found.LastAccessTime, LastAnalyzedTime: found.LastAnalyzedTime,
		Parameters: maps.Clone(found.Parameters),
	}
	if input.Parameters == nil {
		input.Parameters = map[string]string{}
	}
	return input
}

func glueColumns(columns []schemas.AthenaColumn, comments map[string]*string) []types.Column {
	out := make([]types.Column, len(columns))
	for i, c := range columns {
		out[i] = types.Column{Name: aws.String(c.Name), Type: aws.String(c.Hive), Comment: comments[c.Name]}
	}
	return out
}

func sameColumn(a, b types.Column) bool {
	return aws.ToString(a.Name) == aws.ToString(b.Name) && aws.ToString(a.Type) == aws.ToString(b.Type)
}

func list(columns []types.Column) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = aws.ToString(c.Name) + " " + aws.ToString(c.Type)
	}
	return orNothing(strings.Join(out, ", "))
}

// columns tells which columns are new, gone, of another type, or elsewhere.
func (d *differences) columns(is, shall []types.Column) {
	find := func(all []types.Column, name *string) (types.Column, bool) {
		at := slices.IndexFunc(all, func(c types.Column) bool { return aws.ToString(c.Name) == aws.ToString(name) })
		if at < 0 {
			return types.Column{}, false
		}
		return all[at], true
	}
	before := len(*d)
	for _, c := range shall {
		switch old, there := find(is, c.Name); {
		case !there:
			*d = append(*d, "+ column "+aws.ToString(c.Name)+" "+aws.ToString(c.Type))
		case !sameColumn(old, c):
			d.text("column "+aws.ToString(c.Name), aws.ToString(old.Type), aws.ToString(c.Type))
		}
	}
	for _, c := range is {
		if _, there := find(shall, c.Name); !there {
			*d = append(*d, "- column "+aws.ToString(c.Name)+" "+aws.ToString(c.Type)+", which no file has")
		}
	}
	if len(*d) == before && !slices.EqualFunc(is, shall, sameColumn) {
		*d = append(*d, "the order of the columns")
	}
}

func (d *differences) serde(is, shall *types.SerDeInfo) {
	if is == nil {
		is = &types.SerDeInfo{}
	}
	d.text("SerDe", aws.ToString(is.SerializationLibrary), aws.ToString(shall.SerializationLibrary))
	const access = "parquet.column.index.access"
	if is.Parameters[access] != "" { // by name is what holds without it
		d.text("SerDe "+access, is.Parameters[access], shall.Parameters[access])
	}
}

func (d *differences) properties(is, shall map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(shall)) {
		d.text(name, is[name], shall[name])
	}
}

// create and update give what does it. Each is one step for who reads the table. look compares what is there afterwards: a call whose
// answer was lost is sent again by the SDK, which is then told that somebody was faster.
func (c *Client) create(input *types.TableInput, look func(*types.Table) Change) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.glue.CreateTable(ctx, &glue.CreateTableInput{DatabaseName: &c.place.Database, TableInput: input})
		if missing(err) {
			return notMade(c.catalogName(), err)
		}
		return c.settled(ctx, input, look, c.explain(err, "make "+aws.ToString(input.Name)+" (glue:CreateTable)"))
	}
}

// settled forgives a race that left what was wanted.
func (c *Client) settled(ctx context.Context, input *types.TableInput, look func(*types.Table) Change, err error) error {
	if fault.Code(err) != codeRaced {
		return err
	}
	if found, lost := c.get(ctx, aws.ToString(input.Name)); lost == nil && found != nil && look(found).Action == Same {
		return nil
	}
	return err
}

func (c *Client) update(found *types.Table, input *types.TableInput, look func(*types.Table) Change) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.glue.UpdateTable(ctx, &glue.UpdateTableInput{
			DatabaseName: &c.place.Database, TableInput: input, VersionId: found.VersionId, SkipArchive: aws.Bool(true),
		})
		return c.settled(ctx, input, look, c.explain(err, "change "+aws.ToString(input.Name)+" (glue:UpdateTable)"))
	}
}

func (c *Client) explain(err error, doing string) error {
	switch awsconfig.Code(err) {
	case "AlreadyExistsException", "ConcurrentModificationException", "EntityNotFoundException":
		return &fault.Error{
			Class: fault.Retryable, Code: codeRaced, Place: c.catalogName(), Err: fmt.Errorf("%s: %w", doing, err),
			Remedy: "another process changes the same table; it is tried again",
		}
	}
	return awsconfig.Explain(err, doing, c.catalogName())
}
