package app_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/cost"
	"github.com/acequia-io/acequia/internal/environment"
)

// needs are what files need of AWS, a line each.
func needs(t *testing.T, path string) []string {
	t.Helper()
	p, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, func(string) (string, bool) { return "", false })
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	n, problems, err := p.Needs(t.Context(), "shop", "", slog.New(slog.DiscardHandler))
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	var out []string
	for _, b := range n.Buckets {
		out = append(out, strings.TrimRight(fmt.Sprintf("bucket %s %t %d %s %s", b.Name, b.Versions, b.Expire, b.Key, b.Owner), " "))
	}
	for _, t := range n.Tables {
		out = append(out, fmt.Sprintf("table %s %t %t %d", t.Name, t.Schema != nil, t.NoChanges, len(t.Indexes)))
	}
	for _, q := range n.Queues {
		out = append(out, "queue "+q.Name+" "+q.At.Region)
	}
	for _, b := range n.Buses {
		out = append(out, "bus "+b.Name)
	}
	for _, r := range n.Routes {
		out = append(out, "route "+r.Name+" "+r.Table.Name+" "+r.Queue.Name)
	}
	return append(out, n.Notes...)
}

// TestNeeds finds what the examples need, and each kind of part.
func TestNeeds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "parts.yaml")
	err := os.WriteFile(file, []byte(`
version: 1
sources:
  rows: { type: sqs, queue: "arn:aws:sqs:eu-south-2:123456789012:rows", key: [id], schema: { id: string }, payload_bucket: bodies }
  other: { type: dynamodbstreams, table: theirs, key: [id], schema: { id: string } }
  again: { type: lake, url: "s3://old/lake" }
sinks:
  lake: { type: lake, url: "s3://new/lake", sse: kms, owner: "123456789012" }
  plain: { type: lake, url: "s3://plain", sse: s3 }
  out: { type: sqs, queue: done.fifo, payload_bucket: bodies }
  events: { type: eventbridge, bus: games }
  here: { type: items }
pipelines:
  one: { from: rows, to: [lake, out, here] }
  two: { from: other, to: [plain, events] }
  three: { from: again, to: [lake] }
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	examples := filepath.Join("..", "..", "examples", "videogames")
	for path, want := range map[string][]string{
		filepath.Join(examples, "aws.yaml"): {
			"bucket videogames-lake true 0", "bucket videogames-results false 7", "table videogames true false 3", "table form_keys true true 0", "queue videogames eu-west-1",
			"route shop-changes videogames videogames",
		},
		filepath.Join(examples, "aws-lean.yaml"): {
			"bucket videogames-lake true 0", "bucket videogames-results false 7", "table videogames true false 3", "table form_keys true true 0", "queue videogames.fifo eu-west-1",
			"route shop-changes videogames videogames.fifo",
		},
		filepath.Join(examples, "videogames.yaml"): nil,
		file: {
			"bucket new true 0 kms 123456789012", "bucket plain true 0", "bucket new true 0 kms 123456789012", "bucket new-results false 7 kms 123456789012", "bucket bodies false 0",
			"bucket plain-results false 7", "bucket new-results false 7 kms 123456789012", "bucket bodies false 0",
			"table theirs false false 0", "queue done.fifo ", "queue arn:aws:sqs:eu-south-2:123456789012:rows eu-south-2", "bus games",
			"the bucket old of the source again: whoever fills it makes it",
		},
	} {
		got := needs(t, path)
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s needs\n  %s\nwant\n  %s", path, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

// TestCinemaNeeds names tables as the variables do, with the indexes of elements.
func TestCinemaNeeds(t *testing.T) {
	t.Parallel()
	p, err := environment.Variables{"S3_BUCKET_NAME": "cinema-data", "DYNAMODB_ROOMS_TABLE": "Salas"}.Places()
	if err != nil {
		t.Fatal(err)
	}
	n := app.CinemaNeeds("cinema", "asked", p)
	if len(n.Buckets) != 2 || n.Buckets[0].Name != "cinema-data" || n.Buckets[1].Name != "asked" || len(n.Tables) != 4 {
		t.Errorf("%+v", n)
	}
	tables := map[string]int{}
	for _, t := range n.Tables {
		tables[t.Name] = len(t.Indexes)
	}
	if tables["Salas"] != 1 || tables["cinema-reservations"] != 2 || tables["cinema-movies"] != 1 {
		t.Error(tables)
	}
}

// TestCost counts what the register costs over a bus: nothing for what stands on this machine, a database of RDS, and nothing of its address.
func TestCost(t *testing.T) {
	t.Parallel()
	load := func(path string) *cost.Estimate {
		p, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, func(name string) (string, bool) {
			if name != "DSN" {
				return "", false
			}
			return "postgres://reader:hidden@one.rds.amazonaws.com/shop", true
		})
		if err != nil || problems.Errors() {
			t.Fatal(problems, err)
		}
		return p.Cost(cost.Usual())
	}
	services := func(e *cost.Estimate) (out []string) {
		for _, l := range e.Lines {
			out = append(out, l.Service+" "+l.For)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	examples := filepath.Join("..", "..", "examples", "videogames")
	want := []string{"Athena sink lake", "DynamoDB sink items", "EventBridge changes of videogames", "S3 sink lake", "SQS changes of videogames", "SQS source changes"}
	if got := services(load(filepath.Join(examples, "aws.yaml"))); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if here := load(filepath.Join(examples, "videogames.yaml")); here.USD > 0 || len(here.Lines) > 0 {
		t.Errorf("%+v", here)
	}
	file := filepath.Join(t.TempDir(), "shop.yaml")
	err := os.WriteFile(file, []byte("version: 1\nsources: { shop: { type: postgres, dsn: \"${env:DSN}\" } }\nsinks: { items: { type: items, url: \"dynamodb://\" } }\npipelines: { shop: { from: shop, to: [items] } }\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	shop := load(file)
	if got := services(shop); !slices.Equal(got, []string{"DynamoDB sink items", "RDS source shop"}) || strings.Contains(fmt.Sprint(shop), "one.rds") || len(shop.Assumptions) != 5 {
		t.Errorf("%+v", shop)
	}
}
