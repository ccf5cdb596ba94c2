package mongodb

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/mongodb"
)

// The strategies, see docs/MONGODB.md.
const (
	auto    = "auto"
	byLog   = "log"
	byTime  = "time"
	bySweep = "sweep"
)

// Config of the source.
type Config struct {
	URI         config.Secret                          `yaml:"uri" required:"true" doc:"Where the server is: mongodb://USER:PASSWORD@HOST:PORT/?authSource=admin, or mongodb+srv://."`
	Database    string                                 `yaml:"database" required:"true" doc:"The database."`
	Collections []string                               `yaml:"collections" doc:"Patterns of collections; those with ! leave out what the ones before took in. Default: *"`
	Capture     Capture                                `yaml:"capture" doc:"How changes are found."`
	Parallel    int                                    `yaml:"parallel" doc:"Parts of collections that are read at the same time; default 2."`
	Schemas     config.Ordered[config.Ordered[string]] `yaml:"schemas" doc:"Columns by collection: a field, with dots into documents (info.director), and its type: bool, int32, int64, float64, decimal(precision,scale), decimal128, timestamp, string, objectid, uuid, bytes, json or list(TYPE). Collections that are not here are sampled once."`
	Sample      int                                    `yaml:"sample" doc:"Documents that are sampled for the columns of a collection; default 1000."`
	Documents   string                                 `yaml:"documents" enum:"json,flatten" doc:"Sampled documents in documents become canonical Extended JSON (json, default), or columns of their fields (flatten)."`
	Arrays      string                                 `yaml:"arrays" enum:"json,list" doc:"Sampled arrays become canonical Extended JSON (json, default), or lists where all values have one simple type (list)."`
	Mixed       string                                 `yaml:"mixed" enum:"raw,json" doc:"A field that the sample has with several types gets a column of the most frequent one, and others go beside it (raw, default), or is canonical Extended JSON (json)."`
	Unfit       string                                 `yaml:"on_unrepresentable" enum:"text,error" doc:"A value that its column cannot hold, such as one of another type: text goes as canonical Extended JSON into the column <name>__raw (default), error makes the record a dead letter."`
}

// Capture says how changes are found.
type Capture struct {
	Strategy string        `yaml:"strategy" enum:"auto,log,time,sweep" doc:"auto takes the log of a replica set, else time where an index has the column, else sweep."`
	Every    time.Duration `yaml:"every" doc:"How often a collection is asked for changes; default 5s, of a sweep, which reads all of it, 15m. The log gives them by itself."`
	Column   string        `yaml:"column" doc:"Time: the field that holds, as a date, when a document was last changed; default updatedAt."`
	Margin   time.Duration `yaml:"margin" doc:"Time: how far behind the server's clock the watermark stays; default 2s, of a replica set, whose transactions may take a minute, 70s; at least 200ms."`
}

const (
	maxParallel  = 64
	leastMargin  = 200 * time.Millisecond
	aloneMargin  = 2 * time.Second
	sharedMargin = 70 * time.Second // transactionLifetimeLimitSeconds is 60 by default
	pollEvery    = 5 * time.Second
	sweepEvery   = 15 * time.Minute
)

// Elsewhere gives the settings for another server, and the database that its connection string names, or else the same.
func (c *Config) Elsewhere(uri config.Secret) any {
	other := *c
	other.URI = uri
	if _, rest, ok := strings.Cut(string(uri), "://"); ok {
		_, after, _ := strings.Cut(rest, "/")
		name, _, _ := strings.Cut(after, "?")
		other.Database = cmp.Or(name, c.Database)
	}
	return &other
}

func (c Config) filled() Config {
	if len(c.Collections) == 0 {
		c.Collections = []string{"*"}
	}
	c.Parallel = cmp.Or(c.Parallel, 2)
	c.Sample = cmp.Or(c.Sample, 1000)
	c.Capture.Strategy = cmp.Or(c.Capture.Strategy, auto)
	c.Capture.Column = cmp.Or(c.Capture.Column, "updatedAt")
	return c
}

// every is how long a strategy waits when there was nothing.
func (c Config) every(strategy string) time.Duration {
	if strategy == bySweep {
		return cmp.Or(c.Capture.Every, sweepEvery)
	}
	return cmp.Or(c.Capture.Every, pollEvery)
}

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	wrong := func(key, format string, args ...any) { bad = append(bad, config.Wrong(key, format, args...)) }
	if c.URI == "" {
		wrong("uri", "which server?")
	}
	if c.Database == "" || strings.ContainsAny(c.Database, "/\\. \"$\x00") {
		wrong("database", "want the name of a database")
	}
	for i, pattern := range c.Collections {
		if _, err := path.Match(strings.TrimPrefix(pattern, "!"), ""); err != nil || strings.TrimPrefix(pattern, "!") == "" {
			bad = append(bad, config.At(errors.New("want the name of a collection, where * and ? stand for letters, or ! and that"), "collections", strconv.Itoa(i)))
		}
	}
	if c.Parallel < 0 || c.Parallel > maxParallel {
		wrong("parallel", "want 1 to %d", maxParallel)
	}
	if c.Sample < 0 || c.Sample > 100_000 {
		wrong("sample", "want 1 to 100000")
	}
	if m := c.Capture.Margin; m != 0 && m < leastMargin {
		bad = append(bad, config.At(errors.New("want at least 200ms: writers must have shown themselves by then"), "capture", "margin"))
	}
	if c.Capture.Every < 0 {
		bad = append(bad, config.At(errors.New("times must not be negative"), "capture"))
	}
	for _, collection := range c.Schemas {
		for _, field := range collection.Value {
			if err := mongodb.ParseType(field.Value); err != nil {
				bad = append(bad, config.At(err, "schemas", collection.Name, field.Name))
			}
		}
		if _, err := mongodb.NewLayout(mongodb.LayoutOptions{Stream: collection.Name, Columns: columns(collection.Value)}); err != nil {
			bad = append(bad, config.At(err, "schemas", collection.Name))
		}
	}
	return errors.Join(bad...)
}

// declared gives the columns of a collection as the settings have them; nil: they do not.
func (c Config) declared(collection string) []mongodb.Column {
	i := slices.IndexFunc(c.Schemas, func(e config.Entry[config.Ordered[string]]) bool { return e.Name == collection })
	if i < 0 {
		return nil
	}
	return columns(c.Schemas[i].Value)
}

// columns names those of nested fields by their paths: info.director becomes info_director.
func columns(fields config.Ordered[string]) []mongodb.Column {
	out := []mongodb.Column{}
	for _, f := range fields {
		names := strings.Split(f.Name, ".")
		out = append(out, mongodb.Column{Name: strings.Join(names, "_"), Path: names, Type: f.Value})
	}
	return out
}
