package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/athena"
)

type tablesApplyCmd struct {
	Path   string `arg:"" optional:"" name:"file" help:"Configuration file; default ./acequia.yaml."`
	Sink   string `help:"Which lake, if the file has several." placeholder:"NAME"`
	DryRun bool   `help:"Say what would be done, and do nothing."`
	JSON   bool   `help:"Write JSON."`
}

// Help shows examples.
func (tablesApplyCmd) Help() string {
	return `Makes what Glue and Athena need to ask a lake in S3, as athena: of its sink says: the workgroup with its limit and its place for
results, the database, each table with its projected partitions and views, and the saved queries. What is there is compared first:
+ is made, ~ is changed, = is as it should be, ! cannot be, and why. Nothing is deleted, and a second run changes nothing. The bucket
of the results has to be there.

Examples:
  acequia tables apply games.yaml
  acequia tables apply games.yaml --dry-run
  acequia tables apply games.yaml --sink lake --json

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment (credentials, rights, something else has the name).`
}

// appliedTables is what --json prints.
type appliedTables struct {
	Lake      string          `json:"lake"`
	Database  string          `json:"database"`
	Workgroup string          `json:"workgroup"`
	Applied   bool            `json:"applied"` // false: --dry-run, or it failed
	Changes   []athena.Change `json:"changes"`
}

// Run compares and makes.
func (c tablesApplyCmd) Run(ctx context.Context, t terminal) error {
	project, err := target{File: c.Path}.project(ctx, t)
	if err != nil {
		return err
	}
	lake, err := project.Lake(c.Sink)
	if err != nil {
		return err
	}
	if !lake.Remote() {
		return &fault.Error{Code: "ACQ-USE-076", Place: lake.Root, Err: errors.New("the lake is a directory, and Athena asks lakes in S3 alone"), Remedy: "name a file whose lake is at s3://"}
	}
	client, err := lake.Athena(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	tables, err := project.LakeTables(ctx, lake)
	if err != nil {
		return err
	}
	changes, err := app.PlanAthena(ctx, client, tables)
	if err != nil {
		return err
	}
	out := appliedTables{Lake: lake.Root, Database: client.Place().Database, Workgroup: client.Place().Workgroup, Changes: changes}
	show := func(change athena.Change) { c.show(t, change) }
	if c.DryRun {
		for _, change := range changes {
			show(change)
		}
	} else {
		err = athena.Apply(ctx, changes, show)
		out.Applied = err == nil
	}
	err = errors.Join(err, athena.Refused(changes))
	if c.JSON {
		return errors.Join(writeJSON(t.out, out), err)
	}
	if err != nil {
		return err
	}
	return c.sum(t, changes)
}

// show tells of one change.
func (c tablesApplyCmd) show(t terminal, change athena.Change) {
	if c.JSON {
		return
	}
	_, _ = fmt.Fprintf(t.out, "%s %s %s\n", change.Action.Sign(), change.Kind, change.Name)
	for _, detail := range change.Details {
		_, _ = fmt.Fprintf(t.out, "    %s\n", detail)
	}
}

func (c tablesApplyCmd) sum(t terminal, changes []athena.Change) error {
	n := map[athena.Action]int{}
	for _, change := range changes {
		n[change.Action]++
	}
	text := fmt.Sprintf("%d made, %d changed, %d as they were", n[athena.Create], n[athena.Update], n[athena.Same])
	if c.DryRun {
		text = fmt.Sprintf("%d to be made, %d to be changed, %d as they should be: nothing was done (--dry-run)", n[athena.Create], n[athena.Update], n[athena.Same])
	}
	_, err := fmt.Fprintln(t.out, text)
	return err
}
