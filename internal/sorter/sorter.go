// Package sorter regroups rows by partition under a memory limit.
package sorter

import (
	"errors"

	"github.com/acequia-io/acequia/record"
)

var errUnfinished = errors.New("not written yet")

// Sorter holds the rows of one commit group. It is used by one goroutine.
type Sorter struct{}

// New makes a sorter that holds at most limit bytes in memory and disk bytes in one scratch file in dir, which is
// made when it is first needed. disk 0 means no limit.
func New(dir string, fields []record.Field, limit int, disk int64) *Sorter { return &Sorter{} }

// Add takes rows of the columns; part[i], a small number, is the partition of row i. The sorter keeps columns and part until it calls
// release, which may be nil: inside Add, Each, Reset or Close.
func (s *Sorter) Add(columns []record.Column, rows int, part []int32, release func()) error {
	return errUnfinished
}

// Each gives the rows of every partition, partitions ascending, rows in the order they came: rows [lo,hi) of columns,
// once a partition. The columns are valid until fn returns. Afterwards the sorter is empty.
func (s *Sorter) Each(fn func(part int, columns []record.Column, lo, hi int) error) error {
	return errUnfinished
}

// Held is the memory that the sorter holds, in bytes, with the batches it was given.
func (s *Sorter) Held() int { return 0 }

// Reset forgets all rows and keeps memory and scratch file.
func (s *Sorter) Reset() {}

// Close releases what is held and gives the scratch file back to the disk.
func (s *Sorter) Close() error { return nil }
