// Package sorter regroups rows by partition under a memory limit. It keeps the batches that it is given; when they
// reach the limit it writes them, ordered by partition, as one run of a scratch file. In the end all runs are read
// once, in order, and the rows come out one partition at a time. What never reaches the limit never touches the disk.
package sorter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

// maxPart is the greatest partition: the order is found by counting.
const maxPart = 1<<24 - 1

var errColumns = errors.New("the columns do not fit the fields")

// batch is what one Add gave.
type batch struct {
	columns []record.Column
	rows    int
	part    []int32
	release func()
}

// Sorter holds the rows of one commit group. It is used by one goroutine.
type Sorter struct {
	fields []record.Field
	limit  int

	held    []batch
	bytes   int      // of the held batches
	rows    int      // of the held batches
	epochs  []uint16 // of the versions of the last batch: a sorted column has one
	epoch   uint32   // counts their changes
	parts   int      // greatest partition of the held rows, and one more
	spread  []int    // by field: bytes of the sorted column
	uniform []bool   // by field: every held batch has the same constant
	sorted  []record.Column
	order   []uint64 // batch and row of each sorted row
	starts  []int    // by partition: its first sorted row

	scratch scratch
	gather  gatherer
	buf     []byte
	buffers int // bytes of the read buffers of Each
	err     error
}

// New makes a sorter that holds at most limit bytes in memory, one batch more if a batch is larger, and at most disk
// bytes in one scratch file in dir. The file is made when it is first needed and has no name. disk 0 is no limit.
func New(dir string, fields []record.Field, limit int, disk int64) *Sorter {
	return &Sorter{
		fields: fields, limit: max(limit, 64<<10),
		spread: make([]int, len(fields)), uniform: make([]bool, len(fields)), sorted: make([]record.Column, len(fields)),
		scratch: scratch{dir: dir, disk: disk},
	}
}

// Add takes rows of the columns; part[i] is the partition of row i, from 0 to 16,777,215. The sorter keeps columns
// and part until it calls release, which may be nil, exactly once: inside Add, Each, Reset or Close, also when it gives an
// error. After an error the rows given so far are of no use: Reset or Close.
func (s *Sorter) Add(columns []record.Column, rows int, part []int32, release func()) error {
	b := batch{columns: columns, rows: rows, part: part, release: release}
	if s.err == nil {
		s.err = s.check(b)
	}
	if s.err != nil || rows == 0 {
		b.free()
		return s.err
	}
	epochs := appendEpochs(nil, s.fields, func(i int) *record.Column { return &columns[i] })
	other := !slices.Equal(epochs, s.epochs)
	if len(s.held) > 0 && (other || s.need(b) > s.limit) {
		if s.err = s.spill(); s.err != nil {
			b.free()
			return s.err
		}
	}
	if other {
		s.epochs = epochs
		s.epoch++
	}
	s.keep(b)
	if s.need(batch{}) > s.limit {
		s.err = s.spill()
	}
	return s.err
}

func (b *batch) free() {
	if b.release != nil {
		b.release()
	}
	*b = batch{}
}

func (s *Sorter) check(b batch) error {
	if len(b.columns) != len(s.fields) || len(b.part) < b.rows {
		return fmt.Errorf("sort rows: %w", errColumns)
	}
	for _, p := range b.part[:b.rows] {
		if p < 0 || p > maxPart {
			return fmt.Errorf("sort rows: partition %d is not between 0 and %d", p, maxPart)
		}
	}
	return nil
}

// keep holds a batch.
func (s *Sorter) keep(b batch) {
	for i, f := range s.fields {
		c := &b.columns[i]
		s.bytes += c.Size()
		s.spread[i] += spread(f, c, b.rows)
		if len(s.held) == 0 {
			s.uniform[i] = constant(f, c)
		} else {
			s.uniform[i] = s.uniform[i] && constant(f, c) && block.Same(f, &s.held[0].columns[i], c, 0, 0)
		}
	}
	s.bytes += 4*cap(b.part) + len(b.columns)*columnBytes
	s.rows += b.rows
	for _, p := range b.part[:b.rows] {
		s.parts = max(s.parts, int(p)+1)
	}
	s.held = append(s.held, b)
}

// need is the memory that it takes to sort what is held and b.
func (s *Sorter) need(b batch) int {
	n, sorted, have := s.bytes+rowBytes*(s.rows+b.rows)+bufferSize(s.limit)+cap(s.buf), 0, 0
	for i, f := range s.fields {
		uniform := s.uniform[i]
		if b.rows > 0 {
			c := &b.columns[i]
			n += c.Size()
			if uniform = uniform && constant(f, c); !uniform {
				sorted += spread(f, c, b.rows)
			}
		}
		if !uniform {
			sorted += s.spread[i]
		}
		have += s.sorted[i].Size()
	}
	return n + max(sorted, have)
}

const (
	columnBytes = 280 // of a record.Column itself
	rowBytes    = 8   // of order
	blockBytes  = 256 << 10
)

// Held is the memory that the sorter holds, in bytes, with that of the batches it was given.
func (s *Sorter) Held() int {
	n := s.bytes + 8*(cap(s.order)+cap(s.starts)) + cap(s.buf) + s.buffers + s.scratch.held() + s.gather.held()
	for i := range s.sorted {
		n += s.sorted[i].Size()
	}
	return n
}

// Spilled is the size of the scratch file, in bytes.
func (s *Sorter) Spilled() int64 { return s.scratch.size }

// release lets the held batches go.
func (s *Sorter) release() {
	for i := range s.held {
		s.held[i].free()
	}
	s.held, s.bytes, s.rows, s.parts = s.held[:0], 0, 0, 0
	clear(s.spread)
}

// sort puts the held rows into s.sorted: a stable counting sort gives the order, then one column after the other is
// gathered. A column of all held rows fits the processor's cache where the rows do not: 0.3 us a row against 0.8 row by
// row.
func (s *Sorter) sort() {
	s.starts = append(s.starts[:0], make([]int, s.parts+1)...)
	for _, b := range s.held {
		for _, p := range b.part[:b.rows] {
			s.starts[p+1]++
		}
	}
	for i := range s.parts {
		s.starts[i+1] += s.starts[i]
	}
	if cap(s.order) < s.rows {
		s.order = make([]uint64, s.rows)
	}
	s.order = s.order[:s.rows]
	at := append([]int(nil), s.starts...)
	for k, b := range s.held {
		for r, p := range b.part[:b.rows] {
			s.order[at[p]] = uint64(k)<<32 | uint64(r)
			at[p]++
		}
	}
	src := make([]*record.Column, len(s.held))
	for i, f := range s.fields {
		for k := range s.held {
			src[k] = &s.held[k].columns[i]
		}
		d := &s.sorted[i]
		empty(d)
		if s.uniform[i] {
			s.gather.column(f, d, src, []uint64{0})
			d.Const = true
		} else {
			s.gather.column(f, d, src, s.order)
		}
	}
}

// spill writes the held rows as a run and releases the batches.
func (s *Sorter) spill() error {
	if err := s.scratch.open(s.limit); err != nil {
		return err
	}
	s.sort()
	size := 0
	for i := range s.sorted {
		size += s.sorted[i].Size()
	}
	step := max(1, min(8192, blockBytes*s.rows/max(1, size)))
	s.scratch.begin()
	for p := range s.parts {
		for lo, end := s.starts[p], s.starts[p+1]; lo < end; lo += step {
			hi := min(end, lo+step)
			s.buf = block.Append(s.buf[:0], s.fields, s.sorted, lo, hi)
			if err := s.scratch.put(header{part: p, rows: hi - lo, size: len(s.buf), epoch: s.epoch}, s.buf); err != nil {
				return err
			}
		}
	}
	s.release()
	return s.scratch.end()
}

// Each gives the rows of every partition, partitions ascending, rows in the order they came: rows [lo,hi) of columns,
// valid until fn returns. A large partition comes in several calls, one after the other. In the end the sorter is empty.
func (s *Sorter) Each(fn func(part int, columns []record.Column, lo, hi int) error) error {
	if s.err != nil {
		return s.err
	}
	if s.err = s.each(fn); s.err != nil {
		return s.err
	}
	s.Reset()
	return s.err
}

func (s *Sorter) each(fn func(part int, columns []record.Column, lo, hi int) error) error {
	if len(s.scratch.runs) == 0 && len(s.held) == 0 {
		return nil
	}
	if len(s.scratch.runs) == 0 { // it all fits
		parts := s.parts
		s.sort()
		s.release()
		for p := range parts {
			if lo, hi := s.starts[p], s.starts[p+1]; lo < hi {
				if err := fn(p, s.sorted, lo, hi); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(s.held) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.sorted, s.order, s.gather = make([]record.Column, len(s.fields)), nil, gatherer{} // room for the encoder
	if err := s.scratch.merge(s.limit); err != nil {
		return err
	}
	return s.read(fn)
}

// read gives the rows of all runs.
func (s *Sorter) read(fn func(part int, columns []record.Column, lo, hi int) error) error {
	m, err := s.scratch.read(s.limit)
	if err != nil {
		return err
	}
	s.buffers = m.buffers
	d := gathered{Decoder: block.NewDecoder(s.fields, s.sorted), columns: s.sorted}
	for {
		h, ok := m.next()
		if !ok {
			break
		}
		if d.Rows() > 0 && (h.part != d.part || h.epoch != d.epoch || d.size >= s.limit/8) {
			if err := d.give(fn); err != nil {
				return err
			}
		}
		if s.buf, err = m.take(s.buf); err != nil {
			return err
		}
		if err := d.add(s.buf, h); err != nil {
			return s.scratch.failed("read scratch file", err)
		}
	}
	return d.give(fn)
}

// Reset forgets all rows; memory and the empty scratch file are kept.
func (s *Sorter) Reset() {
	s.release()
	s.buffers = 0
	s.err = s.scratch.reset()
}

// Close releases what is held and gives the scratch file back to the disk.
func (s *Sorter) Close() error {
	s.release()
	return s.scratch.close()
}
