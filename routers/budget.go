package routers

import (
	"context"
	"sync"

	"github.com/acequia-io/acequia/record"
)

// Budget is the memory that all lanes of the process share: a quarter of it for batches in flight, 35 % for open
// writers. When either runs out the lane that holds most is asked to close its group.
type Budget struct {
	batches, writers int // limits in bytes; 0: none

	mu       sync.Mutex
	inFlight int
	held     int
	accounts map[*account]struct{}
	freed    chan struct{} // closed and replaced when memory is given back
}

// NewBudget shares a number of bytes; 0 sets no limit.
func NewBudget(bytes int) *Budget {
	return &Budget{batches: bytes / 4, writers: bytes * 35 / 100, accounts: map[*account]struct{}{}, freed: make(chan struct{})}
}

// InFlight is the memory of the batches that were read and not yet let go, in bytes.
func (b *Budget) InFlight() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inFlight
}

// account is what one lane holds of the budget.
type account struct {
	budget   *Budget
	inFlight int
	held     int
	pressed  chan struct{} // one token: close the open group
}

func (b *Budget) open() *account {
	a := &account{budget: b, pressed: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accounts[a] = struct{}{}
	return a
}

// close ends the account; batches still in flight stay charged until they are released.
func (a *account) close() {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.budget.held -= a.held
	delete(a.budget.accounts, a)
}

// charge waits until the chunk fits, and charges it until its batches are released. A lane that has nothing in flight
// never waits: that is its reserved batch, and what keeps the lanes from waiting for each other.
func (a *account) charge(ctx context.Context, chunk record.Chunk) error {
	size := 0
	for _, batch := range chunk.Batches {
		size += batch.Size()
	}
	for !a.take(size) {
		b := a.budget
		b.mu.Lock()
		freed := b.freed
		full := b.inFlight+size > b.batches && a.inFlight > 0
		b.mu.Unlock()
		if !full {
			continue
		}
		select {
		case <-freed:
		case <-ctx.Done():
			chunk.Release()
			return ctx.Err()
		}
	}
	for _, batch := range chunk.Batches {
		n := batch.Size()
		batch.OnRelease(func() { a.give(n) })
	}
	return nil
}

func (a *account) take(size int) bool {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.batches > 0 && b.inFlight+size > b.batches && a.inFlight > 0 {
		b.press(func(a *account) int { return a.inFlight })
		return false
	}
	b.inFlight += size
	a.inFlight += size
	return true
}

func (a *account) give(size int) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight -= size
	a.inFlight -= size
	close(b.freed)
	b.freed = make(chan struct{})
}

// holds tells what the lane's open writers hold now.
func (a *account) holds(bytes int) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held += bytes - a.held
	a.held = bytes
	if b.writers > 0 && b.held > b.writers {
		b.press(func(a *account) int { return a.held })
	}
}

// press asks the lane that holds most to close its group.
func (b *Budget) press(by func(*account) int) {
	var most *account
	for a := range b.accounts {
		if most == nil || by(a) > by(most) {
			most = a
		}
	}
	if most == nil {
		return
	}
	select {
	case most.pressed <- struct{}{}:
	default:
	}
}
