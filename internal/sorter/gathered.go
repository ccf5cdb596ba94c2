package sorter

import (
	"fmt"
	"math"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

// gathered puts blocks of one partition together.
type gathered struct {
	*block.Decoder
	columns []record.Column
	part    int
	epoch   uint32
	size    int // encoded bytes of the rows
}

// give hands the rows on, and forgets them.
func (d *gathered) give(fn func(part int, columns []record.Column, lo, hi int) error) error {
	n := d.Rows()
	if n == 0 {
		return nil
	}
	d.Forget()
	d.size = 0
	if err := fn(d.part, d.columns, 0, n); err != nil {
		return err
	}
	for i := range d.columns {
		empty(&d.columns[i])
	}
	return nil
}

// add appends the rows of a block, of the same partition and epoch as those it has.
func (d *gathered) add(p []byte, h header) error {
	if err := d.Add(p, h.rows, math.MaxInt32); err != nil {
		return fmt.Errorf("the scratch file: %w", err)
	}
	d.part, d.epoch = h.part, h.epoch
	d.size += len(p)
	return nil
}
