package sinktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

func showsRows(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, lines(0, 40)); err != nil {
		return err
	}
	if _, err := o.commit(ctx, 1, lines(40, 100)); err != nil {
		return err
	}
	if _, err := o.commit(ctx, 2, lines(100, 150)); err != nil {
		return err
	}
	return errors.Join(p.wants(lines(0, 150)), o.end(ctx))
}

func keepsValues(ctx context.Context, h Harness, p Place) error {
	all := []line{{id: math.MaxInt64}, {id: math.MinInt64}, {id: 1<<53 + 1}, {id: -1, null: true}}
	for i, text := range []string{"", " ", "null", "NULL", "\x00", "a\x00b", "\n\t\r", `"quoted" 'and' \back`, "ñandú 日本語 👩‍👩‍👧", "\ufeffx", strings.Repeat("long ñ ", 20_000)} {
		if h.Refused != "" && strings.Contains(text, h.Refused) {
			continue
		}
		all = append(all, line{id: int64(i) + 10, text: text})
	}
	for i := range all {
		all[i].op, all[i].version = record.Insert, record.Version{Lo: uint64(i) + 1}
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, all); err != nil {
		return err
	}
	for i, constant := range []record.Column{record.Constant("igual"), {Offsets: []uint32{0, 0}, Valid: []uint64{0}, Const: true}} {
		same := lines(int64(100*(i+1)), int64(100*(i+1)+7))
		for k := range same {
			same[k].text, same[k].null = string(constant.Text(0)), !constant.IsValid(0)
		}
		b, err := batch(same, nil)
		if err != nil {
			return err
		}
		if b, err = record.NewBatch(b.Schema, b.Rows, []record.Column{b.Columns[0], constant}, b.System, nil); err != nil {
			return err
		}
		if err := o.Write(ctx, b); err != nil {
			return fmt.Errorf("write a constant column: %w", err)
		}
		all = append(all, same...)
	}
	if _, err := o.commit(ctx, 1, nil); err != nil {
		return err
	}
	return errors.Join(p.wants(all), o.end(ctx))
}

// carriesSystem inserts records, then updates some and deletes the others, with versions of all parts.
func carriesSystem(ctx context.Context, _ Harness, p Place) error {
	inserted, changed := lines(0, 40), lines(0, 40)
	for i := range inserted {
		inserted[i].version = record.Version{Epoch: 3, Hi: math.MaxUint64 - 1, Lo: uint64(i), Index: uint32(i)}
		changed[i].version = record.Version{Epoch: 3, Hi: math.MaxUint64, Lo: uint64(i), Index: math.MaxUint32}
		if changed[i].op, changed[i].text, changed[i].null = record.Update, "otra", false; i%3 == 0 {
			changed[i].op, changed[i].text, changed[i].null = record.Delete, "", true
		}
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	for i, all := range [][]line{inserted, changed} {
		if _, err := o.commit(ctx, int64(i)+1, all); err != nil {
			return err
		}
	}
	return errors.Join(p.wants(append(inserted, changed...)), o.end(ctx))
}

// wide is a number of rows that has more days than a sink will keep open files for.
const wide = 800

// cuts stages and publishes a group while the next one is written.
func cuts(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, lines(0, wide)); err != nil {
		return err
	}
	first := o.Cut(sinks.Group{Ordinal: 1})
	if err := o.write(ctx, lines(wide, wide+10)); err != nil {
		return err
	}
	var published error
	var side sync.WaitGroup
	side.Go(func() {
		var m sinks.Manifest
		if m, published = staged(ctx, first); published == nil {
			published = o.publish(ctx, m)
		}
	})
	for lo := int64(wide + 10); lo < wide+100; lo += 10 {
		if err = o.write(ctx, lines(lo, lo+10)); err != nil {
			break
		}
	}
	side.Wait()
	if err := errors.Join(err, published); err != nil {
		return err
	}
	if err := p.wants(lines(0, wide)); err != nil {
		return fmt.Errorf("after the first group: %w", err)
	}
	if _, err := o.commit(ctx, 2, lines(wide+100, wide+110)); err != nil {
		return err
	}
	return errors.Join(p.wants(lines(0, wide+110)), o.end(ctx))
}

func leavesNothing(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	for ordinal, write := range []func() error{
		func() error { return nil },
		func() error { return o.write(ctx, nil) },
	} {
		if err := write(); err != nil {
			return fmt.Errorf("an empty batch: %w", err)
		}
		m, err := o.stage(ctx, int64(ordinal)+1)
		if err != nil {
			return err
		}
		if len(m.Files) > 0 {
			return fmt.Errorf("an empty group has %d files", len(m.Files))
		}
		if err := errors.Join(o.publish(ctx, m), p.wants(nil), p.wantsStaged(0)); err != nil {
			return err
		}
	}
	return o.end(ctx)
}

// badLines are lines lo to lo+9, of which three hold the text that is refused.
func badLines(h Harness, lo int64) (all []line, bad []int) {
	all, bad = lines(lo, lo+10), []int{1, 4, 9}
	for _, i := range bad {
		all[i].text, all[i].null = h.Refused, false
	}
	return all, bad
}

func namesBadRows(ctx context.Context, h Harness, p Place) error {
	if h.Refused == "" {
		return nil
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	all, bad := badLines(h, 0)
	refused, ok := errors.AsType[*fault.Rows](o.write(ctx, all))
	if !ok {
		return errors.New("bad rows were not refused as fault.Rows")
	}
	var named []int
	for _, r := range refused.Bad {
		named = append(named, r.Index)
		if r.Err == nil {
			return fmt.Errorf("row %d is refused without a reason", r.Index)
		}
		if strings.Contains(r.Err.Error(), h.Refused) {
			return fmt.Errorf("row %d: the reason tells the value", r.Index)
		}
	}
	if !slices.Equal(named, bad) {
		return fmt.Errorf("rows %v are named, want %v", named, bad)
	}
	if m, err := o.stage(ctx, 1); err != nil || len(m.Files) > 0 {
		return fmt.Errorf("a refused batch left something: %v %w", m, err)
	}
	return errors.Join(p.wants(nil), o.end(ctx))
}

// takesNothing refuses a batch in the middle of a group, which goes on without the bad rows.
func takesNothing(ctx context.Context, h Harness, p Place) error {
	if h.Refused == "" {
		return nil
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, lines(0, 20)); err != nil {
		return err
	}
	all, bad := badLines(h, 20)
	b, err := batch(all, nil)
	if err != nil {
		return err
	}
	before := o.held()
	for range 2 {
		if _, ok := errors.AsType[*fault.Rows](o.Write(ctx, b)); !ok {
			return errors.New("bad rows were not refused as fault.Rows")
		}
	}
	if held := o.held(); held != before {
		return fmt.Errorf("%d bytes are held after a refused batch, %d before", held, before)
	}
	if err := o.Write(ctx, b.Without(bad)); err != nil {
		return fmt.Errorf("write without the bad rows: %w", err)
	}
	if _, err := o.commit(ctx, 1, lines(30, 40)); err != nil {
		return err
	}
	want := slices.DeleteFunc(lines(0, 40), func(l line) bool { return l.id >= 20 && slices.Contains(bad, int(l.id)-20) })
	return errors.Join(p.wants(want), o.end(ctx))
}

// held is what the writer holds, or 0 when it does not say.
func (o *owner) held() int {
	if h, ok := o.Writer.(sinks.Holder); ok {
		return h.Held()
	}
	return 0
}

func holds(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if _, ok := o.Writer.(sinks.Holder); !ok {
		return o.end(ctx)
	}
	for ordinal := int64(1); ordinal <= 2; ordinal++ {
		if n := o.held(); n != 0 {
			return fmt.Errorf("an empty group holds %d bytes", n)
		}
		if err := o.write(ctx, lines(0, 2000)); err != nil {
			return err
		}
		if n := o.held(); n <= 0 {
			return fmt.Errorf("2000 rows hold %d bytes", n)
		}
		if ordinal > 1 {
			break
		}
		group := o.Cut(sinks.Group{Ordinal: ordinal})
		if n := o.held(); n != 0 {
			return fmt.Errorf("%d bytes are held for the open group after a cut", n)
		}
		if _, err := staged(ctx, group); err != nil {
			return err
		}
	}
	err = o.Close(ctx)
	if n := o.held(); n != 0 {
		return fmt.Errorf("%d bytes are held after the end", n)
	}
	return errors.Join(err, o.sink.Close(ctx))
}

// retains spoils the memory of each batch when its last reference goes. The batches have many days, so that a sink
// which regroups rows has to keep them.
func retains(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	gone := 0
	give := func(lo, hi int64) error {
		var b *record.Batch
		ours := true
		b, err := batch(lines(lo, hi), func() {
			if gone++; ours {
				gone += 1000 // the writer released what is not its own
			}
			clear(b.Columns[0].Ints)
			clear(b.Columns[1].Bytes)
			clear(b.System.Versions.Lo)
		})
		if err != nil {
			return err
		}
		if err := o.Write(ctx, b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		ours = false
		b.Release()
		return nil
	}
	for lo := int64(0); lo < 1000; lo += 250 {
		if err := give(lo, lo+250); err != nil {
			return err
		}
	}
	if _, err := o.commit(ctx, 1, lines(1000, 1001)); err != nil {
		return err
	}
	if err := p.wants(lines(0, 1001)); err != nil {
		return err
	}
	if gone != 4 {
		return fmt.Errorf("%d of 4 batches are free after their group was staged", gone)
	}
	if err := errors.Join(give(2000, 3000), o.end(ctx)); err != nil { // a group that is let go
		return err
	}
	if gone != 5 {
		return fmt.Errorf("%d of 5 batches are free after the writer was closed", gone)
	}
	return nil
}

func sharesLanes(ctx context.Context, _ Harness, p Place) error {
	first, err := own(ctx, p, "lane-0", 1)
	if err != nil {
		return err
	}
	const lanes, groups, each = 3, 2, wide
	errs := make([]error, lanes)
	var all sync.WaitGroup
	for i := range int64(lanes) {
		all.Go(func() {
			w, err := first.sink.Open(ctx, sinks.Lane{Pipeline: "suite", ID: fmt.Sprintf("lane-%d", i+1), Epoch: 1})
			if err != nil {
				errs[i] = err
				return
			}
			o := &owner{Writer: w, sink: first.sink}
			for g := range int64(groups) {
				lo := (groups*i + g) * each
				if _, err := o.commit(ctx, g+1, lines(lo, lo+each)); err != nil {
					errs[i] = err
					return
				}
			}
			errs[i] = w.Close(ctx)
		})
	}
	all.Wait()
	return errors.Join(errors.Join(errs...), p.wants(lines(0, lanes*groups*each)), first.end(ctx))
}
