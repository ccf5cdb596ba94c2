package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

const s3File = `version: 1
sources:
  games: { type: file, path: "data/*.csv", stream: games, key: [rank], schema: { rank: int64, dt: date } }
sinks:
  lake:
    type: lake
    url: s3://bucket/a/lake
    aws: { region: eu-west-1, endpoint: %q }
    sse: s3
    owner: "123456789012"
    partition: [dt]
    %s
pipelines:
  games: { from: games, to: [lake] }
`

// service opens a file.
func service(t *testing.T, dir, text string) *Service {
	t.Helper()
	path := filepath.Join(dir, "games.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project, problems, err := LoadProject(t.Context(), catalog.Default(), []string{path}, os.LookupEnv)
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	s, err := project.Open(t.Context(), ServiceOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ran runs a file to the end of its sources.
func ran(t *testing.T, dir, text string) {
	t.Helper()
	s := service(t, dir, text)
	if err := s.Run(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A lake in S3 is written, kept and read again by the same configuration; SQL says that it cannot.
func TestALakeInS3(t *testing.T) {
	t.Parallel()
	server, dir := blobtest.New(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o750); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		text := fmt.Sprintf("rank,dt\n%d,1999-12-31\n%d,%s\n", n, 10+n, time.Now().UTC().Format(time.DateOnly))
		if err := os.WriteFile(filepath.Join(dir, "data", fmt.Sprintf("%d.csv", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ran(t, dir, fmt.Sprintf(s3File, server.URL, "roll: { every: 1m }"))
	}
	b, err := blob.OpenS3(t.Context(), "s3://bucket/a/lake", server.Settings())
	if err != nil {
		t.Fatal(err)
	}
	if names, err := lakefiles.List(t.Context(), b, "games"); len(names) != 6 || err != nil || server.Staged() > 0 {
		t.Fatalf("%q, %d uploads, %v", names, server.Staged(), err)
	}
	server.Later(time.Hour) // what is there is older than older_than
	s := service(t, dir, fmt.Sprintf(s3File, server.URL, "compact: { older_than: 1ms, grace: 1ms }\n    expire: { after: 90d, grace: 1ms }"))
	for _, c := range s.chores(t.Context()) {
		if _, err := c.do(t.Context()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	engine, err := s.engine()
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Available(); fault.Code(err) != "ACQ-QUERY-012" {
		t.Errorf("got %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := lakefiles.List(t.Context(), b, "games")
	if len(names) != 1 || err != nil || !lakefiles.IsOutput(names[0]) {
		t.Fatalf("%q, %v", names, err)
	}
	ran(t, dir, fmt.Sprintf(`version: 1
sources:
  lake: { type: lake, url: s3://bucket/a/lake, aws: { region: eu-west-1, endpoint: %q } }
sinks:
  copy: { type: lake, url: copy }
pipelines:
  copied: { from: lake, to: [copy] }
`, server.URL))
	if names, err := lakefiles.List(t.Context(), blob.Within(filepath.Join(dir, "copy")), "games"); len(names) != 1 || err != nil {
		t.Errorf("the copy has %q, %v", names, err)
	}
}

// What is wrong with the settings of S3 is told with its place, before anything connects.
func TestSettingsOfS3(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`url: s3://bucket/lake, sse: des`:            "sse",
		`url: s3://bucket/lake, owner: "12"`:         "owner",
		`url: lake, owner: "123456789012"`:           "aws, sse and owner are of a lake at s3://",
		`url: "s3://bucket/../lake"`:                 "is no place for a lake",
		`url: s3://bucket/lake, aws: { zone: here }`: "zone",
	} {
		path := filepath.Join(t.TempDir(), "f.yaml")
		text := fmt.Sprintf("version: 1\nsources:\n  games: { type: file, path: \"*.csv\", stream: games, key: [rank], schema: { rank: int64 } }\nsinks:\n  lake: { type: lake, %s }\npipelines:\n  games: { from: games, to: [lake] }\n", settings)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems, err := LoadProject(t.Context(), catalog.Default(), []string{path}, os.LookupEnv)
		if err != nil || !problems.Errors() || !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: %v, %v", settings, problems, err)
		}
	}
}
