package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/schemas/cinema"
)

// service is the cinema service that has nothing but its environment, in the .env file of a folder.
type service struct {
	t   *testing.T
	dir string
}

// child is a command in that folder, not yet started.
func (s *service) child(args ...string) *child {
	s.t.Helper()
	c, err := command(s.t.Context(), order{Dir: s.dir}, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Dir = s.dir
	return c
}

// run runs a command to its end.
func (s *service) run(args ...string) (code int, out string) {
	s.t.Helper()
	c := s.child(args...)
	if err := c.Run(); c.ProcessState == nil {
		s.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), c.out.String()
}

// must runs a command that succeeds.
func (s *service) must(args ...string) string {
	s.t.Helper()
	code, out := s.run(args...)
	if code != exitOK {
		s.t.Fatalf("%v: exit code %d: %s", args, code, out)
	}
	return out
}

// fewFilms keeps the first films: the emulator writes a few hundred items a second.
const fewFilms = 200

// newCinemaService fills the databases, and names them and a bucket in .env.
func newCinemaService(t *testing.T, c *cloud) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir()}
	folder := realFilms(t, t.TempDir())
	all := strings.SplitAfterN(read(t, filepath.Join(folder, "movies.ndjson")), "\n", fewFilms+1)
	if err := os.WriteFile(filepath.Join(folder, "movies.ndjson"), []byte(strings.Join(all[:fewFilms], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	variables := strings.Join([]string{
		"MYSQL_DSN='" + cinemaRooms(t) + "'", "POSTGRES_DSN='" + cinemaPeople(t) + "'", "MONGODB_URI='" + cinemaFilms(t, folder) + "'", "MONGODB_DATABASE=cinema",
		"S3_BUCKET_NAME=" + c.bucket, "S3_BACKUP_FOLDER=copias", "S3_ANALYTICS_FOLDER=analytics", "DYNAMODB_ROOMS_TABLE=salas",
		"AWS_REGION=" + c.Settings.Region, "AWS_ENDPOINT_URL=" + c.endpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "",
	}, "\n")
	if err := os.WriteFile(filepath.Join(s.dir, ".env"), []byte(variables), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// cinemaTables makes the tables of items, of which one has another name.
func cinemaTables(t *testing.T, at awsconfig.Settings) {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer awsconfig.Connections(&c, 1, 0)()
	for _, table := range cinema.Items() {
		schema, err := table.Schema()
		if err != nil {
			t.Fatal(err)
		}
		items := itemstore.Table{Name: table.Items, Schema: schema}
		if table.Name == "rooms" {
			items.Name = "salas"
		}
		for _, x := range table.Indexes {
			items.Indexes = append(items.Indexes, itemstore.Index{Name: x.Name, Columns: []string{x.Column}, Each: x.Each})
		}
		for _, in := range itemstore.Design(items) {
			_, err := dynamodb.NewFromConfig(c).CreateTable(t.Context(), in)
			if _, made := errors.AsType[*types.ResourceInUseException](err); err != nil && !made { // made: by a call whose answer was lost
				t.Fatal(err)
			}
		}
	}
}

// TestCinemaOnAWS runs the service on AWS by its environment alone, from empty tables to the report: nine tables into a lake in the bucket,
// items in DynamoDB, a report and backups in the bucket, and the API over them.
func TestCinemaOnAWS(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	s := newCinemaService(t, c)
	code, out := s.run("check", "--connect")
	if code != exitEnvironment || !strings.Contains(out, "ACQ-ITEMS-020") || !strings.Contains(out, "make it: acequia setup apply FILE") || !strings.Contains(out, "✓ backups s3://"+c.bucket+"/copias: ") ||
		!strings.Contains(out, "✓ reports s3://"+c.bucket+"/analytics/migration_reports: ") {
		t.Errorf("check without tables: exit code %d: %s", code, out)
	}
	if out := s.must("plan", "--connect"); strings.Count(out, "aws dynamodb create-table") < 4 {
		t.Error(out)
	}
	cinemaTables(t, c.Settings)
	s.must("check", "--connect")
	bucket, err := blob.OpenS3(t.Context(), "s3://"+c.bucket, blob.S3Settings{AWS: c.Settings})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := bucket.Walk(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("check has left %v, %v", left, err)
	}
	if out := s.must("--mode", "migrate"); !strings.Contains(out, "Report: s3://"+c.bucket+"/analytics/migration_reports/migration_") {
		t.Error(out)
	}
	s.reported(bucket)
	s.must("--mode", "backup")
	for _, name := range []string{"mysql", "postgresql", "mongodb"} {
		s.must("backup", "verify", "--source", name, "--against-source")
	}
	s.served(c, bucket)
	if there, err := os.ReadDir(s.dir); err != nil || len(there) != 2 { // .env and .acequia
		t.Errorf("on this machine there are %v, %v", there, err)
	}
}

// reported reads the report, and looks for the files of the lake.
func (s *service) reported(bucket *blob.S3) {
	s.t.Helper()
	files, err := bucket.Walk(s.t.Context(), "analytics/migration_reports")
	if err != nil || len(files) != 1 {
		s.t.Fatal(files, err)
	}
	text, err := bucket.Read(s.t.Context(), files[0].Name)
	if err != nil {
		s.t.Fatal(err)
	}
	var m jobs.Migration
	if err := json.Unmarshal(text, &m); err != nil {
		s.t.Fatal(err)
	}
	const counts = `{"mongodb":{"genres":21,"movies":200},"mysql":{"rooms":10,"schedules":300,"seats":1000},"postgresql":{"payments":200,"reservations":200,"reserved_seats":400,"users":50}}`
	if found, err := json.Marshal(m.Counts); err != nil || string(found) != counts || m.Status != jobs.MigrationSuccess || m.Total != 2381 {
		s.t.Errorf("%s %d %s, %v", m.Status, m.Total, found, err)
	}
	for _, table := range m.Tables {
		if table.Verify != jobs.VerifyEqual || table.Hash == "" {
			s.t.Errorf("%s.%s: %s", table.SourceDB, table.Table, table.Verify)
		}
		if files, err := bucket.Walk(s.t.Context(), "analytics/analytics_data/"+table.Table); err != nil || len(files) == 0 {
			s.t.Errorf("%s: %v, %v", table.Table, files, err)
		}
	}
}

// served asks the API, and then takes AWS away.
func (s *service) served(c *cloud, bucket *blob.S3) {
	s.t.Helper()
	port := freePort(s.t)
	child := s.child("--mode", "api", "--port", port)
	if err := child.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(child.died)
		_ = child.Wait() // end looks at what it left
	}()
	r := &jobRun{t: s.t, dir: s.dir, url: "http://127.0.0.1:" + port}
	child.url = r.url
	if err := await(s.t.Context(), func() bool { return child.over() || child.get("/livez", nil) == nil }); err != nil || child.over() {
		s.t.Fatalf("it does not answer: %v\n%s", err, &child.out)
	}
	s.healthy(r, "ok", "ok")
	var job api.Job
	if status, err := r.ask("POST", "/backup", &job, "Prefer", "wait=50"); err != nil || status != http.StatusOK || job.State != "succeeded" {
		s.t.Errorf("backup: %d %v %+v", status, err, job)
	}
	var list api.BackupList
	if status, err := r.ask("GET", "/backups?source_db=mysql&table_name=rooms", &list); err != nil || status != http.StatusOK || list.Total != 2 || list.Backups[0].Rows != 1310 {
		s.t.Errorf("backups: %d %v %+v", status, err, list)
	}
	for _, f := range list.Backups[0].Tables[0].Files {
		if there, err := bucket.Exists(s.t.Context(), "copias/"+f.Name); !there || err != nil || !strings.HasPrefix(f.Name, "mysql/rooms/") {
			s.t.Errorf("%s is not in the bucket: %v", f.Name, err)
		}
	}
	for path, want := range map[string]string{
		"/dynamodb/tables": `"salas"`, "/dynamodb/salas/items?limit=100": `"count":10`, "/dynamodb/cinema-users/items?index=by_email&key=user50@example.com": "user50@example.com",
		"/dynamodb/cinema-movies/items?index=by_genre&key=Drama": "Drama",
	} {
		var found json.RawMessage
		status, err := r.ask("GET", path, &found)
		if text := bytes.ReplaceAll(found, []byte(" "), nil); err != nil || status != http.StatusOK || !strings.Contains(string(text), want) {
			s.t.Errorf("%s: %d %v %.300s", path, status, err, found)
		}
	}
	c.gone.Store(true)
	s.healthy(r, "degraded", "error")
	if err := child.end(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
}

// healthy wants /health to say so, of all and of what is on AWS.
func (s *service) healthy(r *jobRun, all, cloud string) {
	s.t.Helper()
	var last map[string]any
	err := await(s.t.Context(), func() bool { // a look is told for a second
		var found struct {
			Status string
			Checks map[string]struct{ Status string }
		}
		last = nil
		status, err := r.ask("GET", "/health", &last)
		text, _ := json.Marshal(last)
		return err == nil && status == http.StatusOK && json.Unmarshal(text, &found) == nil && found.Status == all && len(found.Checks) == 5 &&
			found.Checks["s3"].Status == cloud && found.Checks["dynamodb"].Status == cloud && found.Checks["mysql"].Status == "ok"
	})
	if err != nil {
		s.t.Errorf("want %s, found %v", all, last)
	}
}
