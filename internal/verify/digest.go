package verify

import "github.com/acequia-io/acequia/record"

// Digest sums up rows, whatever their order: count, xor and sum of their hashes. Equal rows give equal digests in every process, also
// when a schema has columns more that are null. Backups keep it, so what it is made of must not change. It is for one goroutine.
type Digest struct {
	sum    sum
	schema *record.Schema
	seeds  []uint64
	hashes []uint64
}

// Add adds the rows of a batch.
func (d *Digest) Add(b *record.Batch) {
	if d.schema != b.Schema {
		d.schema, d.seeds = b.Schema, d.seeds[:0]
		for _, f := range b.Schema.Fields {
			d.seeds = append(d.seeds, seedOf(f.Name, f.Kind))
		}
	}
	if cap(d.hashes) < b.Rows {
		d.hashes = make([]uint64, b.Rows)
	}
	d.hashes = d.hashes[:b.Rows]
	clear(d.hashes)
	for i := range b.Columns {
		addColumn(d.hashes, &b.Schema.Fields[i], &b.Columns[i], d.seeds[i])
	}
	finish(d.hashes)
	for _, h := range d.hashes {
		d.sum.add(h)
	}
}

// Merge adds the rows of another.
func (d *Digest) Merge(o *Digest) { d.sum.merge(o.sum) }

// Rows counts them.
func (d *Digest) Rows() int64 { return d.sum.Count }

// String writes it as 3-0123456789abcdef-0123456789abcdef.
func (d *Digest) String() string { return digest([]sum{d.sum}) }
