package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

const dynamoProject = `version: 1
sources:
  films: { type: file, path: films.csv, stream: films, key: [id], schema: { id: string, title: string, year: int32, genres: string } }
  changes: { type: dynamodbstreams, table: cinema-films, aws: { region: %[1]s, endpoint: "%[2]s" }, poll: 10ms }
sinks:
  films:
    type: items
    url: "dynamodb://"
    aws: { region: %[1]s, endpoint: "%[2]s" }
    tables:
      films: { name: cinema-films, indexes: [ { name: by_year, columns: [year] }, { name: by_genre, columns: [genres], each: true } ] }
  lake: { type: lake, url: lake }
pipelines:
  films: { from: films, to: [films] }
  changes: { from: changes, to: [lake] }
`

// A file goes into items of DynamoDB, and their changes from the stream into a lake; the API reads the items. It sets the environment.
func TestItemsInDynamo(t *testing.T) { //nolint:paralleltest // see above
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, "") // what it was comes back afterwards
	}
	server, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"films.csv":    "id,title,year,genres\na,Alien,1979,\"[\"\"horror\"\",\"\"space\"\"]\"\nb,Brazil,1985,\"[\"\"space\"\"]\"\nc,Coma,,\n",
		"acequia.yaml": fmt.Sprintf(dynamoProject, server.Settings.Region, server.Settings.Endpoint),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{filepath.Join(dir, "acequia.yaml")}, os.LookupEnv)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	var missing app.Endpoint
	for _, e := range p.Connect(t.Context(), "127.0.0.1", 0) {
		if e.Kind == "sink" && e.Name == "films" {
			missing = e
		}
	}
	if missing.Code != "ACQ-ITEMS-020" || !strings.Contains(missing.Remedy, "aws dynamodb create-table") {
		t.Errorf("%+v", missing)
	}
	makeFilms(t, server.Settings)
	for _, e := range p.Connect(t.Context(), "127.0.0.1", 0) {
		if !e.OK {
			t.Errorf("%+v", e)
		}
	}
	s, err := p.Open(t.Context(), app.ServiceOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	for _, status := range s.Status() {
		if status.RowsCommitted != 3 {
			t.Errorf("pipeline %s has committed %d of 3", status.Pipeline, status.RowsCommitted)
		}
	}
	items := app.ItemsOf(s)
	tables, err := items.Tables(t.Context())
	if err != nil || len(tables) != 1 || tables[0].Name != "cinema-films" || len(tables[0].Indexes) != 2 {
		t.Error(tables, err)
	}
	for want, q := range map[string]api.Query{
		"Alien": {Key: []string{"a"}}, "": {Key: []string{"x"}}, "Brazil": {Index: "by_year", Key: []string{"1985"}}, "Alien Brazil": {Index: "by_genre", Key: []string{"space"}},
	} {
		q.Table, q.Limit = "cinema-films", 10
		if got, err := titles(t.Context(), items, q); err != nil || got != want {
			t.Errorf("%+v: got %q, want %q: %v", q, got, want, err)
		}
	}
	paged := api.Query{Table: "cinema-films", Limit: 2}
	first, err := items.Page(t.Context(), paged)
	if err != nil || len(first.Docs) != 2 || first.Last == "" {
		t.Fatal(first, err)
	}
	paged.After = first.Last
	if rest, err := items.Page(t.Context(), paged); err != nil || len(rest.Docs) != 1 || rest.Last != "" {
		t.Error(rest, err)
	}
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// makeFilms makes the tables as the command of plan --connect does.
func makeFilms(t *testing.T, at awsconfig.Settings) {
	t.Helper()
	schema, err := record.NewSchema("films", []string{"id"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := awsconfig.Load(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer awsconfig.Connections(&c, 1, 0)()
	table := itemstore.Table{Name: "cinema-films", Schema: schema, Indexes: []itemstore.Index{{Name: "by_year", Columns: []string{"year"}}, {Name: "by_genre", Columns: []string{"genres"}, Each: true}}}
	for _, in := range itemstore.Design(table) {
		if _, err := dynamodb.NewFromConfig(c).CreateTable(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

// titles are those of the items of a page, by their keys.
func titles(ctx context.Context, items api.Items, q api.Query) (string, error) {
	page, err := items.Page(ctx, q)
	var out []string
	for _, doc := range page.Docs {
		var film struct{ Title string }
		if err := json.Unmarshal(doc, &film); err != nil {
			return "", err
		}
		out = append(out, film.Title)
	}
	return strings.Join(out, " "), err
}
