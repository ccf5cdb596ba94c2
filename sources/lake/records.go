package lake

import (
	"errors"
	"fmt"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// origin is what a batch has one of.
type origin struct {
	source string
	epoch  uint16
}

// records are the rows of a read, before they are told apart.
type records struct {
	*record.Batch
	origins []origin // those that there are
	of      []uint8  // which of them a row has; nil: all have the first
	refused []record.Refused
	drop    []bool // by row; nil: none
}

// chunkOf makes batches of the columns of a file: one for each origin.
func (r *reader) chunkOf(columns []record.Column, rows int, misfits []parquet.Misfit) (record.Chunk, error) {
	in, err := r.records(columns, rows)
	if err != nil {
		return record.Chunk{}, err
	}
	r.leaveOut(in)
	for _, m := range misfits {
		name := "a system column"
		if m.Column < len(in.Schema.Fields) {
			name = in.Schema.Fields[m.Column].Name
		}
		r.refuse(in, m.Row, name, m.Err)
	}
	if err := r.sift(in); err != nil {
		return record.Chunk{}, err
	}
	chunk := record.Chunk{Refused: in.refused}
	if in.of == nil && in.drop == nil {
		in.System.Source, in.System.Versions.Epoch = in.origins[0].source, in.origins[0].epoch
		chunk.Batches = []*record.Batch{in.Batch}
		return chunk, nil
	}
	for i, o := range in.origins {
		var keep []int32
		for row := range int32(in.Rows) { //nolint:gosec // rows of a chunk
			if (in.drop == nil || !in.drop[row]) && (in.of == nil || int(in.of[row]) == i) {
				keep = append(keep, row)
			}
		}
		if len(keep) > 0 {
			b := in.Select(keep)
			b.System.Source, b.System.Versions.Epoch = o.source, o.epoch
			chunk.Batches = append(chunk.Batches, b)
		}
	}
	in.Release() // what was chosen is memory of its own
	return chunk, nil
}

// records takes the system columns apart.
func (r *reader) records(columns []record.Column, rows int) (*records, error) {
	schema := r.open.table.schema
	n := len(schema.Fields)
	ops, versions, ids, from, times := &columns[n], &columns[n+1], &columns[n+2], &columns[n+3], &columns[n+4]
	sys := record.System{IngestTime: time.Now().UnixMicro(), EventTimes: times.Ints}
	if !ids.Const || ids.IsValid(0) {
		sys.EventIDs = *ids
	}
	var err error
	if sys.Ops, err = operations(ops, rows); err != nil {
		return nil, err
	}
	in := &records{}
	epochs, err := versionsOf(&sys.Versions, versions, rows)
	if err != nil {
		return nil, err
	}
	if err := in.tellApart(from, epochs, rows); err != nil {
		return nil, err
	}
	in.Batch, err = record.NewBatch(schema, rows, columns[:n:n], sys, func() { r.recycle(columns) })
	return in, err
}

// operations reads the column of operations; one that all rows have is one entry.
func operations(c *record.Column, rows int) ([]record.Op, error) {
	if c.Const {
		rows = 1
	}
	out := make([]record.Op, rows)
	for i := range rows {
		text := c.Text(i)
		if len(text) != 1 || !record.Op(text[0]).Valid() {
			return nil, fmt.Errorf("%q is no operation", text)
		}
		out[i] = record.Op(text[0])
	}
	return out, nil
}

// versionsOf reads the column of versions, and gives the epochs of the rows: one where all have the same.
func versionsOf(out *record.Versions, c *record.Column, rows int) ([]uint16, error) {
	if c.Const {
		rows = 1
	}
	v := record.Versions{Hi: make([]uint64, rows), Lo: make([]uint64, rows), Index: make([]uint32, rows)}
	epochs := make([]uint16, rows)
	same := true
	for i := range rows {
		x, err := record.ParseVersionText(c.Text(i))
		if err != nil {
			return nil, err
		}
		epochs[i], v.Hi[i], v.Lo[i], v.Index[i] = x.Epoch, x.Hi, x.Lo, x.Index
		same = same && x.Epoch == epochs[0]
	}
	*out = v
	if same {
		epochs = epochs[:1]
	}
	return epochs, nil
}

// maxOrigins is how many sources and epochs a chunk may have.
const maxOrigins = 256

var errOrigins = errors.New("its rows have more than 256 sources and epochs")

// tellApart gives each row its origin.
func (in *records) tellApart(from *record.Column, epochs []uint16, rows int) error {
	if from.Const && len(epochs) == 1 {
		in.origins = []origin{{string(from.Text(0)), epochs[0]}}
		return nil
	}
	in.of = make([]uint8, rows)
	for row := range rows {
		epoch := epochs[0]
		if len(epochs) > 1 {
			epoch = epochs[row]
		}
		at := -1
		for i := range in.origins {
			if o := &in.origins[i]; o.epoch == epoch && o.source == string(from.Text(row)) {
				at = i
				break
			}
		}
		if at < 0 {
			if len(in.origins) == maxOrigins {
				return errOrigins
			}
			at = len(in.origins)
			in.origins = append(in.origins, origin{string(from.Text(row)), epoch})
		}
		in.of[row] = uint8(at)
	}
	if len(in.origins) == 1 {
		in.of = nil
	}
	return nil
}

// out takes a row out of the records.
func (in *records) out(row int) {
	if in.drop == nil {
		in.drop = make([]bool, in.Rows)
	}
	in.drop[row] = true
}

// leaveOut drops the rows of other times.
func (r *reader) leaveOut(in *records) {
	times := r.source.times
	if times.all() {
		return
	}
	for row := range in.Rows {
		if !times.holds(in.System.EventTime(row)) {
			in.out(row)
		}
	}
}

// sift drops the rows that the expression is not true for. Deletes are kept whatever it says: they may hold no more than
// the key. Rows that it fails for are refused.
func (r *reader) sift(in *records) error {
	where := r.open.table.where
	if where == nil {
		return nil
	}
	rows, all, err := where.Select(in.Batch)
	if err = expr.Spare(in.Batch, err); err != nil {
		bad, ok := errors.AsType[*fault.Rows](err)
		if !ok {
			return err
		}
		for _, b := range bad.Bad {
			r.refuse(in, b.Index, b.Column, b.Err)
		}
	}
	if all {
		return nil
	}
	for row := range in.Rows {
		if len(rows) > 0 && int(rows[0]) == row {
			rows = rows[1:]
		} else if !expr.Removes(in.System.Op(row)) {
			in.out(row)
		}
	}
	return nil
}

// refuse makes a dead letter of a row, unless it was left out before.
func (r *reader) refuse(in *records, row int, column string, err error) {
	if in.drop != nil && in.drop[row] {
		return
	}
	in.out(row)
	o := in.origins[0]
	if in.of != nil {
		o = in.origins[in.of[row]]
	}
	version := in.System.Versions.At(row)
	version.Epoch = o.epoch
	refused := record.Refused{
		Stream: in.Schema.Stream, Column: column, Raw: in.AppendJSON(nil, row), Version: version, EventTime: in.System.EventTime(row), Source: o.source,
		Err: &fault.Error{
			Class: fault.Poison, Code: codeValue, Place: fmt.Sprintf("%s, row %d", r.open.Name, r.before+r.at.row+int64(row)+1),
			Err: fmt.Errorf("column %s: %w", column, err), Remedy: "mend the record with acequia dlq edit, and send it again with acequia dlq retry",
		},
	}
	if ids := &in.System.EventIDs; len(ids.Offsets) > 0 && ids.IsValid(row) {
		refused.EventID = string(ids.Text(row))
	}
	in.refused = append(in.refused, refused)
}
