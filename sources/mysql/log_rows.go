package mysql

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
)

// relation is a table as the log describes it, and the rows of it that were gathered.
type relation struct {
	raw     []byte // the description
	turn    uint64
	live    bool // it is followed; else its changes are left out
	table   table
	images  *mysql.Images
	gather  *mysql.Gathering
	key     []int  // the columns of the key
	kept    uint64 // id of the schema that is kept of the stream
	changes uint64 // of the transaction so far
	touched bool
	rows    []logRow // one a row of gather
	before  []byte   // the key of a row as it was
	ends    []int
}

// logRow is what is known of a row beside its columns.
type logRow struct {
	op     record.Op
	index  uint32
	number uint64
	when   int64
}

// describe takes the description of a table, which comes before the rows of each statement.
func (p *logPump) describe(ctx context.Context, m *replication.TableMapEvent, event []byte) error {
	const head = replication.EventHeaderSize + 6 // the number of the table, which tells nothing
	raw := event[min(head, len(event)):]
	name := string(m.Schema) + "\x00" + string(m.Table)
	r := p.relations[name]
	if r == nil {
		r = &relation{}
		p.relations[name] = r
	}
	p.maps[m.TableID] = r
	if r.raw != nil && r.turn == p.turn && bytes.Equal(raw, r.raw) {
		return nil
	}
	if err := p.flush(ctx, r); err != nil {
		return err
	}
	r.raw, r.turn, r.live, r.gather = bytes.Clone(raw), p.turn, false, nil
	return p.bind(ctx, r, m)
}

// bind looks the table up. A table that is not known, was stopped or is of another incarnation of the log is left out: it is read anew.
func (p *logPump) bind(ctx context.Context, r *relation, m *replication.TableMapEvent) error {
	t := p.source.named(string(m.Schema), string(m.Table))
	if t == nil || !t.logged() || t.note.Log.Feed != p.epoch || t.note.Log.Broken != "" {
		return nil
	}
	r.table = *t
	if t.err != nil {
		return p.source.breakLog(ctx, t, t.err)
	}
	images, was, err := mysql.NewImages(m, t.Table, p.charsets)
	var layout *mysql.Layout
	if err == nil {
		shaped := *t
		shaped.Table = was
		layout, err = p.source.layout(&shaped)
	}
	if err == nil {
		r.key = r.key[:0]
		for _, name := range t.Key {
			r.key = append(r.key, slices.Index(images.Names, name))
		}
		if slices.Contains(r.key, -1) {
			err = errors.New("the log does not have all columns of its key")
		}
	}
	if err != nil {
		return p.source.breakLog(ctx, t, unfollowed(t, err))
	}
	r.live, r.images, r.kept = true, images, 0
	r.gather = layout.Gather(func(e *gather.RowError) error { return p.refuse(r, e) })
	return nil
}

// unfollowed says why the log cannot follow a table any more.
func unfollowed(t *table, err error) error {
	if _, done := errors.AsType[*fault.Error](err); done {
		return err
	}
	remedy := "mend it, or give the table another strategy; it is read anew in the next run"
	if errors.Is(err, mysql.ErrNoMetadata) {
		remedy = "SET GLOBAL binlog_row_metadata = FULL, in the server's configuration too; the table is read anew in the next run"
	} else if errors.Is(err, mysql.ErrImage) {
		remedy = "SET GLOBAL binlog_row_image = FULL, and let sessions be made anew; the table is read anew in the next run"
	}
	return &fault.Error{Class: fault.Fatal, Code: "ACQ-MY-060", Place: t.stream, Err: err, Remedy: remedy}
}

// named finds a table by its names; nil: it is not read.
func (s *Source) named(database, name string) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if t.Database == database && t.Name == name {
			return t
		}
	}
	return nil
}

// breakLog notes that the changes of a table are left out from now on, for a reason that its owner must mend: it is read anew then.
func (s *Source) breakLog(ctx context.Context, t *table, why error) error {
	s.log.ErrorContext(ctx, "the table is stopped, the others go on", slog.Any("table", t), slog.String("error", why.Error()))
	err := s.change(ctx, t.stream, t.note.Epoch, func(n *note) bool {
		if n.Log == nil {
			return false
		}
		join := *n.Log
		join.Broken = why.Error()
		n.Log = &join
		return true
	})
	if err != nil {
		return err
	}
	next, old := s.copyOf(t.stream)
	if old.Table != nil && old.note.Epoch == t.note.Epoch {
		next.err = why
		s.publish(next)
	}
	return nil
}

// rowsEvent takes the rows of an event.
func (p *logPump) rowsEvent(ctx context.Context, h *replication.EventHeader, e *replication.RowsEvent) error {
	p.events++
	r := p.maps[e.TableID]
	if r == nil {
		return fault.Retry(errors.New("mysql: the log has rows of a table that it has not described"))
	}
	if !r.live || p.number < r.table.note.Log.From {
		return nil
	}
	if p.xa {
		if !slices.Contains(p.changed, r.table.stream) {
			p.changed = append(p.changed, r.table.stream)
		}
		return nil
	}
	if h.EventType == replication.PARTIAL_UPDATE_ROWS_EVENT {
		r.live = false
		return p.source.breakLog(ctx, &r.table, unfollowed(&r.table, errors.New("the log has parts of JSON values (binlog_row_value_options), not the values")))
	}
	data, err := mysql.RowImages(h, e)
	if err != nil {
		return fault.Stop(err)
	}
	for row := uint64(1); len(data) > 0; row++ {
		at := p.events<<32 | row
		if data, err = p.change(r, e, data, at > p.skip); err != nil {
			if fault.Of(err) == fault.Retryable || ctx.Err() != nil {
				return err
			}
			r.live = false
			return p.source.breakLog(ctx, &r.table, unfollowed(&r.table, err))
		}
		p.at.Seen = at
		if p.rows >= p.source.chunkRows || p.bytes >= chunkBytes {
			if err := p.cut(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// change takes one row, as it was and as it is, and gives what stands behind it.
func (p *logPump) change(r *relation, e *replication.RowsEvent, data []byte, fresh bool) (rest []byte, err error) {
	if r.changes++; r.changes >= 1<<31 {
		return nil, errors.New("one transaction changes more than 2,147,483,647 of its rows")
	}
	index := uint32(2 * r.changes)
	kind := e.Type()
	values, rest, err := r.images.Row(data, e.ColumnBitmap1)
	if err != nil {
		return nil, err
	}
	if kind != replication.EnumRowsEventTypeUpdate {
		op := record.Insert
		if kind == replication.EnumRowsEventTypeDelete {
			op = record.Delete
		}
		if fresh {
			err = p.add(r, op, index, values, len(data)-len(rest))
		}
		return rest, err
	}
	r.remember(values)
	middle := rest
	if values, rest, err = r.images.Row(middle, e.ColumnBitmap2); err != nil || !fresh {
		return rest, err
	}
	if !r.moved(values) {
		return rest, p.add(r, record.Update, index, values, len(data)-len(rest))
	}
	if values, _, err = r.images.Row(data, e.ColumnBitmap1); err == nil {
		err = p.add(r, record.Delete, index, values, len(data)-len(middle))
	}
	if err == nil {
		if values, _, err = r.images.Row(middle, e.ColumnBitmap2); err == nil {
			err = p.add(r, record.Insert, index+1, values, len(middle)-len(rest))
		}
	}
	return rest, err
}

// remember keeps the key of a row as it was.
func (r *relation) remember(values [][]byte) {
	r.before, r.ends = r.before[:0], r.ends[:0]
	for _, k := range r.key {
		r.before = append(r.before, values[k]...)
		r.ends = append(r.ends, len(r.before))
	}
}

// moved says whether the key is another one.
func (r *relation) moved(values [][]byte) bool {
	at := 0
	for i, k := range r.key {
		if !bytes.Equal(r.before[at:r.ends[i]], values[k]) {
			return true
		}
		at = r.ends[i]
	}
	return false
}

// add gathers a row, of so many bytes in the log.
func (p *logPump) add(r *relation, op record.Op, index uint32, values [][]byte, size int) error {
	if !r.touched {
		r.touched = true
		p.touched = append(p.touched, r)
	}
	if p.rows == 0 {
		p.first, p.oldest = time.Now(), p.when
	}
	p.rows++
	p.bytes += size
	r.rows = append(r.rows, logRow{op: op, index: index, number: p.number, when: p.when})
	return r.gather.Take(values)
}

// refuse keeps a row that can be no record, as the dead letter that it becomes.
func (p *logPump) refuse(r *relation, e *gather.RowError) error {
	row := r.rows[r.gather.Count]
	r.rows = slices.Delete(r.rows, r.gather.Count, r.gather.Count+1)
	read := reading{table: r.table.Table, source: r.table.source, epoch: r.table.note.Epoch, at: time.UnixMicro(row.when)}
	out := read.refuse(e)
	out.Version.Lo, out.Version.Index, out.EventID = row.number, row.index, string(appendEvent(nil, row))
	p.refused = append(p.refused, out)
	return nil
}

// flush makes batches of the rows of a table.
func (p *logPump) flush(ctx context.Context, r *relation) error {
	if r.gather == nil {
		return nil
	}
	if err := r.gather.Flush(); err != nil {
		return err
	}
	batches, err := r.gather.Batches(r.system)
	if err != nil {
		return err
	}
	p.batches = append(p.batches, batches...)
	p.source.tally(r.table.stream, r.gather.Unfit())
	for _, b := range batches {
		if b.Schema.ID() == r.kept {
			continue
		}
		if err := p.source.met(ctx, r.table.stream, r.table.note.Epoch, b.Schema); err != nil { // before anything that has it is durable
			return err
		}
		r.kept = b.Schema.ID()
	}
	return nil
}

// system fills what is known of the next rows beside their columns.
func (r *relation) system(n int, sys *record.System) {
	rows := r.rows[:n]
	r.rows = r.rows[n:]
	if len(r.rows) == 0 {
		r.rows = nil
	}
	sys.Source, sys.IngestTime = r.table.source, time.Now().UnixMicro()
	sys.Versions.Epoch = r.table.note.Epoch
	sys.Ops, sys.EventTimes = make([]record.Op, n), make([]int64, n)
	sys.Versions.Lo, sys.Versions.Index = make([]uint64, n), make([]uint32, n)
	sys.EventIDs.Offsets = append(make([]uint32, 0, n+1), 0)
	ids := make([]byte, 0, 24*n)
	for i, row := range rows {
		sys.Ops[i], sys.EventTimes[i] = row.op, row.when
		sys.Versions.Lo[i], sys.Versions.Index[i] = row.number, row.index
		ids = appendEvent(ids, row)
		sys.EventIDs.Offsets = append(sys.EventIDs.Offsets, uint32(len(ids))) //nolint:gosec // a batch is far below 4 GiB
	}
	sys.EventIDs.Bytes = ids
}

// appendEvent appends the id of an event: the number of the log's file, where in it the transaction begins, and the place in it.
func appendEvent(dst []byte, row logRow) []byte {
	dst = strconv.AppendUint(dst, row.number>>32, 10)
	dst = append(dst, ':')
	dst = strconv.AppendUint(dst, row.number&(1<<32-1), 10)
	dst = append(dst, '/')
	return strconv.AppendUint(dst, uint64(row.index), 10)
}
