package app_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

const plannedLake = `version: 1
sources:
  films: { type: file, path: films.csv, stream: films, key: [id], schema: { id: string, title: string } }
  more: { type: file, path: films.csv, stream: more, key: [id], schema: { id: string } }
sinks:
  lake:
    type: lake
    url: "s3://bucket/lake"
    aws: { region: eu-west-1, endpoint: %q }
    athena: { database: films, results: "s3://bucket/results", aws: { region: eu-west-1, endpoint: %q } }
pipelines:
  films: { from: films, to: [lake] }
  more: { from: more, to: [lake] }
`

// TestPlanAsksGlue has plan --connect tell what tables apply would do, and do nothing of it.
func TestPlanAsksGlue(t *testing.T) {
	t.Parallel()
	files := blobtest.New(t)
	glue, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := glue.Close(); err != nil {
			t.Error(err)
		}
	})
	planned := func(endpoint string) (*app.Project, []string, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{"films.csv": "id,title\na,Alien\n", "acequia.yaml": fmt.Sprintf(plannedLake, files.URL, endpoint)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{filepath.Join(dir, "acequia.yaml")}, os.LookupEnv)
		if err != nil || problems.Errors() {
			t.Fatal(problems, err)
		}
		if _, err := p.Ask(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
			return p, nil, err
		}
		var lines []string
		for _, pipeline := range p.Plan(t.Context()).Pipelines {
			for _, sink := range pipeline.Sinks {
				at := slices.IndexFunc(sink.Lines, func(line string) bool { return strings.HasPrefix(line, "acequia tables apply would ") })
				if at >= 0 {
					lines = append(lines, sink.Lines[at:]...)
				}
			}
		}
		return p, lines, nil
	}
	var p *app.Project
	for range 2 { // the second time nothing was made by the first
		var lines []string
		if p, lines, err = planned(glue.Settings.Endpoint); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"acequia tables apply would do in Glue and Athena:", "  + workgroup acequia", "  + database films", "  + table films", "  + view films_latest", "  + table more"} {
			if n := len(slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return line != want })); n != 1 {
				t.Errorf("%q is there %d times:\n%s", want, n, strings.Join(lines, "\n"))
			}
		}
	}
	lake, err := p.Lake("lake")
	if err != nil {
		t.Fatal(err)
	}
	client, err := lake.Athena(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tables, err := p.LakeTables(t.Context(), lake)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := app.PlanAthena(t.Context(), client, tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := athena.Apply(t.Context(), changes, func(athena.Change) {}); err != nil {
		t.Fatal(err)
	}
	if _, lines, err := planned(glue.Settings.Endpoint); err != nil || len(lines) != 1 || lines[0] != "acequia tables apply would find nothing to do in Glue and Athena" {
		t.Errorf("%v, %q", err, lines)
	}
	_, _, err = planned("http://127.0.0.1:1")
	if told, ok := errors.AsType[*fault.Error](err); !ok || told.Code != "ACQ-AWS-009" || told.Remedy == "" || !strings.Contains(err.Error(), "sink lake") {
		t.Errorf("got %v", err)
	}
}
