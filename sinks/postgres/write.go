package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// MaxKey is the length of a key, in bytes: an entry of an index has at most 2,704.
const MaxKey = 2600

// The codes of records that cannot be in the warehouse.
const (
	codeMisfit  = "ACQ-WH-020" // a value that PostgreSQL does not have
	codeLongKey = "ACQ-WH-021" // a key longer than MaxKey
	codeUnsent  = "ACQ-WH-022" // an update that lacks columns, of a row that is not there
	codeNoKey   = "ACQ-WH-023" // a change of a record that has no key
	codeHuge    = "ACQ-WH-024" // a row longer than postgres.MaxRow
)

// writer takes the records of one incarnation of a lane, as the bytes that COPY takes.
type writer struct {
	sink  *Sink
	lane  sinks.Lane
	parts []*part // of the open group, in the order of their first record

	mu      sync.Mutex
	waiting []*staging // groups that were cut and are not visible yet
}

// part is the records of one table and schema in a group. Those that lack columns are parts of their own: they only change rows.
type part struct {
	table   *table
	absent  bool
	blocks  [][]byte
	rows    int
	ordered bool   // the keys ascend, so each is there once
	last    []byte // the last key
}

const (
	firstBlock = 16 << 10
	blockBytes = 1 << 20
)

// room gives the block that the next row goes to.
func (p *part) room() []byte {
	if n := len(p.blocks); n > 0 && len(p.blocks[n-1]) < blockBytes-blockBytes/16 {
		return p.blocks[n-1]
	}
	size := blockBytes
	if len(p.blocks) == 0 {
		size = firstBlock
	}
	p.blocks = append(p.blocks, make([]byte, 0, size))
	return p.blocks[len(p.blocks)-1]
}

// Write takes the rows. One that the server could not hold is refused.
func (w *writer) Write(ctx context.Context, b *record.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	if err := refuses(b); err != nil {
		return err
	}
	t, err := w.sink.table(ctx, b.Schema)
	if err != nil {
		return err
	}
	lacking := lacks(b)
	if lacking != nil {
		if err := w.keep(ctx, t, b, lacking); err != nil {
			return err
		}
	}
	whole, parted := w.part(t, false), (*part)(nil)
	if lacking != nil {
		parted = w.part(t, true)
	}
	for row := range b.Rows {
		if lacking != nil && lacking[row] {
			parted.add(b, row)
			continue
		}
		whole.add(b, row)
	}
	return nil
}

// part gives the part of the open group that records go to.
func (w *writer) part(t *table, absent bool) *part {
	for _, p := range w.parts {
		if p.table == t && p.absent == absent {
			return p
		}
	}
	p := &part{table: t, absent: absent, ordered: true}
	w.parts = append(w.parts, p)
	return p
}

// lacks says which rows lack columns that they should have; nil: none.
func lacks(b *record.Batch) []bool {
	var out []bool
	for i := range b.Columns {
		if b.Columns[i].Absent == nil {
			continue
		}
		for row := range b.Rows {
			if op := b.System.Op(row); b.Columns[i].IsAbsent(row) && op != record.Delete && op != record.Truncate {
				if out == nil {
					out = make([]bool, b.Rows)
				}
				out[row] = true
			}
		}
	}
	return out
}

// add appends a row: operation, version, key, the other columns, then the event. A delete has its key alone, a truncate nothing.
func (p *part) add(b *record.Batch, row int) {
	dst := p.room()
	t, sys := p.table, &b.System
	values := len(t.staged)
	if p.absent {
		values++
	}
	op := sys.Op(row)
	dst = append(postgres.AppendCopyRow(dst, values), 0, 0, 0, 1, byte(op), 0, 0, 0, record.VersionLen)
	dst = sys.Versions.At(row).AppendText(dst, 0)
	begin, keys := len(dst), len(b.Schema.Key)
	for n, i := range t.order {
		if op == record.Truncate || op == record.Delete && n >= keys {
			dst = postgres.AppendCopyNull(dst)
		} else {
			dst = postgres.AppendCopy(dst, &b.Schema.Fields[i], &b.Columns[i], row)
		}
		if n == keys-1 {
			key := dst[begin:]
			if p.ordered = p.ordered && op != record.Truncate && (p.rows == 0 || bytes.Compare(p.last, key) < 0); p.ordered {
				p.last = append(p.last[:0], key...)
			}
		}
	}
	if ids := &sys.EventIDs; len(ids.Offsets) > 0 && ids.IsValid(row) {
		dst = postgres.AppendCopyText(dst, ids.Text(row))
	} else {
		dst = postgres.AppendCopyNull(dst)
	}
	dst = postgres.AppendCopyTime(dst, sys.EventTime(row))
	dst = postgres.AppendCopyTime(dst, sys.IngestTime)
	if p.absent {
		dst = postgres.AppendCopyTexts(dst, absentNames(b, row))
	}
	p.blocks[len(p.blocks)-1] = dst
	p.rows++
}

func absentNames(b *record.Batch, row int) (names []string) {
	for i := range b.Columns {
		if b.Columns[i].IsAbsent(row) {
			names = append(names, b.Schema.Fields[i].Name)
		}
	}
	return names
}

// refuses names the rows that PostgreSQL could not hold without loss.
func refuses(b *record.Batch) error {
	err := parquet.Check(b.Schema.Fields, b.Columns, b.Rows)
	bad, ok := errors.AsType[*fault.Rows](err)
	if err != nil && !ok {
		return err
	}
	var all []fault.Row
	if ok {
		all = bad.Bad
	}
	all = append(all, misfits(b)...)
	all = append(all, badKeys(b)...)
	all = append(all, hugeRows(b)...)
	slices.SortStableFunc(all, func(a, b fault.Row) int { return a.Index - b.Index })
	return (&fault.Rows{Bad: slices.CompactFunc(all, func(a, b fault.Row) bool { return a.Index == b.Index })}).Or()
}

// misfits are values that internal/parquet holds and PostgreSQL does not.
func misfits(b *record.Batch) (bad []fault.Row) {
	refuse := func(row int, column string, err error) {
		bad = append(bad, fault.Row{Index: row, Column: column, Err: &fault.Error{
			Class: fault.Poison, Code: codeMisfit, Err: err, Remedy: "mend the value, or leave the column out before this sink",
		}})
	}
	for i := range b.Columns {
		f, c := &b.Schema.Fields[i], &b.Columns[i]
		if postgres.Fits(f, c, b.Rows) {
			continue
		}
		for row := range b.Rows {
			if op := b.System.Op(row); op == record.Truncate || op == record.Delete && !slices.Contains(b.Schema.Key, i) {
				continue
			}
			if err := postgres.Misfit(f, c, row); err != nil {
				refuse(row, f.Name, err)
			}
		}
	}
	text := record.Field{Kind: record.String}
	if ids := &b.System.EventIDs; len(ids.Offsets) > 0 {
		for row := range b.Rows {
			if err := postgres.Misfit(&text, ids, row); err != nil {
				refuse(row, "_event_id", err)
			}
		}
	}
	return bad
}

// badKeys are keys that no index holds, and changes of records that have none.
func badKeys(b *record.Batch) (bad []fault.Row) {
	refuse := func(row int, code string, err error, remedy string) {
		bad = append(bad, fault.Row{Index: row, Err: &fault.Error{Class: fault.Poison, Code: code, Err: err, Remedy: remedy}})
	}
	if len(b.Schema.Key) == 0 {
		lacking := lacks(b)
		for row := range b.Rows {
			switch op := b.System.Op(row); {
			case op == record.Update || op == record.Delete:
				refuse(row, codeNoKey, errors.New("a change of a record that has no key cannot be applied"), "declare the key of the stream")
			case lacking != nil && lacking[row]:
				refuse(row, codeUnsent, errUnsent, remedyUnsent)
			}
		}
		return bad
	}
	for row := range b.Rows {
		if b.System.Op(row) == record.Truncate {
			continue
		}
		size := 0
		for _, k := range b.Schema.Key {
			f, c := &b.Schema.Fields[k], &b.Columns[k]
			if size += 24; f.Kind == record.String || f.Kind == record.Bytes {
				size += len(c.Text(row))
			}
			if !c.IsValid(row) {
				refuse(row, codeLongKey, fmt.Errorf("the key column %s is null", f.Name), "give every record its key")
			}
		}
		if size > MaxKey {
			refuse(row, codeLongKey, fmt.Errorf("the key has %d bytes, the limit is %d", size, MaxKey), "leave the record out, or give the stream a shorter key")
		}
	}
	return bad
}

// hugeRows are longer than a tuple may be.
func hugeRows(b *record.Batch) (bad []fault.Row) {
	total := 0
	for i := range b.Columns {
		if total += b.Columns[i].Size(); b.Columns[i].Const {
			total += (b.Rows - 1) * b.Columns[i].Size()
		}
	}
	if total < postgres.MaxRow/8 { // a document of JSON has a few times the bytes of its values
		return nil
	}
	var dst []byte
	for row := range b.Rows {
		dst = dst[:0]
		for i := range b.Columns {
			dst = postgres.AppendCopy(dst, &b.Schema.Fields[i], &b.Columns[i], row)
		}
		if len(dst) > postgres.MaxRow {
			bad = append(bad, fault.Row{Index: row, Err: &fault.Error{
				Class: fault.Poison, Code: codeHuge, Err: fmt.Errorf("the row has %d MiB, the limit is %d", len(dst)>>20, postgres.MaxRow>>20),
				Remedy: "leave out its largest column before this sink",
			}})
		}
	}
	return bad
}

// Held is the memory of the open group.
func (w *writer) Held() int {
	held := 0
	for _, p := range w.parts {
		for _, block := range p.blocks {
			held += cap(block)
		}
	}
	return held
}

// Cut hands the records of the group over.
func (w *writer) Cut(g sinks.Group) sinks.Staging {
	s := &staging{writer: w, group: g, parts: w.parts, visible: make(chan struct{})}
	w.parts = nil
	if len(s.parts) > 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting = append(w.waiting, s)
	}
	return s
}

// Close forgets the open group.
func (w *writer) Close(context.Context) error {
	w.parts = nil
	return nil
}
