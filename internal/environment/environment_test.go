package environment

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/fault"
)

// all is an environment with every database, as .env files write it.
const all = `
# MySQL
MYSQL_HOST=mysql.cinema
MYSQL_USER=cinema
MYSQL_PASSWORD='p@ss:w/ord#$1'
MYSQL_DATABASE=cinema_rooms
export POSTGRES_HOST=10.0.0.5
POSTGRES_PORT=5433
POSTGRES_USER=cinema
POSTGRES_PASSWORD="x y"
POSTGRES_DATABASE=cinema
MONGODB_URI=mongodb://a:b@m1:27017,m2:27017/cinema_movies?replicaSet=rs0
DYNAMODB_ROOMS_TABLE=Salas
S3_ANALYTICS_FOLDER=analisis/
BATCH_SIZE=250
`

func load(t *testing.T, dotenv string, process ...string) Variables {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte(dotenv), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Load(process, file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The process goes before the file, and the DSNs hold every character of a password.
func TestLoad(t *testing.T) {
	t.Parallel()
	v := load(t, all, "MYSQL_HOST=127.0.0.1", "EMPTY=")
	for name, want := range map[string]string{
		"MYSQL_HOST": "127.0.0.1", "EMPTY": "", "POSTGRES_PORT": "5433",
		"MYSQL_DSN":    "mysql://cinema:p%40ss%3Aw%2Ford%23$1@127.0.0.1:3306/cinema_rooms",
		"POSTGRES_DSN": "postgres://cinema:x%20y@10.0.0.5:5433/cinema?connect_timeout=3",
	} {
		if got, ok := v.Lookup(name); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", name, got, ok, want)
		}
	}
	if got := load(t, all, "MYSQL_DSN=mysql://own@h/d")["MYSQL_DSN"]; got != "mysql://own@h/d" {
		t.Error(got)
	}
	if got := load(t, "", "POSTGRES_HOST=/run/postgresql", "POSTGRES_USER=u", "POSTGRES_DATABASE=d")["POSTGRES_DSN"]; got != "postgres://u@/d?connect_timeout=3&host=%2Frun%2Fpostgresql&port=5432" {
		t.Error(got)
	}
	if v, err := Load([]string{"A=1"}, ""); err != nil || v["A"] != "1" {
		t.Error(v, err)
	}
	if _, err := Load(nil, filepath.Join(t.TempDir(), "nothing")); fault.Code(err) != "ACQ-ENV-008" {
		t.Error(err)
	}
	for _, broken := range []string{"PASSWORD: \"secret\nB=1", "PASS-WORD=secret"} {
		file := filepath.Join(t.TempDir(), "broken")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(nil, file); fault.Code(err) != "ACQ-CFG-013" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", broken, err)
		}
	}
}

func TestImplied(t *testing.T) {
	t.Parallel()
	p, err := load(t, all).Implied()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Sources   map[string]map[string]any
		Sinks     map[string]map[string]any
		Pipelines map[string]any
	}
	if err := yaml.Unmarshal(out, &file); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	for _, want := range []string{
		"dsn: ${env:MYSQL_DSN}", "tables: [cinema_rooms.rooms, cinema_rooms.seats, cinema_rooms.schedules]", "dsn: ${env:POSTGRES_DSN}",
		"tables: [public.users, public.reservations, public.reserved_seats, public.payments]", "uri: ${env:MONGODB_URI}", "database: cinema_movies",
		"collections: [movies, genres]", "url: analisis/analytics_data", "reports: analisis/migration_reports", "backup: { url: backups }", `backup: "0 2 * * *"`, `sync: "*/30 * * * *"`, "time_zone: UTC", "batch: 250", `name: "Salas"`, "name: cinema-movies", "columns: [genres], each: true",
		"name: by_user, columns: [user_id]", "name: by_movie, columns: [movie_id]", "name: by_email, columns: [email]",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if len(file.Sources) != 3 || strings.Contains(string(out), "warehouse") || len(file.Pipelines) != 3 || strings.Contains(string(out), "ord#") {
		t.Errorf("in\n%s", out)
	}
	// One database alone, and the folder of a bucket.
	p, err = load(t, "", "MONGODB_URI=mongodb://localhost", "MONGODB_DATABASE=no", "S3_BUCKET_NAME=$cine").Implied()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = p.YAML(); err != nil || !strings.Contains(string(out), `database: "no"`) || strings.Contains(string(out), "mysql:") || !strings.Contains(string(out), `url: "$$cine/analytics/analytics_data"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// What begins by itself, and a warehouse.
func TestImpliedSchedule(t *testing.T) {
	t.Parallel()
	for dotenv, want := range map[string]struct{ has, lacks string }{
		"BACKUP_SCHEDULE=15  3 * * 1\nSYNC_SCHEDULE=off\nTZ=America/Lima": {"schedule:\n  time_zone: America/Lima\n  backup: \"15 3 * * 1\"\n", "sync:"},
		"BACKUP_SCHEDULE=off\nSYNC_SCHEDULE=@hourly":                      {"", ""},
		"BACKUP_SCHEDULE=off\nSYNC_SCHEDULE=off":                          {"backup: { url: backups }", "schedule:"},
		"SYNC_SCHEDULE=\nTZ=:UTC":                                         {"time_zone: UTC\n  backup: \"0 2 * * *\"\n  sync: \"*/30 * * * *\"\n", "warehouse"},
		"WAREHOUSE_DSN=postgres://u:geheim@127.0.0.1/w":                   {"to: [lake, items, warehouse]", "geheim"},
	} {
		p, err := load(t, "MONGODB_URI=mongodb://h/d\n"+dotenv).Implied()
		if want.has == "" {
			if fault.Code(err) != "ACQ-CFG-014" || !strings.Contains(err.Error(), "SYNC_SCHEDULE") || !strings.Contains(err.Error(), "off") {
				t.Errorf("%q: %v", dotenv, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", dotenv, err)
			continue
		}
		if out, err := p.YAML(); err != nil || !strings.Contains(string(out), want.has) || strings.Contains(string(out), want.lacks) {
			t.Errorf("%q: %v, want %q and no %q in\n%s", dotenv, err, want.has, want.lacks, out)
		}
	}
	if _, err := load(t, "MONGODB_URI=mongodb://h/d\nTZ=Lima").Implied(); err == nil || !strings.Contains(err.Error(), "TZ") {
		t.Error(err)
	}
}

func TestMistakesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	_, err := load(t, "MYSQL_HOST=h\nMYSQL_PORT=70000\nPOSTGRES_HOST=h\nPOSTGRES_USER=u\nPOSTGRES_DATABASE=d\nMONGODB_URI=http://x\nBATCH_SIZE=0\n"+
		"S3_ANALYTICS_FOLDER=../up\nDYNAMODB_USERS_TABLE=cinema-movies").Implied()
	if fault.Code(err) != "ACQ-CFG-014" {
		t.Fatal(err)
	}
	for _, want := range []string{
		"MYSQL_USER: is not set, and MYSQL_HOST is", "MYSQL_DATABASE: is not set", "MYSQL_PORT: want", "MONGODB_URI: want mongodb://", "BATCH_SIZE: want a number",
		"S3_ANALYTICS_FOLDER: must not lead out", "cinema-movies is the table of movies already",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
	for dotenv, code := range map[string]string{
		"A=1": "ACQ-USE-013", "MONGODB_URI=mongodb://u:p/w@h": "ACQ-CFG-014", "MYSQL_DSN=mysql://u@h": "ACQ-CFG-014",
	} {
		if _, err := load(t, dotenv).Implied(); fault.Code(err) != code {
			t.Errorf("%s: %v", dotenv, err)
		}
	}
}

// What is meant is used or refused, never something else instead.
func TestBackend(t *testing.T) {
	t.Parallel()
	const home = "HOME=/nowhere\n"
	for dotenv, code := range map[string]string{
		"": "", "AWS_REGION=\nS3_BUCKET_NAME=": "", "S3_BUCKET_NAME=cinema\nACEQUIA_BACKEND=embedded": "",
		"S3_BUCKET_NAME=cinema": "ACQ-ENV-009", "AWS_REGION=us-east-1": "ACQ-ENV-009", "ACEQUIA_BACKEND=aws": "ACQ-ENV-009", "AWS_ACCESS_KEY_ID=x": "ACQ-ENV-009",
		"AWS_ACCESS_KEY_ID=x\nAWS_SECRET_ACCESS_KEY=y": "ACQ-CFG-014", "S3_BUCKET_NAME=cinema\nAWS_PROFILE=p": string(AWS),
		"ACEQUIA_BACKEND=azure": "ACQ-CFG-014",
	} {
		backend, err := load(t, home+dotenv).Backend()
		want := Embedded
		if code == string(AWS) {
			code, want = "", AWS
		}
		if fault.Code(err) != code || err == nil && backend != want {
			t.Errorf("%q: %v %v, want %q", dotenv, backend, err, code)
		}
		if code == "ACQ-ENV-009" && !strings.Contains(err.Error(), "Credenciales de AWS no encontradas") {
			t.Error(err)
		}
	}
	shared := t.TempDir()
	if err := os.MkdirAll(filepath.Join(shared, ".aws"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shared, ".aws", "credentials"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if backend, err := load(t, "S3_BUCKET_NAME=cinema\nHOME="+shared).Backend(); backend != AWS || err != nil {
		t.Error(backend, err)
	}
	for file, want := range map[string]bool{"class/dmi/id/sys_vendor": true, "hypervisor/uuid": true, "class/dmi/id/board_vendor": false} {
		content := map[string]string{"hypervisor/uuid": "ec2e1916-9099-7caf-fd21-012345abcdef\n"}[file]
		sys := fstest.MapFS{file: {Data: []byte(cmp.Or(content, "Amazon EC2\n"))}}
		if onEC2(sys) != want {
			t.Errorf("%s: %v", file, !want)
		}
	}
}

// TestImpliedOnAWS: the same variables, on AWS, put the same folders into the bucket.
func TestImpliedOnAWS(t *testing.T) {
	t.Parallel()
	v := load(t, "MONGODB_URI=mongodb://localhost/films\nS3_BUCKET_NAME=cinema-data\nS3_BACKUP_FOLDER=copias/\nAWS_PROFILE=p\nDYNAMODB_MOVIES_TABLE=pelis")
	p, err := v.Implied()
	if err != nil {
		t.Fatal(err)
	}
	p.AWS = true
	for _, up := range []string{"", "../"} {
		text, err := p.yaml(up, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`url: "s3://cinema-data/analytics/analytics_data"`, `reports: "s3://cinema-data/analytics/migration_reports"`, `backup: { url: "s3://cinema-data/copias" }`,
			"url: dynamodb://", "name: pelis",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s is not in\n%s", want, text)
			}
		}
	}
	if !strings.Contains(p.Place(), "Lake, reports and backups are kept in the bucket cinema-data, items in DynamoDB") {
		t.Error(p.Place())
	}
}
