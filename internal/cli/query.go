package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/query"
)

// lakeFlags name a lake: a demo's, or that of a configuration file.
type lakeFlags struct {
	stateFlags
	Sink string `help:"Which lake, if the file has several." placeholder:"NAME"`
}

// find gives the lake and where the state is.
func (f lakeFlags) find(ctx context.Context, t terminal) (lake app.LakePart, state app.StatePlace, err error) {
	dir, project, err := f.subject(ctx, t)
	if err != nil {
		return lake, state, err
	}
	state = statePlace(dir, project)
	if project == nil {
		return app.LakePart{Root: app.LakeOf(dir)}, state, nil
	}
	lake, err = project.Lake(f.Sink)
	return lake, state, err
}

// with opens the lake for SQL.
func (f lakeFlags) with(ctx context.Context, t terminal, do func(engine *query.Engine) error) error {
	lake, _, err := f.find(ctx, t)
	if err != nil {
		return err
	}
	if lake.Remote() { // whose files are not looked into: that it has no tables would be wrong
		do = func(engine *query.Engine) error { return engine.Available() }
	}
	return withEngine(query.Config{Lake: lake.Root}, do)
}

// withLetters opens the lake for SQL, with the dead letters as one more table.
func (f lakeFlags) withLetters(ctx context.Context, t terminal, do func(engine *query.Engine, state string) error) (err error) {
	lake, state, err := f.find(ctx, t)
	if err != nil && !errors.Is(err, app.ErrNoLake) {
		return err
	}
	scratch, err := os.MkdirTemp("", "acequia-query-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	letters, err := app.LettersTable(ctx, state, scratch)
	if err != nil {
		return err
	}
	if lake.Root == "" { // there are dead letters alone
		lake.Root = filepath.Join(scratch, "none")
	}
	catalog := func(ctx context.Context, lake string) ([]query.LakeTable, error) {
		tables, err := query.DescribedTables(ctx, lake)
		return append(tables, letters), err
	}
	return withEngine(query.Config{Lake: lake.Root, Also: []string{scratch}, Catalog: catalog}, func(engine *query.Engine) error {
		return do(engine, state.Dir)
	})
}

const engineDuckDB = "duckdb"

type queryCmd struct {
	lakeFlags
	Output string `short:"o" help:"How to write the result: ${enum}." enum:"table,csv,json,ndjson,md" default:"table"`
	JSON   bool   `help:"The same as -o json."`
	Saved  string `help:"Run a saved query; 'list' names them." placeholder:"NAME"`
	Save   bool   `help:"Write the result as CSV into DIR/results too, apart from the lake; of Athena its place is told."`
	Engine string `help:"Who answers: ${enum}; default athena for a lake in S3 whose file says athena:, else duckdb." enum:"duckdb,athena," default:""`

	Param []string `help:"Value for a question mark of the statement, in their order; numbers, true, false and null are themselves, all else is text. Of Athena." placeholder:"VALUE" sep:"none"`

	SQL string `arg:"" optional:"" help:"One statement that reads."`
}

// Help shows examples.
func (queryCmd) Help() string {
	return `Examples:
  acequia query 'select decade, count(*) from games_latest group by decade'
  acequia query --dir D 'select genre, count(*) from videogames_latest group by genre'
  acequia query --dir D -o csv 'select count(*) from videogames_latest'
  acequia query -f games.yaml 'select reason, count(*) from dead_letters group by reason'
  acequia query --dir D --saved games-by-genre
  acequia query --saved list
  acequia query -f aws.yaml --engine athena 'select title from videogames_latest where year = ? and genre = ?' --param 1998 --param Puzzle

A query of Athena is asked in its workgroup, and stopped there when this command is; what it read and cost is told at the end.

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment (no lake, rights, no workgroup).`
}

// Run asks the lake.
func (c queryCmd) Run(ctx context.Context, t terminal) error {
	if c.Saved == "list" {
		return c.list(t)
	}
	text, err := c.text()
	if err != nil {
		return err
	}
	if c.JSON {
		c.Output = string(query.JSONList)
	}
	if c.Engine != engineDuckDB {
		lake, _, err := c.find(ctx, t)
		switch {
		case err != nil && (c.Engine != "" || !errors.Is(err, app.ErrNoLake)):
			return err
		case err == nil && (c.Engine != "" || lake.Remote() && lake.Config.Athena != nil):
			return c.byAthena(ctx, t, lake, text)
		}
	}
	if len(c.Param) > 0 {
		return &fault.Error{Code: "ACQ-USE-077", Place: "--param", Err: errors.New("DuckDB is asked without values for question marks"), Remedy: "write them into the statement, or ask by Athena: --engine athena"}
	}
	return c.withLetters(ctx, t, func(engine *query.Engine, state string) error { return c.ask(ctx, t, engine, state, text) })
}

func (c queryCmd) ask(ctx context.Context, t terminal, engine *query.Engine, state, text string) error {
	rows, err := engine.Query(ctx, query.Request{SQL: text})
	if err != nil {
		return err
	}
	if c.Save {
		receipt, err := engine.SaveResult(app.ResultsOf(state), text, rows)
		if err == nil {
			_, err = fmt.Fprintln(t.out, receipt.Path)
		}
		return err
	}
	if err := query.Write(t.out, rows, query.Format(c.Output)); err != nil {
		return err
	}
	if rows.Truncated() {
		_, err = fmt.Fprintf(t.err, "only the first %d rows are shown\n", rows.Limit())
	}
	return err
}

func (c queryCmd) text() (string, error) {
	switch {
	case (c.SQL == "") == (c.Saved == ""):
		return "", &fault.Error{Code: "ACQ-USE-001", Err: errors.New("give one statement, or --saved NAME"), Remedy: "acequia query --help shows examples"}
	case c.SQL != "":
		return c.SQL, nil
	}
	saved, err := query.FindSaved(c.Saved)
	return saved.SQL, err
}

func (c queryCmd) list(t terminal) error {
	all, err := query.SavedQueries()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 2, 3, ' ', 0)
	for _, q := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", q.Name, q.Title.In("en"))
	}
	return w.Flush()
}

type tablesCmd struct {
	List     tablesListCmd     `cmd:"" help:"List the tables of the lake."`
	Describe tablesDescribeCmd `cmd:"" help:"Show the columns of a table."`
	DDL      tablesDDLCmd      `cmd:"" name:"ddl" help:"Print the Athena statements that make a table and its latest view."`
	Apply    tablesApplyCmd    `cmd:"" help:"Make the tables of a lake in S3 known to Glue, and the workgroup that asks them by Athena."`
	Compact  tablesCompactCmd  `cmd:"" help:"Merge the small files of closed partitions."`
	Expire   tablesExpireCmd   `cmd:"" help:"Drop the partitions past their time."`
}

const tablesExits = `
Exit codes: 0 ok, 1 there is no such table, or it failed, 2 usage or configuration, 3 environment (no lake, rights).`

type tablesListCmd struct {
	lakeFlags
	JSON bool `help:"Write JSON."`
}

// Help shows examples.
func (tablesListCmd) Help() string {
	return `Examples:
  acequia tables list
  acequia tables list -f games.yaml --json
  acequia tables list --dir D
` + tablesExits
}

// Run lists.
func (c tablesListCmd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, t, func(engine *query.Engine) error {
		all, err := engine.Tables(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, all)
		}
		w := tabwriter.NewWriter(t.out, 0, 2, 3, ' ', 0)
		_, _ = fmt.Fprintln(w, "TABLE\tROWS\tFILES\tBYTES\tFIRST\tLAST")
		for _, i := range all {
			_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", i.Name, i.Rows, i.Files, i.Bytes, i.First, i.Last)
		}
		return w.Flush()
	})
}

type tablesDescribeCmd struct {
	lakeFlags
	JSON  bool   `help:"Write JSON."`
	Table string `arg:"" help:"Name of the table."`
}

// Help shows examples.
func (tablesDescribeCmd) Help() string {
	return `Examples:
  acequia tables describe games
  acequia tables describe --dir D videogames --json
` + tablesExits
}

// Run describes.
func (c tablesDescribeCmd) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, t, func(engine *query.Engine) error {
		info, err := engine.Table(ctx, c.Table)
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, info)
		}
		w := tabwriter.NewWriter(t.out, 0, 2, 3, ' ', 0)
		_, _ = fmt.Fprintln(w, "COLUMN\tTYPE")
		for _, column := range info.Columns {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", column.Name, column.Type)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "\nviews %s; partitioned by %s; %d rows in %d files, %d bytes\n",
			strings.Join(info.Views, ", "), strings.Join(info.Partition, ", "), info.Rows, info.Files, info.Bytes)
		return err
	})
}

type tablesDDLCmd struct {
	lakeFlags
	Location string `help:"Where the lake will be on S3; default: where it is, or s3://BUCKET/lake." placeholder:"URL"`
	First    string `help:"First day of the dt partition; default: first_day of the file, or 2026-01-01." placeholder:"DATE"`
	JSON     bool   `help:"Write JSON."`
	Table    string `arg:"" help:"Name of the table."`
}

// Help shows examples.
func (tablesDDLCmd) Help() string {
	return `While files of a table are compacted, Athena sees their rows twice in the table, until the grace time is over and the old
files are deleted; the latest view has each key once at all times.

Examples:
  acequia tables ddl -f games.yaml games
  acequia tables ddl --dir D --location s3://my-bucket/lake videogames
` + tablesExits
}

// Run prints.
func (c tablesDDLCmd) Run(ctx context.Context, t terminal) error {
	lake, _, err := c.find(ctx, t)
	if err != nil {
		return err
	}
	bucket, err := lake.Bucket(ctx)
	if err != nil {
		return err
	}
	all, err := query.ReadDescriptions(ctx, bucket)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(all))
	for _, d := range all {
		if d.Name == c.Table {
			if err := d.AthenaMisfit(); err != nil {
				return &fault.Error{Class: fault.Fatal, Code: athena.CodeRefused, Place: d.Name, Err: err, Remedy: "rename the member at the source, or leave the column out"}
			}
			ddl := d.AthenaDDL(c.place(lake))
			if c.JSON {
				return writeJSON(t.out, map[string]string{"table": d.Name, "ddl": ddl})
			}
			_, err := fmt.Fprint(t.out, ddl)
			return err
		}
		names = append(names, d.Name)
	}
	return &fault.Error{
		Code: "ACQ-QUERY-011", Place: lake.Root, Err: fmt.Errorf("there is no table %q", c.Table),
		Remedy: "use one of: " + strings.Join(names, ", "),
	}
}

// place says where Athena finds the lake, and from which day on.
func (c tablesDDLCmd) place(lake app.LakePart) (location, first string) {
	location, first = "s3://BUCKET/lake", "2026-01-01"
	if lake.Remote() {
		location = lake.Root
		if lake.Config.Athena != nil {
			first = lake.Config.Athena.Filled("").FirstDay
		}
	}
	return cmp.Or(c.Location, location), cmp.Or(c.First, first)
}

func withEngine(config query.Config, do func(*query.Engine) error) (err error) {
	engine, err := query.New(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return do(engine)
}
