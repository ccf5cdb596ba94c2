package parquet

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
)

// Misfit is a value that cannot become one of its field: it has a zero slot in its column.
type Misfit struct {
	Row    int // of those read
	Column int // of those wanted
	Err    error
}

// What is wrong with values, beside those that do not fit.
var (
	ErrUTF8 = errUTF8
	ErrNull = errNull
)

// DamagedError says where in a file what stands is no Parquet.
type DamagedError struct {
	Column string
	Group  int
	Err    error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("column %s, row group %d: a page is damaged: %v", e.Column, e.Group, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Reader reads the rows of a file in their order, row group after row group. It is used by one goroutine.
type Reader struct {
	file    *File
	wanted  []Wanted
	cursors []cursor // a leaf each
	of      []span   // cursors of each column that is wanted
	group   int      // that the cursors are in
	row     int64    // of the group
	end     int64    // of the group
	misfits []Misfit
	walk    walk
}

// NewReader makes a reader of columns of the file, which stands before its first row. What is wanted must fit.
func NewReader(f *File, wanted []Wanted) *Reader {
	r := &Reader{file: f, wanted: wanted, group: -1}
	for _, w := range wanted {
		s := span{lo: len(r.cursors), hi: len(r.cursors)}
		if w.Column >= 0 {
			c := &f.columns[w.Column]
			s.hi += len(c.forms)
			r.cursors = append(r.cursors, cursorsOf(c, w.Field)...)
		}
		r.of = append(r.of, s)
	}
	return r
}

// cursorsOf makes a cursor for each leaf under a column: the file says where it is, the field what becomes of it.
func cursorsOf(c *FileColumn, to record.Field) []cursor {
	from := c.Field
	here, errHere := leaves([]record.Field{from})
	there, errThere := leaves([]record.Field{to})
	out := make([]cursor, len(c.forms))
	for i := range out {
		out[i] = cursor{name: from.Name, leaf: c.leaf + i, stored: c.forms[i]}
		if errHere != nil || errThere != nil || i >= len(here) || i >= len(there) {
			out[i].broken = errors.Join(errHere, errThere, errDeep)
			continue
		}
		out[i].steps, out[i].maxDef, out[i].to = here[i].steps, uint8(here[i].maxDef), there[i].field //nolint:gosec // at most 255
		if i > 0 {
			out[i].known = common(here[i-1].steps, here[i].steps)
		}
	}
	return out
}

// common counts the steps that lead two leaves the same way.
func common(a, b []step) int {
	n := 1
	for n < len(a) && n < len(b) && a[n].child == b[n].child {
		n++
	}
	return n
}

// Seek goes to a row of a row group; forward in the group it stands in without beginning anew.
func (r *Reader) Seek(group int, row int64) error {
	if group < 0 || group >= len(r.file.groups) || row < 0 || row > r.file.groups[group].Rows {
		return fmt.Errorf("seek: the file has no row %d of row group %d", row, group)
	}
	if group != r.group || row < r.row {
		if err := r.enter(group); err != nil {
			return err
		}
	}
	for r.row < row {
		n := int(min(row-r.row, 100_000))
		for i := range r.cursors {
			if err := r.guard(i, func() error { return r.cursors[i].skip(n) }); err != nil {
				return err
			}
		}
		r.row += int64(n)
	}
	return nil
}

// enter opens the pages of a row group.
func (r *Reader) enter(group int) error {
	r.group, r.row, r.end = group, 0, r.file.groups[group].Rows
	chunks := r.file.file.RowGroups()[group].ColumnChunks()
	for i := range r.cursors {
		c := &r.cursors[i]
		if err := r.guard(i, func() error {
			c.close()
			c.pages = chunks[c.leaf].Pages()
			return c.broken
		}); err != nil {
			return err
		}
	}
	return nil
}

// guard says which column an error, or a panic of the library over a damaged page, concerns.
func (r *Reader) guard(cursor int, do func() error) (err error) {
	defer func() {
		if lost := recover(); lost != nil {
			err = fmt.Errorf("%v", lost)
		}
		if err != nil {
			err = &DamagedError{Column: r.cursors[cursor].name, Group: r.group, Err: err}
		}
	}()
	return do()
}

// Place says where the next row stands: its row group, and its number there.
func (r *Reader) Place() (group int, row int64) {
	if r.group < 0 {
		return 0, 0
	}
	return r.group, r.row
}

// Read gives the next rows, at most so many: they end with their row group, and where the epoch of a column of versions
// changes. It sets columns, which has one for each that is wanted, with memory of their own. Values that do not fit are in
// misfits, by column, until the next call. After the last row it gives io.EOF.
func (r *Reader) Read(columns []record.Column, rows int) (n int, misfits []Misfit, err error) {
	for r.row >= r.end {
		if r.group+1 >= len(r.file.groups) {
			return 0, nil, io.EOF
		}
		if err := r.enter(r.group + 1); err != nil {
			return 0, nil, err
		}
	}
	n = int(min(int64(rows), r.end-r.row))
	r.misfits = r.misfits[:0]
	several := false
	for i := range r.wanted { // versions first: they may end the rows
		if r.wanted[i].Field.Kind == record.VersionText {
			most := n
			if n, err = r.column(i, &columns[i], n); err != nil {
				return 0, nil, err
			}
			if n < most && several {
				return 0, nil, errEpochs
			}
			several = true
		}
	}
	for i := range r.wanted {
		if r.wanted[i].Field.Kind == record.VersionText {
			clip(&columns[i].Versions, n)
			continue
		}
		if _, err := r.column(i, &columns[i], n); err != nil {
			return 0, nil, err
		}
	}
	r.row += int64(n)
	return n, r.misfits, nil
}

// clip cuts versions to the rows that all columns have.
func clip(v *record.Versions, n int) {
	if len(v.Lo) > 1 {
		v.Hi, v.Lo, v.Index = v.Hi[:n], v.Lo[:n], v.Index[:n]
	}
}

// column sets a column of so many rows, fewer when the epoch of its versions changes.
func (r *Reader) column(i int, out *record.Column, rows int) (int, error) {
	w, s := &r.wanted[i], r.of[i]
	if w.Field.Kind == record.List || w.Field.Kind == record.Struct {
		*out = record.Column{}
	}
	out.Clear()
	if s.len() == 0 {
		*out = nullColumn(&w.Field)
		return rows, nil
	}
	if w.Field.Kind == record.List || w.Field.Kind == record.Struct {
		shape(&w.Field, out)
		for k := s.lo; k < s.hi; k++ {
			c := &r.cursors[k]
			if err := r.guard(k, func() error { return r.walk.leaf(c, &w.Field, out, rows) }); err != nil {
				return 0, err
			}
			r.took(i, c)
		}
		fill(&w.Field, out, rows)
		return rows, nil
	}
	c := &r.cursors[s.lo]
	err := r.guard(s.lo, func() (err error) {
		rows, err = c.flat(out, rows)
		return err
	})
	r.took(i, c)
	return rows, err
}

// took keeps what a cursor found wrong.
func (r *Reader) took(column int, c *cursor) {
	for _, m := range c.misfits {
		m.Column = column
		r.misfits = append(r.misfits, m)
	}
	c.misfits = c.misfits[:0]
}

// nullColumn is a constant without a value.
func nullColumn(f *record.Field) record.Column {
	b := record.Column{Const: true, Valid: []uint64{^uint64(1)}}
	zeros(f, &b, 1)
	for i := range f.Fields {
		n := 1
		if f.Kind == record.List {
			n = 0
		}
		child := record.Column{}
		zeros(&f.Fields[i], &child, n)
		b.Children = append(b.Children, child)
	}
	return b
}

// zeros appends empty slots.
func zeros(f *record.Field, c *record.Column, n int) {
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		c.Floats = append(c.Floats, make([]float64, n)...)
	case f.Wide():
		c.Wide = append(c.Wide, make([]record.Int128, n)...)
	case f.Kind == record.String || f.Kind == record.Bytes || f.Kind == record.List:
		if len(c.Offsets) == 0 {
			c.Offsets = append(c.Offsets, 0)
		}
		for range n {
			c.Offsets = append(c.Offsets, c.Offsets[len(c.Offsets)-1])
		}
	case f.Kind == record.VersionText || f.Kind == record.Struct:
	default:
		c.Ints = append(c.Ints, make([]int64, n)...)
	}
}

// Close lets go of the pages; the file stays open.
func (r *Reader) Close() error {
	var errs []error
	for i := range r.cursors {
		errs = append(errs, r.guard(i, func() error { r.cursors[i].close(); return nil }))
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// cursor stands in the pages of a leaf.
type cursor struct {
	name   string
	leaf   int
	stored stored
	to     record.Field
	steps  []step // from the column down to the values, as the file has them
	known  int    // steps that the leaf before it has made
	maxDef uint8
	broken error

	pages   pq.Pages
	page    pq.Page
	defs    []byte // of the page; none where nothing can be null
	reps    []byte
	entries int // of the page
	at      int // the next of them
	packed  packed
	misfits []Misfit
}

// next goes to the next page with entries.
func (c *cursor) next() error {
	for c.at >= c.entries {
		c.release()
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.at = page, 0
		c.defs, c.reps, c.entries = page.DefinitionLevels(), page.RepetitionLevels(), int(page.NumValues())
		if err := c.packed.open(page, &c.stored, &c.to); err != nil {
			return err
		}
	}
	return nil
}

// must is next where there have to be more rows.
func (c *cursor) must() error {
	err := c.next()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skip passes over rows.
func (c *cursor) skip(rows int) error {
	for rows > 0 || c.at < c.entries && c.continues() {
		if err := c.must(); err != nil {
			return err
		}
		from := c.at
		for ; c.at < c.entries; c.at++ {
			if len(c.reps) == 0 || c.reps[c.at] == 0 {
				if rows == 0 {
					break
				}
				rows--
			}
		}
		c.packed.at += c.values(from, c.at)
	}
	return nil
}

// continues says whether the next entry belongs to the row before it.
func (c *cursor) continues() bool { return len(c.reps) > 0 && c.reps[c.at] > 0 }

// values counts the entries of [from,to) that have a value.
func (c *cursor) values(from, to int) int {
	if len(c.defs) == 0 {
		return to - from
	}
	n := 0
	for _, d := range c.defs[from:to] {
		if d == c.maxDef {
			n++
		}
	}
	return n
}

// flat sets a column of rows; those of versions may be fewer.
func (c *cursor) flat(out *record.Column, rows int) (int, error) {
	c.packed.begun = false
	room(&c.to, out, rows)
	for done := 0; done < rows; {
		if err := c.must(); err != nil {
			return 0, err
		}
		k := min(rows-done, c.entries-c.at)
		n := c.values(c.at, c.at+k)
		if done == 0 && k == rows {
			if ok, err := c.constant(out, n, k); ok || err != nil {
				return rows, err
			}
		}
		took, err := c.packed.take(out, n, done, &c.misfits)
		if err != nil {
			return 0, err
		}
		if took < n { // another epoch follows
			k = c.before(took)
			rows = done + k
		}
		if k > took {
			c.spread(out, done, k, took)
		}
		done += k
		c.at += k
	}
	pad(out, rows)
	return rows, nil
}

// before counts the entries in front of the value that comes after so many.
func (c *cursor) before(values int) int {
	if len(c.defs) == 0 {
		return values
	}
	for i, d := range c.defs[c.at:] {
		if d == c.maxDef {
			if values == 0 {
				return i
			}
			values--
		}
	}
	return c.entries - c.at
}

// constant sets a column whose rows, which are all in one page, have one value.
func (c *cursor) constant(out *record.Column, values, rows int) (ok bool, err error) {
	switch {
	case values == 0 && c.to.Nullable:
		*out = nullColumn(&c.to)
	case values < rows || !c.packed.repeats(values):
		return false, nil
	default:
		*out = record.Column{Const: true}
		room(&c.to, out, 1)
		err = c.packed.one(out)
		c.packed.at += values
	}
	c.at += rows
	return true, err
}

// spread moves the last values, which are packed, to the rows that have one.
func (c *cursor) spread(out *record.Column, done, rows, values int) {
	defs := c.defs[c.at : c.at+rows]
	for i := range c.misfits { // they were counted by values
		if m := &c.misfits[i]; m.Row >= done {
			m.Row = done + nth(defs, c.maxDef, m.Row-done)
		}
	}
	spread(&c.to, out, done, defs, c.maxDef, values)
	for len(out.Valid)*64 < done+rows {
		out.Valid = append(out.Valid, ^uint64(0))
	}
	for i, d := range defs {
		if d != c.maxDef {
			out.Valid[(done+i)>>6] &^= 1 << ((done + i) & 63)
			if !c.to.Nullable {
				c.misfits = append(c.misfits, Misfit{Row: done + i, Err: errNull})
			}
		}
	}
}

// nth finds the entry with the value of a number.
func nth(defs []byte, most byte, n int) int {
	for i, d := range defs {
		if d == most {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return len(defs)
}

// pad makes the bitmap cover the rows.
func pad(c *record.Column, rows int) {
	for c.Valid != nil && len(c.Valid)*64 < rows {
		c.Valid = append(c.Valid, ^uint64(0))
	}
}

// release gives the memory of a page back.
func (c *cursor) release() {
	if c.page != nil {
		pq.Release(c.page)
		c.page = nil
	}
	c.defs, c.reps, c.entries, c.at = nil, nil, 0, 0
}

func (c *cursor) close() {
	c.release()
	if c.pages != nil {
		_ = c.pages.Close() // it was only read
		c.pages = nil
	}
	c.packed = packed{}
}
