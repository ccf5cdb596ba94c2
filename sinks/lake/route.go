package lake

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

const (
	microsADay  = int64(24 * time.Hour / time.Microsecond)
	secondsADay = 86400
	// nullFolder is what Hive calls the folder of rows whose partition value is null.
	nullFolder = "__HIVE_DEFAULT_PARTITION__"
)

// router gives rows the number of their partition, per row and never per batch. Numbers are given in the order of
// appearance and stay for the group.
type router struct {
	levels  []level
	folders []string // by number
	byInt   map[int64]int32
	byPath  map[string]int32
	path    []byte
}

// level is one partition column.
type level struct {
	schemas.Partition
	column int // in the file; of the event's date, that of the event time
}

func newRouter(t *table) *router {
	r := &router{byInt: map[int64]int32{}, byPath: map[string]int32{}}
	for _, p := range t.description.Partition {
		l := level{Partition: p}
		for i, f := range t.fields {
			if f.Name == p.From {
				l.column = i
			}
		}
		r.levels = append(r.levels, l)
	}
	return r
}

// assign gives each row its partition; same says that all rows are of the first row's.
func (r *router) assign(columns []record.Column, rows int, dst []int32) (parts []int32, same bool) {
	if len(r.levels) == 1 && r.levels[0].number() && columns[r.levels[0].column].Valid == nil {
		return r.assignInts(&columns[r.levels[0].column], rows, dst)
	}
	same = true
	for row := range rows {
		r.path = r.path[:0]
		for _, l := range r.levels {
			if len(r.path) > 0 {
				r.path = append(r.path, '/')
			}
			r.path = l.appendFolder(r.path, &columns[l.column], row)
		}
		id, ok := r.byPath[string(r.path)]
		if !ok {
			id = r.add(string(r.path))
			r.byPath[string(r.path)] = id
		}
		dst = append(dst, id)
		same = same && id == dst[0]
	}
	return dst, same
}

// unplaced gives the columns as they say where rows go: a truncate holds nothing, so that its values are null there. The
// folder of nulls is kept by expiry and read by every replay.
func (r *router) unplaced(b *record.Batch, columns []record.Column) []record.Column {
	if !slices.Contains(b.System.Ops, record.Truncate) {
		return columns
	}
	out := slices.Clone(columns)
	for _, l := range r.levels {
		if l.From == schemas.EventTimeColumn {
			continue
		}
		c := &out[l.column]
		if c.Const {
			*c = record.Column{}
			c.Gather(b.Schema.Fields[l.column], &columns[l.column], make([]int32, b.Rows), 0)
		}
		c.Valid = slices.Clone(c.Valid)
		for row := range b.Rows {
			if b.System.Op(row) == record.Truncate {
				c.SetNull(row)
			}
		}
		for len(c.Valid)*64 < b.Rows {
			c.Valid = append(c.Valid, ^uint64(0))
		}
	}
	return out
}

// number says whether the value of the level is one integer.
func (l level) number() bool {
	return l.From == schemas.EventTimeColumn || l.Kind == record.Int32 || l.Kind == record.Int64 || l.Kind == record.Date
}

// assignInts is for one level of integers: a look-up only where the value changes.
func (r *router) assignInts(c *record.Column, rows int, dst []int32) (parts []int32, same bool) {
	l := r.levels[0]
	divide := l.From == schemas.EventTimeColumn
	var last int64
	id := int32(-1)
	same = true
	for row := range rows {
		v := c.Int(row)
		if divide {
			v = floorDay(v)
		}
		if id < 0 || v != last {
			known, ok := r.byInt[v]
			if !ok {
				known = r.add(l.Name + "=" + l.text(v))
				r.byInt[v] = known
			}
			same = same && (id < 0 || id == known)
			id, last = known, v
		}
		dst = append(dst, id)
	}
	return dst, same
}

func floorDay(micros int64) int64 {
	day := micros / microsADay
	if micros%microsADay < 0 {
		day--
	}
	return day
}

func (r *router) add(folder string) int32 {
	r.folders = append(r.folders, folder)
	return int32(len(r.folders) - 1) //nolint:gosec // partitions of a group
}

// text is the value of a level of integers as its folder writes it.
func (l level) text(v int64) string {
	if l.From == schemas.EventTimeColumn || l.Kind == record.Date {
		return time.Unix(v*secondsADay, 0).UTC().Format("2006-01-02")
	}
	return strconv.FormatInt(v, 10)
}

func (l level) appendFolder(dst []byte, c *record.Column, row int) []byte {
	dst = append(append(dst, l.Name...), '=')
	switch {
	case !c.IsValid(row):
		return append(dst, nullFolder...)
	case l.From == schemas.EventTimeColumn:
		return append(dst, l.text(floorDay(c.Int(row)))...)
	case l.Kind == record.Bool:
		return strconv.AppendBool(dst, c.Int(row) != 0)
	case l.number():
		return append(dst, l.text(c.Int(row))...)
	}
	text := c.Text(row)
	if len(text) == 0 {
		return append(dst, nullFolder...) // as Hive does: a folder name cannot be empty
	}
	return append(dst, url.PathEscape(string(text))...)
}

// fileName is the final name of a file, below the root.
func fileName(w *writer, t *table, folder string, group int64, part int) string {
	from := lakefiles.Origin{Pipeline: w.lane.Pipeline, Lane: w.lane8, Epoch: w.lane.Epoch, Group: group}
	return t.description.Name + "/" + folder + "/" + from.FileName(part, t.schema.Short())
}
