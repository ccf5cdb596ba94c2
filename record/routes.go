package record

// MaxRoutes is how many sinks the rows of a batch can be told apart by.
const MaxRoutes = 64

// Routes says which sinks the rows of a batch are for.
type Routes struct {
	Sinks []string // at most MaxRoutes; nil: every row is for every sink
	Rows  []uint64 // bit i: the row is for Sinks[i]; one entry a row, or one that stands for every row
}

// bit is the bit of a sink; 0 when no row is for it.
func (r *Routes) bit(sink string) uint64 {
	for i, name := range r.Sinks {
		if name == sink {
			return 1 << i
		}
	}
	return 0
}

// Of gives the sinks that a row is for; nil: every sink.
func (r *Routes) Of(row int) []string {
	if r.Sinks == nil {
		return nil
	}
	out := []string{}
	for i, name := range r.Sinks {
		if pick(r.Rows, row)>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}

// Limit takes from the rows of other routes, one entry a row, what these do not allow.
func (r *Routes) Limit(sinks []string, rows []uint64) {
	if r.Sinks == nil {
		return
	}
	for i, name := range sinks {
		bit := r.bit(name)
		for row := range rows {
			if pick(r.Rows, row)&bit == 0 {
				rows[row] &^= 1 << i
			}
		}
	}
}

// Routed gives a batch of the same rows with other routes; it takes a reference of its own on b.
func (b *Batch) Routed(r Routes) *Batch {
	out := b.With(b.Schema, b.Columns)
	out.System.Routes = r
	return out
}

// Numbers gives the rows that are for a sink as For counts them: entry i is the number in b of row i. nil: all rows are.
func (b *Batch) Numbers(sink string) []int32 {
	r := &b.System.Routes
	if r.Sinks == nil || len(r.Rows) == 1 {
		return nil
	}
	return b.rowsFor(r.bit(sink))
}

func (b *Batch) rowsFor(bit uint64) []int32 {
	rows := make([]int32, 0, b.Rows)
	for row, mask := range b.System.Routes.Rows[:b.Rows] {
		if mask&bit != 0 {
			rows = append(rows, int32(row))
		}
	}
	return rows
}

// For gives the rows that are for a sink, with a reference for the caller: b itself when all are, nil when none is.
func (b *Batch) For(sink string) *Batch {
	r := &b.System.Routes
	if r.Sinks == nil {
		return b.Retain()
	}
	bit := r.bit(sink)
	if len(r.Rows) == 1 {
		if r.Rows[0]&bit == 0 {
			return nil
		}
		return b.Retain()
	}
	rows := b.rowsFor(bit)
	switch len(rows) {
	case 0:
		return nil
	case b.Rows:
		return b.Retain()
	}
	return b.Select(rows)
}
