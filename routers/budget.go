package routers

import (
	"context"
	"fmt"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Budget is the memory that all lanes of the process share, for batches in flight, for open writers and for what steps
// remember, which may be half of it. When it runs out, reads wait, and the lane that holds most in its open group closes it at once. A lane that holds nothing may
// always read one chunk, and a commit never waits, so lanes cannot wait for each other for ever.
type Budget struct {
	limit int // bytes; 0: none

	mu       sync.Mutex
	used     int
	accounts map[*account]struct{}
	kept     map[*Run]int  // bytes that steps remember
	waiting  int           // reads
	freed    chan struct{} // closed and replaced when memory comes back while a read waits
}

// NewBudget makes a budget of a number of bytes; 0 sets no limit.
func NewBudget(bytes int) *Budget {
	return &Budget{limit: bytes, accounts: map[*account]struct{}{}, kept: map[*Run]int{}, freed: make(chan struct{})}
}

// Used is the memory that is charged now, in bytes.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// account is what one incarnation of a lane holds of the budget. Its fields are guarded by the budget's lock.
type account struct {
	budget     *Budget
	batches    int  // bytes of batches that were read and not released
	writers    int  // bytes that the writers hold for the open group
	committing int  // bytes that they held for the group that is being committed
	open       bool // the open group has chunks
	delivering bool // a chunk is on its way through the steps into the sinks
	commits    bool // a group is being committed
	closed     bool
	press      chan struct{} // holds a token: close the open group
}

func (b *Budget) account() *account {
	a := &account{budget: b, press: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[a] = struct{}{}
	return a
}

// room waits until the lane may read a chunk.
func (a *account) room(ctx context.Context) error {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.over() && a.batches+a.writers > 0 {
		b.pressLargest()
		freed := b.freed
		b.waiting++
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		b.waiting--
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// charge takes the memory of a chunk; each batch gives its part back when it is released for the last time.
func (a *account) charge(chunk record.Chunk) {
	for _, batch := range chunk.Batches {
		size := batch.Size()
		a.change(func() { a.batches += size })
		batch.OnRelease(func() { a.change(func() { a.batches -= size }) })
	}
}

// accepted tells that the open group has taken a chunk, and what the writers hold for it now.
func (a *account) accepted(held int) { a.change(func() { a.open, a.writers = true, held }) }

// cut tells that the open group goes to the committer.
func (a *account) cut() {
	a.change(func() { a.open, a.commits, a.committing, a.writers = false, true, a.committing+a.writers, 0 })
	select {
	case <-a.press: // it was for the group that was cut
	default:
	}
}

// committed tells that no group is being committed any more.
func (a *account) committed() { a.change(func() { a.commits, a.committing = false, 0 }) }

// deliver tells that a chunk goes through the steps, or has gone.
func (a *account) deliver(now bool) { a.change(func() { a.delivering = now }) }

// busy says that something is being done, beside a group that waits for more.
func (a *account) busy() bool {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return !a.closed && (a.delivering || a.commits)
}

// held is all that the account holds.
func (a *account) held() int {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return a.sum()
}

func (a *account) sum() int { return a.batches + a.writers + a.committing }

// close gives all back, also what a panic has left unreleased.
func (a *account) close() {
	a.change(func() { a.open, a.batches, a.writers, a.committing = false, 0, 0, 0 })
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.closed = true
	delete(a.budget.accounts, a)
}

// change changes what the account holds, wakes the reads that wait when memory came back, and presses a lane when it
// has run out.
func (a *account) change(do func()) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.closed {
		return
	}
	before := a.sum()
	do()
	b.add(a.sum() - before)
}

// add changes what is used; the lock is held.
func (b *Budget) add(bytes int) {
	b.used += bytes
	if bytes < 0 && b.waiting > 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
	if b.over() {
		b.pressLargest()
	}
}

// keep charges what the steps of a run remember. No group that is closed gives it back, so it is an error when the steps of
// all runs remember more than half of the budget.
func (b *Budget) keep(r *Run, bytes int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(bytes - b.kept[r])
	b.kept[r] = bytes
	all := 0
	for _, n := range b.kept {
		all += n
	}
	if b.limit == 0 || all <= b.limit/2 {
		return nil
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-RUN-007", Place: "pipeline " + r.pipeline.Name,
		Err: fmt.Errorf(
			"its steps remember %d MiB, those of all pipelines %d MiB, and half of the %d MiB for records may be that", bytes>>20, all>>20, b.limit>>20,
		),
		Remedy: "shorten the window of dedupe, or set memory in the configuration to more",
	}
}

// forget gives back what a run had kept.
func (b *Budget) forget(r *Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(-b.kept[r])
	delete(b.kept, r)
}

func (b *Budget) over() bool { return b.limit > 0 && b.used >= b.limit }

// pressLargest asks the lane that holds most in its open group to close it. When no group is open, what is held is on
// its way into one, or being committed, and comes back without it.
func (b *Budget) pressLargest() {
	var largest *account
	for a := range b.accounts {
		if a.open && (largest == nil || a.batches+a.writers > largest.batches+largest.writers) {
			largest = a
		}
	}
	if largest == nil {
		return
	}
	select {
	case largest.press <- struct{}{}:
	default:
	}
}
