// Package mysql reads the tables of a MySQL or MariaDB database: what is in them first, then what changes.
package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var errOtherSettings = fault.Stop(errors.New("mysql: a *mysql.Config is needed"))

// Source is the tables of one server that one pipeline reads.
type Source struct {
	config    Config
	pipeline  string
	role      sources.Role
	log       *slog.Logger
	state     sources.State
	claim     func(ctx context.Context, stream string) error // as in sources.Host
	pool      *tabular.Pool[*mysql.Conn]
	partRows  int64 // of a part of a backfill
	chunkRows int   // of a chunk
	pageRows  int   // of a page of a poll
	holdAfter time.Duration
	activity  activity
	feed      feed

	refreshing sync.Mutex // the catalog is asked by one at a time
	mu         sync.Mutex
	noting     sync.Mutex        // notes are changed by one at a time; taken after refreshing
	tables     map[string]*table // by stream
	refreshed  time.Time
	server     mysql.Server // as it was last asked
	drains     bool
	only       backfillOnly
	listed     map[string]*mysql.Table     // the catalog as it was last asked, by stream
	unfit      map[string]map[string]int64 // by stream and column, see sources.StreamReport

	denied string // what was said of missing rights; of who holds refreshing
}

var (
	_ sources.Source  = (*Source)(nil)
	_ sources.Drainer = (*Source)(nil)
	_ sources.Resumer = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "mysql", Server: "mysql", Doc: "The tables of a MySQL or MariaDB database: all that is in them, then every change.",
		Assisted: true,
		Config:   func() any { return &Config{} },
		Schemas: func(_ context.Context, settings any) ([]*record.Schema, error) {
			c, ok := settings.(*Config)
			if !ok {
				return nil, errOtherSettings
			}
			return nil, c.check()
		},
		New: func(_ context.Context, settings any, host sources.Host) (sources.Source, error) {
			c, ok := settings.(*Config)
			if !ok {
				return nil, errOtherSettings
			}
			return New(*c, host)
		},
	}
}

// New makes the source. Nothing is connected to before it is asked for lanes.
func New(c Config, host sources.Host) (*Source, error) {
	if err := c.check(); err != nil {
		return nil, fault.Stop(fmt.Errorf("mysql: %w", err))
	}
	log := host.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c = c.filled()
	s := &Source{
		config: c, pipeline: host.Pipeline, role: host.Role, log: log, state: host.State, claim: host.Claim, tables: map[string]*table{},
		unfit: map[string]map[string]int64{}, partRows: partRows, chunkRows: chunkRows, pageRows: pageRows, holdAfter: holdAfter,
	}
	options := mysql.Options{DSN: string(c.DSN), Application: "acequia " + host.Pipeline}
	s.pool = tabular.NewPool(c.Parallel+2, func(ctx context.Context) (*mysql.Conn, error) { return mysql.Connect(ctx, options) })
	return s, nil
}

// with runs something on a connection.
func (s *Source) with(ctx context.Context, do func(c *mysql.Conn) error) error {
	return s.pool.With(ctx, do)
}

// Limit is how many parts of tables are read at the same time.
func (s *Source) Limit() int { return s.config.Parallel }

// Drain lets the lanes that follow changes end when there is nothing left.
func (s *Source) Drain() { s.drains = true }

// More says that what follows changes may have more in every run.
func (s *Source) More(_ context.Context, lane sources.Lane, _ record.Position) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isLog(lane) {
		return !s.feed.drained, nil
	}
	t := s.tables[lane.Streams[0]]
	return t != nil && strings.HasSuffix(lane.ID, followSuffix) && !t.drained, nil
}

// Open starts reading a lane.
func (s *Source) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	if s.role == sources.Assistant {
		return s.assist(ctx, lane, from)
	}
	if isLog(lane) {
		return s.openLog(ctx, lane, from)
	}
	t, part, err := s.find(lane)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return tabular.Ended{}, nil
	case t.err != nil:
		return nil, t.err
	}
	switch part {
	case stoppedPart:
		return nil, fault.Retry(fmt.Errorf("mysql: table %s was stopped and is not any more", t.Quoted()))
	case followPart:
		return s.follow(ctx, t, from)
	case completePart:
		return s.completion(ctx, t, from), nil
	case snapshotPart:
		return s.snapshot(ctx, t, from)
	}
	return s.backfill(ctx, t, part, from)
}

// Close ends the connections that nobody uses any more.
func (s *Source) Close() error { return s.pool.Close(context.Background()) }
