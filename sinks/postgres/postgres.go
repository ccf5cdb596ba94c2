// Package postgres keeps an analytics warehouse in PostgreSQL: one table a stream that holds the records as they stand. A group is
// copied into staging tables of its own, named by an intent, and then merged by version, so that each record takes effect once and an
// older copy never replaces a newer one.
//
// A delete takes the row away and its version stays in a table of deletes, so that a late copy cannot bring the row back.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Config of the sink.
type Config struct {
	DSN       config.Secret     `yaml:"dsn" required:"true" doc:"Where the warehouse is: postgres://USER@HOST:PORT/DATABASE, or key=value pairs; off loopback TLS is verified."`
	Schema    string            `yaml:"schema" doc:"Schema of the tables, which is made when it is not there; default public."`
	TableName map[string]string `yaml:"table_name" doc:"Names of tables by stream; default: the stream's, with _ for a point."`
	Age       time.Duration     `yaml:"every" doc:"Age after which what has gathered becomes visible; default 10s."`
}

func (c Config) filled() Config {
	c.Schema = cmp.Or(c.Schema, "public")
	c.Age = cmp.Or(c.Age, 10*time.Second)
	return c
}

// SchemaName is the schema of the tables.
func (c *Config) SchemaName() string { return c.filled().Schema }

// TableOf is the name of the table of a stream.
func (c *Config) TableOf(stream string) string {
	return cmp.Or(c.TableName[stream], strings.ReplaceAll(stream, ".", "_"))
}

// Place names the warehouse: server, database and schema.
func (c *Config) Place() (string, error) {
	where, err := postgres.Where(string(c.DSN))
	return where + "/" + c.SchemaName(), err
}

func (c *Config) options(application string) postgres.Options {
	return postgres.Options{DSN: string(c.DSN), Application: application, Verified: true}
}

// Sink is the warehouse.
type Sink struct {
	config  Config
	log     *slog.Logger
	options postgres.Options

	mu   sync.Mutex
	idle []*postgres.Conn

	making sync.Mutex // of tables: one at a time
	ready  bool       // the bookkeeping is there
	tables map[string][]*table
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Describer = (*Sink)(nil)
	_ sinks.Pacer     = (*Sink)(nil)
	_ sinks.Recoverer = (*writer)(nil)
	_ sinks.Prover    = (*writer)(nil)
	_ sinks.Holder    = (*writer)(nil)
)

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "postgres", Doc: "An analytics warehouse in PostgreSQL: the records as they stand, merged by version, exactly once.",
		Config:  func() any { return &Config{} },
		Check:   check,
		Plan:    plan,
		Refuses: refuses,
		New: func(_ context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fault.Stop(errors.New("postgres: a *postgres.Config is needed"))
			}
			return New(*c, host.Pipeline, host.Log)
		},
	}
}

// New makes the sink. It connects when it is first needed.
func New(c Config, pipeline string, log *slog.Logger) (*Sink, error) {
	if err := postgres.Secure(string(c.DSN)); err != nil {
		return nil, err
	}
	return &Sink{config: c.filled(), log: log, options: c.options("acequia " + pipeline), tables: map[string][]*table{}}, nil
}

// Every is the age at which what has gathered becomes visible.
func (c Config) Every() time.Duration { return c.filled().Age }

// Every is the age at which what has gathered becomes visible.
func (s *Sink) Every() time.Duration { return s.config.Age }

// Rows is how many records a group may have at least.
func (s *Sink) Rows() int { return 1_000_000 }

// Declare makes the tables, so that SQL finds them empty.
func (s *Sink) Declare(ctx context.Context, schemas []*record.Schema) error {
	for _, schema := range schemas {
		if _, err := s.table(ctx, schema); err != nil {
			return err
		}
	}
	return nil
}

// Open makes the writer of one incarnation of a lane.
func (s *Sink) Open(ctx context.Context, lane sinks.Lane) (sinks.Writer, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	return &writer{sink: s, lane: lane}, nil
}

// Close ends the connections.
func (s *Sink) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range s.idle {
		errs = append(errs, c.Close(ctx))
	}
	s.idle = nil
	return errors.Join(errs...)
}

// durable wants a commit to be on disk before it is answered, whatever the role or the database is set to.
const durable = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

// with runs something on a connection, which is used again if all went well.
func (s *Sink) with(ctx context.Context, do func(c *postgres.Conn) error) error {
	s.mu.Lock()
	var c *postgres.Conn
	if n := len(s.idle); n > 0 {
		c, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = postgres.Connect(ctx, s.options); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, durable); err != nil {
			return errors.Join(postgres.Explain(err, "set synchronous_commit", c.Config().Database), c.Close(ctx))
		}
	}
	err := do(c)
	if err != nil || c.IsClosed() {
		_ = c.Close(context.WithoutCancel(ctx)) // why it failed is told already
		return explain(err, "write", c.Config().Database)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, c)
	return nil
}

// explain classifies an error of the server. What says that something staged has vanished stays as it is.
func explain(err error, doing, place string) error {
	if errors.Is(err, sinks.ErrVanished) {
		return err
	}
	err = postgres.Explain(err, doing, place)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == "ACQ-PG-005" && strings.HasPrefix(e.Remedy, "GRANT SELECT ") {
		of := *e
		of.Remedy = "acequia check FILE --connect tells the GRANT" // the right that is missing is none to read
		return &of
	}
	return err
}
