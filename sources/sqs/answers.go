package sqs

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/messaging"
)

// finishWait bounds how long a reader waits for its answers when it ends. What was not answered comes again by itself.
const finishWait = 10 * time.Second

// answer is what a queue is told of a message.
type answer struct {
	*message
	remove bool
	delay  time.Duration // of one that is not removed: until others see it
}

// answers tells the queue what became of messages, in batches, beside what is read.
type answers struct {
	queue   Queue
	flight  *flight
	log     *slog.Logger
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	more   sync.Cond
	todo   []answer
	closed bool
}

func startAnswers(ctx context.Context, q Queue, f *flight, workers int, log *slog.Logger) *answers {
	ctx, cancel := context.WithCancel(ctx)
	a := &answers{queue: q, flight: f, log: log, cancel: cancel}
	a.more.L = &a.mu
	for range workers {
		a.workers.Go(func() { a.work(ctx) })
	}
	return a
}

// delete lets the queue delete messages. They are known from now on, should they come again.
func (a *answers) delete(all []*message) {
	a.flight.remember(all)
	a.add(all, func(*message) answer { return answer{remove: true} })
}

// release shows messages to others at once: nothing is wrong with them.
func (a *answers) release(all []*message) {
	a.flight.forget(all) // they may come back before the answer to the answer
	a.add(all, func(*message) answer { return answer{} })
}

// refuse shows messages to others after a time that grows with each try: a sink that is down for a minute must not make
// dead letters of them. A message group waits as long as the one of its messages that was received most often.
func (a *answers) refuse(all []*message) {
	receives := map[string]int{}
	for _, m := range all {
		receives[m.group] = max(receives[m.group], m.receives)
	}
	a.flight.forget(all)
	a.add(all, func(m *message) answer {
		n := m.receives
		if m.group != "" {
			n = receives[m.group]
		}
		return answer{delay: backOff(n)}
	})
}

const (
	firstBackOff   = 5 * time.Second
	longestBackOff = 15 * time.Minute
)

// backOff is how long a message is hidden that was received n times in vain: 5 s, 15 s, 45 s and so on, less up to a third.
func backOff(n int) time.Duration {
	d := firstBackOff
	for ; n > 1 && d < longestBackOff; n-- {
		d *= 3
	}
	d = min(d, longestBackOff)
	return d - time.Duration(rand.Int64N(int64(d/3))) //nolint:gosec // so that not all come at once
}

func (a *answers) add(all []*message, of func(*message) answer) {
	if len(all) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range all {
		one := of(m)
		one.message = m
		a.todo = append(a.todo, one)
	}
	a.more.Broadcast()
}

// next waits for answers of one kind, for one batch; none: there will be no more.
func (a *answers) next() []answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.todo) == 0 {
		if a.closed {
			return nil
		}
		a.more.Wait()
	}
	n := 1
	for n < min(len(a.todo), messaging.MostEntries) && a.todo[n].remove == a.todo[0].remove {
		n++
	}
	batch := a.todo[:n:n]
	if a.todo = a.todo[n:]; len(a.todo) == 0 {
		a.todo = nil
	}
	return batch
}

func (a *answers) work(ctx context.Context) {
	for batch := a.next(); batch != nil; batch = a.next() {
		a.send(ctx, batch)
	}
}

// answerTries is how often an answer is sent.
const answerTries = 5

// send sends a batch. An entry that failed is sent again, alone with others that failed: the answer was 200 all the same.
func (a *answers) send(ctx context.Context, batch []answer) {
	for {
		failed, err := a.call(ctx, batch)
		if err != nil {
			failed = make([]messaging.Failure, len(batch))
			for i := range failed {
				failed[i] = messaging.Failure{Index: i, Code: "failed", Message: err.Error()}
			}
		}
		var done []*message
		var rest []answer
		next := 0
		for i, one := range batch {
			if next == len(failed) || failed[next].Index != i {
				done = append(done, one.message)
				continue
			}
			f := &failed[next]
			next++
			if one.tries++; f.Sender || one.tries >= answerTries {
				a.log.WarnContext(ctx, "the queue did not take an answer: the message comes again", slog.String("message", one.ID), slog.Bool("delete", one.remove), slog.Any("error", f))
				done = append(done, one.message)
				continue
			}
			rest = append(rest, one)
		}
		a.flight.forget(done)
		if len(rest) == 0 {
			return
		}
		batch = rest
		pause(ctx, pollPause(batch[0].tries)) // an ended context ends the calls, too
	}
}

func (a *answers) call(ctx context.Context, batch []answer) ([]messaging.Failure, error) {
	messages := make([]*message, len(batch))
	times := make([]time.Duration, len(batch))
	for i, one := range batch {
		messages[i], times[i] = one.message, one.delay
	}
	handles := a.flight.handles(messages)
	if batch[0].remove {
		return a.queue.Delete(ctx, handles)
	}
	return a.queue.Hide(ctx, handles, times)
}

// finish waits until all is answered, or for as long as that may take.
func (a *answers) finish() {
	a.mu.Lock()
	a.closed = true
	a.more.Broadcast()
	a.mu.Unlock()
	late := time.AfterFunc(finishWait, a.cancel)
	a.workers.Wait()
	late.Stop()
	a.cancel()
}
