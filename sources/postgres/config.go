package postgres

import (
	"cmp"
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/config"
)

// The strategies, see docs/POSTGRES.md.
const (
	auto   = "auto"
	queue  = "queue"
	xid    = "xid"
	xmin   = "xmin"
	byTime = "time"
	byLog  = "log"
)

// Config of the source.
type Config struct {
	DSN      config.Secret `yaml:"dsn" required:"true" doc:"Where the database is: postgres://USER@HOST:PORT/DATABASE, or key=value pairs; what is missing comes from the PG* variables and the password file."`
	Tables   []string      `yaml:"tables" doc:"Patterns of SCHEMA.TABLE; those with ! leave out what the ones before took in. Default: public.*"`
	Capture  Capture       `yaml:"capture" doc:"How changes are found."`
	Parallel int           `yaml:"parallel" doc:"Parts of tables that are backfilled at the same time; default 2."`
	Unfit    string        `yaml:"on_unrepresentable" enum:"text,error" doc:"A value that its column cannot hold, such as infinity: text goes into the column <name>__raw (default), error makes the record a dead letter."`
}

// Capture says how changes are found.
type Capture struct {
	Strategy string        `yaml:"strategy" enum:"auto,log,queue,xid,xmin,time" doc:"auto takes the best that is installed: log, queue or xid, else xmin up to max_scan, else time."`
	Every    time.Duration `yaml:"every" doc:"How often a table is asked for changes; default 5s. The log gives them by itself."`
	MaxScan  config.Size   `yaml:"max_scan" doc:"Largest table that xmin, which reads all of it each time, is taken for; default 20GiB."`
	Column   string        `yaml:"column" doc:"Time: the column that holds when a row was last changed; default updated_at."`
	Zone     string        `yaml:"zone" doc:"Time: where the column has no zone, the zone of the time that every writer writes: UTC or an offset such as +02:00. A zone with summer time will not do."`
	Margin   time.Duration `yaml:"margin" doc:"Time: how far behind the database's clock the watermark stays; default 2s, at least 200ms."`
	Snapshot time.Duration `yaml:"snapshot_every" doc:"How often a table without a key is read anew; default 24h."`
	Slot     string        `yaml:"slot" doc:"Log: the replication slot and the publication; default: acequia_ and the pipeline."`
}

// Elsewhere gives the settings for another database.
func (c *Config) Elsewhere(dsn config.Secret) any {
	other := *c
	other.DSN = dsn
	return &other
}

func (c Config) filled() Config {
	if len(c.Tables) == 0 {
		c.Tables = []string{"public.*"}
	}
	c.Parallel = cmp.Or(c.Parallel, 2)
	c.Unfit = cmp.Or(c.Unfit, "text")
	c.Capture.Strategy = cmp.Or(c.Capture.Strategy, auto)
	c.Capture.Every = cmp.Or(c.Capture.Every, 5*time.Second)
	c.Capture.MaxScan = cmp.Or(c.Capture.MaxScan, 20<<30)
	c.Capture.Column = cmp.Or(c.Capture.Column, "updated_at")
	c.Capture.Margin = cmp.Or(c.Capture.Margin, 2*time.Second)
	c.Capture.Snapshot = cmp.Or(c.Capture.Snapshot, 24*time.Hour)
	return c
}

const (
	maxParallel = 64
	leastMargin = 200 * time.Millisecond
)

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	wrong := func(key, format string, args ...any) { bad = append(bad, config.Wrong(key, format, args...)) }
	if c.DSN == "" {
		wrong("dsn", "which database?")
	}
	for i, pattern := range c.Tables {
		schema, table, ok := strings.Cut(strings.TrimPrefix(pattern, "!"), ".")
		_, err1 := path.Match(schema, "")
		_, err2 := path.Match(table, "")
		if !ok || schema == "" || table == "" || err1 != nil || err2 != nil {
			bad = append(bad, config.At(errors.New("want SCHEMA.TABLE, where * and ? stand for letters, or ! and that"), "tables", strconv.Itoa(i)))
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
		bad = append(bad, config.At(errors.New("want at least 200ms: writers must have shown themselves by then"), "capture", "margin"))
	}
	if c.Capture.Every < 0 || c.Capture.Snapshot < 0 {
		bad = append(bad, config.At(errors.New("times must not be negative"), "capture"))
	}
	return errors.Join(bad...)
}
