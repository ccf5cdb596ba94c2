package compaction

import "context"

// loading is a column that is loaded while the one before it is put.
type loading struct {
	column loaded
	field  int
	err    error
	cancel context.CancelFunc
	done   chan struct{} // nil: none is
}

// lookAhead starts to load a field, if there is one. What it may take is what the column in hand leaves.
func (m *merge) lookAhead(ctx context.Context, field int) {
	limit := m.limit - m.column.size()
	if field == len(m.fields) || limit <= 0 {
		return
	}
	a := &m.ahead
	ctx, a.cancel = context.WithCancel(ctx)
	done := make(chan struct{})
	a.field, a.done = field, done
	go func() {
		defer close(done)
		_, a.err = m.load(ctx, &a.column, field, 0, m.rows, limit)
	}()
}

// take waits for a field that is being loaded. It gives nil when none is, or when it could not be loaded: what was wrong, or
// too large, shows when it is loaded again.
func (a *loading) take(field int) *loaded {
	if a.done == nil || a.field != field {
		return nil
	}
	<-a.done
	a.cancel()
	a.done = nil
	if a.err != nil {
		return nil
	}
	return &a.column
}

// stop ends what is under way.
func (a *loading) stop() {
	if a.done != nil {
		a.cancel()
		<-a.done
		a.done = nil
	}
}
