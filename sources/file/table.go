package file

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// A batch ends at so many rows, or so many bytes of the file.
const (
	maxRows  = 10_000
	maxBytes = 4 << 20
)

// firstRows is what a table has room for at first: most lanes of many small files never need more.
const firstRows = 512

var (
	errUTF8  = errors.New("the text is not UTF-8")
	errNoKey = errors.New("the key has no value")
)

// table gathers rows in columns until they are handed on as a batch. A row is set column by column and ended with next,
// or taken back with undo.
type table struct {
	schema  *record.Schema
	columns []record.Column
	rows    int
	room    int    // rows that a new table is given memory for
	texts   []int  // bytes that each text column had in the last batch
	given   bool   // the columns are read as such: they need no memory here
	source  string // of the system columns
	mtime   int64
	index   uint32 // of the versions: it orders the records of files that were written in the same moment
	lo      []uint64
	ids     record.Column
	id      []byte // of the event; the lane's ID and a colon stay in front
	prefix  int
}

func newTable(schema *record.Schema, lane string, in *input) *table {
	h := fnv.New32a()
	_, _ = h.Write([]byte(in.id))
	t := &table{
		schema: schema, index: h.Sum32(), room: firstRows, texts: make([]int, len(schema.Fields)+1), source: "file." + schema.Stream,
		mtime: in.mtime.UnixMicro(), id: append([]byte(lane), ':'), prefix: len(lane) + 1,
	}
	t.reset()
	return t
}

// reset gives the table memory of its own: what it had is the last batch's.
func (t *table) reset() {
	t.rows = 0
	t.columns = make([]record.Column, len(t.schema.Fields))
	for i := range t.columns {
		f, c := &t.schema.Fields[i], &t.columns[i]
		switch {
		case t.given:
		case f.Kind == record.Float32 || f.Kind == record.Float64:
			c.Floats = make([]float64, 0, t.room)
		case f.Wide():
			c.Wide = make([]record.Int128, 0, t.room)
		case f.Kind == record.String || f.Kind == record.Bytes:
			c.Offsets = append(make([]uint32, 0, t.room+1), 0)
			c.Bytes = make([]byte, 0, t.texts[i])
		default:
			c.Ints = make([]int64, 0, t.room)
		}
	}
	t.lo = make([]uint64, 0, t.room)
	t.ids = record.Column{Offsets: append(make([]uint32, 0, t.room+1), 0), Bytes: make([]byte, 0, t.texts[len(t.columns)])}
}

// null sets no value.
func (t *table) null(column int) error {
	if !t.schema.Fields[column].Nullable {
		return errNoKey
	}
	t.zero(column)
	t.columns[column].SetNull(t.rows)
	return nil
}

// zero appends an empty slot.
func (t *table) zero(column int) {
	f, c := &t.schema.Fields[column], &t.columns[column]
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		c.Floats = append(c.Floats, 0)
	case f.Wide():
		c.Wide = append(c.Wide, record.Int128{})
	case f.Kind == record.String || f.Kind == record.Bytes:
		c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // a batch is far below 4 GiB
	default:
		c.Ints = append(c.Ints, 0)
	}
}

// text sets the value that a text stands for. known says that it is UTF-8.
func (t *table) text(column int, v []byte, known bool) error {
	f, c := &t.schema.Fields[column], &t.columns[column]
	var n int64
	var ok bool
	switch f.Kind {
	case record.String:
		if !known && !utf8.Valid(v) {
			return errUTF8
		}
		c.Bytes = append(c.Bytes, v...)
		c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // a batch is far below 4 GiB
		return nil
	case record.Bytes:
		c.AppendText(v)
		return nil
	case record.Int64:
		n, ok = parseInt(v)
	case record.Int32:
		n, ok = parseInt(v)
		ok = ok && int64(int32(n)) == n //nolint:gosec // that is the question
	case record.Float64, record.Float32:
		size := 64
		if f.Kind == record.Float32 {
			size = 32
		}
		v, ok := parseFloat(v, size)
		if ok {
			c.Floats = append(c.Floats, v)
			return nil
		}
		return misfit(f, v)
	case record.Decimal:
		if f.Precision > record.NarrowDigits {
			w, ok := parseWide(v, f.Precision, f.Scale)
			if !ok {
				return misfit(f, v)
			}
			c.Wide = append(c.Wide, w)
			return nil
		}
		n, ok = parseNarrow(v, f.Precision, f.Scale)
	case record.Date:
		n, ok = parseDate(v)
	case record.Timestamp, record.LocalTimestamp:
		n, ok = parseTime(v, f.Kind == record.Timestamp)
	case record.Bool:
		n, ok = parseBool(v)
	default:
		ok = false
	}
	if !ok {
		return misfit(f, v)
	}
	c.Ints = append(c.Ints, n)
	return nil
}

// misfit says why a value does not fit its column. It is slow, and so only called when it does not.
func misfit[T []byte | float64](f *record.Field, value T) error {
	var text string
	switch v := any(value).(type) {
	case []byte:
		text = strconv.Quote(clip(v))
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	}
	how := ""
	switch f.Kind {
	case record.Bool:
		how = ": want true or false"
	case record.Int32:
		how = fmt.Sprintf(": want a whole number from %d to %d", math.MinInt32, math.MaxInt32)
	case record.Int64:
		how = ": want a whole number of 64 bits"
	case record.Date:
		how = ": want YYYY-MM-DD"
	case record.Timestamp:
		how = ": want YYYY-MM-DDThh:mm:ss with Z or an offset, no finer than a microsecond"
	case record.LocalTimestamp:
		how = ": want YYYY-MM-DDThh:mm:ss without an offset, no finer than a microsecond"
	}
	return fmt.Errorf("%s is no %s%s", text, f.TypeName(), how)
}

// clip keeps long values out of messages.
func clip(v []byte) string {
	const most = 60
	if len(v) > most {
		return string(v[:most]) + "..."
	}
	return string(v)
}

// undo takes back what was set of the row that is not ended.
func (t *table) undo() {
	for i := range t.columns {
		f, c := &t.schema.Fields[i], &t.columns[i]
		switch {
		case f.Kind == record.Float32 || f.Kind == record.Float64:
			c.Floats = c.Floats[:t.rows]
		case f.Wide():
			c.Wide = c.Wide[:t.rows]
		case f.Kind == record.String || f.Kind == record.Bytes:
			c.Offsets = c.Offsets[:t.rows+1]
			c.Bytes = c.Bytes[:c.Offsets[t.rows]]
		default:
			c.Ints = c.Ints[:t.rows]
		}
		if len(c.Valid)*64 > t.rows {
			c.Valid[t.rows>>6] |= 1 << (t.rows & 63)
		}
	}
}

// refused begins what becomes of a record that is none: it has the version, id and time that the record would have.
func (t *table) refused(number, line int64) record.Refused {
	return record.Refused{
		Stream: t.schema.Stream, EventID: string(strconv.AppendInt(t.id[:t.prefix:t.prefix], line, 10)), EventTime: t.mtime, Source: t.source,
		Version: record.Version{Hi: uint64(max(0, t.mtime)), Lo: uint64(number), Index: t.index}, //nolint:gosec // never negative
	}
}

// next ends the row. number is its place in the file and line what its event is named after.
func (t *table) next(number, line int64) {
	t.rows++
	t.lo = append(t.lo, uint64(number)) //nolint:gosec // never negative
	t.id = strconv.AppendInt(t.id[:t.prefix], line, 10)
	t.ids.Bytes = append(t.ids.Bytes, t.id...)
	t.ids.Offsets = append(t.ids.Offsets, uint32(len(t.ids.Bytes))) //nolint:gosec // a batch is far below 4 GiB
}

// batch hands the rows on; nil when there are none.
func (t *table) batch(now time.Time) (*record.Batch, error) {
	if t.rows == 0 {
		return nil, nil //nolint:nilnil // a chunk may hold nothing
	}
	for i := range t.columns {
		c := &t.columns[i]
		for c.Valid != nil && len(c.Valid)*64 < t.rows {
			c.Valid = append(c.Valid, ^uint64(0))
		}
		t.texts[i] = len(c.Bytes) + len(c.Bytes)/16
	}
	t.texts[len(t.columns)] = len(t.ids.Bytes) + len(t.ids.Bytes)/16
	sys := record.System{
		Source: t.source, IngestTime: now.UnixMicro(), EventTimes: []int64{t.mtime}, Ops: []record.Op{record.Snapshot}, EventIDs: t.ids,
		Versions: record.Versions{Hi: []uint64{uint64(max(0, t.mtime))}, Lo: t.lo, Index: []uint32{t.index}},
	}
	t.room = min(maxRows, t.rows+t.rows/16)
	b, err := record.NewBatch(t.schema, t.rows, t.columns, sys, nil)
	t.reset()
	return b, err
}
