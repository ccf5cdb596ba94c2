package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// relation is a table as the stream tells it, and the rows of it that were gathered.
type relation struct {
	message *pglogrepl.RelationMessage
	bound   bool   // the rest is what it was when turn was that of the feed
	turn    uint64 //
	live    bool   // it is followed; else its changes are left out
	stream  string
	source  string
	epoch   uint16
	from    pglogrepl.LSN // what commits before it is in the reads of the table
	known   table
	table   *postgres.Table
	kept    uint64 // id of the schema that is kept of the stream
	decoder *postgres.Decoder
	casts   []string // of the key
	sentKey []int    // where the key's columns are in a tuple
	key     []int    // and in a row of the table
	stamp   int      // where the column that acequia added is in a tuple: it is left out; -1: it is not there
	unsent  int      // how many generated columns, which the server does not send, are behind those that it sends

	touched bool
	rows    []logRow // one a row of the decoder, then one a row of held
	held    []heldRow
	wanting int // of held: that lack values
	lookUp  int // so many are looked up at once
	values  []postgres.Value
}

// logRow is what is known of a row beside its columns.
type logRow struct {
	op     record.Op
	index  uint32
	commit pglogrepl.LSN
	when   int64
}

// xid8OID is the type of the column that strategy xid adds (pg_type.dat).
const xid8OID = 5069

// relation takes a table's description, which the server sends before the first change in it and after each change of it.
func (p *logPump) relation(m *pglogrepl.RelationMessage) {
	r := p.relations[m.RelationID]
	if r == nil {
		r = &relation{lookUp: firstLookup}
		p.relations[m.RelationID] = r
	}
	r.message, r.bound = m, false
}

// find gives the table of a change, bound to what the source knows of it; nil: its changes are left out.
func (p *logPump) find(ctx context.Context, id uint32) (*relation, error) {
	r := p.relations[id]
	if r == nil {
		return nil, streamError(errMessage, p.wal.slot)
	}
	if !r.bound || r.turn != p.turn {
		if err := p.flush(ctx, r); err != nil {
			return nil, err
		}
		if err := p.bind(ctx, r); err != nil {
			return nil, err
		}
		r.bound, r.turn = true, p.turn
	}
	if !r.live || p.commit < r.from {
		return nil, nil //nolint:nilnil // said above
	}
	if r.decoder == nil {
		if err := p.begun(ctx, r); err != nil || !r.live {
			return nil, err
		}
	}
	return r, nil
}

// bind looks the table up. A table that is not known, was made anew under its name, or was stopped is left out: it is read anew
// when it joins.
func (p *logPump) bind(ctx context.Context, r *relation) error {
	s, m := p.source, r.message
	r.decoder = nil
	named := postgres.Table{Schema: m.Namespace, Name: m.RelationName}
	stream := named.Stream()
	t := s.table(stream)
	if t == nil {
		r.live = false
		return s.leftOut(ctx, stream)
	}
	known := *t
	r.live = known.note.Strategy == byLog && known.note.OID == m.RelationID && known.note.Log != nil && known.note.Log.Slot == p.epoch &&
		known.note.Log.Broken == ""
	if !r.live {
		return nil
	}
	if why := known.stopped(); why != nil {
		r.live = false
		return s.breakLog(ctx, stream, why)
	}
	join := *known.note.Log
	from, err := pglogrepl.ParseLSN(join.From)
	if err != nil {
		return fault.Stop(fmt.Errorf("postgres: %s joined the log at %q", stream, join.From))
	}
	r.stream, r.source, r.epoch, r.from, r.known = stream, known.source, known.note.Epoch, from, known
	return nil
}

// begun makes what the rows of a table are decoded with. A table of which that cannot be made stops, and the others go on.
func (p *logPump) begun(ctx context.Context, r *relation) error {
	err := p.source.with(ctx, func(c *postgres.Conn) error { return p.shape(ctx, c, r, r.known) })
	if broken, ok := errors.AsType[*fault.Error](err); ok && broken.Class == fault.Fatal {
		r.live = false
		return p.source.breakLog(ctx, r.stream, err)
	}
	return err
}

// leftOut notes that a table must be read anew if it is ever read again, where it was followed until its pattern was taken out of the
// configuration.
func (s *Source) leftOut(ctx context.Context, stream string) error {
	t := &table{stream: stream}
	if known, err := s.load(ctx, t); err != nil || !known || t.note.Log == nil || t.note.Anew != "" {
		return err
	}
	t.note.Anew = "its changes were left out of the log while it was not read"
	text, err := json.Marshal(t.note)
	if err != nil {
		return fmt.Errorf("keep table %s: %w", stream, err)
	}
	return s.state.Save(ctx, noteKey(stream), text)
}

// shape makes the layout of the columns that the server sends, on top of those that the stream has had.
func (p *logPump) shape(ctx context.Context, c *postgres.Conn, r *relation, known table) error {
	m := r.message
	sent := *known.Table
	sent.Columns, r.sentKey, r.key, r.unsent, r.stamp = nil, nil, nil, 0, -1
	for i, col := range m.Columns {
		if col.Name == postgres.StampColumn && col.DataType == xid8OID {
			r.stamp = i
			continue
		}
		sent.Columns = append(sent.Columns, postgres.Column{Name: col.Name, TypeOID: col.DataType, Modifier: col.TypeModifier})
	}
	for _, k := range known.Key {
		i := slices.IndexFunc(m.Columns, func(col *pglogrepl.RelationMessageColumn) bool { return col.Name == k })
		if i < 0 || m.Columns[i].Flags&1 == 0 {
			return errUnfit(&known, "its replica identity does not tell the key column "+k, "alter table "+known.Quoted()+" replica identity default, or full")
		}
		r.sentKey = append(r.sentKey, i)
		if r.stamp >= 0 && i > r.stamp {
			i--
		}
		r.key = append(r.key, i)
	}
	if err := postgres.ResolveColumns(ctx, c, sent.Columns); err != nil {
		return err
	}
	for _, col := range known.Columns {
		if col.Generated && sent.Column(col.Name) == nil {
			r.unsent++
			sent.Columns = append(sent.Columns, col)
		}
	}
	r.table = &sent
	known.Table = &sent
	layout, err := p.source.layout(&known)
	if err != nil {
		return err
	}
	r.casts = layout.KeyCasts()
	r.decoder = layout.Decoder()
	r.kept = 0
	return nil
}

// row takes the change that was parsed, size bytes of the stream.
func (p *logPump) row(ctx context.Context, size int) error {
	c := &p.change
	r, err := p.find(ctx, c.relation)
	if err != nil || r == nil {
		return err
	}
	if n := len(r.message.Columns); c.kind != 'D' && len(c.new) != n || c.identity != 0 && len(c.old) != n {
		return streamError(errMessage, p.wal.slot)
	}
	if p.at.Seen > 1<<31 {
		return fault.Stop(fmt.Errorf("postgres: the transaction that commits at %s has more than 2,147,483,648 changes", p.commit))
	}
	if !r.touched {
		r.touched = true
		p.touched = append(p.touched, r)
	}
	p.bytes += size
	index := uint32(2 * (p.at.Seen - 1))
	switch {
	case c.kind == 'I':
		return p.add(ctx, r, record.Insert, index, c.new)
	case c.kind == 'D':
		return p.add(ctx, r, record.Delete, index, c.old)
	case c.identity == 0:
		return p.add(ctx, r, record.Update, index, c.new)
	}
	moved := false
	for _, k := range r.sentKey {
		if c.new[k].Kind == 'u' {
			c.new[k] = c.old[k]
		}
		moved = moved || !same(c.old[k], c.new[k])
	}
	if c.identity == 'O' { // the whole row as it was: what the update has not touched is there, unless a partition tells less than its root would
		for i := range c.new {
			if c.new[i].Kind == 'u' && c.old[i].Kind == 't' {
				c.new[i] = c.old[i]
			}
		}
	}
	if !moved {
		return p.add(ctx, r, record.Update, index, c.new)
	}
	if err := p.add(ctx, r, record.Delete, index, c.old); err != nil {
		return err
	}
	return p.add(ctx, r, record.Insert, index+1, c.new)
}

// add gathers a row. One of which values were not sent, and all that come behind it, are held until these are read.
func (p *logPump) add(ctx context.Context, r *relation, op record.Op, index uint32, values []postgres.Value) error {
	row := logRow{op: op, index: index, commit: p.commit, when: p.when}
	p.rows++
	if r.unsent > 0 || r.stamp >= 0 {
		r.values = append(r.values[:0], values...)
		if r.stamp >= 0 {
			r.values = slices.Delete(r.values, r.stamp, r.stamp+1)
		}
		kind := byte('u')
		if op == record.Delete {
			kind = 'n'
		}
		for range r.unsent {
			r.values = append(r.values, postgres.Value{Kind: kind})
		}
		values = r.values
	}
	lacks := op != record.Delete && unsent(values)
	if len(r.held) > 0 || lacks {
		r.held = append(r.held, p.hold(row, values))
	}
	if lacks {
		r.wanting++
	}
	switch {
	case r.wanting >= r.lookUp:
		return p.fill(ctx, r)
	case len(r.held) > 0:
		return nil
	}
	return p.decode(r, row, values)
}

// decode puts a row into the columns, or among what is refused.
func (p *logPump) decode(r *relation, row logRow, values []postgres.Value) error {
	err := r.decoder.Text(values)
	switch {
	case err == nil:
		r.rows = append(r.rows, row)
	case fault.Of(err) == fault.Poison:
		p.refused = append(p.refused, r.refuse(row, err))
	default:
		return err
	}
	return nil
}

// refuse keeps what can be no record: its values are there as the server printed them.
func (r *relation) refuse(row logRow, err error) record.Refused {
	out := record.Refused{
		Stream: r.stream, Err: err, EventTime: row.when, EventID: string(appendEvent(nil, row)), Source: r.source,
		Version: record.Version{Epoch: r.epoch, Lo: uint64(row.commit), Index: row.index},
	}
	if refused, ok := errors.AsType[*gather.RowError](err); ok {
		out.Column, out.Raw = refused.Column, refused.Raw
	}
	return out
}

// flush makes batches of the rows of a table.
func (p *logPump) flush(ctx context.Context, r *relation) error {
	if r.decoder == nil {
		return nil
	}
	if len(r.held) > 0 {
		if err := p.fill(ctx, r); err != nil {
			return err
		}
	}
	batches, err := r.decoder.Batches(r.system)
	if err != nil {
		return err
	}
	p.source.tally(r.stream, r.decoder.Unfit())
	for _, b := range batches {
		if b.Schema.ID() == r.kept {
			continue
		}
		if err := p.source.met(ctx, r.stream, r.epoch, b.Schema); err != nil { // before anything that has it is durable
			return err
		}
		r.kept = b.Schema.ID()
	}
	p.batches = append(p.batches, batches...)
	return nil
}

// system fills what is known of the next rows beside their columns.
func (r *relation) system(n int, sys *record.System) {
	rows := r.rows[:n]
	r.rows = r.rows[n:]
	if len(r.rows) == 0 {
		r.rows = nil
	}
	sys.Source, sys.IngestTime = r.source, time.Now().UnixMicro()
	sys.Versions.Epoch = r.epoch
	sys.Ops, sys.EventTimes = make([]record.Op, n), make([]int64, n)
	sys.Versions.Lo, sys.Versions.Index = make([]uint64, n), make([]uint32, n)
	sys.EventIDs.Offsets = append(make([]uint32, 0, n+1), 0)
	ids := make([]byte, 0, 24*n)
	for i, row := range rows {
		sys.Ops[i], sys.EventTimes[i] = row.op, row.when
		sys.Versions.Lo[i], sys.Versions.Index[i] = uint64(row.commit), row.index
		ids = appendEvent(ids, row)
		sys.EventIDs.Offsets = append(sys.EventIDs.Offsets, uint32(len(ids))) //nolint:gosec // a batch is far below 4 GiB
	}
	sys.EventIDs.Bytes = ids
}

// appendEvent appends the id of an event: the position of its commit, as the server writes it, and its place in the transaction.
func appendEvent(dst []byte, row logRow) []byte {
	at := len(dst)
	dst = strconv.AppendUint(dst, uint64(row.commit>>32), 16)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, uint64(uint32(row.commit)), 16) //nolint:gosec // the other half
	for i, b := range dst[at:] {
		if b >= 'a' {
			dst[at+i] = b - 'a' + 'A'
		}
	}
	dst = append(dst, '/')
	return strconv.AppendUint(dst, uint64(row.index), 10)
}

// truncate gives the record that says that all of a table is gone.
func (p *logPump) truncate(ctx context.Context, ids []uint32) error {
	for _, id := range ids {
		r, err := p.find(ctx, id)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if err := p.flush(ctx, r); err != nil {
			return err
		}
		b := record.NewBuilder(r.decoder.Schema(), 1)
		b.Next()
		r.rows = []logRow{{op: record.Truncate, index: uint32(2 * (p.at.Seen - 1)), commit: p.commit, when: p.when}} //nolint:gosec // as in row
		r.system(1, b.System())
		if p.rows == 0 {
			p.first = time.Now()
		}
		p.batches = append(p.batches, b.Batch(nil))
		p.source.toldTruncate(r.stream, p.xid)
		p.rows++
	}
	return nil
}
