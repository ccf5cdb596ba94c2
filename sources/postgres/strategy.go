package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// poller finds the changes of one table by asking for them, in rounds. Its positions are its own. What it gives is never cut off by
// a time that an application wrote, but by what was visible to the server (strategy time says what it assumes). It is used by
// one goroutine, with the table as the catalog has it then.
type poller interface {
	// begin gives the position of now: what is committed after it was asked is found by the rounds that follow.
	begin(ctx context.Context, c *postgres.Conn, t *table) (record.Position, error)
	// poll does one round: it gives the changes after a position, and says where the table stands then. An *anew says that the
	// changes are not complete any more. The number of a version is taken after the snapshot that its rows are read in.
	poll(ctx context.Context, c *postgres.Conn, t *table, from record.Position, give func(record.Chunk) error) (record.Position, error)
	// covers says whether a position has all that was committed at a moment.
	covers(at record.Position, m moment) bool
}

// tidier is a poller that removes from the server what is durable in every sink.
type tidier interface {
	tidy(ctx context.Context, c *postgres.Conn, t *table, upTo record.Position) error
}

// unpack reads a position that pack wrote.
func unpack[T any](stream string, from record.Position) (at T, err error) {
	if err := json.Unmarshal([]byte(from), &at); err != nil {
		return at, fault.Stop(fmt.Errorf("postgres: %q is no position in %s: %w", from, stream, err))
	}
	return at, nil
}

// pack writes a position.
func pack(at any) record.Position {
	text, _ := json.Marshal(at) // positions are numbers and texts, which always can be
	return record.Position(text)
}

// newPoller makes what follows a table by a strategy; nil where nothing does, or the log.
func (s *Source) newPoller(strategy string) poller {
	switch strategy {
	case xid:
		return &xidPoller{source: s, watch: watch{source: s, triggers: stampTrigger}}
	case xmin:
		return &xminPoller{source: s, watch: watch{source: s, writers: true}}
	case byTime:
		return &timePoller{source: s, watch: watch{source: s}}
	case queue:
		return &queuePoller{source: s, watch: watch{source: s, triggers: queueTrigger, deletes: true}}
	}
	return nil
}
