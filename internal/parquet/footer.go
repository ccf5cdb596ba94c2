package parquet

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

const (
	magic = "PAR1"
	// createdBy must read "name version x": parquet-java refuses DELTA_BYTE_ARRAY of a writer that it cannot parse
	// (PARQUET-246).
	createdBy = "acequia version 1.0.0 (build pages1)"
	// chunkBound is how long a text in the statistics of a chunk may be.
	chunkBound = 64
	// pageSize is about what a page costs in memory until the file is closed.
	pageSize = 128
)

// endGroup ends the row group: the chunks go to the output, one after the other.
func (w *Writer) endGroup() {
	if w.rows == 0 || w.err != nil {
		return
	}
	if len(w.groups) > math.MaxInt16 {
		w.fail(errGroups)
		return
	}
	w.each(func(s *scratch, c *column) { c.flush(s) })
	g := w.newGroup(w.rows)
	for i := range w.columns {
		w.endChunk(&w.columns[i], &g)
	}
	w.fail(w.work[0].err)
	w.groups = append(w.groups, g)
	w.rows = 0
}

// metadata describes the chunk, but for its place.
func (c *column) metadata() format.ColumnMetaData {
	m := format.ColumnMetaData{
		Type: c.physical(), PathInSchema: c.path, NumValues: int64(c.entries),
		Encoding: []format.Encoding{format.RLE}, Codec: format.Uncompressed,
		Statistics: format.Statistics{NullCount: int64(c.nulls)},
	}
	if c.choice.zstd {
		m.Codec = format.Zstd
	}
	if lo, hi, ok := c.total.stats(c.leaf, chunkBound); ok {
		m.Statistics.MinValue, m.Statistics.MaxValue = lo, hi
	}
	if c.used[asDictionary] > 0 {
		m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1})
		m.Encoding = append(m.Encoding, format.Plain)
	}
	for e, n := range c.used {
		if n == 0 {
			continue
		}
		name := c.formatOf(encoding(e))
		if name != format.Plain || c.used[asDictionary] == 0 {
			m.Encoding = append(m.Encoding, name)
		}
		m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: format.DataPage, Encoding: name, Count: int32(n)}) //nolint:gosec // few
	}
	return m
}

// writeIndexes writes the page index: what the pages hold and where they are. A file of one page a column needs none. In
// others every chunk has its offsets: a reader that skips pages of one column skips rows of all.
func (w *Writer) writeIndexes() {
	if w.err != nil || !slices.ContainsFunc(w.pages, func(p []page) bool { return len(p) > 1 }) {
		return
	}
	n := len(w.columns)
	for k, pages := range w.pages {
		if ci, ok := w.leaves[k%n].columnIndex(pages); ok {
			cc := &w.groups[k/n].Columns[k%n]
			cc.ColumnIndexOffset, cc.ColumnIndexLength = w.writeIndex(&ci)
		}
	}
	for k, pages := range w.pages {
		oi := offsetIndex(pages)
		cc := &w.groups[k/n].Columns[k%n]
		cc.OffsetIndexOffset, cc.OffsetIndexLength = w.writeIndex(&oi)
	}
}

func (w *Writer) writeIndex(v any) (offset int64, size int32) {
	head := w.work[0].encoded(v)
	offset = w.offset
	w.write(head)
	return offset, int32(len(head)) //nolint:gosec // small
}

func offsetIndex(pages []page) (oi format.OffsetIndex) {
	row := 0
	for _, p := range pages {
		oi.PageLocations = append(oi.PageLocations, format.PageLocation{
			Offset: int64(p.offset), CompressedPageSize: int32(p.size), FirstRowIndex: int64(row), //nolint:gosec // checked
		})
		row += p.rows
	}
	return oi
}

// columnIndex gives the bounds of the pages; there is none when a page with values has no bounds.
func (l *leaf) columnIndex(pages []page) (ci format.ColumnIndex, ok bool) {
	up, down := true, true
	last := -1 // the page before that has bounds
	for i, p := range pages {
		null := p.nulls == p.entries
		switch {
		case null:
			p.lo, p.hi = []byte{}, []byte{}
		case !p.bounded:
			return ci, false
		case last >= 0:
			lo, hi := l.compareStats(pages[last].lo, p.lo), l.compareStats(pages[last].hi, p.hi)
			up, down = up && lo <= 0 && hi <= 0, down && lo >= 0 && hi >= 0
		}
		if !null {
			last = i
		}
		ci.NullPages = append(ci.NullPages, null)
		ci.MinValues = append(ci.MinValues, p.lo)
		ci.MaxValues = append(ci.MaxValues, p.hi)
		ci.NullCounts = append(ci.NullCounts, int64(p.nulls))
	}
	switch {
	case up:
		ci.BoundaryOrder = format.Ascending
	case down:
		ci.BoundaryOrder = format.Descending
	}
	return ci, true
}

func (w *Writer) writeFooter(meta []KeyValue) {
	if w.err != nil {
		return
	}
	md := format.FileMetaData{
		Version: 1, NumRows: w.total, RowGroups: w.groups, CreatedBy: createdBy, Schema: schemaOf(w.fields, w.columns),
	}
	for _, kv := range meta {
		md.KeyValueMetadata = append(md.KeyValueMetadata, format.KeyValue{Key: kv.Key, Value: kv.Value})
	}
	for range w.columns {
		md.ColumnOrders = append(md.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	head := w.work[0].encoded(&md)
	w.fail(w.work[0].err)
	w.write(head)
	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(head))) //nolint:gosec // far below
	w.write(append(tail, magic...))
}
