// Package lake writes partitioned Parquet into a bucket, exactly once: a file is staged, named by an intent, and only
// then published under a name that nothing else can have.
package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
)

const (
	stagingFolder = "_staging" // Athena hides names that begin with _
	tablesFolder  = "_tables"
)

// Roll closes a file inside a group; it stays invisible until its group is published.
type Roll struct {
	Rows  int64         `yaml:"rows" doc:"Rows after which a file is closed; default 1,000,000."`
	Size  config.Size   `yaml:"size" doc:"Bytes after which a file is closed; default 128MiB."`
	Every time.Duration `yaml:"every" doc:"Age after which what has gathered becomes visible; default 5m."`
}

// Config of the sink.
type Config struct {
	URL       string             `yaml:"url" required:"true" doc:"Where the files stand: file:///dir, a path, or s3://bucket/prefix."`
	AWS       awsconfig.Settings `yaml:"aws" doc:"Of an s3:// address: its region and endpoint."`
	SSE       string             `yaml:"sse" doc:"Of an s3:// address: how files are encrypted; s3, kms, or the ARN of a key of KMS. Default: as the bucket says."`
	Owner     string             `yaml:"owner" doc:"Of an s3:// address: the account that the bucket must belong to, twelve digits."`
	Athena    *athena.Settings   `yaml:"athena" doc:"Of an s3:// address: who asks it. Glue then knows each table and column before the first file that has it."`
	Partition []string           `yaml:"partition" doc:"Columns whose values name the folders; default dt, the UTC date of the event."`
	TableName map[string]string  `yaml:"table_name" doc:"Names of tables by stream; default: the stream's name in the lake's letters."`
	Roll      Roll               `yaml:"roll" doc:"When a file is closed."`
	Workers   int                `yaml:"workers" doc:"Goroutines that encode the columns of a file; default 1."`
	Compact   *Compact           `yaml:"compact" doc:"Merges small files while the pipelines run; without it acequia tables compact does."`
	Expire    *Expire            `yaml:"expire" doc:"Drops old partitions while the pipelines run; without it acequia tables expire does."`
}

// Compact is the schedule by which small files become few.
type Compact struct {
	Every     time.Duration `yaml:"every" doc:"How often it is looked for small files; default 1h."`
	OlderThan time.Duration `yaml:"older_than" doc:"A partition is closed, and compacted, when its last file is so old; default 1h."`
	Grace     time.Duration `yaml:"grace" doc:"How long files that were replaced stay; default 1h."`
	Target    config.Size   `yaml:"target" doc:"Size of a merged file; default 128MiB."`
}

// Expire is the schedule by which old partitions are dropped.
type Expire struct {
	After time.Duration `yaml:"after" required:"true" doc:"How long after its day a partition is dropped, such as 90d."`
	Every time.Duration `yaml:"every" doc:"How often it is looked for them; default 1h."`
	Grace time.Duration `yaml:"grace" doc:"How long the files of dropped partitions stay; default 1h."`
}

// Lake is the sink.
type Lake struct {
	config Config
	bucket blob.Bucket
	glue   *athena.Client // nil: nobody there has to know the tables
	log    *slog.Logger
	memory int64 // bytes for open writers; a quarter of it for the sorter

	mu     sync.Mutex
	tables map[string][]*table // by stream: one a schema, since lanes may come with an older and a newer one side by side

	walking   sync.Mutex
	histories map[string]*lakefiles.History // by pipeline
}

// table is what the lake knows of the files of one stream with one schema.
type table struct {
	description *schemas.LakeTable
	schema      *record.Schema
	fields      []record.Field // of the file: the record's, by their names in the lake, then the system's
	plan        *parquet.Plan  // nil until the first batch
	wide        atomic.Bool    // a group had more partitions than may be open
	warned      atomic.Bool    // of rows that Athena does not see
	idle        []*parquet.Writer
}

var (
	_ sinks.Sink      = (*Lake)(nil)
	_ sinks.Describer = (*Lake)(nil)
	_ sinks.Recoverer = (*writer)(nil)
	_ sinks.Prover    = (*writer)(nil)
	_ sinks.Holder    = (*writer)(nil)
)

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "lake", Server: "s3", Doc: "Partitioned Parquet in a directory or in S3, exactly once, with Athena and DuckDB tables over it.",
		Config:  func() any { return &Config{} },
		Check:   check,
		Plan:    plan,
		Refuses: refuses,
		New: func(ctx context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, errors.New("lake: a *lake.Config is needed")
			}
			return New(ctx, *c, host.Memory, host.Log)
		},
	}
}

// New opens the lake, making its root if need be. memory is what its open writers may hold, in bytes; 0: 90 MiB.
func New(ctx context.Context, c Config, memory int64, log *slog.Logger) (*Lake, error) {
	c = c.filled()
	bucket, err := c.Bucket(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := bucket.(*blob.Dir); ok {
		if bucket, err = blob.Open(bucket.Root()); err != nil {
			return nil, err
		}
	}
	l := &Lake{config: c, bucket: bucket, log: log, memory: cmp.Or(memory, 90<<20), tables: map[string][]*table{}}
	if c.Athena != nil {
		if l.glue, err = athena.Open(ctx, c.Asked()); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// filled gives the settings with their defaults.
func (c Config) filled() Config {
	c.Roll.Rows = cmp.Or(c.Roll.Rows, 1_000_000)
	c.Roll.Size = cmp.Or(c.Roll.Size, 128<<20)
	c.Roll.Every = cmp.Or(c.Roll.Every, 5*time.Minute)
	return c
}

// Every is the age at which what has gathered becomes visible.
func (c Config) Every() time.Duration { return c.filled().Roll.Every }

// S3 gives what is said of a bucket of S3.
func (c Config) S3() blob.S3Settings { return blob.S3Settings{AWS: c.AWS, SSE: c.SSE, Owner: c.Owner} }

// Root is the folder of the lake, or its address in S3.
func (c Config) Root() (string, error) {
	text := c.URL
	if _, _, ok := blob.ParseURL(text); ok {
		return strings.TrimRight(text, "/"), nil
	}
	u, err := url.Parse(text)
	if err == nil && u.Scheme == "" && text != "" {
		return text, nil
	}
	if err != nil || u.Scheme != "file" || u.Host != "" || u.Path == "" {
		return "", &fault.Error{
			Code: "ACQ-CFG-003", Place: "url", Err: fmt.Errorf("%q is no place for a lake", text),
			Remedy: "write a path, file:///dir, or s3://bucket/prefix",
		}
	}
	return u.Path, nil
}

// Bucket is where the lake is. It is not looked at, and nothing is made.
func (c Config) Bucket(ctx context.Context) (blob.Bucket, error) {
	root, err := c.Root()
	if err != nil {
		return nil, err
	}
	return blob.At(ctx, root, c.S3())
}

// Declare makes the tables of the schemas known before any record flows, so that SQL finds them empty.
func (l *Lake) Declare(ctx context.Context, declared []*record.Schema) error {
	for _, s := range declared {
		if _, err := l.table(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the connections to Glue. Writers are closed by who opened them.
func (l *Lake) Close(context.Context) error {
	if l.glue != nil {
		l.glue.Close()
	}
	return nil
}

// Open makes the writer of one incarnation of a lane.
func (l *Lake) Open(_ context.Context, lane sinks.Lane) (sinks.Writer, error) {
	return &writer{lake: l, lane: lane, lane8: lakefiles.ShortLane(lane.ID), tables: map[*table]*openTable{}, group: 1}, nil
}

// history gives what the lake has had of a pipeline when it was first asked.
func (l *Lake) history(ctx context.Context, pipeline string) (*lakefiles.History, error) {
	l.walking.Lock()
	defer l.walking.Unlock()
	if h, ok := l.histories[pipeline]; ok {
		return h, nil
	}
	h, err := lakefiles.ReadHistory(ctx, l.bucket, pipeline)
	if err != nil {
		return nil, err
	}
	if l.histories == nil {
		l.histories = map[string]*lakefiles.History{}
	}
	l.histories[pipeline] = h
	return h, nil
}

// table finds the table of a schema, and describes it durably in the lake, and to Glue, before any file may hold its columns.
func (l *Lake) table(ctx context.Context, s *record.Schema) (*table, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tables[s.Stream] {
		if t.schema == s || t.schema.ID() == s.ID() {
			return t, nil
		}
	}
	name := cmp.Or(l.config.TableName[s.Stream], schemas.LakeName(s.Stream))
	for stream, other := range l.tables {
		if stream != s.Stream && other[0].description.Name == name {
			return nil, &fault.Error{
				Class: fault.Fatal, Code: "ACQ-LAKE-010", Place: s.Stream,
				Err:    fmt.Errorf("streams %s and %s would both be the table %s", stream, s.Stream, name),
				Remedy: "give one of them another name with table_name",
			}
		}
	}
	description, err := l.describe(ctx, name, s)
	if err == nil { // each time: whoever described the table may have died before Glue knew
		err = l.tell(ctx, description)
	}
	if err != nil {
		return nil, err
	}
	next := &table{description: description, schema: s}
	for _, f := range s.Fields {
		f.Name = schemas.ColumnName(f.Name)
		next.fields = append(next.fields, f)
	}
	next.fields = append(next.fields, schemas.SystemFields()...)
	l.tables[s.Stream] = append(l.tables[s.Stream], next)
	return next, nil
}

// describe reads the table's file, lets it evolve, and writes it when it is new or changed.
func (l *Lake) describe(ctx context.Context, name string, s *record.Schema) (described *schemas.LakeTable, err error) {
	file := tablesFolder + "/" + name + ".json"
	fresh, err := schemas.NewLakeTable(name, s, l.config.Partition)
	if err != nil {
		return nil, &fault.Error{Class: fault.Fatal, Code: "ACQ-LAKE-014", Place: s.Stream, Err: err, Remedy: "rename or leave out the column, or the table"}
	}
	err = l.bucket.Update(ctx, file, func(old []byte) ([]byte, error) {
		if old == nil {
			described = fresh
			return fresh.Encode()
		}
		known, next, err := evolve(file, old, fresh, s)
		if described = next; err != nil || next == known {
			return nil, err
		}
		return next.Encode()
	})
	return described, err
}

// evolve gives the table as its file has it, and as it is with the columns of the schema: the same one if nothing is new.
func evolve(file string, text []byte, fresh *schemas.LakeTable, s *record.Schema) (known, next *schemas.LakeTable, err error) {
	known, err = schemas.DecodeLakeTable(text)
	if err != nil {
		return nil, nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-LAKE-012", Place: file, Err: err, Remedy: "restore the file from a copy; it was not overwritten",
		}
	}
	if !slices.Equal(known.Partition, fresh.Partition) || !slices.Equal(known.Key, fresh.Key) {
		return nil, nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-LAKE-013", Place: s.Stream, Err: fmt.Errorf("the table of %s has another key or other partitions", file),
			Remedy: "give the table a new name with table_name, or keep its key and partitions",
		}
	}
	if next, err = known.Evolve(s); err != nil {
		return nil, nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-LAKE-011", Place: s.Stream, Err: err,
			Remedy: "cast the column, or give the table a new name with table_name",
		}
	}
	return known, next, nil
}

// take gives a Parquet writer of the table, a used one if there is one: its buffers cost more than a small file.
func (l *Lake) take(t *table, to *blob.File, sample []record.Column, rows int) *parquet.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.plan == nil {
		t.plan = parquet.Sample(t.fields, sample, rows)
	}
	if n := len(t.idle); n > 0 {
		w := t.idle[n-1]
		t.idle = t.idle[:n-1]
		w.Reset(to)
		return w
	}
	return parquet.NewWriter(to, t.fields, t.plan, parquet.Options{Workers: l.config.Workers, Checked: true})
}

// maxIdle bounds the memory of writers that wait for a file: 8 cost a replay of two lanes a third more CPU in 256 MiB.
const maxIdle = 3

func (l *Lake) give(t *table, w *parquet.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(t.idle) < maxIdle {
		t.idle = append(t.idle, w)
	}
}
