package postgres

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/gather"
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
	lead     int                                            // expressions before the columns
	leads    func(values [][]byte) error                    // given those of each row
	ops      func() []record.Op                             // of the rows since the last chunk; nil: all are updates
	position func(b *record.Batch, row int) record.Position // after what has come: row is which of the rows since the last chunk the last of the batch is; -1: none
	end      record.Position                                // after the statement, where no more is to come of the round; "": more may be
	clock    time.Time                                      // the server's when the poll began
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

// without leaves out what stands at some places, which ascend.
func without(ops []record.Op, holes []int) []record.Op {
	for i, at := range holes {
		ops = slices.Delete(ops, at-i, at-i+1)
	}
	return ops
}

// paging is a page that runs.
type paging struct {
	page
	source  *Source
	decoder *postgres.Decoder
	give    func(record.Chunk) error
	number  uint64 // of the version
	rows    int
	ended   bool
	refused []record.Refused // since the last chunk
	holes   []int            // the places of their rows among those of the chunk
}

// kept says which of the rows since the last chunk is the last that was not refused; -1: none.
func (r *paging) kept() int {
	row := r.decoder.Count + len(r.holes) - 1
	for i := len(r.holes) - 1; i >= 0 && r.holes[i] == row; i-- {
		row--
	}
	return row
}

// polled runs a page and gives its chunks. The number of their version is taken when the first row is there: after the statement's
// snapshot, and before the next page's.
func (s *Source) polled(ctx context.Context, c *postgres.Conn, p page, give func(record.Chunk) error) (rows int, err error) {
	r := &paging{page: p, source: s, decoder: p.layout.Decoder(), give: give}
	send := func() error { return r.send(ctx) }
	err = c.StreamInto(ctx, p.sql, p.args, r.decoder, postgres.StreamOptions{
		Lead: p.lead, Leads: p.leads, Rows: s.chunkRows, Bytes: chunkBytes, Full: send, Refused: r.refuse,
	})
	if err != nil {
		return r.rows, postgres.Explain(err, "poll "+p.table.Quoted(), p.table.stream)
	}
	r.ended = true
	err = send()
	return r.rows, err
}

// refuse keeps a row that can be no record for the next chunk.
func (r *paging) refuse(e *gather.RowError) error {
	read := reading{table: r.table.Table, source: r.table.source, epoch: r.table.note.Epoch, at: r.clock}
	r.holes = append(r.holes, r.decoder.Count+len(r.holes))
	if r.refused = append(r.refused, read.refuse(e)); len(r.refused) == mostRefused {
		return tooManyRefused(r.table.stream)
	}
	return nil
}

// send hands on what was gathered.
func (r *paging) send(ctx context.Context) (err error) {
	atEnd := r.ended && r.rows+r.decoder.Count+len(r.refused) < r.source.pageRows && r.end != ""
	if r.decoder.Count == 0 && len(r.refused) == 0 {
		return nil
	}
	if r.number == 0 {
		if r.number, err = r.source.state.Next(ctx, r.table.stream); err != nil {
			return err
		}
	}
	r.rows += r.decoder.Count + len(r.refused)
	kept := r.kept()
	set := r.table.system(r.number, record.Update, r.clock)
	batches, err := r.decoder.Batches(func(n int, sys *record.System) {
		set(n, sys)
		if r.ops != nil {
			sys.Ops = without(r.ops(), r.holes)
		}
	})
	if err != nil {
		return err
	}
	chunk := record.Chunk{Batches: batches, Refused: r.refused, To: r.end, ReadAt: time.Now()}
	for i := range r.refused {
		r.refused[i].Version.Lo = r.number
	}
	r.refused, r.holes = nil, nil
	var last *record.Batch
	if len(batches) > 0 {
		last = batches[len(batches)-1]
		r.source.tally(r.table.stream, r.decoder.Unfit())
		if err := r.source.met(ctx, r.table.stream, r.table.note.Epoch, last.Schema); err != nil {
			chunk.Release()
			return err
		}
	}
	if !atEnd {
		chunk.To = r.position(last, kept)
	}
	return r.give(chunk)
}
