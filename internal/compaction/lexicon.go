package compaction

import (
	"errors"
	"io"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// A lexicon beyond this is not worth its look-ups.
const (
	lexiconTexts = 1 << 16
	lexiconBytes = 4 << 20
)

// lexicon holds a column of texts, as long as every page of it has a dictionary: a number a row instead of the text, of which
// there is one copy.
type lexicon struct {
	on    bool
	ids   []int32       // the text of each kept row
	piece []int32       // of the piece that is read
	texts record.Column // the first is null
	known map[string]int32
	from  *record.Column // the dictionary that was met last
	to    []int32        // what its entries are here; -1: not yet known
	read  parquet.Entries
}

// reset makes the lexicon ready for a column of texts, or leaves it off.
func (x *lexicon) reset(f *record.Field) {
	x.on = f.Kind == record.String || f.Kind == record.Bytes
	x.ids, x.from, x.known = x.ids[:0], nil, nil
	empty(&x.texts)
	if x.on {
		x.known = map[string]int32{}
		x.texts.AppendText(nil)
		x.texts.SetNull(0)
	}
}

func (x *lexicon) size() int { return 4*len(x.ids) + len(x.texts.Bytes) + 4*len(x.texts.Offsets) }

// take reads up to so many rows into the piece. It gives how many: fewer where a page has no dictionary.
func (x *lexicon) take(r *parquet.Reader, rows int) (n int, err error) {
	x.piece = x.piece[:0]
	for n < rows {
		k, err := r.ReadEntries(&x.read, rows-n)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || k == 0 {
			return n, err
		}
		x.learn()
		n += k
	}
	return n, nil
}

// learn appends the entries that were read, by the numbers that they have here.
func (x *lexicon) learn() {
	if x.read.Dict != x.from {
		x.from, x.to = x.read.Dict, x.to[:0]
		for range len(x.from.Offsets) - 1 {
			x.to = append(x.to, -1)
		}
	}
	for _, entry := range x.read.IDs {
		id := int32(0)
		if entry >= 0 {
			if id = x.to[entry]; id < 0 {
				id = x.number(x.from.Text(int(entry)))
				x.to[entry] = id
			}
		}
		x.piece = append(x.piece, id)
	}
}

func (x *lexicon) number(text []byte) int32 {
	id, ok := x.known[string(text)]
	if !ok {
		id = int32(len(x.texts.Offsets) - 1) //nolint:gosec // a lexicon is small
		x.texts.AppendText(text)
		if int(id)>>6 == len(x.texts.Valid) {
			x.texts.Valid = append(x.texts.Valid, ^uint64(0))
		}
		x.known[string(text)] = id
	}
	return id
}

// full says that the column would rather be held as it is.
func (x *lexicon) full() bool {
	return len(x.known) > lexiconTexts || len(x.texts.Bytes) > lexiconBytes
}

// one says whether the whole piece is one text.
func (x *lexicon) one() bool {
	for _, id := range x.piece {
		if id != x.piece[0] {
			return false
		}
	}
	return true
}
