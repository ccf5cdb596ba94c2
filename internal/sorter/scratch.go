package sorter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/acequia-io/acequia/fault"
)

// run is a part of the scratch file: blocks of ascending partitions.
type run struct{ offset, size int64 }

// header stands before a block.
type header struct {
	part  int
	rows  int
	size  int // bytes of the block
	epoch uint32
}

const headerBytes = 4 + 4 + 4 + 8

// maxRuns are read at a time, if the memory allows; more are merged first. Each is read in pieces of readBytes or more.
const (
	maxRuns   = 512
	readBytes = 32 << 10
)

// scratch is the file of runs.
type scratch struct {
	dir  string
	disk int64 // limit, 0 for none
	file *os.File
	w    *bufio.Writer
	size int64
	runs []run
}

var errDisk = errors.New("the rows to be sorted need more space than the scratch file may take")

// open makes the file and takes its name away, so that it is gone with the process.
func (s *scratch) open(limit int) error {
	if s.file != nil {
		return nil
	}
	f, err := os.CreateTemp(s.dir, ".acequia-sort-*")
	if err != nil {
		return s.failed("make scratch file", err)
	}
	s.file, s.w = f, bufio.NewWriterSize(f, bufferSize(limit))
	if err := os.Remove(f.Name()); err != nil {
		return s.failed("unlink scratch file", err)
	}
	return nil
}

// bufferSize is that of the write buffer.
func bufferSize(limit int) int { return min(1<<20, limit/16) }

func (s *scratch) held() int {
	if s.w == nil {
		return 0
	}
	return s.w.Size()
}

// failed says that the disk did not do what it should; the rows can be read from their source again.
func (s *scratch) failed(what string, err error) error {
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-LAKE-021", Place: s.dir, Err: fmt.Errorf("%s: %w", what, err),
		Remedy: "see that the directory can be written and its disk is not full; the pipeline tries again from its checkpoint",
	}
}

// begin starts a run.
func (s *scratch) begin() { s.runs = append(s.runs, run{offset: s.size}) }

// put appends a block to the run that was begun last.
func (s *scratch) put(h header, block []byte) error {
	if s.disk > 0 && s.size+headerBytes+int64(len(block)) > s.disk {
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-LAKE-020", Place: s.dir, Err: fmt.Errorf("%w: %d bytes", errDisk, s.disk),
			Remedy: "raise the disk limit of the sorter, give the pipeline more memory, or let it commit smaller groups",
		}
	}
	var b [headerBytes]byte
	binary.LittleEndian.PutUint32(b[0:], uint32(h.part)) //nolint:gosec // at most maxPart
	binary.LittleEndian.PutUint32(b[4:], uint32(h.rows)) //nolint:gosec // a block is small
	binary.LittleEndian.PutUint32(b[8:], h.epoch)
	binary.LittleEndian.PutUint64(b[12:], uint64(h.size)) //nolint:gosec // positive
	_, err := s.w.Write(b[:])
	if err == nil {
		_, err = s.w.Write(block)
	}
	if err != nil {
		return s.failed("write scratch file", err)
	}
	s.size += headerBytes + int64(len(block))
	s.runs[len(s.runs)-1].size = s.size - s.runs[len(s.runs)-1].offset
	return nil
}

// end ends a run.
func (s *scratch) end() error {
	if err := s.w.Flush(); err != nil {
		return s.failed("write scratch file", err)
	}
	return nil
}

// reset gives the space back and keeps the file.
func (s *scratch) reset() error {
	s.runs, s.size = s.runs[:0], 0
	if s.file == nil {
		return nil
	}
	s.w.Reset(s.file)
	if err := s.file.Truncate(0); err != nil {
		return s.failed("empty scratch file", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return s.failed("empty scratch file", err)
	}
	return nil
}

func (s *scratch) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file, s.w, s.runs, s.size = nil, nil, nil, 0
	if err := f.Close(); err != nil {
		return s.failed("close scratch file", err)
	}
	return nil
}

// merge joins runs until one reading can take them all. Blocks are copied as they are, behind the runs in the file.
func (s *scratch) merge(limit int) error {
	most := min(maxRuns, max(4, limit/4/readBytes))
	for len(s.runs) > most {
		old := s.runs
		s.runs = nil
		for len(old) > 0 {
			k := min(most, len(old))
			if k == 1 {
				s.runs = append(s.runs, old[0])
				break
			}
			if err := s.join(old[:k], limit); err != nil {
				return err
			}
			old = old[k:]
		}
	}
	return nil
}

func (s *scratch) join(runs []run, limit int) error {
	m, err := s.readRuns(runs, limit)
	if err != nil {
		return err
	}
	s.begin()
	var block []byte
	for {
		h, ok := m.next()
		if !ok {
			return s.end()
		}
		if block, err = m.take(block); err != nil {
			return err
		}
		if err := s.put(h, block); err != nil {
			return err
		}
	}
}

// read gives the blocks of all runs.
func (s *scratch) read(limit int) (*merger, error) { return s.readRuns(s.runs, limit) }

func (s *scratch) readRuns(runs []run, limit int) (*merger, error) {
	m := &merger{s: s}
	size := min(max(limit/4/len(runs), 4<<10), 1<<20)
	for _, r := range runs {
		in := &input{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.offset, r.size), size)}
		if err := m.advance(in); err != nil {
			return nil, err
		}
		m.in = append(m.in, in)
		m.buffers += size
	}
	return m, nil
}

// merger gives the blocks of several runs, partitions ascending, and those of one partition in the order of the runs.
type merger struct {
	s       *scratch
	in      []*input
	at      *input // of the block that next gave
	buffers int
}

// input is a run that is being read.
type input struct {
	r    *bufio.Reader
	head header
	done bool
}

// advance reads the header of the next block.
func (m *merger) advance(in *input) error {
	var b [headerBytes]byte
	switch _, err := io.ReadFull(in.r, b[:]); {
	case errors.Is(err, io.EOF):
		in.done = true
		return nil
	case err != nil:
		return m.s.failed("read scratch file", err)
	}
	in.head = header{
		part: int(binary.LittleEndian.Uint32(b[0:])), rows: int(binary.LittleEndian.Uint32(b[4:])),
		epoch: binary.LittleEndian.Uint32(b[8:]), size: int(binary.LittleEndian.Uint64(b[12:])), //nolint:gosec // as written
	}
	return nil
}

// next gives the header of the next block; ok is false at the end.
func (m *merger) next() (h header, ok bool) {
	m.at = nil
	for _, in := range m.in {
		if !in.done && (m.at == nil || in.head.part < m.at.head.part) {
			m.at = in
		}
	}
	if m.at == nil {
		return header{}, false
	}
	return m.at.head, true
}

// take gives the block of the header that next gave, in buf when it has room.
func (m *merger) take(buf []byte) ([]byte, error) {
	n := m.at.head.size
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(m.at.r, buf); err != nil {
		return nil, m.s.failed("read scratch file", err)
	}
	return buf, m.advance(m.at)
}
