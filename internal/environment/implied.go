package environment

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/schemas/cinema"
)

// Implied is what the variables say of the service.
type Implied struct {
	MySQL, MongoDB string // their databases; "": none
	PostgreSQL     bool
	AWS            bool   // lake, reports and backups stand in the bucket, and items in DynamoDB
	Folder         string // the bucket, or the folder that stands for it; "": the folder of the service
	Analytics      string // folder of lake and reports in it
	Backups        string // and of backups
	Batch          int    // items a transaction
	Warehouse      bool   // WAREHOUSE_DSN names one
	Backup, Sync   string // when these jobs begin, as cron writes it; "": not by themselves
	Zone           string // of these times
	items          map[string]string
}

// What holds unless a variable says otherwise: how many items are written at a time, and when jobs begin.
const (
	usualBatch  = 1000
	usualBackup = "0 2 * * *"
	usualSync   = "*/30 * * * *"
)

// off is the schedule of a job that does not begin by itself.
const off = "off"

// Implied reads the variables, and gives all mistakes at once (ACQ-CFG-014). Without a database there is nothing to serve
// (ACQ-USE-013).
func (v Variables) Implied() (*Implied, error) {
	out := &Implied{
		MySQL: v.home(), PostgreSQL: v.set("POSTGRES_DSN"), MongoDB: v.database(),
		Folder: v["S3_BUCKET_NAME"], Analytics: strings.Trim(v.or("S3_ANALYTICS_FOLDER", "analytics"), "/"),
		Backups: strings.Trim(v.or("S3_BACKUP_FOLDER", "backups"), "/"), Batch: usualBatch, items: map[string]string{},
		Warehouse: v.set("WAREHOUSE_DSN"),
	}
	var wrong mistakes
	v.servers(&wrong)
	v.mongo(&wrong, out)
	if v.set("BATCH_SIZE") {
		var err error
		if out.Batch, err = strconv.Atoi(v["BATCH_SIZE"]); err != nil || out.Batch < 1 {
			wrong.add("BATCH_SIZE", "want a number of items, such as %d", usualBatch)
		}
	}
	for _, folder := range []string{"S3_BUCKET_NAME", "S3_ANALYTICS_FOLDER", "S3_BACKUP_FOLDER"} {
		if v.set(folder) && !strings.HasPrefix(path.Join("/bucket", v[folder]), "/bucket/") {
			wrong.add(folder, "must not lead out of its folder")
		}
	}
	out.Backup, out.Sync = v.schedule(&wrong, "BACKUP_SCHEDULE", usualBackup), v.schedule(&wrong, "SYNC_SCHEDULE", usualSync)
	out.Zone = v.zone(&wrong)
	v.tables(&wrong, out)
	if v.set("MYSQL_DSN") && out.MySQL == "" && len(wrong) == 0 {
		wrong.add("MYSQL_DSN", "want mysql://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	if len(wrong) > 0 {
		return nil, &fault.Error{Code: "ACQ-CFG-014", Place: "environment", Err: errors.Join(wrong...), Remedy: "set them in the environment, or in " + Dotenv}
	}
	if out.MySQL == "" && !out.PostgreSQL && out.MongoDB == "" {
		return nil, &fault.Error{
			Code: "ACQ-USE-013", Place: "environment", Err: errors.New("no database is named: MYSQL_HOST, POSTGRES_HOST and MONGODB_URI are not set"),
			Remedy: "set them here or in " + Dotenv + "; .env.example shows all variables",
		}
	}
	return out, nil
}

// mistakes are those of the variables.
type mistakes []error

func (m *mistakes) add(name, format string, args ...any) {
	*m = append(*m, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
}

// servers checks the parts of the databases that are named by their parts.
func (v Variables) servers(wrong *mistakes) {
	for _, of := range []string{"MYSQL", "POSTGRES"} {
		if !v.set(of + "_HOST") {
			continue
		}
		for _, part := range []string{"_USER", "_DATABASE"} {
			if !v.set(of + part) {
				wrong.add(of+part, "is not set, and %s_HOST is", of)
			}
		}
		if port, err := strconv.ParseUint(v.or(of+"_PORT", "1"), 10, 16); err != nil || port == 0 {
			wrong.add(of+"_PORT", "want a number from 1 to 65535")
		}
	}
}

// mongo checks the address of MongoDB; without one there is no database of it.
func (v Variables) mongo(wrong *mistakes, out *Implied) {
	switch {
	case !v.set("MONGODB_URI"):
		out.MongoDB = ""
	case !strings.HasPrefix(v["MONGODB_URI"], "mongodb://") && !strings.HasPrefix(v["MONGODB_URI"], "mongodb+srv://"):
		wrong.add("MONGODB_URI", "want mongodb://HOST:PORT/DATABASE")
	case out.MongoDB == "":
		wrong.add("MONGODB_URI", "names no database: write it after the address, mongodb://HOST:PORT/DATABASE, or set MONGODB_DATABASE")
	}
}

// schedule reads when a job begins; "": not by itself.
func (v Variables) schedule(wrong *mistakes, name, usual string) string {
	text := strings.TrimSpace(v.or(name, usual))
	if text == off {
		return ""
	}
	var c config.Cron
	if err := c.UnmarshalText([]byte(text)); err != nil {
		wrong.add(name, "%w, or %s", err, off)
		return ""
	}
	return c.Text
}

// zone is the time zone of the schedule: TZ, as the system and its cron have it.
func (v Variables) zone(wrong *mistakes) string {
	name := strings.TrimPrefix(v.or("TZ", "UTC"), ":")
	var z config.Zone
	if err := z.UnmarshalText([]byte(name)); err != nil {
		wrong.add("TZ", "%w", err)
	}
	return name
}

// tables names the tables of items, each with a name of its own.
func (v Variables) tables(wrong *mistakes, out *Implied) {
	for _, t := range cinema.Items() {
		name := "DYNAMODB_" + strings.ToUpper(t.Name) + "_TABLE"
		out.items[t.Name] = v.or(name, t.Items)
		for other, taken := range out.items {
			if other != t.Name && taken == out.items[t.Name] {
				wrong.add(name, "%s is the table of %s already", taken, other)
			}
		}
	}
}

//go:embed implied.yaml.tmpl
var text embed.FS

// YAML writes the configuration, for a file in the folder of the service.
func (p *Implied) YAML() ([]byte, error) { return p.yaml("", "") }

// Keep writes it below the folder of the state, for a service that has no file of its own, and gives its path.
func (p *Implied) Keep() (string, error) {
	const folder = ".acequia"
	out, err := p.yaml("../", ".")
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "environment.yaml")
	if was, err := os.ReadFile(file); err == nil && string(was) == string(out) { //nolint:gosec // our own file
		return file, nil
	}
	err = os.MkdirAll(folder, 0o750)
	if err == nil {
		err = os.WriteFile(file+".new", out, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return "", &fault.Error{Code: "ACQ-ENV-001", Place: file, Err: err, Remedy: "start acequia in a folder that this user may write, with free space"}
	}
	return file, nil
}

func (p *Implied) yaml(up, state string) ([]byte, error) {
	t, err := template.New("implied.yaml.tmpl").Funcs(template.FuncMap{
		"text": scalar, "tables": cinema.Of, "items": cinema.Items, "names": names,
		"table": func(name string) string { return scalar(p.items[name]) },
	}).ParseFS(text, "implied.yaml.tmpl")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"P": p, "State": state, "Reports": p.at(up, p.reports()), "Lake": p.at(up, path.Join(p.Analytics, "analytics_data")), "Backups": p.at(up, p.Backups),
		"PostgreSQL": cinema.PostgreSQL, "MySQL": cinema.MySQL, "MongoDB": cinema.MongoDB,
	})
	return []byte(b.String()), err
}

// at is where a folder stands, from a file that stands below the folder of the service.
func (p *Implied) at(up, folder string) string {
	at := path.Join(p.Folder, folder)
	if p.AWS {
		return "s3://" + at
	}
	return up + at
}

// Place says where everything stands, for people.
func (p *Implied) Place() string {
	switch {
	case p.AWS:
		return "Lake, reports and backups are kept in the bucket " + p.Folder + ", items in DynamoDB; positions and jobs on this machine, in .acequia."
	case p.Folder != "":
		return "Items and lake are kept on this machine, below " + p.Folder + ": no AWS is asked for."
	}
	return "Items and lake are kept on this machine, below this folder: no AWS is asked for."
}

// reports is the folder of the reports of migrations, beside the lake.
func (p *Implied) reports() string { return path.Join(p.Analytics, "migration_reports") }

func names(prefix string, tables []cinema.Table) string {
	out := make([]string, len(tables))
	for i, t := range tables {
		out[i] = scalar(prefix + t.Name)
	}
	return strings.Join(out, ", ")
}

// scalar writes a text for YAML: as it is where nothing can be misread, else in quotes, with $ for the text itself.
func scalar(s string) string {
	plain := s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" && strings.ContainsAny(s[:1], "abcdefghijklmnopqrstuvwxyz")
	if switchWord(s) || !plain {
		quoted, _ := json.Marshal(s) // a JSON text is one of YAML; texts are always written
		return strings.ReplaceAll(string(quoted), "$", "$$")
	}
	return s
}

// switchWord says whether YAML reads a word as something else than text.
func switchWord(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}
