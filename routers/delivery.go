package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
)

// delivery is a chunk on its way through the Router, in the message's context.
type delivery struct {
	*committer
	chunk    record.Chunk
	group    *group
	accepted chan struct{} // closed when every writer has taken the chunk
	err      error         // set before carry returns an error
}

type deliveryKey struct{}

// carry is the Router's handler. It runs the steps and writes, signals accepted, blocks until the group is durable, and
// returns: the Router then acks. Only one chunk of a lane is between delivery and acceptance, so writes are in order.
func carry(m *message.Message) error {
	d, ok := m.Context().Value(deliveryKey{}).(*delivery)
	if !ok {
		return errors.New("carry: the message holds no chunk")
	}
	if d.err = d.accept(context.WithoutCancel(m.Context())); d.err != nil {
		return d.err
	}
	close(d.accepted)
	<-d.group.done
	return d.group.err
}

// failure is why the chunk was not accepted.
func (d *delivery) failure() error {
	if d.err == nil {
		return errors.New("the chunk was refused without a reason")
	}
	return d.err
}

// accept gives the chunk to every writer. A panic of a plugin ends the lane, not the process.
func (d *delivery) accept(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{
				Class: fault.Fatal, Code: "ACQ-RUN-003", Place: d.lane.ID, Err: fmt.Errorf("a plugin panicked: %v", p),
				Remedy: "report it with the stack in the log; the lane goes on at its checkpoint after a restart",
			}
			d.run.Log.Error("plugin panicked", slog.String("lane", d.lane.ID), slog.String("stack", string(debug.Stack())), errAttr(err))
		}
	}()
	for _, b := range d.chunk.Batches {
		d.group.rows += b.Rows
		d.group.bytes += b.Size()
		if err := d.carryOn(ctx, b.Retain(), 0); err != nil {
			return err
		}
		d.board.read(b.Rows)
	}
	return d.tooManyLetters()
}

// carryOn takes over one reference on b and passes it through the steps from the given one on, then to the sinks.
func (d *delivery) carryOn(ctx context.Context, b *record.Batch, from int) error {
	steps := d.run.pipeline.Steps
	if from == len(steps) {
		defer b.Release()
		return d.write(ctx, b)
	}
	var out []*record.Batch
	err := d.withoutBad(ctx, steps[from].Name, b, func(b *record.Batch) (err error) {
		out, err = steps[from].Handler.Handle(ctx, b)
		return err
	})
	b.Release()
	if err != nil {
		return fmt.Errorf("step %s: %w", steps[from].Name, err)
	}
	for i, next := range out {
		if err := d.carryOn(ctx, next, from+1); err != nil {
			for _, rest := range out[i+1:] {
				rest.Release()
			}
			return err
		}
	}
	return nil
}

// write gives the batch to each sink. A row that one of them refuses is a dead letter of that sink alone.
func (d *delivery) write(ctx context.Context, b *record.Batch) error {
	for i, w := range d.writers {
		name := d.run.pipeline.Sinks[i].Name
		err := d.withoutBad(ctx, name, b, func(b *record.Batch) error { return w.Write(ctx, b) })
		if err != nil {
			return fmt.Errorf("write to %s: %w", name, err)
		}
	}
	return nil
}

// withoutBad does something with a batch, and again without the rows that can never pass; these become dead letters.
func (d *delivery) withoutBad(_ context.Context, step string, b *record.Batch, do func(*record.Batch) error) error {
	err := do(b)
	for err != nil {
		bad, ok := errors.AsType[*fault.Rows](err)
		if !ok && fault.Of(err) == fault.Poison {
			bad, ok = allOf(b, err), true
		}
		if !ok || len(bad.Bad) == 0 {
			return err
		}
		indexes := make([]int, len(bad.Bad))
		for i, row := range bad.Bad {
			if row.Index < 0 || row.Index >= b.Rows || i > 0 && row.Index <= indexes[i-1] {
				return fmt.Errorf("bad row %d of %d is out of order or range: %w", row.Index, b.Rows, err)
			}
			indexes[i] = row.Index
			d.group.letters = append(d.group.letters, d.letter(step, b, row))
		}
		d.board.refused(len(indexes))
		if b = b.Without(indexes); b.Rows == 0 {
			return nil
		}
		err = do(b)
	}
	return nil
}

func allOf(b *record.Batch, err error) *fault.Rows {
	all := &fault.Rows{Bad: make([]fault.Row, b.Rows)}
	for i := range all.Bad {
		all.Bad[i] = fault.Row{Index: i, Err: err}
	}
	return all
}

func (d *delivery) letter(step string, b *record.Batch, bad fault.Row) checkpoint.DeadLetter {
	reason := "refused"
	if bad.Err != nil {
		reason = bad.Err.Error()
	}
	return checkpoint.DeadLetter{
		Lane: d.lane.ID, Stream: b.Schema.Stream, Position: []byte(d.chunk.To), Step: step, Column: bad.Column,
		Code: fault.Code(bad.Err), Reason: reason, Version: b.System.Versions.At(bad.Index).String(),
		Op: b.System.Op(bad.Index).String(), Row: b.AppendJSON(nil, bad.Index), At: time.Now().UTC(),
	}
}

// judgedFrom is the number of records from which the share of dead letters means something.
const judgedFrom = 1000

func (d *delivery) tooManyLetters() error {
	share, read := d.board.badShare()
	if limit := d.run.pipeline.StopAfter; limit > 0 && read >= judgedFrom && share > limit {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-002", Place: d.lane.ID,
			Err:    fmt.Errorf("%.1f %% of %d records are dead letters, above the limit of %.1f %%", 100*share, read, 100*limit),
			Remedy: "look at the dead letters, mend the source or the steps, and start again; nothing is lost",
		}
	}
	return nil
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
