package sqs

import (
	"context"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/messaging"
)

// remembered is how many of the messages that were deleted are known, to know them when they come again: a delete may be lost, and a
// standard queue gives some messages twice.
const remembered = 1 << 16

// flight is the messages that were received and not yet answered.
type flight struct {
	most int // messages

	mu      sync.Mutex
	flying  int           // messages, and places for those that a receive may give
	held    int           // bytes of bodies that no read has taken
	roomy   chan struct{} // closed, and made anew, when there is more room
	byID    map[string]*message
	deleted map[string]struct{}
	order   []string // of deleted, a ring
	next    int      // in order
	twice   int64    // messages that came again while they were in flight, or after they were deleted
}

func newFlight(most int) *flight {
	return &flight{most: most, roomy: make(chan struct{}), byID: map[string]*message{}, deleted: map[string]struct{}{}}
}

// reserve waits for room for a receive. press is called when there is none.
func (f *flight) reserve(ctx context.Context, press func()) error {
	for {
		f.mu.Lock()
		room := f.flying+messaging.MostEntries <= f.most && f.held < maxHeld
		if room {
			f.flying += messaging.MostEntries
		}
		changed := f.roomy
		f.mu.Unlock()
		if room {
			return ctx.Err()
		}
		press()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// admit takes what a receive gave in place of what was reserved for it. Of a message that is in flight already only the handle is
// taken; one that was deleted is given apart, to be deleted again.
func (f *flight) admit(all []messaging.Message, at time.Time, hidden time.Duration) (fresh, again []*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying -= messaging.MostEntries
	for _, m := range all {
		if known := f.byID[m.ID]; known != nil {
			known.Handle, known.until = m.Handle, at.Add(hidden)
			f.twice++
			continue
		}
		one := &message{Message: m, received: at, until: at.Add(hidden), size: len(m.Body), group: m.Group(), receives: m.Receives(), sent: m.Sent()}
		f.byID[m.ID] = one
		f.flying++
		if _, known := f.deleted[m.ID]; known {
			f.twice++
			again = append(again, one)
			continue
		}
		f.held += one.size
		fresh = append(fresh, one)
	}
	f.widen()
	return fresh, again
}

// widen tells those that wait for room. The caller holds mu.
func (f *flight) widen() {
	close(f.roomy)
	f.roomy = make(chan struct{})
}

// grow counts what a body has more than its message had, when it was fetched.
func (f *flight) grow(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held += bytes
}

// taken says that a read has taken bodies.
func (f *flight) taken(bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held -= bytes
	f.widen()
}

// slim lets go of all but what an answer needs.
func (f *flight) slim(m *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.Message = messaging.Message{ID: m.ID, Handle: m.Handle}
}

// full says whether a receive has no room.
func (f *flight) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byID)+messaging.MostEntries > f.most
}

// forget lets messages go.
func (f *flight) forget(all []*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range all {
		if f.byID[m.ID] == m {
			delete(f.byID, m.ID)
			f.flying--
		}
	}
	f.widen()
}

// remember notes messages that are being deleted.
func (f *flight) remember(all []*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range all {
		if _, known := f.deleted[m.ID]; known {
			continue
		}
		f.deleted[m.ID] = struct{}{}
		if len(f.order) < remembered {
			f.order = append(f.order, m.ID)
			continue
		}
		delete(f.deleted, f.order[f.next])
		f.order[f.next] = m.ID
		f.next = (f.next + 1) % remembered
	}
}

// handles gives those of messages, as they are now.
func (f *flight) handles(all []*message) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]string, len(all))
	for i, m := range all {
		out[i] = m.Handle
	}
	return out
}

// due gives messages that others can see soon.
func (f *flight) due(before time.Time) (out []*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.byID {
		if m.until.Before(before) {
			out = append(out, m)
		}
	}
	return out
}

// hidden notes for how long messages are hidden.
func (f *flight) hidden(all []*message, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range all {
		m.until = until
	}
}

// oldest is when the queue got the oldest message in flight; zero: there is none.
func (f *flight) oldest() (sent time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.byID {
		if at := time.UnixMicro(m.sent); m.sent > 0 && (sent.IsZero() || at.Before(sent)) {
			sent = at
		}
	}
	return sent
}
