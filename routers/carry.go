package routers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
)

// delivery is a chunk on its way through the Router, in the message's context.
type delivery struct {
	*incarnation
	chunk    record.Chunk
	group    *group
	accepted chan struct{} // closed when every writer has taken the chunk
	err      error         // the handler's, set before the Router nacks
	refused  int           // records of the chunk with a dead letter, or several
}

type deliveryKey struct{}

func deliveryOf(m *message.Message) (*delivery, bool) {
	d, ok := m.Context().Value(deliveryKey{}).(*delivery)
	return d, ok
}

// failure is why the chunk was not accepted.
func (d *delivery) failure() error {
	if d.err == nil {
		return errors.New("the chunk was refused without a reason")
	}
	return d.err
}

// counts is how many rows each step and then each sink was given at one position, and how many the source refused: what
// numbers dead letters.
type counts struct {
	at      record.Position
	given   []int64
	refused int64
}

// readStep is the step of the dead letters that the source made.
const readStep = "read"

// carry is the Router's handler. It runs the steps and writes, signals accepted, blocks until the group is durable, and
// returns: the Router then acks. Only one chunk of a lane is between delivery and acceptance, so writes are in order.
func carry(m *message.Message) error {
	d, ok := deliveryOf(m)
	if !ok {
		return errors.New("the message holds no chunk")
	}
	deepen()
	if err := d.accept(m.Context()); err != nil {
		return err
	}
	d.chunk.Batches, d.chunk.Refused = nil, nil // this goroutine waits for the group, and would keep them until then
	close(d.accepted)
	<-d.group.done
	return d.group.err
}

// deepen grows the stack of the message's new goroutine in one step while it is shallow. Left to itself it is copied
// again and again with all the frames of steps and writers: measured, 4 % of the CPU time of a busy form.
//
//go:noinline
func deepen() (sum byte) {
	var room [8 << 10]byte
	for i := 0; i < len(room); i += 1 << 10 {
		sum += room[i]
	}
	return sum
}

// accept gives the chunk to every step and writer.
func (d *delivery) accept(ctx context.Context) error {
	if d.counts.at != d.chunk.To {
		d.counts.at, d.counts.refused = d.chunk.To, 0
		clear(d.counts.given)
	}
	rows, bytes, letters := len(d.chunk.Refused), 0, len(d.group.letters)
	d.bury()
	for _, b := range d.chunk.Batches {
		rows += b.Rows
		bytes += b.Size()
		gone := truncates(b)
		d.group.truncates += gone
		if n := b.Rows - gone; n > 0 {
			d.group.streams.add(b.Schema.Stream, n)
		}
		if err := d.pass(ctx, b, 0); err != nil {
			return ofStream(err, b.Schema.Stream)
		}
	}
	d.group.rows += rows
	d.group.bytes += bytes
	return d.judge(d.board.accepted(rows, bytes, d.refused, len(d.group.letters)-letters))
}

// truncates counts the records of a batch that say that all before them is gone.
func truncates(b *record.Batch) (n int) {
	if len(b.System.Ops) == 1 { // of all
		if b.System.Ops[0] == record.Truncate {
			n = b.Rows
		}
		return n
	}
	for _, op := range b.System.Ops {
		if op == record.Truncate {
			n++
		}
	}
	return n
}

// bury makes dead letters of what the source refused.
func (d *delivery) bury() {
	for i := range d.chunk.Refused {
		r := &d.chunk.Refused[i]
		reason := "refused without a reason"
		if r.Err != nil {
			reason = r.Err.Error()
		}
		letter := checkpoint.DeadLetter{
			Pipeline: d.name.Pipeline, Lane: d.name.ID, Stream: r.Stream, Position: d.chunk.To, Index: d.counts.refused, Step: readStep,
			Column: r.Column, Code: codeOf(r.Err), Reason: reason, Raw: r.Raw, At: time.Now().UTC(),
			Op: record.Snapshot.String(), Version: r.Version.String(), EventID: r.EventID, Source: r.Source,
		}
		if r.EventTime != 0 {
			letter.Event = time.UnixMicro(r.EventTime).UTC()
		}
		d.keep(letter)
		d.counts.refused++
		d.refused++
	}
}

func (d *delivery) keep(letter checkpoint.DeadLetter) {
	d.group.letters = append(d.group.letters, letter)
	d.group.letterBytes += len(letter.Row) + len(letter.Raw) + len(letter.Reason)
}

// pass takes a batch through the steps from the given one on, and then to the sinks.
func (d *delivery) pass(ctx context.Context, b *record.Batch, from int) error {
	steps := d.run.pipeline.Steps
	if from == len(steps) {
		return d.write(ctx, b)
	}
	var out []*record.Batch
	letters := len(d.group.letters)
	err := d.sift(from, steps[from].Name, b, func(b *record.Batch) (err error) {
		if out, err = d.handlers[from].Handle(ctx, b); err != nil {
			out = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("step %s: %w", steps[from].Name, err)
	}
	d.refused += len(d.group.letters) - letters
	for i, next := range out {
		err := d.pass(ctx, next, from+1)
		next.Release()
		if err != nil {
			for _, rest := range out[i+1:] {
				rest.Release()
			}
			return err
		}
	}
	return nil
}

// write gives each sink its rows of the batch.
func (d *delivery) write(ctx context.Context, b *record.Batch) error {
	steps := len(d.run.pipeline.Steps)
	var refused map[int64]bool // rows of b
	for i, w := range d.writers {
		name := d.run.pipeline.Sinks[i].Name
		own := b.For(name)
		if own == nil {
			continue
		}
		letters, base := len(d.group.letters), d.counts.given[steps+i]
		err := d.sift(steps+i, name, own, func(b *record.Batch) error { return w.Write(ctx, b) })
		own.Release()
		if err != nil {
			return fmt.Errorf("sink %s: %w", name, err)
		}
		if letters < len(d.group.letters) {
			refused = rowsOf(d.group.letters[letters:], base, b.Numbers(name), refused)
		}
	}
	d.refused += len(refused)
	return nil
}

// rowsOf adds the rows that letters of a sink are of: their indexes count from base the rows that it was given, of which
// numbers says which rows of the batch they are.
func rowsOf(letters []checkpoint.DeadLetter, base int64, numbers []int32, rows map[int64]bool) map[int64]bool {
	if rows == nil {
		rows = make(map[int64]bool, len(letters))
	}
	for i := range letters {
		row := letters[i].Index - base
		if numbers != nil {
			row = int64(numbers[row])
		}
		rows[row] = true
	}
	return rows
}

// sift does something with a batch, and again without the rows that can never pass: these become dead letters. stage
// numbers the steps and then the sinks.
func (d *delivery) sift(stage int, name string, b *record.Batch, do func(*record.Batch) error) error {
	base := d.counts.given[stage]
	d.counts.given[stage] += int64(b.Rows)
	err := do(b)
	if err == nil {
		return nil
	}
	rest, rows := b.Retain(), numbered(b.Rows)
	defer func() { rest.Release() }()
	for err != nil {
		bad, rowErr := badRows(rest, err)
		if rowErr != nil {
			return rowErr
		}
		for i, at := range bad {
			letter := d.letter(name, rest, at, rowOf(err, i))
			letter.Index = base + rows[at]
			d.keep(letter)
		}
		kept := rest.Without(bad)
		rest.Release()
		rest, rows = kept, without(rows, bad)
		if rest.Rows == 0 {
			return nil
		}
		err = do(rest)
	}
	return nil
}

func numbered(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// without gives the numbers that are not at the places in bad, which ascends.
func without(numbers []int64, bad []int) []int64 {
	kept := numbers[:0]
	for i, n := range numbers {
		if len(bad) > 0 && bad[0] == i {
			bad = bad[1:]
			continue
		}
		kept = append(kept, n)
	}
	return kept
}

// badRows gives the rows that an error names. The error of a batch of one row names that row, if it is poison; any
// other error is given back.
func badRows(b *record.Batch, err error) ([]int, error) {
	named, ok := errors.AsType[*fault.Rows](err)
	if fault.Of(err) != fault.Poison {
		return nil, err
	}
	if !ok {
		if b.Rows == 1 {
			return []int{0}, nil
		}
		return nil, fault.Stop(fmt.Errorf("some of %d rows are bad, and the plugin does not say which: %w", b.Rows, err))
	}
	bad := make([]int, len(named.Bad))
	for i, row := range named.Bad {
		if row.Index < 0 || row.Index >= b.Rows || i > 0 && row.Index <= bad[i-1] {
			return nil, fault.Stop(fmt.Errorf("bad row %d of %d is out of order or range: %w", row.Index, b.Rows, err))
		}
		bad[i] = row.Index
	}
	if len(bad) == 0 {
		return nil, fault.Stop(fmt.Errorf("the plugin refuses rows and names none: %w", err))
	}
	return bad, nil
}

// rowOf gives the reason for the ith bad row.
func rowOf(err error, i int) fault.Row {
	if named, ok := errors.AsType[*fault.Rows](err); ok {
		return named.Bad[i]
	}
	return fault.Row{Err: err}
}

// codeOf gives the code of a refusal: every dead letter has one, also where a plugin gave its reason alone.
func codeOf(err error) string { return cmp.Or(fault.Code(err), "ACQ-RUN-009") }

func (d *delivery) letter(step string, b *record.Batch, row int, why fault.Row) checkpoint.DeadLetter {
	reason := "refused without a reason"
	if why.Err != nil {
		reason = why.Err.Error()
	}
	out := checkpoint.DeadLetter{
		Pipeline: d.name.Pipeline, Lane: d.name.ID, Stream: b.Schema.Stream, Position: d.chunk.To, Step: step,
		Column: why.Column, Code: codeOf(why.Err), Reason: reason, Op: b.System.Op(row).String(),
		Version: b.System.Versions.At(row).String(), At: time.Now().UTC(),
		Event: time.UnixMicro(b.System.EventTime(row)).UTC(), Source: b.System.Source,
		Sinks: b.System.Routes.Of(row),
	}
	if ids := &b.System.EventIDs; len(ids.Offsets) > 0 && ids.IsValid(row) {
		out.EventID = string(ids.Text(row))
	}
	for i := range b.Columns {
		if b.Columns[i].IsAbsent(row) {
			out.Absent = append(out.Absent, b.Schema.Fields[i].Name)
		}
	}
	if text := b.AppendJSON(nil, row); json.Valid(text) {
		out.Row = text
	} else {
		out.Raw = text
	}
	return out
}

// judgedFrom is the number of records from which the share of dead letters means something.
const judgedFrom = 1000

// judge stops a lane too many of whose records are dead letters. Its open group is not committed, so that they are read again.
func (d *delivery) judge(read, refused int64) error {
	limit := d.run.pipeline.StopAfter
	if limit == 0 || read < judgedFrom || float64(refused) <= limit*float64(read) {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-RUN-002", Place: "lane " + d.name.ID,
		Err:    fmt.Errorf("%d of %d records are dead letters, more than the %g %% allowed", refused, read, 100*limit),
		Remedy: "look at the dead letters, mend the source or the steps, and start again; nothing is lost",
	}
}
