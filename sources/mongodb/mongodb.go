// Package mongodb reads the collections of a MongoDB database: what is in them first, then what changes.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var errOtherSettings = fault.Stop(errors.New("mongodb: a *mongodb.Config is needed"))

// Source is the collections of one database that one pipeline reads.
type Source struct {
	config    Config
	pipeline  string
	role      sources.Role
	log       *slog.Logger
	state     sources.State
	claim     func(ctx context.Context, stream string) error // as in sources.Host
	partRows  int64                                          // of a part of a backfill
	chunkRows int                                            // of a chunk
	lease     time.Duration                                  // how long a restore is believed to be alive

	opening  sync.Mutex
	database *mongodb.Database // nil: nothing was asked yet
	closed   bool

	refreshing  sync.Mutex // the server is asked for its collections by one at a time
	mu          sync.Mutex
	noting      sync.Mutex // notes are changed by one at a time; taken after refreshing
	collections map[string]*collection
	refreshed   time.Time
	server      mongodb.Server // as it was then
	drains      bool
	only        backfillOnly
	asked       map[string]*collection      // what Streams found, for the reads beside the lanes
	unfit       map[string]map[string]int64 // by stream and column, see sources.StreamReport
	behind      map[string]uint64           // by stream, see stands
}

var (
	_ sources.Source  = (*Source)(nil)
	_ sources.Drainer = (*Source)(nil)
	_ sources.Resumer = (*Source)(nil)
	_ sources.Limiter = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "mongodb", Server: "mongodb", Doc: "The collections of a MongoDB database: all that is in them, then every change.",
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
		return nil, fault.Stop(fmt.Errorf("mongodb: %w", err))
	}
	log := host.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		config: c.filled(), pipeline: host.Pipeline, role: host.Role, log: log, state: host.State, claim: host.Claim, collections: map[string]*collection{},
		asked: map[string]*collection{}, unfit: map[string]map[string]int64{}, behind: map[string]uint64{}, partRows: partRows, chunkRows: chunkRows,
		lease: restoreLease,
	}, nil
}

// Limit is how many parts of collections are read at the same time.
func (s *Source) Limit() int { return s.config.Parallel }

// Drain lets the lanes that follow changes end when there is nothing left.
func (s *Source) Drain() { s.drains = true }

// More says that what follows changes may have more in every run.
func (s *Source) More(_ context.Context, lane sources.Lane, _ record.Position) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[lane.Streams[0]]
	return c != nil && strings.HasSuffix(lane.ID, followSuffix) && !c.drained, nil
}

// Open starts reading a lane.
func (s *Source) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	if s.role == sources.Assistant {
		return s.assist(ctx, lane, from)
	}
	c, part, err := s.find(lane)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return tabular.Ended{}, nil
	case c.err != nil:
		return nil, c.err
	}
	switch part {
	case stoppedPart:
		return nil, fault.Retry(fmt.Errorf("mongodb: collection %s was stopped and is not any more", c.Name))
	case completePart:
		return &completion{source: s, collection: c, done: from != ""}, nil
	case followPart:
		return s.follow(ctx, c, from)
	}
	return s.backfill(ctx, c, part, from)
}

// errClosed is of a read that goes on when its source is closed.
var errClosed = fault.Retry(errors.New("mongodb: the source is closed"))

// db gives the database. Its connections are made when they are needed.
func (s *Source) db() (*mongodb.Database, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	switch {
	case s.closed:
		return nil, errClosed
	case s.database != nil:
		return s.database, nil
	}
	var err error
	s.database, err = mongodb.Open(mongodb.Options{URI: string(s.config.URI), Database: s.config.Database, Application: "acequia " + s.pipeline})
	return s.database, err
}

// Close ends the connections.
func (s *Source) Close() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.closed = true; s.database == nil {
		return nil
	}
	err := s.database.Close(context.Background())
	s.database = nil
	return err
}
