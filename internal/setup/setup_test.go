package setup_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/setup"
)

const account = "123456789012"

func options() setup.Options {
	return setup.Options{
		Account: setup.Account{ID: account, Region: "eu-west-1"}, Athena: setup.Athena{Workgroup: "acequia", Database: "games"}, Project: "games",
		Streams: func(pipeline string) []string {
			return map[string][]string{"answers": {"videogames"}, "queue": {"games"}}[pipeline]
		},
	}
}

// all names a part of every component.
const all = `
version: 1
state: { type: dynamodb, table: acequia-state, aws: { region: eu-west-1 } }
reports: s3://acequia-lake/analytics/reports
backup: { url: "s3://acequia-lake/backups/", sse: "arn:aws:kms:eu-west-1:123456789012:key/two" }
sources:
  web: { type: form, schema: videogames }
  games: { type: sqs, queue: "https://sqs.eu-south-2.amazonaws.com/999999999999/games.fifo", payload_bucket: large-bodies, table: register }
  row: { type: sqs, queue: rows, table: register }
  changes: { type: dynamodbstreams, table: register, aws: { region: us-east-1 } }
  old: { type: lake, url: "s3://acequia-old" }
  bus: { type: bus, url: "sns://eu-west-3", topic: "arn:aws:sns:eu-west-3:123456789012:games" }
  shop: { type: postgres, dsn: "${env:DSN}" }
sinks:
  lake: { type: lake, url: "s3://acequia-lake/lake", compact: { every: 1h }, sse: "arn:aws:kms:eu-west-1:123456789012:key/one" }
  asked: { type: lake, url: "s3://acequia-asked", athena: { database: asked, workgroup: team, results: "s3://answers/team", aws: { region: us-east-2 } } }
  items: { type: items, url: "dynamodb://", tables: { videogames: { name: register }, games: { indexes: [ { name: by_genre, columns: [genres], each: true }, { name: by_year, columns: [year] } ] } } }
  here: { type: items }
  out: { type: sqs, queue: done, payload_bucket: large-bodies }
  events: { type: eventbridge, bus: games, payload_bucket: large-bodies, payload_prefix: events/ }
  sent: { type: bus, url: "sqs://eu-west-3", topic: sent, existing: true }
pipelines:
  answers: { from: web, to: [items] }
  queue: { from: games, to: [items, lake, out] }
  stream: { from: changes, to: [lake, asked, events, here] }
  again: { from: old, to: [sent] }
  more: { from: bus, to: [sent] }
  tables: { from: shop, to: [items] }
`

func parsed(t *testing.T, text string) []*config.File {
	t.Helper()
	f, _ := config.Parse("acequia.yaml", []byte(text), func(name string) (string, bool) { return "hidden", name == "SECRET" })
	return []*config.File{f}
}

// told writes policies in lines: name, then actions and resources of each statement, without what all have in common.
func told(policies []setup.Policy) string {
	var b strings.Builder
	for _, p := range policies {
		fmt.Fprintf(&b, "%s (%s)\n", p.Name, p.For)
		for _, s := range p.Document.Statement {
			fmt.Fprintf(&b, "  %s\n    on %s\n", strings.Join(s.Action, " "), strings.ReplaceAll(strings.Join(s.Resource, " "), "arn:aws:", ""))
			if s.Condition != nil {
				condition, _ := json.Marshal(s.Condition)
				fmt.Fprintf(&b, "    if %s\n", condition)
			}
		}
		for _, n := range p.Notes {
			fmt.Fprintf(&b, "  note: %s\n", n)
		}
	}
	return b.String()
}

// TestPolicies compares what each kind of part may do with a page that a person has read.
func TestPolicies(t *testing.T) {
	t.Parallel()
	policies, problems := setup.Policies(parsed(t, all), options())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	policies = append(policies, setup.Making(parsed(t, all), options()))
	page := filepath.Join("testdata", "all.txt")
	got := told(policies)
	if os.Getenv("ACEQUIA_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	for _, c := range setup.Components() {
		if !slices.ContainsFunc(policies, func(p setup.Policy) bool { return p.Component == c }) {
			t.Errorf("no part of the file is of %s", c)
		}
	}
	for _, p := range policies {
		for _, why := range broken(p) {
			t.Error(why)
		}
	}
	alike, _ := setup.Policies(parsed(t, "version: 1\nsources: { q-1: { type: sqs, queue: one }, q_1: { type: sqs, queue: two } }\n"), options())
	merged := setup.Merge(slices.Concat(policies, policies, alike))
	ids := map[string]bool{}
	for _, s := range merged.Statement {
		if ids[s.Sid] {
			t.Errorf("two statements are %s", s.Sid)
		}
		ids[s.Sid] = true
	}
	if !ids["SqsSourceQ1Receive"] || !ids["SqsSourceQ1ReceiveX2"] {
		t.Errorf("statements %v", ids)
	}
}

// broken says which rules a policy breaks: no action is a pattern, and a resource is one only below what it names.
func broken(p setup.Policy) (out []string) {
	say := func(format string, args ...any) { out = append(out, p.Name+": "+fmt.Sprintf(format, args...)) }
	reasons := map[string]bool{}
	for _, u := range p.Unscoped {
		reasons[u.Action] = len(u.Why) > 20
	}
	for _, s := range p.Document.Statement {
		if len(s.Action) == 0 || len(s.Resource) == 0 || s.Effect != "Allow" {
			say("%s says nothing", s.Sid)
		}
		for _, a := range s.Action {
			if strings.ContainsAny(a, "*?") || strings.Count(a, ":") != 1 {
				say("the action %s", a)
			}
			if slices.Contains(s.Resource, "*") && (!reasons[a] || a != "dynamodb:ListTables") {
				say("%s on every resource", a)
			}
		}
		for _, r := range s.Resource {
			if r != "*" && !exact(r) {
				say("the resource %s", r)
			}
		}
		if strings.Trim(s.Sid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			say("the id %s", s.Sid)
		}
	}
	return out
}

// exact says whether an ARN is of one resource, or of what is in one bucket, table or database.
func exact(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" {
		return false
	}
	body, service := parts[5], parts[2]
	for _, tail := range map[string][]string{"s3": {"/*"}, "dynamodb": {"/stream/*", "/index/*"}, "glue": {"/*"}}[service] {
		if rest, cut := strings.CutSuffix(body, tail); cut {
			body = rest
			break
		}
	}
	placed := service == "s3" && parts[3] == "" && parts[4] == "" ||
		service != "s3" && (parts[3] != "" || service == "iam") && (len(parts[4]) == len(account) || parts[4] == setup.UnknownAccount)
	return placed && body != "" && !strings.ContainsAny(strings.Join(parts[:5], "")+body, "*?$")
}

// TestRulesOfTheExamples reads every example, and a folder of them.
func TestRulesOfTheExamples(t *testing.T) {
	t.Parallel()
	read := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "examples"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		read++
		files, _, err := config.Load([]string{path}, func(string) (string, bool) { return "", false })
		if err != nil {
			return err
		}
		policies, problems := setup.Policies(files, options())
		policies = append(policies, setup.Making(files, options()))
		if problems.Errors() {
			t.Errorf("%s: %v", path, problems)
		}
		for _, p := range policies {
			for _, why := range broken(p) {
				t.Errorf("%s: %s", path, why)
			}
		}
		return nil
	})
	if err != nil || read < 5 {
		t.Fatal(read, err)
	}
}

// TestRulesOfAnyFile makes up names, hostile ones too: each is in a policy that keeps the rules, or is refused.
func TestRulesOfAnyFile(t *testing.T) {
	t.Parallel()
	names := rapid.OneOf(rapid.StringMatching(`[a-z][a-z0-9-]{2,12}`), rapid.StringMatching(`[a-zA-Z0-9_.*?$/:{} -]{0,20}`))
	rapid.Check(t, func(t *rapid.T) {
		name := func(label string) string {
			text, _ := json.Marshal(strings.ReplaceAll(names.Draw(t, label), "$", "$$"))
			return string(text)
		}
		s3 := func(label string) string {
			text, _ := json.Marshal("s3://" + strings.ReplaceAll(names.Draw(t, label)+"/"+names.Draw(t, label), "$", "$$"))
			return string(text)
		}
		text := fmt.Sprintf(`
version: 1
state: %s
reports: %s
sources:
  q: { type: sqs, queue: %s, aws: { region: %s } }
  s: { type: dynamodbstreams, table: %s }
  b: { type: bus, url: "sqs://eu-west-1", topic: %s }
sinks:
  l: { type: lake, url: %s, compact: {} }
  i: { type: items, url: "dynamodb://", only: true, tables: { %s: { name: %s, indexes: [ { name: %s, each: true } ] }, %s: {} } }
  e: { type: eventbridge, bus: %s }
  o: { type: sqs, queue: %s }
pipelines:
  p: { from: q, to: [l, i, e, o] }
  r: { from: s, to: [l, i] }
  t: { from: b, to: [l] }
`, name("state"), s3("reports"), name("queue"), name("region"), name("table"), name("topic"), s3("lake"), name("stream"), name("items"), name("index"), name("other"), name("bus"), name("out"))
		f, _ := config.Parse("acequia.yaml", []byte(text), func(string) (string, bool) { return "", false })
		policies, _ := setup.Policies([]*config.File{f}, options())
		policies = append(policies, setup.Making([]*config.File{f}, options()))
		for _, p := range policies {
			for _, why := range broken(p) {
				t.Errorf("%s in\n%s", why, text)
			}
		}
	})
}

// TestRefused names what cannot be told in a policy, with its place.
func TestRefused(t *testing.T) {
	t.Parallel()
	const frame = "version: 1\nsources:\n  a: %s\nsinks:\n  b: %s\npipelines: { p: { from: a, to: [b] } }\n"
	const file, discard = "{ type: file, path: x }", "{ type: discard }"
	for _, c := range []struct{ source, sink, want string }{
		{`{ type: sqs, queue: "*" }`, discard, `3:26: queue: "*" is no name of a queue`},
		{`{ type: sqs }`, discard, "3:3: source a: queue is missing"},
		{`{ type: sqs, queue: "${env:QUEUE}" }`, discard, "3:3: source a: queue has no value here"},
		{`{ type: sqs, queue: "${env:SECRET}" }`, discard, "3:26: queue: is a secret here"},
		{`{ type: sqs, queue: "arn:aws:sqs:*:1:x" }`, discard, "is no ARN of sqs"},
		{`{ type: dynamodbstreams, table: "ab" }`, discard, "is no name of a table"},
		{`{ type: dynamodbstreams, table: abc, aws: { region: "*" } }`, discard, `"*" is no region`},
		{`{ type: bus, url: "sns://eu-west-1", topic: games }`, discard, "is no ARN of sns"},
		{`{ type: bus, url: "sqs://*", topic: games }`, discard, `"*" is no region`},
		{file, `{ type: lake, url: "s3://a*b" }`, `5:25: url: "a*b" is no name of a bucket`},
		{file, `{ type: lake, url: "s3://abc/x", sse: "arn:aws:kms:*" }`, "is no ARN of kms"},
		{`{ type: sqs, queue: q, payload_bucket: "*" }`, discard, "is no name of a bucket"},
		{file, `{ type: lake, url: "s3://abc/$${x}" }`, "cannot be told in a policy"},
		{file, `{ type: items, url: "dynamodb://", tables: { s: { name: "a/b" } } }`, "tables.s.name: "},
		{file, `{ type: eventbridge, bus: "*" }`, "is no name of an event bus"},
	} {
		_, problems := setup.Policies(parsed(t, fmt.Sprintf(frame, c.source, c.sink)), options())
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.source, c.sink, problems, c.want)
		}
	}
	for _, a := range []setup.Account{{ID: "1"}, {ID: "*"}, {Region: "*"}, {Region: "eu"}} {
		if a.Check() == nil {
			t.Errorf("%v is taken", a)
		}
	}
	if _, err := (setup.Service{Lake: setup.Folder{Bucket: "*"}}).Policies(options()); err == nil {
		t.Error("a bucket * is taken")
	}
}
