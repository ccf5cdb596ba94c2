package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// feed is the log of the database as the pipeline follows it: a publication, a slot, and one endless lane for all tables of strategy
// log. The server decodes the log once a slot, so a lane a table would decode all of it as often as there are tables.
type feed struct {
	gate      sync.Mutex    // who holds it lets no transaction of the log begin: see join
	turn      uint64        // under gate: counts the times that tables joined or left
	note      logNote       // under Source.mu, as all that follows
	loaded    bool          // note was read
	made      bool          // the slot was made by this refresh: nothing has been read from it
	public    *publication  // as the last refresh saw it
	err       error         // why the log cannot be followed now
	patience  time.Duration // how long the server may take to make the slot next time; 0: as at first
	lost      string        // why what the reader wants is not in the slot any more
	undecoded undecoded
	export    *export    // the snapshot of the moment at which the slot begins; nil: gone
	drained   bool       // the lane has given all there was
	reader    *logReader // that was opened last
	wal       walSight

	refused map[string]error  // by stream: why it was excluded from the lane in this run
	failed  map[string]uint16 // by stream: the incarnation of which another lane has failed for good, so that nobody waits for it

	watches   map[string]*watch // by stream: for what the log does not tell
	truncated map[string]uint32 // by stream: the transaction of the last TRUNCATE that it has told
}

// logNote is what is kept of the log between runs, under the key "log".
type logNote struct {
	Epoch       int    `json:"epoch"` // incarnation of the slot
	Slot        string `json:"slot"`
	Publication uint32 `json:"publication"` // its OID
	System      string `json:"system"`      // that of the server, with its timeline: positions of others mean nothing
	Timeline    int    `json:"timeline"`
	Making      bool   `json:"making,omitempty"` // the slot may be there or not, and nothing was read from it
	Start       string `json:"start,omitempty"`  // LSN from which on the slot gives all
	Why         string `json:"why,omitempty"`    // the slot of before was given up for this reason
}

// logJoin is what is kept of a table that the log follows.
type logJoin struct {
	Slot   int    `json:"slot"`             // incarnation of the slot
	From   string `json:"from"`             // LSN: transactions that commit before it are in every read of the table, and left out of the log
	Wait   uint64 `json:"wait,omitempty"`   // the table may be read when all transactions below this number have ended
	Behind uint64 `json:"behind,omitempty"` // a read that is not in the snapshot of the slot's beginning waits until all transactions below have ended
	Member string `json:"member,omitempty"` // its membership in the publication
	Broken string `json:"broken,omitempty"` // its changes are left out since then, for this reason: it has to be read anew
}

// joined says whether the table may be read, and its changes are given.
func (j *logJoin) joined() bool { return j != nil && j.Wait == 0 && j.Broken == "" }

const logKey = "log"

// errNoPublication says what to install.
func (s *Source) errNoPublication() error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-PG-060", Place: s.logName(), Err: errors.New("strategy log: there is no such publication"),
		Remedy: "make it with: acequia capture install --strategy log --apply",
	}
}

// prepareLog looks at the publication and the slot, before the tables are looked at: the slot is made where there is a publication and
// no slot. Whatever hinders only the log is kept as the reason of the tables that wait for it.
func (s *Source) prepareLog(ctx context.Context, c *postgres.Conn, server postgres.Server) error {
	public, err := s.published(ctx, c)
	if err != nil {
		return err
	}
	note, loaded := s.logNoted()
	if !loaded {
		if note, err = s.loadLog(ctx); err != nil {
			return err
		}
	}
	strategy := s.config.Capture.Strategy
	wanted := strategy == byLog || strategy == auto && len(public.members) > 0
	var why error
	made := false
	switch {
	case !wanted:
	case !public.found:
		why = s.errNoPublication()
	default:
		if why = s.checkLog(server); why == nil {
			made, why = s.ensureSlot(ctx, c, server, note, public.oid)
		}
	}
	if why != nil && (s.drains || errors.Is(why, context.Canceled) || strategy == byLog && fault.Of(why) == fault.Fatal) {
		return why
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != nil && (s.feed.err == nil || s.feed.err.Error() != why.Error()) {
		s.log.WarnContext(ctx, "the log cannot be followed", slog.String("reason", why.Error()))
	}
	s.feed.public, s.feed.err, s.feed.made = public, why, made
	return nil
}

// checkLog says what of the server's settings and the role's rights keeps the log from being read.
func (s *Source) checkLog(server postgres.Server) error {
	wrong := func(remedy, format string, args ...any) error {
		return &fault.Error{Class: fault.Fatal, Code: "ACQ-PG-060", Place: server.Database, Err: fmt.Errorf("strategy log: "+format, args...), Remedy: remedy}
	}
	switch {
	case server.Version < 130000:
		return wrong("use another strategy", "the server is of version %d, and 13 is needed", server.Version/10000)
	case server.Standby:
		return wrong("connect to the primary, or use another strategy", "the server is a standby")
	case server.WALLevel != "logical":
		return wrong("alter system set wal_level = logical, and restart the server", "wal_level is %s", server.WALLevel)
	case !server.Replication:
		return wrong(fmt.Sprintf("alter role %s replication (on RDS: grant rds_replication to %[1]s)", server.User), "the role %s may not replicate", server.User)
	case server.MaxSlots == 0 || server.MaxSenders == 0:
		return wrong("set both to 10, and restart the server", "max_replication_slots is %d and max_wal_senders %d", server.MaxSlots, server.MaxSenders)
	}
	return nil
}

func (s *Source) logNoted() (logNote, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feed.note, s.feed.loaded
}

// loadLog reads what is kept of the log.
func (s *Source) loadLog(ctx context.Context) (note logNote, err error) {
	text, err := s.state.Load(ctx, logKey)
	if err == nil && text != nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		return note, fmt.Errorf("postgres: what is kept of the log cannot be read: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.note, s.feed.loaded = note, true
	return note, nil
}

// saveLog keeps it.
func (s *Source) saveLog(ctx context.Context, note logNote) error {
	text, err := json.Marshal(note)
	if err == nil {
		err = s.state.Save(ctx, logKey, text)
	}
	if err != nil {
		return fmt.Errorf("keep the log's slot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.note = note
	return nil
}

// The lane of the log is called log@EPOCH, by the incarnation of the slot. A table's lane has a slash behind that.
const logPrefix = "log@"

func isLog(lane sources.Lane) bool {
	return strings.HasPrefix(lane.ID, logPrefix) && !strings.Contains(lane.ID, "/")
}

// logLane gives the lane of the log, if there is one; the caller holds the lock. It is there even when no table can be followed, so
// that the slot does not hold back WAL for nothing. reads are the lanes that read tables of strategy log.
func (s *Source) logLane(reads []string) (lane sources.Lane, ok bool) {
	f := &s.feed
	if f.note.Epoch == 0 || f.note.Making || f.err != nil {
		return lane, false
	}
	lane = sources.Lane{ID: logPrefix + strconv.Itoa(f.note.Epoch), Replayable: true, Endless: true}
	for _, t := range s.sorted() {
		if t.note.Strategy == byLog {
			lane.Streams = append(lane.Streams, t.stream)
		}
	}
	if s.drains {
		lane.After = reads
	}
	return lane, len(lane.Streams) > 0
}

// openLog begins to read the log after a position.
func (s *Source) openLog(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	note, _ := s.logNoted()
	if lane.ID != logPrefix+strconv.Itoa(note.Epoch) || note.Making {
		return tabular.Ended{}, nil // the slot was given up: what it gave is read anew
	}
	if from == "" {
		from = record.Position(note.Start)
	}
	at, err := parseLogPosition(from)
	if err != nil {
		return nil, err
	}
	var target pglogrepl.LSN
	gone := ""
	err = s.with(ctx, func(c *postgres.Conn) (err error) {
		if gone, err = s.reachable(ctx, c, note, at); err == nil && s.drains {
			target, err = insertedUpTo(ctx, c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if gone != "" {
		s.loseLog(gone)
		return tabular.Ended{}, nil
	}
	wal, err := s.startLog(ctx, note.Slot, at.End)
	if err != nil {
		return nil, err
	}
	r := s.readLog(ctx, wal, note.Epoch, at, target)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.reader = r
	return r, nil
}

// loseLog says that the slot does not have what is wanted: the next refresh makes another and reads all of its tables anew.
func (s *Source) loseLog(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.lost = why
	s.refreshed = time.Time{} // the catalog is asked again at once
}
