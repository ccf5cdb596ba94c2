package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// The layers of docs/ARCHITECTURE.md: a package imports only what stands below it.
const (
	layerFault = iota
	layerRecord
	layerStores // schemas and the stores under internal/
	layerContracts
	layerParts // what several plugins are made of
	layerSuites
	layerPlugins
	layerCatalog
	layerServices
	layerApp
	layerCommand
	layerTests // only tests live there
	layerNone  // not in the plan
)

var internals = map[string]int{
	"blob": layerStores, "itemstore": layerStores, "query": layerStores, "checkpoint": layerStores, "config": layerStores, "dynamolog": layerStores,
	"athena": layerStores, "awsconfig": layerStores, "expr": layerStores, "obs": layerStores, "page": layerStores, "parquet": layerStores, "sorter": layerStores,
	"wire": layerStores, "broker": layerStores, "postgres": layerStores, "mysql": layerStores, "mongodb": layerStores, "gather": layerStores,
	"tabular": layerParts, "outbox": layerParts,
	"messaging": layerStores, "lakefiles": layerStores, "compaction": layerServices, "verify": layerServices, "backup": layerServices, "setup": layerServices, "provision": layerServices, "cost": layerServices,
	"api": layerServices, "web": layerServices, "jobs": layerServices, "app": layerApp, "cli": layerCommand, "lambda": layerCommand,
	"environment": layerServices, "oracle": layerTests, "browsertest": layerTests, "archtest": layerTests, "crashtest": layerTests, "bench": layerTests, "servertest": layerRecord,
}

// layer gives the layer of a package, named by its folder.
func layer(pkg string) int {
	top, rest, _ := strings.Cut(pkg, "/")
	switch top {
	case "fault":
		return layerFault
	case "record":
		return layerRecord
	case "schemas":
		return layerStores
	case "sources", "handlers", "sinks":
		switch {
		case rest == "":
			return layerContracts
		case rest == suite(top):
			return layerSuites
		}
		return layerPlugins
	case "routers", "examples":
		return layerPlugins
	case "catalog":
		return layerCatalog
	case "internal":
		name, _, _ := strings.Cut(rest, "/")
		if l, ok := internals[name]; ok {
			return l
		}
	case "cmd", ".":
		return layerCommand
	case "deploy": // tests of the files with which acequia is run elsewhere
		return layerTests
	}
	return layerNone
}

// beside lists the imports within a layer that the plan allows. A folder may always import the one it stands in.
var beside = map[string][]string{
	".":                                {"internal/cli"},
	"cmd/acequia":                      {"."},
	"cmd/acequia-lambda":               {"internal/lambda"},
	"internal/api":                     {"internal/jobs", "internal/backup"},
	"internal/backup":                  {"internal/verify"},
	"internal/athena":                  {"schemas", "internal/awsconfig", "internal/config"},
	"internal/blob":                    {"internal/awsconfig"},
	"internal/blob/blobtest":           {"internal/awsconfig"},
	"internal/broker":                  {"internal/awsconfig"},
	"internal/checkpoint":              {"internal/dynamolog", "internal/postgres"},
	"internal/config":                  {"internal/awsconfig", "internal/blob"},
	"internal/dynamolog":               {"internal/awsconfig"},
	"internal/dynamolog/dynamologtest": {"internal/awsconfig"},
	"internal/itemstore":               {"internal/awsconfig"},
	"internal/lakefiles":               {"internal/blob", "internal/parquet"},
	"internal/messaging":               {"internal/awsconfig"},
	"internal/messaging/messagingtest": {"internal/awsconfig"},
	"internal/mysql":                   {"internal/gather"},
	"internal/postgres":                {"internal/gather"},
	"internal/query":                   {"schemas", "internal/blob", "internal/lakefiles", "internal/awsconfig"},
}

// suite is the name of the conformance suite of a kind of plugin.
func suite(kind string) string { return strings.TrimSuffix(kind, "s") + "test" }

// testOnly says whether a package exists for tests: it may not reach the program.
func testOnly(pkg string) bool {
	return layer(pkg) == layerTests || layer(pkg) == layerSuites || strings.HasSuffix(path.Base(pkg), "test") || strings.HasPrefix(pkg, "examples/")
}

// importsFlowDown checks every import of our own packages.
func importsFlowDown(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if layer(f.dir) == layerNone {
			found = append(found, fmt.Sprintf("%s: the plan has no layer for %s", f.path, f.dir))
			continue
		}
		if f.test || layer(f.dir) == layerTests {
			continue
		}
		for _, name := range f.imports() {
			to, ours := strings.CutPrefix(name, module+"/")
			if name == module {
				to, ours = ".", true
			}
			if why := refusal(f.dir, to); ours && why != "" && !f.opens(to) {
				found = append(found, fmt.Sprintf("%s: %s may not import %s: %s", f.path, f.dir, to, why))
			}
		}
	}
	return found
}

// opens says whether the file is of an example that is a program, and the import a part of the door for such programs: it
// builds on what a program elsewhere can import, and on nothing internal.
func (f goFile) opens(to string) bool {
	return strings.HasPrefix(f.dir, "examples/") && f.syntax.Name.Name == "main" && slices.Contains([]string{".", "catalog"}, to)
}

// refusal says why a package may not import another, or "".
func refusal(from, to string) string {
	switch {
	case testOnly(to) && !testOnly(from):
		return "it is for tests"
	case strings.HasPrefix(from, "examples/") && strings.HasPrefix(to, "internal/"):
		return "an example builds on what programs elsewhere can import"
	case isPlugin(from) && isPlugin(to):
		return "plugins never import plugins"
	case layer(to) < layer(from):
		return ""
	case layer(to) == layer(from) && (strings.HasPrefix(from, to+"/") || slices.Contains(beside[from], to)):
		return ""
	}
	return fmt.Sprintf("layer %d does not stand above layer %d", layer(from), layer(to))
}

func isPlugin(pkg string) bool {
	kind, _, inside := strings.Cut(pkg, "/")
	return inside && slices.Contains([]string{"sources", "handlers", "sinks"}, kind) && layer(pkg) == layerPlugins
}

// fence keeps a dependency in the packages that are meant to know it.
type fence struct {
	prefix string
	inside []string
}

var fences = []fence{
	{"github.com/ThreeDotsLabs/watermill", []string{"routers", "internal/broker", "sources/bus", "sinks/bus"}},
	{"github.com/nats-io/", []string{"internal/broker"}},
	{"github.com/IBM/sarama", []string{"internal/broker"}},
	{"github.com/rabbitmq/", []string{"internal/broker"}},
	{"github.com/go-chi/", []string{"internal/api", "internal/web", "sources/form"}},
	{"github.com/aws/smithy-go", []string{"internal/awsconfig"}},
	{"github.com/aws/aws-lambda-go", []string{"internal/lambda", "cmd/acequia-lambda"}},
	{"github.com/aws/aws-sdk-go", []string{
		"internal/blob", "internal/itemstore", "internal/query", "internal/dynamolog", "internal/awsconfig", "internal/messaging",
		"sources/dynamodbstreams", "internal/broker", "internal/athena", "internal/provision",
	}},
	{"github.com/duckdb/", []string{"internal/query"}},
	{"modernc.org/sqlite", []string{"internal/itemstore", "internal/checkpoint"}},
	{"github.com/parquet-go/parquet-go", []string{"internal/parquet", "internal/query", "sources/file"}},
	{"cel.dev/cel-go", []string{"internal/expr"}},
	{"github.com/jackc/", []string{"internal/postgres", "sources/postgres", "sinks/postgres"}},
	{"github.com/go-mysql-org/", []string{"internal/mysql", "sources/mysql"}},
	{"go.mongodb.org/mongo-driver", []string{"internal/mongodb", "sources/mongodb"}},
	{"github.com/alecthomas/kong", []string{"internal/cli"}},
	{"github.com/go-co-op/gocron", []string{"internal/jobs"}},
	{"github.com/robfig/cron", []string{"internal/config"}},
	{"github.com/coreos/go-oidc", []string{"internal/api"}},
	{"github.com/danielgtaylor/huma", []string{"internal/api"}},
}

// dependenciesStayInside checks the fences, and that test helpers stay out of the program.
func dependenciesStayInside(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if f.test || testOnly(f.dir) {
			continue
		}
		for _, name := range f.imports() {
			for _, fence := range fences {
				if strings.HasPrefix(name, fence.prefix) && !slices.Contains(fence.inside, f.dir) {
					found = append(found, fmt.Sprintf("%s: only %s may import %s", f.path, strings.Join(fence.inside, ", "), name))
				}
			}
			if slices.Contains([]string{"testing", "github.com/google/go-cmp/cmp", "go.uber.org/goleak", "pgregory.net/rapid"}, name) {
				found = append(found, fmt.Sprintf("%s: %s is for tests", f.path, name))
			}
			if l := layer(f.dir); l <= layerRecord && strings.Contains(name, ".") && !strings.HasPrefix(name, module) {
				found = append(found, fmt.Sprintf("%s: %s has the standard library only, not %s", f.path, f.dir, name))
			}
		}
	}
	return found
}

// foldersSayTheirDuty refuses the names under which anything can be put.
func foldersSayTheirDuty(t *tree) []string {
	var found []string
	for dir := range t.packages() {
		for name := range strings.SplitSeq(dir, "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "shared", "types", "manager", "managers", "misc"}, name) {
				found = append(found, dir+": name a folder for its duty")
			}
		}
	}
	return found
}
