package parquet

import (
	"io"

	"github.com/acequia-io/acequia/record"
)

// Entries are rows of a column by their dictionary.
type Entries struct {
	Dict *record.Column // never changes: another dictionary is another column
	IDs  []int32        // the slot of Dict that each row has; -1: null
}

// ReadEntries gives the next rows of a reader of one flat column by the dictionary of their page, at most so many: they end
// with their page. It gives none where the page has no dictionary, or one with values that do not fit, and none of versions:
// Read takes those. The memory of IDs is used again by the next call. After the last row it gives io.EOF.
func (r *Reader) ReadEntries(e *Entries, rows int) (n int, err error) {
	for r.row >= r.end {
		if r.group+1 >= len(r.file.groups) {
			return 0, io.EOF
		}
		if err := r.enter(r.group + 1); err != nil {
			return 0, err
		}
	}
	if len(r.wanted) != 1 || len(r.cursors) != 1 || len(r.wanted[0].Field.Fields) > 0 || r.wanted[0].Field.Kind == record.VersionText {
		return 0, nil
	}
	err = r.guard(0, func() (err error) {
		n, err = r.cursors[0].entriesOf(e, int(min(int64(rows), r.end-r.row)))
		return err
	})
	if err != nil {
		return 0, err
	}
	r.row += int64(n)
	return n, nil
}

// entriesOf takes rows of one page.
func (c *cursor) entriesOf(e *Entries, rows int) (int, error) {
	if err := c.must(); err != nil {
		return 0, err
	}
	n := min(rows, c.entries-c.at)
	values := c.values(c.at, c.at+n)
	if c.packed.ids == nil || len(c.packed.bad) > 0 || values < n && !c.to.Nullable {
		return 0, nil
	}
	ids := c.packed.ids[c.packed.at : c.packed.at+values]
	e.Dict, e.IDs = c.packed.dict, e.IDs[:0]
	if values == n {
		e.IDs = append(e.IDs, ids...)
	} else {
		for _, d := range c.defs[c.at : c.at+n] {
			id := int32(-1)
			if d == c.maxDef {
				id, ids = ids[0], ids[1:]
			}
			e.IDs = append(e.IDs, id)
		}
	}
	c.at += n
	c.packed.at += values
	return n, nil
}
