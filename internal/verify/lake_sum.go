package verify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// The rows that the lake holds are found in two passes over the keys. The first finds those that may be there more than once,
// with a bit or so a row; of all others the second takes the row as it is, and only of these the newest copy. So memory goes by
// the keys that have several copies, and where there are too many the keys are taken slice by slice.

// errFull says that a slice has too many keys with several copies.
var errFull = errors.New("too many keys have several copies")

// sum hands over the hashes of all rows, or of the rows of some ranges.
func (l *lake) sum(ctx context.Context, wanted map[int32]bool, each func(worker int, h *hashed) error) error {
	pieces, err := l.pieces(ctx, nil)
	if err != nil || len(pieces) == 0 {
		return err
	}
	if wanted != nil {
		return l.some(ctx, pieces, wanted, each)
	}
	if err := l.cuts(ctx, pieces); err != nil {
		return err
	}
	pieces, rows := l.standing(pieces)
	ranges := l.ranges.n
	if len(l.key) == 0 {
		l.several.forget()
		if l.byVersion = l.truncated; !l.truncated {
			return l.others(ctx, pieces, slice{0, 1}, each)
		}
		ranges = rangesOfVersions
		each = allOne(each)
	}
	for _, s := range sliced(ranges, rows) {
		if err := l.slice(ctx, pieces, s, rows*int64(s.to-s.from)/int64(ranges), each); err != nil {
			return err
		}
	}
	l.seen = filter{} // what comes now needs the memory
	return nil
}

// rangesOfVersions divide the rows of a table without a key, which is one range for all others.
const rangesOfVersions = 256

// allOne hands rows over as those of one range.
func allOne(each func(int, *hashed) error) func(int, *hashed) error {
	return func(worker int, h *hashed) error {
		clear(h.ranges)
		return each(worker, h)
	}
}

// slice hands over the rows of a slice of the keys.
func (l *lake) slice(ctx context.Context, pieces []piece, s slice, rows int64, each func(int, *hashed) error) error {
	err := l.repeat(ctx, pieces, s, rows)
	if errors.Is(err, errFull) && s.to-s.from > 1 {
		for _, half := range s.halves() {
			if err := l.slice(ctx, pieces, half, rows/2, each); err != nil {
				return err
			}
		}
		return nil
	}
	if err == nil {
		err = l.others(ctx, pieces, s, each)
	}
	if err == nil {
		err = l.emit(each)
	}
	return err
}

// cuts looks for the newest truncation among the pieces that may have one.
func (l *lake) cuts(ctx context.Context, pieces []piece) error {
	var some []piece
	for _, p := range pieces {
		if p.truncates {
			some = append(some, p)
		}
	}
	return parallel(ctx, len(some), func(ctx context.Context, _, i int) error {
		at := some[i]
		return l.open(ctx, at.name, func(f *parquet.File) (err error) {
			v := &view{lake: l, piece: at}
			defer func() { err = errors.Join(err, v.close()) }()
			if v.head, err = newPart(f, at.group, []record.Field{opField()}); err != nil {
				return err
			}
			if err := v.bindVersions(f); err != nil {
				return err
			}
			for v.ops = &v.head.columns[0]; v.row < at.rows; v.row += int64(v.n) {
				if err := ctx.Err(); err != nil {
					return err
				}
				v.n, v.known = int(min(rowsOfBatch, at.rows-v.row)), false
				if err := v.head.at(v.row, v.n); err != nil {
					return err
				}
				if err := l.findCut(v); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// standing gives the pieces of which rows may be there still.
func (l *lake) standing(pieces []piece) (out []piece, rows int64) {
	for _, p := range pieces {
		if !l.truncated || !p.below(l.cut) {
			out, rows = append(out, p), rows+p.rows
		}
	}
	return out, rows
}

// findCut looks for truncations in a batch.
func (l *lake) findCut(v *view) error {
	if !v.truncates() {
		return nil
	}
	if err := v.readVersions(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for row := range v.n {
		if v.op(row) == record.Truncate && (!l.truncated || v.versions[row].Compare(l.cut) > 0) {
			l.truncated, l.cut = true, v.versions[row]
		}
	}
	return nil
}

// stands says whether a copy is not gone with a truncation. Rows without a key are those of the newest truncation's epoch.
func (l *lake) stands(v record.Version) bool {
	if !l.truncated {
		return true
	}
	return v.Compare(l.cut) >= 0 && (len(l.key) > 0 || v.Epoch == l.cut.Epoch)
}

// shows says whether a copy may be a row of the view. Without a key rows cannot change.
func (l *lake) shows(op record.Op) bool {
	if len(l.key) == 0 {
		return op == record.Snapshot || op == record.Insert
	}
	return op != record.Delete && op != record.Truncate
}

// repeat finds the keys of a slice that may have several copies.
func (l *lake) repeat(ctx context.Context, pieces []piece, s slice, rows int64) error {
	l.seen.forget(rows)
	l.several.forget()
	var mu sync.Mutex
	var again [workers][]uint64
	return l.each(ctx, pieces, func(worker int, v *view) error {
		list := again[worker][:0]
		for row, h := range v.keys {
			if !s.holds(v.ranges[row]) {
				continue
			}
			if bit := h & l.seen.mask; atomic.OrUint64(&l.seen.words[bit>>6], 1<<(bit&63))>>(bit&63)&1 == 1 {
				list = append(list, h)
			}
		}
		again[worker] = list
		mu.Lock()
		defer mu.Unlock()
		for _, h := range list {
			l.several.add(h)
		}
		if len(l.several.list) > l.most && s.to-s.from > 1 {
			return errFull
		}
		return nil
	})
}

// others hands over the rows whose keys have one copy, and gathers the newest of those that may have several.
func (l *lake) others(ctx context.Context, pieces []piece, s slice, each func(int, *hashed) error) error {
	var mu sync.Mutex
	var outs [workers]hashed
	return l.each(ctx, pieces, func(worker int, v *view) error {
		if !slices.ContainsFunc(v.ranges, s.holds) {
			return nil
		}
		err := v.hashRows()
		if l.truncated && err == nil {
			err = v.readVersions()
		}
		if err != nil {
			return err
		}
		out := &outs[worker]
		out.size(0)
		for row, h := range v.keys {
			if !s.holds(v.ranges[row]) {
				continue
			}
			if at := l.several.find(h); at >= 0 {
				if err := v.put(&mu, at, row); err != nil {
					return err
				}
				continue
			}
			if l.shows(v.op(row)) && (!l.truncated || l.stands(v.versions[row])) {
				out.add(v, row)
			}
		}
		return each(worker, out)
	})
}

// add takes over a row.
func (h *hashed) add(v *view, row int) {
	h.keys, h.rows, h.ranges = append(h.keys, v.keys[row]), append(h.rows, v.rows[row]), append(h.ranges, v.ranges[row])
}

// put gives a row to the copies of its key.
func (v *view) put(mu *sync.Mutex, at int32, row int) error {
	if op := v.op(row); op == record.Truncate || len(v.lake.key) == 0 && !v.lake.shows(op) {
		return nil
	}
	if err := v.readVersions(); err != nil {
		return err
	}
	c := v.copy(row)
	mu.Lock()
	defer mu.Unlock()
	v.lake.several.put(at, &c, v.ranges[row])
	return nil
}

// emit hands over the newest copies.
func (l *lake) emit(each func(int, *hashed) error) error {
	var out hashed
	for i := range l.several.list {
		c := &l.several.list[i]
		if c.op == 0 || c.op == record.Delete || !l.stands(record.Version{Epoch: c.epoch, Hi: c.hi, Lo: c.lo, Index: c.index}) {
			continue
		}
		out.keys, out.rows, out.ranges = append(out.keys, c.key), append(out.rows, c.hash), append(out.ranges, c.rng)
		if len(out.keys) == rowsOfBatch {
			if err := each(0, &out); err != nil {
				return err
			}
			out.size(0)
		}
	}
	return each(0, &out)
}

// some hands over the rows of some ranges, of which there are few enough to keep the newest of each.
func (l *lake) some(ctx context.Context, pieces []piece, wanted map[int32]bool, each func(int, *hashed) error) error {
	l.several.forget()
	pick := func(v *view, row int) (int32, bool) { return 0, wanted[v.ranges[row]] }
	err := l.copies(ctx, pieces, pick, func(v *view, row int, _ int32) error {
		c := v.copy(row)
		l.several.put(l.several.add(v.keys[row]), &c, v.ranges[row])
		return nil
	})
	if err != nil {
		return err
	}
	return l.emit(each)
}

// copies reads the rows that are picked whole, and hands them over, one at a time.
func (l *lake) copies(ctx context.Context, pieces []piece, pick func(v *view, row int) (int32, bool), take func(v *view, row int, n int32) error) error {
	var mu sync.Mutex
	return l.each(ctx, pieces, func(_ int, v *view) error {
		if err := l.findCut(v); err != nil {
			return err
		}
		hashed := false
		for row := range v.n {
			n, ok := pick(v, row)
			if !ok || v.op(row) == record.Truncate {
				continue
			}
			if !hashed {
				hashed = true
				if err := errors.Join(v.hashRows(), v.readVersions()); err != nil {
					return err
				}
			}
			mu.Lock()
			err := take(v, row, n)
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// look sets what the lake holds of the suspects that are open. Files never change: only those that are new are read again.
func (l *lake) look(ctx context.Context, of *suspects, first bool) error {
	if first {
		l.best, l.visited = make([]newest, len(of.sink)), map[string]bool{}
	}
	pieces, err := l.pieces(ctx, l.visited)
	if err != nil {
		return err
	}
	pick := func(v *view, row int) (int32, bool) {
		i, ok := of.index[v.keys[row]]
		return i, ok
	}
	if err := l.copies(ctx, pieces, pick, func(v *view, row int, i int32) error { return l.meet(v, of, i, row) }); err != nil {
		return err
	}
	for _, p := range pieces {
		l.visited[p.name] = true
	}
	for _, i := range of.open {
		b := &l.best[i]
		of.sink[i] = state{}
		if b.there && b.op != record.Delete && l.stands(b.version) {
			of.sink[i] = state{true, b.hash}
		}
	}
	return nil
}

// meet keeps a copy of a suspect if it is the newest.
func (l *lake) meet(v *view, of *suspects, i int32, row int) error {
	c := v.copy(row)
	key := v.head.columns[:len(l.key)]
	of.meet(i, key, row)
	if !c.over(&l.best[i]) {
		return nil
	}
	l.best[i] = c
	if int(i) >= len(of.shown) {
		return nil
	}
	fields, columns := slices.Clone(l.key), slices.Clone(key)
	if !l.keysOnly {
		fields, columns = append(fields, l.columns...), append(columns, v.rest.columns...)
	}
	schema, err := record.NewSchema(l.table.Stream, nil, fields...)
	if err != nil {
		return err
	}
	b, err := record.NewBatch(schema, v.n, columns, record.System{}, nil)
	if err != nil {
		return err
	}
	of.shown[i].sink = cells(b, l.names, row)
	return nil
}
