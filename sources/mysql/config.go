package mysql

import (
	"cmp"
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/config"
)

// The strategies, see docs/MYSQL.md.
const (
	auto   = "auto"
	byLog  = "log"
	queue  = "queue"
	byTime = "time"
)

// What is done about foreign keys that change rows without telling.
const sweepCascades = "sweep"

// Config of the source.
type Config struct {
	DSN      config.Secret `yaml:"dsn" required:"true" doc:"Where the database is: mysql://USER:PASSWORD@HOST:PORT/DATABASE, with ?tls=disable, prefer (default), require or verify, and ca=FILE."`
	Tables   []string      `yaml:"tables" doc:"Patterns of DATABASE.TABLE; those with ! leave out what the ones before took in. Default: all of the dsn's database."`
	Capture  Capture       `yaml:"capture" doc:"How changes are found."`
	Parallel int           `yaml:"parallel" doc:"Parts of tables that are backfilled at the same time; default 2."`
	Unfit    string        `yaml:"on_unrepresentable" enum:"text,error" doc:"A value that its column cannot hold, such as a zero date: text goes into the column <name>__raw (default), error makes the record a dead letter."`
}

// Capture says how changes are found.
type Capture struct {
	Strategy string        `yaml:"strategy" enum:"auto,log,queue,time" doc:"auto takes the best that is there: log where the server keeps one that tells all (MariaDB), else queue where it is installed, else time where an index is on the column."`
	ServerID uint32        `yaml:"server_id" doc:"Log: the number under which the server knows this reader among its replicas, which no other may have; default one that is made of the pipeline's name."`
	Every    time.Duration `yaml:"every" doc:"How often a table is asked for changes; default 5s."`
	Column   string        `yaml:"column" doc:"Time: the column that holds when a row was last changed; default updated_at."`
	Zone     string        `yaml:"zone" doc:"Time: where the column is a DATETIME, the zone of the time that every writer writes: UTC or an offset such as +02:00. A zone with summer time will not do."`
	Margin   time.Duration `yaml:"margin" doc:"Time: how far behind the database's clock the watermark stays; default 2s, at least 1s."`
	Snapshot time.Duration `yaml:"snapshot_every" doc:"How often a table that nothing follows is read anew; default 24h."`
	Cascades string        `yaml:"cascades" enum:"refuse,sweep" doc:"A foreign key with CASCADE, SET NULL or SET DEFAULT changes rows that neither triggers nor the log tell of: refuse follows no such table, so that auto reads it anew every so often (default); sweep follows it and leaves these changes to acequia sweep."`
}

// Elsewhere gives the settings for another database.
func (c *Config) Elsewhere(dsn config.Secret) any {
	other := *c
	other.DSN = dsn
	return &other
}

func (c Config) filled() Config {
	c.Parallel = cmp.Or(c.Parallel, 2)
	c.Unfit = cmp.Or(c.Unfit, "text")
	c.Capture.Strategy = cmp.Or(c.Capture.Strategy, auto)
	c.Capture.Every = cmp.Or(c.Capture.Every, 5*time.Second)
	c.Capture.Column = cmp.Or(c.Capture.Column, "updated_at")
	c.Capture.Margin = cmp.Or(c.Capture.Margin, 2*time.Second)
	c.Capture.Snapshot = cmp.Or(c.Capture.Snapshot, 24*time.Hour)
	c.Capture.Cascades = cmp.Or(c.Capture.Cascades, "refuse")
	return c
}

const (
	maxParallel = 64
	leastMargin = time.Second // the server shows since when statements run in whole seconds
)

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	wrong := func(key, format string, args ...any) { bad = append(bad, config.Wrong(key, format, args...)) }
	if c.DSN == "" {
		wrong("dsn", "which database?")
	}
	for i, pattern := range c.Tables {
		database, table, ok := strings.Cut(strings.TrimPrefix(pattern, "!"), ".")
		_, err1 := path.Match(database, "")
		_, err2 := path.Match(table, "")
		if !ok || database == "" || table == "" || err1 != nil || err2 != nil {
			bad = append(bad, config.At(errors.New("want DATABASE.TABLE, where * and ? stand for letters, or ! and that"), "tables", strconv.Itoa(i)))
		}
	}
	if c.Parallel < 0 || c.Parallel > maxParallel {
		wrong("parallel", "want 1 to %d", maxParallel)
	}
	if z := c.Capture.Zone; z != "" && z != "UTC" {
		if _, err := time.Parse("-07:00", z); err != nil {
			bad = append(bad, config.At(errors.New("want UTC, or an offset such as +02:00: in a zone with summer time an hour comes twice"), "capture", "zone"))
		}
	}
	if m := c.Capture.Margin; m != 0 && m < leastMargin {
		bad = append(bad, config.At(errors.New("want at least 1s: writers must have shown themselves by then"), "capture", "margin"))
	}
	if c.Capture.Every < 0 || c.Capture.Snapshot < 0 {
		bad = append(bad, config.At(errors.New("times must not be negative"), "capture"))
	}
	return errors.Join(bad...)
}
