package athena_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/athena/athenatest"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// place is a lake with a database and a workgroup of its own.
func place(at awsconfig.Settings) athena.Place {
	name := "t" + strings.ToLower(rand.Text())
	return athena.Place{Lake: "s3://bucket/lake", AWS: at, Settings: athena.Settings{Database: name, Workgroup: name, FirstDay: "2026-01-01"}}
}

func open(t *testing.T, p athena.Place) *athena.Client {
	t.Helper()
	c, err := athena.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// glueOf asks Glue as anybody does.
func glueOf(t *testing.T, at awsconfig.Settings) *glue.Client {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(awsconfig.Connections(&c, 1, 0))
	return glue.NewFromConfig(c)
}

// everything plans what a lake needs.
func everything(t *testing.T, c *athena.Client, tables []*schemas.LakeTable, queries ...athena.NamedQuery) []athena.Change {
	t.Helper()
	ctx := t.Context()
	out, err := c.Workgroup(ctx)
	for _, plan := range []func() ([]athena.Change, error){
		func() ([]athena.Change, error) { return c.Database(ctx) },
		func() ([]athena.Change, error) {
			var out []athena.Change
			for _, table := range tables {
				changes, err := c.Table(ctx, table)
				if err != nil {
					return nil, err
				}
				out = append(out, changes...)
			}
			return out, nil
		},
		func() ([]athena.Change, error) { return c.NamedQueries(ctx, queries) },
	} {
		more, wrong := plan()
		out, err = append(out, more...), errors.Join(err, wrong)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apply(t *testing.T, changes []athena.Change) {
	t.Helper()
	if err := athena.Apply(t.Context(), changes, func(athena.Change) {}); err != nil {
		t.Fatal(err)
	}
}

// brief gives what is to be done with each resource, without what need not be done.
func brief(changes []athena.Change) []string {
	var out []string
	for _, c := range changes {
		if c.Action != athena.Same {
			out = append(out, strings.Join(append([]string{c.Action.Sign() + " " + c.Kind + " " + c.Name}, c.Details...), "; "))
		}
	}
	return out
}

func table(t *testing.T, name string, version int, partition []string, fields ...record.Field) *schemas.LakeTable {
	t.Helper()
	s, err := record.NewSchema(name, []string{"id"}, append([]record.Field{{Name: "id", Kind: record.Int64}}, fields...)...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := schemas.NewLakeTable(name, s, partition)
	if err != nil {
		t.Fatal(err)
	}
	out.Version = version
	return out
}

// TestApplyTwice makes everything, and the second time nothing.
func TestApplyTwice(t *testing.T) {
	t.Parallel()
	c, tables := open(t, place(moto.Settings)), lakeTables(t)
	saved := []athena.NamedQuery{{"count", "How many", "SELECT count(*) FROM videogames_latest"}}
	changes := everything(t, c, tables, saved...)
	for _, change := range changes {
		if change.Action != athena.Create {
			t.Errorf("%+v", change)
		}
	}
	apply(t, changes)
	if again := brief(everything(t, c, tables, saved...)); len(again) > 0 {
		t.Error(again)
	}
	for _, one := range tables {
		if err := c.Ensure(t.Context(), one); err != nil {
			t.Error(err)
		}
	}
}

// A member whose name Glue cannot hold is refused with its stream and column, before anything is written.
func TestAMemberThatGlueCannotHold(t *testing.T) {
	t.Parallel()
	c := open(t, place(moto.Settings))
	apply(t, everything(t, c, nil))
	wrong := table(t, "wrong", 1, nil, record.Field{Name: "point", Kind: record.Struct, Fields: []record.Field{{Name: "a-b", Kind: record.Int64}}})
	err := c.Ensure(t.Context(), wrong)
	for _, want := range []string{"stream wrong", "column point", `"a-b"`, "rename the member"} {
		if fault.Code(err) != athena.CodeRefused || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if out, err := c.Table(t.Context(), table(t, "wrong", 1, nil)); err != nil || out[0].Action != athena.Create {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestViews reads the views back from Glue as Athena does: their text is the query, in Trino's grammar, with the types of its columns.
func TestViews(t *testing.T) {
	t.Parallel()
	p := place(moto.Settings)
	c, tables := open(t, p), lakeTables(t)
	apply(t, everything(t, c, tables))
	client := glueOf(t, moto.Settings)
	var statements []athenatest.Statement
	for _, one := range tables {
		for _, v := range one.AthenaViews() {
			found, err := client.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: &p.Database, Name: &v.Name})
			if err != nil {
				t.Fatal(err)
			}
			is, ok := athena.DecodeView(aws.ToString(found.Table.ViewOriginalText))
			if !ok || is.SQL != v.SQL || is.Schema != p.Database || is.Catalog != "awsdatacatalog" || len(is.Columns) != len(v.Columns) {
				t.Errorf("%+v", is)
			}
			if aws.ToString(found.Table.TableType) != "VIRTUAL_VIEW" || found.Table.Parameters["presto_view"] != "true" || aws.ToString(found.Table.ViewExpandedText) != "/* Presto View */" {
				t.Errorf("%+v", found.Table)
			}
			statements = append(statements, athenatest.Statement{Dialect: "athena", SQL: is.SQL})
		}
	}
	for _, parsed := range athenatest.Parse(t, statements...) {
		if parsed.Error != "" {
			t.Error(parsed.Error)
		}
	}
}

// TestDrift changes what was made by hand: it is told and mended. What people have added stays.
func TestDrift(t *testing.T) {
	t.Parallel()
	p := place(moto.Settings)
	c, other := open(t, p), glueOf(t, moto.Settings)
	games := table(t, "games", 1, []string{"year"}, record.Field{Name: "title", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32}, record.Field{Name: "price", Kind: record.Float64})
	apply(t, everything(t, c, []*schemas.LakeTable{games}))
	found, err := other.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: &p.Database, Name: &games.Name})
	if err != nil {
		t.Fatal(err)
	}
	by := found.Table
	by.StorageDescriptor.Columns = slices.DeleteFunc(by.StorageDescriptor.Columns, func(c types.Column) bool { return *c.Name == "title" })
	for i, c := range by.StorageDescriptor.Columns {
		if *c.Name == "price" {
			by.StorageDescriptor.Columns[i] = types.Column{Name: c.Name, Type: aws.String("string"), Comment: aws.String("in euros")}
		}
	}
	by.StorageDescriptor.Columns = append(by.StorageDescriptor.Columns, types.Column{Name: aws.String("other"), Type: aws.String("int")})
	by.Parameters["projection.enabled"], by.Parameters["projection.year.range"], by.Parameters["owner"] = "false", "-5,20000", "us"
	if _, err := other.UpdateTable(t.Context(), &glue.UpdateTableInput{DatabaseName: &p.Database, TableInput: &types.TableInput{
		Name: by.Name, TableType: by.TableType, Parameters: by.Parameters, PartitionKeys: by.PartitionKeys, StorageDescriptor: by.StorageDescriptor, Description: aws.String("Games"),
	}}); err != nil {
		t.Fatal(err)
	}
	changes := everything(t, c, []*schemas.LakeTable{games})
	if diff := cmp.Diff([]string{"~ table games; + column title string; column price: string -> double; - column other int, which no file has; projection.enabled: false -> true"}, brief(changes)); diff != "" {
		t.Error(diff)
	}
	apply(t, changes)
	if again := brief(everything(t, c, []*schemas.LakeTable{games})); len(again) > 0 {
		t.Error(again)
	}
	if found, err = other.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: &p.Database, Name: &games.Name}); err != nil {
		t.Fatal(err)
	}
	price := found.Table.StorageDescriptor.Columns[slices.IndexFunc(found.Table.StorageDescriptor.Columns, func(c types.Column) bool { return *c.Name == "price" })]
	if found.Table.Parameters["owner"] != "us" || found.Table.Parameters["projection.year.range"] != "-5,20000" || aws.ToString(found.Table.Description) != "Games" ||
		aws.ToString(price.Comment) != "in euros" {
		t.Errorf("%+v, %+v", found.Table, price)
	}
}

// TestForeign leaves alone what is not ours.
func TestForeign(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then func(*athena.Place) // what is wanted instead of what is there
		want string
		with []string
	}{
		"over other files":         {func(p *athena.Place) { p.Lake = "s3://elsewhere/lake" }, "over s3://bucket/lake/games/, not over s3://elsewhere/lake/games/", nil},
		"other partitions":         {func(*athena.Place) {}, "it is partitioned by dt string, not by title string", []string{"title"}},
		"a table where a view was": {func(*athena.Place) {}, "there is a external_table of this name, and no view", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place(moto.Settings)
			title := record.Field{Name: "title", Kind: record.String}
			first := []*schemas.LakeTable{table(t, "games", 1, nil, title)}
			if strings.HasPrefix(name, "a table") {
				first[0] = table(t, "games_latest", 1, nil, title)
			}
			apply(t, everything(t, open(t, p), first))
			c.then(&p)
			again, games := open(t, p), table(t, "games", 2, c.with, title)
			err := again.Ensure(t.Context(), games)
			if fault.Code(err) != "ACQ-ATHENA-002" || fault.Of(err) != fault.Fatal || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

// TestOlder has a process that knows an older description come after one with a newer one: no column goes away. A lake that was made anew is
// another matter.
func TestOlder(t *testing.T) {
	t.Parallel()
	c := open(t, place(moto.Settings))
	price, title := record.Field{Name: "price", Kind: record.Int32}, record.Field{Name: "title", Kind: record.String}
	wide := price
	wide.Kind = record.Int64
	older, newer := table(t, "games", 1, nil, price), table(t, "games", 2, nil, wide, title)
	apply(t, everything(t, c, []*schemas.LakeTable{newer}))
	if changes := brief(everything(t, c, []*schemas.LakeTable{older})); len(changes) > 0 {
		t.Error(changes)
	}
	anew := table(t, "games", 1, nil, record.Field{Name: "name", Kind: record.String})
	if changes := brief(everything(t, c, []*schemas.LakeTable{anew})); len(changes) != 2 || !strings.Contains(changes[0], "+ column name string") || !strings.Contains(changes[0], "- column title") {
		t.Error(changes)
	}
}

// TestOvertaken has a process with a newer description come between the look and the write of one with an older one.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := place(f.settings())
	slow := open(t, p)
	p.AWS = moto.Settings
	fast := open(t, p)
	one, two := record.Field{Name: "one", Kind: record.String}, record.Field{Name: "two", Kind: record.String}
	last := table(t, "games", 3, nil, one, two)
	apply(t, everything(t, slow, []*schemas.LakeTable{table(t, "games", 1, nil)}))
	f.meanwhile("UpdateTable", func() {
		if err := fast.Ensure(t.Context(), last); err != nil {
			t.Error(err)
		}
	})
	if err := slow.Ensure(t.Context(), table(t, "games", 2, nil, one)); err != nil {
		t.Error(err)
	}
	if left := brief(everything(t, fast, []*schemas.LakeTable{last})); len(left) > 0 {
		t.Error(left)
	}
}

// TestEnsureLooksAgain: somebody else changed the table between the look and the write.
func TestEnsureLooksAgain(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := place(f.settings())
	c := open(t, p)
	one := table(t, "games", 1, nil)
	apply(t, everything(t, c, []*schemas.LakeTable{one}))
	two := table(t, "games", 2, nil, record.Field{Name: "title", Kind: record.String})
	raced := refusal(400, "ConcurrentModificationException", "no")
	f.refuse("UpdateTable", raced, raced)
	if err := c.Ensure(t.Context(), two); err != nil || f.called("UpdateTable") != 4 { // two that raced, the table, the view
		t.Error(err, f.called("UpdateTable"))
	}
	f.refuse("UpdateTable", slices.Repeat([]answer{raced}, 5)...)
	if err := c.Ensure(t.Context(), table(t, "games", 3, nil)); fault.Code(err) != "ACQ-ATHENA-003" || fault.Of(err) != fault.Retryable {
		t.Error(err)
	}
}

// TestMadeMeanwhile applies a plan of which somebody made the same before: so it is after an answer that was lost, too. What differs is told.
func TestMadeMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := place(f.settings())
	direct := p
	direct.AWS = moto.Settings
	c, other := open(t, p), open(t, direct)
	one, two := table(t, "games", 1, nil), table(t, "games", 2, nil, record.Field{Name: "title", Kind: record.String})
	for _, made := range []*schemas.LakeTable{one, two} { // the first is created, the second an update
		changes := everything(t, c, []*schemas.LakeTable{made})
		same := everything(t, other, []*schemas.LakeTable{made})
		var failed error
		f.meanwhile(map[bool]string{true: "CreateTable", false: "UpdateTable"}[made == one], func() {
			failed = athena.Apply(context.Background(), same, func(athena.Change) {}) //nolint:usetesting // on the server's goroutine
		})
		apply(t, changes)
		if failed != nil {
			t.Fatal(failed)
		}
	}
	changes := everything(t, c, []*schemas.LakeTable{table(t, "games", 3, nil, record.Field{Name: "title", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32})})
	same := everything(t, other, []*schemas.LakeTable{table(t, "games", 3, nil, record.Field{Name: "title", Kind: record.String}, record.Field{Name: "place", Kind: record.Int32})})
	f.meanwhile("UpdateTable", func() { _ = athena.Apply(context.Background(), same, func(athena.Change) {}) }) //nolint:usetesting // as above
	if err := athena.Apply(t.Context(), changes, func(athena.Change) {}); fault.Code(err) != "ACQ-ATHENA-003" {
		t.Error(err)
	}
}

// TestWithoutRights names what is missing, and where.
func TestWithoutRights(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := place(f.settings())
	c := open(t, p)
	if err := c.Check(t.Context()); fault.Code(err) != "ACQ-ATHENA-001" || !strings.Contains(err.Error(), "acequia tables apply") {
		t.Error(err)
	}
	games := table(t, "games", 1, nil)
	if err := c.Ensure(t.Context(), games); fault.Code(err) != "ACQ-ATHENA-001" {
		t.Error(err)
	}
	for operation, do := range map[string]func() error{
		"glue:GetTable":        func() error { return c.Ensure(t.Context(), games) },
		"glue:GetDatabase":     func() error { _, err := c.Database(t.Context()); return err },
		"athena:GetWorkGroup":  func() error { _, err := c.Workgroup(t.Context()); return err },
		"athena:GetNamedQuery": func() error { _, err := c.NamedQueries(t.Context(), nil); return err },
		"athena:UpdateWorkGroup": func() error {
			return athena.Apply(t.Context(), everything(t, open(t, differently(p)), nil), func(athena.Change) {})
		},
	} {
		if operation == "athena:GetNamedQuery" || operation == "athena:UpdateWorkGroup" {
			apply(t, everything(t, c, nil, athena.NamedQuery{Name: "one", SQL: "SELECT 1"}))
		}
		f.refuse(operation[strings.Index(operation, ":")+1:], refusal(400, "AccessDeniedException", "not authorized"))
		err := do()
		if fault.Code(err) != "ACQ-AWS-005" || !strings.Contains(err.Error(), operation) {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

func differently(p athena.Place) athena.Place {
	p.Cutoff = 20 << 30
	return p
}

// TestWorkgroup changes what others made as little as it takes.
func TestWorkgroup(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := place(f.settings())
	p.Owner = "123456789012"
	apply(t, everything(t, open(t, p), nil, athena.NamedQuery{"one", "About", "SELECT 1"}))
	p.Cutoff, p.Results, p.SSE = 20<<30, "s3://other/results", "arn:aws:kms:eu-west-1:123456789012:key/one"
	c := open(t, p)
	changes := everything(t, c, nil, athena.NamedQuery{"one", "About", "SELECT 2"})
	if diff := cmp.Diff([]string{
		"~ workgroup " + p.Workgroup + "; bytes a query may read: 10737418240 -> 21474836480; results: s3://bucket-results -> s3://other/results; " +
			"encryption of the results: SSE_S3 -> SSE_KMS arn:aws:kms:eu-west-1:123456789012:key/one",
		"~ query one; its statement",
	}, brief(changes)); diff != "" {
		t.Error(diff)
	}
	apply(t, changes)
	if again := brief(everything(t, c, nil, athena.NamedQuery{"one", "About", "SELECT 2"})); len(again) > 0 {
		t.Error(again)
	}
	f.refuse("GetWorkGroup", answer{status: 200, body: map[string]any{"WorkGroup": map[string]any{"Name": p.Workgroup, "State": "DISABLED"}}})
	if changes, err := c.Workgroup(t.Context()); err != nil || fault.Code(athena.Refused(changes)) != "ACQ-ATHENA-002" {
		t.Error(changes, err)
	}
	f.refuse("GetWorkGroup", answer{status: 200, body: map[string]any{"WorkGroup": map[string]any{"Name": p.Workgroup, "State": "ENABLED", "Configuration": map[string]any{
		"ManagedQueryResultsConfiguration": map[string]any{"Enabled": true}, "EnforceWorkGroupConfiguration": true, "PublishCloudWatchMetricsEnabled": true,
		"BytesScannedCutoffPerQuery": 20 << 30, "EngineVersion": map[string]any{"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
	}}}})
	if changes, err := c.Workgroup(t.Context()); err != nil || len(brief(changes)) > 0 {
		t.Error(changes, err)
	}
	f.refuse("GetWorkGroup", refusal(400, "InvalidRequestException", "WorkGroup x is not found."))
	if changes, err := c.Workgroup(t.Context()); err != nil || changes[0].Action != athena.Create {
		t.Error(changes, err)
	}
}

// TestSettings refuses what is no name.
func TestSettings(t *testing.T) {
	t.Parallel()
	for field, s := range map[string]athena.Settings{
		"": {}, "database": {Database: "a-b"}, "workgroup": {Workgroup: "a/b"}, "results": {Results: "/tmp"}, "cutoff": {Cutoff: 1}, "first_day": {FirstDay: "1.1.2026"},
	} {
		if got, err := s.Validate(); got != field || (err == nil) != (field == "") {
			t.Errorf("%s: %s %v", field, got, err)
		}
	}
}

// TestTroubleshooting wants the pages on troubles to say what acequia says, in both languages.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	c := open(t, place(moto.Settings))
	missing, ok := errors.AsType[*fault.Error](c.Check(t.Context()))
	if !ok {
		t.Fatal(missing)
	}
	refused, ok := errors.AsType[*fault.Error](athena.Refused([]athena.Change{{Action: athena.Refuse, Details: []string{"no"}}}))
	if !ok {
		t.Fatal(refused)
	}
	for page, lang := range map[string]string{"troubleshooting.md": "en", "troubleshooting.es.md": "es"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		say := config.Translation(lang)
		for _, part := range []string{missing.Code, say(missing.Remedy), say(missing.Err.Error()), refused.Code} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s does not say %q", page, part)
			}
		}
		if same := say(refused.Remedy) == refused.Remedy; same != (lang == "en") {
			t.Errorf("in %s: %s", lang, say(refused.Remedy))
		}
	}
}
