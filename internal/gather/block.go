package gather

import "slices"

// Span is where a value lies in a buffer; a negative length is NULL.
type Span struct{ At, N int32 }

const (
	// BlockRows is how many rows are decoded at a time, column by column: few enough for the processor's first cache.
	BlockRows = 128
	// BlockStride keeps the spans of the columns from falling on the same lines of that cache.
	BlockStride = BlockRows + 8
	// Slack is how many bytes behind the values of a buffer may be read.
	Slack = 16
)

// Block is some rows in binary. The buffer is Slack longer than its values need.
type Block struct {
	Buf   []byte
	Spans []Span // of column c and row r at c*BlockStride+r
}

// Column gives the values of a column of rows [from,to).
func (b *Block) Column(c, from, to int) []Span {
	return b.Spans[c*BlockStride+from : c*BlockStride+to]
}

// Value gives one value; nil is NULL.
func (b *Block) Value(c, row int) []byte {
	s := b.Spans[c*BlockStride+row]
	if s.N < 0 {
		return nil
	}
	return b.Buf[s.At : s.At+s.N : s.At+s.N]
}

// Extend makes room for n values, which the caller writes.
func Extend[T any](s []T, n int) []T { return slices.Grow(s, n)[:len(s)+n] }

// Texts copies the texts of the next rows into a field, short ones by two words.
func (r *Rows) Texts(f int, buf []byte, at []Span) {
	dst := &r.Columns[f]
	total := Slack
	for _, s := range at {
		total += int(max(s.N, 0))
	}
	bytes := slices.Grow(dst.Bytes, total)
	before := len(dst.Offsets)
	dst.Offsets = Extend(dst.Offsets, len(at))
	out := dst.Offsets[before:]
	end := len(bytes)
	bytes = bytes[:cap(bytes)]
	for i, s := range at {
		switch {
		case s.N < 0:
			dst.SetNull(r.Count + i)
		case s.N <= Slack:
			copy(bytes[end:end+Slack], buf[s.At:s.At+Slack])
			end += int(s.N)
		default:
			end += copy(bytes[end:], buf[s.At:s.At+s.N])
		}
		out[i] = uint32(end) //nolint:gosec // a batch is below 4 GiB
	}
	dst.Bytes = bytes[:end]
}
