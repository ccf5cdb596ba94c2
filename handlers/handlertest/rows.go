package handlertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// some chooses rows to make bad, the first and the last more often than others; none when the handler refuses none.
func (m *maker) some(rows int) map[int]bool {
	bad := map[int]bool{}
	if m.h.Bad == nil {
		return bad
	}
	for range 1 + m.rng.IntN(10) {
		bad[m.rng.IntN(rows)] = true
	}
	for _, edge := range []int{0, rows - 1} {
		if m.rng.IntN(2) == 0 {
			bad[edge] = true
		}
	}
	return bad
}

func all(rows int) map[int]bool {
	bad := make(map[int]bool, rows)
	for i := range rows {
		bad[i] = true
	}
	return bad
}

// constants: a constant column is worth the same as its value in every row.
func constants(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for range 10 {
		for _, s := range []style{steady, hollow} {
			b := m.batch(several, s)
			wide, err := expanded(b)
			if err != nil {
				return err
			}
			got, err := handler.Handle(ctx, b)
			if err != nil {
				return err
			}
			want, err := handler.Handle(ctx, wide)
			if err != nil {
				return err
			}
			if err := differ("constant columns", images(got), images(want)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsAlone: what becomes of a row does not depend on where a batch was cut.
func rowsAlone(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	b := m.batch(several, gappy)
	whole, err := handler.Handle(ctx, b)
	if err != nil {
		return err
	}
	var parts []*record.Batch
	for at := 0; at < b.Rows; {
		end := min(b.Rows, at+1+m.rng.IntN(70))
		rows := make([]int32, 0, end-at)
		for ; at < end; at++ {
			rows = append(rows, int32(at))
		}
		out, err := handler.Handle(ctx, b.Select(rows))
		if err != nil {
			return err
		}
		parts = append(parts, out...)
	}
	return differ("in smaller batches", images(parts), images(whole))
}

// empty: a batch without rows is no error, and gives none.
func empty(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range styles() {
		out, err := handler.Handle(ctx, m.batch(0, s))
		if err != nil {
			return err
		}
		if rows := images(out); len(rows) > 0 {
			return fmt.Errorf("%d rows came out of none", len(rows))
		}
	}
	return nil
}

// deletes: a truncate holds nothing and a delete may hold only its key; refusing them would keep dead records alive.
func deletes(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, leave := range []func(*record.Builder, int){(*record.Builder).Null, (*record.Builder).Absent} {
		for _, ops := range [][]record.Op{{record.Truncate, record.Delete}, {record.Truncate}} {
			in := m.removals(leave, ops)
			out, err := handler.Handle(ctx, in)
			if err != nil {
				return err
			}
			want := images([]*record.Batch{in})
			if err := sameRows(h, want, images(out)); err != nil {
				return err
			}
			if got := images(out); len(got) == 0 || got[0].System != want[0].System {
				return errors.New("the truncate did not pass")
			}
		}
	}
	return nil
}

// removals makes a row an operation: of a delete the key alone, of a truncate nothing.
func (m *maker) removals(leave func(*record.Builder, int), ops []record.Op) *record.Batch {
	b := record.NewBuilder(m.h.Schema, len(ops))
	for row, op := range ops {
		for i, f := range m.h.Schema.Fields {
			switch {
			case op == record.Delete && slices.Contains(m.h.Schema.Key, i):
				m.set(b, i, row, plain, false)
			case f.Nullable:
				leave(b, i)
			}
		}
		b.Next()
	}
	*b.System() = m.system(len(ops), plain)
	b.System().Ops = ops
	b.System().Routes = record.Routes{} // for every sink
	return b.Batch(nil)
}

// namesBadRows: the error has the bad rows, no others, in order; and nothing else comes.
func namesBadRows(ctx context.Context, h Harness, m *maker) error {
	if h.Bad == nil {
		return nil
	}
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, bad := range []map[int]bool{m.some(several), m.some(several), {0: true}, {several - 1: true}, all(several)} {
		for _, s := range []style{plain, gappy} {
			out, err := handler.Handle(ctx, m.build(several, s, bad, nil))
			if len(out) > 0 {
				return errors.New("batches came out although rows were bad")
			}
			if err := named(h, err, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

// named says what is wrong with an error that should name the bad rows.
func named(h Harness, err error, bad map[int]bool) error {
	var rows *fault.Rows
	if !errors.As(err, &rows) {
		return fmt.Errorf("bad rows gave no fault.Rows but: %w", err)
	}
	if c := fault.Of(err); c != fault.Poison {
		return fmt.Errorf("bad rows are poison, not %s", c)
	}
	last := -1
	for _, r := range rows.Bad {
		switch {
		case !bad[r.Index]:
			return fmt.Errorf("row %d is named and is good: %w", r.Index, r.Err)
		case r.Index <= last:
			return fmt.Errorf("row %d stands after row %d", r.Index, last)
		case r.Err == nil:
			return fmt.Errorf("row %d has no reason", r.Index)
		case r.Column != "" && h.Schema.Index(r.Column) < 0:
			return fmt.Errorf("row %d: column %q is not one of the input", r.Index, r.Column)
		case len(r.Err.Error()) > 300 || !utf8.ValidString(r.Err.Error()):
			return fmt.Errorf("row %d: the reason is not a short text, it has %d bytes", r.Index, len(r.Err.Error()))
		}
		last = r.Index
	}
	if len(rows.Bad) != len(bad) {
		return fmt.Errorf("%d rows are bad, %d are named", len(bad), len(rows.Bad))
	}
	return nil
}

// rowsLeft: given again without its bad rows, the batch passes as if they had never been there.
func rowsLeft(ctx context.Context, h Harness, m *maker) error {
	if h.Bad == nil {
		return nil
	}
	handler, err := h.handler()
	if err != nil {
		return err
	}
	bad := m.some(several)
	b := m.build(several, gappy, bad, nil)
	if _, err := handler.Handle(ctx, b); err == nil {
		return errors.New("bad rows were taken")
	}
	indexes := make([]int, 0, len(bad))
	for i := range bad {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	left := b.Without(indexes)
	out, err := handler.Handle(ctx, left)
	if err != nil {
		return fmt.Errorf("the rows that are left: %w", err)
	}
	fresh, err := h.handler()
	if err != nil {
		return err
	}
	want, err := fresh.Handle(ctx, left)
	if err != nil {
		return err
	}
	return differ("after a refusal", images(out), images(want))
}

// badConstant: the value of a constant column is in every row.
func badConstant(ctx context.Context, h Harness, m *maker) error {
	if h.Bad == nil {
		return nil
	}
	handler, err := h.handler()
	if err != nil {
		return err
	}
	out, err := handler.Handle(ctx, m.build(several, steady, all(several), nil))
	if len(out) > 0 {
		return errors.New("batches came out although rows were bad")
	}
	return named(h, err, all(several))
}

// lanes: each lane has a goroutine of its own and all share the handler.
func lanes(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	batches := make([]*record.Batch, 8)
	want := make([][]row, len(batches))
	for i := range batches {
		batches[i] = m.batch(several, styles()[i%len(styles())])
		alone, err := h.handler()
		if err != nil {
			return err
		}
		out, err := alone.Handle(ctx, batches[i])
		if err != nil {
			return err
		}
		want[i] = images(out)
	}
	errs := make([]error, len(batches))
	var wait sync.WaitGroup
	for lane := range errs {
		wait.Go(func() {
			for k := range batches {
				i := (lane + k) % len(batches)
				errs[lane] = errors.Join(errs[lane], sameAs(ctx, handler, batches[i], want[i]))
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func sameAs(ctx context.Context, handler handlers.Handler, b *record.Batch, want []row) error {
	out, err := handler.Handle(ctx, b)
	if err != nil {
		return err
	}
	defer release(out)
	return differ("with other lanes beside", images(out), want)
}

// ended: a context that has ended ends the call, with its error or with the result.
func ended(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	b := m.batch(several, plain)
	complete, err := handler.Handle(ctx, b)
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	result := make(chan error, 1)
	go func() {
		out, err := handler.Handle(over, b)
		switch {
		case err == nil:
			err = differ("with an ended context", images(out), images(complete))
		case !errors.Is(err, context.Canceled):
			err = fmt.Errorf("an ended context gave another error than its own: %w", err)
		case len(out) > 0:
			err = errors.New("batches came with an error")
		default:
			err = nil
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(5 * time.Second):
		return errors.New("handle goes on 5 s after its context ended")
	}
}
