package mysql

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// feed is the log of the server as the pipeline follows it: one endless lane for all tables of strategy log.
type feed struct {
	gate    sync.Mutex // who holds it lets no transaction of the log begin: see join
	turn    uint64     // under gate: counts the times that tables joined
	reached uint64     // under gate: the number of the transaction that the pump began last

	note    logNote // under Source.mu, as all that follows
	loaded  bool    // note was read
	lost    string  // why what the reader wants is not in the log any more
	drained bool    // the lane has given all there was
	means   logMeans
	reader  *logReader
	failed  map[string]uint16 // by stream the incarnation of which a lane that reads it has failed for good
}

// logNote is what is kept of the log between runs, under the key "log".
type logNote struct {
	Epoch  int             `json:"epoch"`           // incarnation: one more each time the log was lost
	Start  record.Position `json:"start,omitempty"` // from where on it gives all; "": no table has joined
	Server string          `json:"server,omitempty"`
	Why    string          `json:"why,omitempty"` // the incarnation of before was given up for this reason
}

// logJoin is what is kept of a table that the log follows.
type logJoin struct {
	Feed   int    `json:"feed"`             // incarnation of the log
	From   uint64 `json:"from"`             // what begins before this number of the log is in every read of the table, and left out
	Broken string `json:"broken,omitempty"` // its changes are left out since then, for this reason
}

const logKey = "log"

// loadLog reads what is kept of the log, and begins another incarnation where it was lost.
func (s *Source) loadLog(ctx context.Context) error {
	s.mu.Lock()
	note, loaded, lost, server := s.feed.note, s.feed.loaded, s.feed.lost, s.server.Identity
	s.mu.Unlock()
	if !loaded {
		var err error
		if note, err = s.keptLog(ctx); err != nil {
			return err
		}
	}
	if lost == "" && note.Server != "" && server != "" && note.Server != server {
		lost = fmt.Sprintf("the server is another one: %s; it was %s", server, note.Server)
	}
	if lost != "" {
		note = logNote{Epoch: note.Epoch + 1, Why: lost}
	} else if loaded {
		return nil
	}
	return s.saveLog(ctx, note, true)
}

// keptLog gives what is kept of the log.
func (s *Source) keptLog(ctx context.Context) (note logNote, err error) {
	text, err := s.state.Load(ctx, logKey)
	if err == nil && text != nil {
		err = json.Unmarshal(text, &note)
	}
	if err != nil {
		return note, fmt.Errorf("mysql: what is kept of the log cannot be read: %w", err)
	}
	note.Epoch = max(note.Epoch, 1)
	return note, nil
}

// saveLog keeps it.
func (s *Source) saveLog(ctx context.Context, note logNote, begins bool) error {
	text, err := json.Marshal(note)
	if err == nil {
		err = s.state.Save(ctx, logKey, text)
	}
	if err != nil {
		return fmt.Errorf("keep where the log stands: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.note, s.feed.loaded = note, true
	if begins {
		s.feed.lost, s.feed.drained = "", false
	}
	return nil
}

// joinPatience is how long a table waits until the log as the reader has it is visible to others.
const joinPatience = 10 * time.Second

// join lets the log follow a table from now on: all that was committed before is in every read that begins after it. The caller holds the
// gate. What the reader has begun may not be visible yet; then the position is asked for again.
func (s *Source) join(ctx context.Context, c *mysql.Conn, t *table) error {
	s.mu.Lock()
	note := s.feed.note
	s.mu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(joinPatience)
	for {
		at, err := visible(ctx, c)
		if err != nil {
			return err
		}
		number, err := at.number()
		if err != nil {
			return err
		}
		if number > s.feed.reached || s.feed.reached == 0 {
			t.note.Log = &logJoin{Feed: note.Epoch, From: number}
			s.mu.Lock()
			s.feed.drained = false
			s.mu.Unlock()
			if note.Start == "" {
				note.Start, note.Server = pack(at), s.server.Identity
				return s.saveLog(ctx, note, false)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fault.Retry(fmt.Errorf("mysql: %s waits for a transaction that is in the log, and that nobody sees yet", t.Quoted()))
		case <-tick.C:
		}
	}
}

// visible gives where the log stands as a snapshot of now sees it: all before it is in the snapshot, and nothing behind it
// (https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/).
func visible(ctx context.Context, c *mysql.Conn) (at logPosition, err error) {
	err = c.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	if err == nil {
		at, err = snapshotAt(ctx, c)
	}
	if err == nil {
		err = c.Exec(ctx, "COMMIT")
	}
	if err != nil {
		return at, errors.Join(mysql.Explain(err, "ask where the log stands", c.Host()), c.Exec(context.WithoutCancel(ctx), "ROLLBACK"))
	}
	row, err := c.QueryRow(ctx, "SELECT BINLOG_GTID_POS(?, ?)", at.File, at.Offset)
	if err == nil {
		at.GTIDs = gtidSet(row.Text(0))
	}
	return at, mysql.Explain(err, "ask where the log stands", c.Host())
}

// snapshotAt gives the position of the consistent snapshot that the transaction of the connection has.
func snapshotAt(ctx context.Context, c *mysql.Conn) (at logPosition, err error) {
	rows, err := c.Query(ctx, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return at, err
	}
	for _, r := range rows {
		switch strings.ToLower(r.Text(0)) {
		case "binlog_snapshot_file":
			at.File = r.Text(1)
		case "binlog_snapshot_position":
			at.Offset = uint32(r.Int(1)) //nolint:gosec // the server begins another file before
		}
	}
	if at.File == "" {
		return at, fault.Stop(errors.New("mysql: the server does not say where its log stands (binlog_snapshot_file)"))
	}
	return at, nil
}

// The lane of the log is called log@EPOCH, by the incarnation of the log. A table's lane has a slash behind that.
const logPrefix = "log@"

func isLog(lane sources.Lane) bool {
	return strings.HasPrefix(lane.ID, logPrefix) && !strings.Contains(lane.ID, "/")
}

// logLane gives the lane of the log, if there is one; the caller holds the lock. reads are the lanes that read its tables.
func (s *Source) logLane(reads []string) (lane sources.Lane, ok bool) {
	lane = sources.Lane{ID: logPrefix + strconv.Itoa(s.feed.note.Epoch), Replayable: true, Endless: true}
	for _, t := range s.sorted() {
		if t.logged() && t.err == nil {
			lane.Streams = append(lane.Streams, t.stream)
		}
	}
	if s.drains {
		lane.After = reads
	}
	return lane, len(lane.Streams) > 0 && s.feed.note.Start != ""
}

// logged says whether the log follows the table.
func (t *table) logged() bool { return t.note.Strategy == byLog && t.note.Log != nil }

// openLog begins to read the log after a position.
func (s *Source) openLog(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	s.mu.Lock()
	note, server := s.feed.note, s.server
	s.mu.Unlock()
	if lane.ID != logPrefix+strconv.Itoa(note.Epoch) || note.Start == "" {
		return tabular.Ended{}, nil // the log was lost: what it gave is read anew
	}
	at, err := parseLogPosition(cmp.Or(from, note.Start))
	if err != nil {
		return nil, err
	}
	p := &logPump{source: s, epoch: note.Epoch, at: at, again: at.Seen}
	var gone, database string
	err = s.with(ctx, func(c *mysql.Conn) (err error) {
		database = c.Database()
		if gone, err = reachable(ctx, c, at); err != nil || gone != "" {
			return err
		}
		if p.charsets, err = mysql.ListCharsets(ctx, c); err == nil && s.drains {
			p.target, err = ends(ctx, c)
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
	if p.gtids, err = parseGTIDs(string(at.GTIDs)); err != nil {
		return nil, err
	}
	log, err := mysql.OpenLog(ctx, mysql.Options{DSN: string(s.config.DSN)}, server, s.replicaID(server.Identity, database), at.File, at.Offset)
	if err != nil {
		return nil, err
	}
	return s.readLog(ctx, p, log), nil
}

// replicaID is the number under which the server knows the pipeline among its replicas: the same in every run, and unlikely that of another.
func (s *Source) replicaID(server, database string) uint32 {
	if s.config.Capture.ServerID > 0 {
		return s.config.Capture.ServerID
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.Join(append([]string{server, s.pipeline, database}, s.config.Tables...), "\x00")))
	return h.Sum32() | 1<<31
}

// reachable says why the log cannot be read on from a position; "": it can.
func reachable(ctx context.Context, c *mysql.Conn, at logPosition) (gone string, err error) {
	files, err := c.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return "", mysql.Explain(err, "ask for the files of the log", c.Host())
	}
	for _, f := range files {
		if f.Text(0) != at.File {
			continue
		}
		if f.Int(1) < int64(at.Offset) {
			return fmt.Sprintf("the log's file %s ends before %d: the server's log was reset", at.File, at.Offset), nil
		}
		row, err := c.QueryRow(ctx, "SELECT BINLOG_GTID_POS(?, ?)", at.File, at.Offset)
		if err != nil {
			return "", mysql.Explain(err, "compare where the log stands", c.Host())
		}
		if now := gtidSet(row.Text(0)); row.Null(0) || !now.equal(at.GTIDs) {
			return fmt.Sprintf("the log is another one: at %s:%d it has GTID %q, and it had %q", at.File, at.Offset, now, at.GTIDs), nil
		}
		return "", nil
	}
	return fmt.Sprintf("the server has thrown the log's file %s away", at.File), nil
}

// ends gives the number of where the log ends now.
func ends(ctx context.Context, c *mysql.Conn) (uint64, error) {
	files, err := c.Query(ctx, "SHOW BINARY LOGS")
	if err != nil || len(files) == 0 {
		return 0, mysql.Explain(err, "ask for the files of the log", c.Host())
	}
	last := files[len(files)-1]
	return logNumber(last.Text(0), uint32(min(last.Int(1), 1<<32-1))) //nolint:gosec // see above
}

// loseLog says that the log does not have what is wanted: the next refresh begins another incarnation, and reads its tables anew.
func (s *Source) loseLog(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.lost = why
	s.refreshed = time.Time{} // the catalog is asked again at once
}

// feedNow is the incarnation of the log.
func (s *Source) feedNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feed.note.Epoch
}

// feedWhy says why there is another one than before.
func (s *Source) feedWhy() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.feed.note.Why, "its log was lost")
}
