package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/servertest"
	"github.com/acequia-io/acequia/internal/setup"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas/cinema"
	"github.com/acequia-io/acequia/schemas/videogames"
)

const stackFile = "cloudformation/template.yaml"

// role is the configuration whose rights the role of the template has; the names in it stand for the template's.
const role = `
version: 1
reports: s3://the-lake/analytics/migration_reports
backup: { url: "s3://the-lake/backups" }
sources:
  form: { type: form, schema: videogames }
  changes: { type: sqs, queue: the-name-changes }
  databases: { type: postgres, dsn: x }
sinks:
  register: { type: items, url: "dynamodb://", tables: { videogames: {} } }
  items:
    type: items
    url: dynamodb://
    only: true
    tables:
      movies: { name: cinema-movies, indexes: [ { name: by_genre, columns: [genres], each: true } ] }
      rooms: { name: cinema-rooms }
      reservations: { name: cinema-reservations }
      users: { name: cinema-users }
  lake: { type: lake, url: "s3://the-lake/lake", compact: {}, athena: {} }
pipelines:
  answers: { from: form, to: [register] }
  changes: { from: changes, to: [lake] }
  databases: { from: databases, to: [items, lake] }
`

// policies writes the policies of the role as the template has them.
func policies(t *testing.T) string {
	t.Helper()
	f, _ := config.Parse("acequia.yaml", []byte(role), func(string) (string, bool) { return "", false })
	all, problems := setup.Policies([]*config.File{f}, setup.Options{
		Account: setup.Account{ID: "000000000000", Region: "xx-region-1"}, Athena: setup.Athena{Workgroup: "the-name", Database: "the_database"},
		Streams: func(pipeline string) []string { return map[string][]string{"answers": {"videogames"}}[pipeline] },
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	conditions := map[setup.Component]string{setup.Form: "WithRegister", setup.Queue: "WithRegister", setup.Items: "WithCinema"}
	var b strings.Builder
	for _, p := range all {
		if p.Component == setup.Tables { // of who runs acequia tables apply, and not of the process
			continue
		}
		id := ""
		for word := range strings.SplitSeq(string(p.Component), "-") {
			id += strings.ToUpper(word[:1]) + word[1:]
		}
		fmt.Fprintf(&b, "  %sPolicy:\n    Type: AWS::IAM::ManagedPolicy\n", id)
		if c := conditions[p.Component]; c != "" {
			fmt.Fprintf(&b, "    Condition: %s\n", c)
		}
		fmt.Fprintf(&b, "    Properties:\n      Description: acequia setup iam, component %s\n      PolicyDocument:\n        Version: %q\n        Statement:\n", p.Component, p.Document.Version)
		for _, s := range p.Document.Statement {
			fmt.Fprintf(&b, "          - Sid: %s\n            Effect: %s\n            Action: [%s]\n            Resource:\n", s.Sid, s.Effect, strings.Join(s.Action, ", "))
			for _, r := range s.Resource {
				if r == "*" {
					fmt.Fprintf(&b, "              - %q # %s\n", r, "DynamoDB does not limit this action to tables")
					continue
				}
				fmt.Fprintf(&b, "              - !Sub %q\n", substituted(r))
			}
			for _, operator := range slices.Sorted(maps.Keys(s.Condition)) {
				fmt.Fprintf(&b, "            Condition:\n              %s:\n", operator)
				for _, key := range slices.Sorted(maps.Keys(s.Condition[operator])) {
					fmt.Fprintf(&b, "                %q: [%s]\n", key, strings.Join(s.Condition[operator][key], ", "))
				}
			}
		}
	}
	return b.String()
}

// substituted puts what CloudFormation knows in the place of what stands for it.
func substituted(arn string) string {
	return strings.NewReplacer("arn:aws:", "arn:${AWS::Partition}:", "000000000000", "${AWS::AccountId}", "xx-region-1", "${AWS::Region}", "the-lake",
		"${Name}-lake-${AWS::AccountId}-${AWS::Region}", "the-name", "${Name}", "the_database", "${DatabaseName}").Replace(arn)
}

// TestPoliciesOfTheTemplate wants the role to have what setup iam prints. ACEQUIA_UPDATE writes it.
func TestPoliciesOfTheTemplate(t *testing.T) {
	t.Parallel()
	text := read(t, stackFile)
	begin, end := strings.Index(text, "writes them\n")+len("writes them\n"), strings.Index(text, "  # policies: end")
	want := policies(t)
	if os.Getenv("ACEQUIA_UPDATE") != "" {
		if err := os.WriteFile(filepath.FromSlash(stackFile), []byte(text[:begin]+want+text[end:]), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text[begin:end] != want {
		t.Errorf("the policies of the template are not those of setup iam: ACEQUIA_UPDATE=1 go test ./deploy\n%s", want)
	}
}

// stack is a template as far as the tests look at it. Functions such as !Ref are read as their arguments.
type stack struct {
	Resources map[string]struct {
		Type       string         `yaml:"Type"`
		Deletion   string         `yaml:"DeletionPolicy"`
		Properties map[string]any `yaml:"Properties"`
	} `yaml:"Resources"`
}

func parsedStack(t *testing.T) stack {
	t.Helper()
	text := read(t, stackFile)
	if alias := regexp.MustCompile(`(?m)[:-] [&*][a-z]\w*\s*$`).FindString(text); alias != "" {
		t.Errorf("CloudFormation knows no aliases: %s", alias)
	}
	var s stack
	if err := yaml.Unmarshal([]byte(regexp.MustCompile(`!(Ref|GetAtt|Sub|If|Equals|Not)\b`).ReplaceAllString(text, "")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// at follows keys, and the first item of lists.
func at(v any, path ...string) any {
	for _, key := range path {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// TestResources holds the template to its promises: closed buckets, tables that can be recovered, queues and pipes that end.
func TestResources(t *testing.T) {
	t.Parallel()
	s := parsedStack(t)
	counts := map[string]int{}
	for name, r := range s.Resources {
		counts[r.Type]++
		p := r.Properties
		switch r.Type {
		case "AWS::S3::Bucket":
			for _, key := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if at(p, "PublicAccessBlockConfiguration", key) != true {
					t.Errorf("%s: no %s", name, key)
				}
			}
			rules, _ := at(p, "LifecycleConfiguration", "Rules").([]any)
			aborted := slices.ContainsFunc(rules, func(rule any) bool { return at(rule, "AbortIncompleteMultipartUpload", "DaysAfterInitiation") != nil })
			if at(p, "OwnershipControls", "Rules", "ObjectOwnership") != "BucketOwnerEnforced" || at(p, "BucketEncryption") == nil || !aborted || r.Deletion != "Retain" {
				t.Errorf("%s: %v", name, p)
			}
			policy, _ := json.Marshal(s.Resources[name+"Policy"].Properties)
			if !strings.Contains(string(policy), `"aws:SecureTransport":"false"`) || !strings.Contains(string(policy), `"s3:TlsVersion":"1.2"`) {
				t.Errorf("%s: its policy lets transport be read: %s", name, policy)
			}
		case "AWS::DynamoDB::Table":
			if at(p, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != true || p["DeletionProtectionEnabled"] != true || r.Deletion != "Retain" ||
				at(p, "TimeToLiveSpecification", "AttributeName") != "_ttl" {
				t.Errorf("%s: %v", name, p)
			}
		case "AWS::SQS::Queue":
			if p["SqsManagedSseEnabled"] != true {
				t.Errorf("%s is not encrypted", name)
			}
		case "AWS::Logs::LogGroup":
			if p["RetentionInDays"] == nil {
				t.Errorf("%s is kept for ever", name)
			}
		}
	}
	for kind, least := range map[string]int{"AWS::S3::Bucket": 4, "AWS::DynamoDB::Table": 7, "AWS::SQS::Queue": 4, "AWS::CloudWatch::Alarm": 5, "AWS::EC2::VPCEndpoint": 8} {
		if counts[kind] < least {
			t.Errorf("%d of %s", counts[kind], kind)
		}
	}
	pipe := at(s.Resources["ChangesPipe"].Properties, "SourceParameters", "DynamoDBStreamParameters")
	for key, want := range map[string]any{"StartingPosition": "TRIM_HORIZON", "MaximumRetryAttempts": uint64(5), "OnPartialBatchItemFailure": "AUTOMATIC_BISECT"} {
		if got := at(pipe, key); got != want {
			t.Errorf("%s of the pipe is %v: its default is to try for ever", key, got)
		}
	}
	if at(s.Resources["Workgroup"].Properties, "WorkGroupConfiguration", "EnforceWorkGroupConfiguration") != true {
		t.Error("a query may choose other settings than those of the workgroup")
	}
	board, _ := s.Resources["Dashboard"].Properties["DashboardBody"].(string)
	if !json.Valid([]byte(regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(board, "x"))) {
		t.Error("the dashboard is no JSON")
	}
}

// TestRightsOfTheTemplate wants no pattern among what roles may do, and * as the resource of what DynamoDB does not limit alone.
func TestRightsOfTheTemplate(t *testing.T) {
	t.Parallel()
	looked := 0
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(name, item)
			}
		case map[string]any:
			conditions, _ := v["Condition"].(map[string]any)
			for operator, keys := range conditions {
				all, _ := keys.(map[string]any)
				for key := range all {
					if !regexp.MustCompile(`^[a-z0-9]+:[A-Za-z0-9:-]+$`).MatchString(key) {
						t.Errorf("%s: %s of %q is a condition that nothing has", name, operator, key)
					}
				}
			}
			if v["Effect"] == "Allow" {
				looked++
				actions, _ := json.Marshal(v["Action"])
				if strings.Contains(string(actions), "*") {
					t.Errorf("%s allows %s", name, actions)
				}
				resource, _ := json.Marshal(v["Resource"])
				if free := string(resource) == `"*"` || string(resource) == `["*"]`; free && !regexp.MustCompile(`^\[?"dynamodb:List(Streams|Tables)"\]?$`).Match(actions) {
					t.Errorf("%s allows %s on everything", name, actions)
				}
			}
			for _, item := range v {
				walk(name, item)
			}
		}
	}
	for name, r := range parsedStack(t).Resources {
		walk(name, r.Properties)
	}
	if looked < 20 {
		t.Errorf("%d statements", looked)
	}
}

// TestTablesOfTheTemplate compares keys and indexes with the schemas that the tables are for.
func TestTablesOfTheTemplate(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, r := range parsedStack(t).Resources {
		if r.Type == "AWS::DynamoDB::Table" {
			name, _ := r.Properties["TableName"].(string)
			got[name] = layout(r.Properties)
		}
	}
	want := map[string]string{"form_keys": "key(key:S)", "cinema-movies.by_genre": "key(element:S,item:S)"}
	for _, table := range cinema.Items() {
		s, err := table.Schema()
		if err != nil {
			t.Fatal(err)
		}
		want[table.Items] = "key(" + keys(s, table.Key) + ")"
		for _, x := range table.Indexes {
			if !x.Each {
				want[table.Items] += " " + x.Name + "(" + keys(s, []string{x.Column}) + ")"
			}
		}
	}
	games, err := videogames.Table()
	if err != nil {
		t.Fatal(err)
	}
	s := games.Schema()
	want["videogames"] = "key(" + keys(s, s.KeyNames()) + ")"
	for _, x := range [][2]string{{"by_genre", "genre"}, {"by_year", "year"}, {"by_developer", "developer"}} { // of examples/videogames
		want["videogames"] += " " + x[0] + "(" + keys(s, x[1:]) + ")"
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// keys writes columns with DynamoDB's types.
func keys(s *record.Schema, names []string) string {
	var out []string
	for _, name := range names {
		kind := "S"
		switch s.Fields[s.Index(name)].Kind {
		case record.Int32, record.Int64, record.Float32, record.Float64, record.Decimal:
			kind = "N"
		default:
		}
		out = append(out, name+":"+kind)
	}
	return strings.Join(out, ",")
}

// layout writes key and indexes of a table of the template.
func layout(p map[string]any) string {
	types := map[string]any{}
	definitions, _ := p["AttributeDefinitions"].([]any)
	for _, d := range definitions {
		types[fmt.Sprint(at(d, "AttributeName"))] = at(d, "AttributeType")
	}
	of := func(schema any) string {
		var out []string
		list, _ := schema.([]any)
		for _, k := range list {
			name := fmt.Sprint(at(k, "AttributeName"))
			out = append(out, fmt.Sprintf("%s:%v", name, types[name]))
		}
		return "(" + strings.Join(out, ",") + ")"
	}
	text := "key" + of(p["KeySchema"])
	indexes, _ := p["GlobalSecondaryIndexes"].([]any)
	for _, x := range indexes {
		text += fmt.Sprintf(" %v%s", at(x, "IndexName"), of(at(x, "KeySchema")))
	}
	return text
}

// TestTemplateIsClean has cfn-lint read the template.
func TestTemplateIsClean(t *testing.T) {
	t.Parallel()
	program, err := servertest.Cached("cfn-lint", "cfn-lint/bin/cfn-lint")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "--format", "parseable", filepath.FromSlash(stackFile)).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
