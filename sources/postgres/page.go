package postgres

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// pageRows is how many rows one statement of a poll gives at most, so that its snapshot does not hold up VACUUM for long.
const pageRows = 100_000

const (
	lastTick   = 10 * time.Millisecond
	lastDelays = 3 // see runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT
)

// lasting waits until no crash of the server can take back what was visible before: with synchronous_commit off a commit is visible
// before it is on the disk, and after a crash its number is given again. It is there when the log is up to now, or after three
// times wal_writer_delay, whatever transactions that are under way have written meanwhile.
func lasting(ctx context.Context, c *postgres.Conn, now sight) error {
	if now.standby { // it shows what it has on its disk
		return nil
	}
	var upTo string
	var lasts bool
	var delay float64
	err := c.QueryRow(ctx, `SELECT l::text, l <= pg_current_wal_flush_lsn(), extract(epoch FROM current_setting('wal_writer_delay')::interval)::float8
		FROM pg_current_wal_insert_lsn() l`).Scan(&upTo, &lasts, &delay)
	late := time.NewTimer(lastDelays*time.Duration(delay*float64(time.Second)) + lastTick)
	defer late.Stop()
	tick := time.NewTicker(lastTick)
	defer tick.Stop()
	for err == nil && !lasts {
		select {
		case <-late.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err = c.QueryRow(ctx, "SELECT $1::text::pg_lsn <= pg_current_wal_flush_lsn()", upTo).Scan(&lasts)
	}
	return postgres.Explain(err, "ask what is on the server's disk", c.Config().Database)
}

// page is one statement of a poll, whose rows become chunks as they come.
type page struct {
	table    *table
	layout   *postgres.Layout
	sql      string
	args     []string
	lead     int                                   // expressions before the columns
	leads    func(values [][]byte) error           // given those of each row
	ops      func() []record.Op                    // of the rows since the last chunk; nil: all are updates
	position func(b *record.Batch) record.Position // after the last row of a batch
	end      record.Position                       // after the statement, where no more is to come of the round; "": more may be
	clock    time.Time                             // the server's when the poll began
}

// parameters adds texts to those of a statement, and gives how it names them, each with its cast.
func parameters(args, texts, casts []string) (names string, all []string) {
	named := make([]string, len(texts))
	all = slices.Clone(args)
	for i, text := range texts {
		all = append(all, text)
		named[i] = "$" + strconv.Itoa(len(all)) + casts[i]
	}
	return strings.Join(named, ", "), all
}

// polled runs a page and gives its chunks. The number of their version is taken when the first row is there: after the statement's
// snapshot, and before the next page's.
func (s *Source) polled(ctx context.Context, c *postgres.Conn, p page, give func(record.Chunk) error) (rows int, err error) {
	d := p.layout.Decoder()
	var number uint64
	ended := false
	send := func() error {
		if d.Rows() == 0 {
			return nil
		}
		if number == 0 {
			if number, err = s.state.Next(ctx, p.table.stream); err != nil {
				return err
			}
		}
		rows += d.Rows()
		set := p.table.system(number, record.Update, p.clock)
		batches, err := d.Batches(func(n int, sys *record.System) {
			set(n, sys)
			if p.ops != nil {
				sys.Ops = p.ops()
			}
		})
		if err != nil || len(batches) == 0 {
			return err
		}
		to := p.position(batches[len(batches)-1])
		if ended && rows < pageRows && p.end != "" {
			to = p.end
		}
		return give(record.Chunk{Batches: batches, To: to, ReadAt: time.Now()})
	}
	err = c.StreamInto(ctx, p.sql, p.args, d, postgres.StreamOptions{
		Lead: p.lead, Leads: p.leads, Rows: chunkRows, Bytes: chunkBytes, Full: send,
	})
	if err != nil {
		return rows, postgres.Explain(err, "poll "+p.table.Quoted(), p.table.stream)
	}
	ended = true
	err = send()
	return rows, err
}
