// Package tabular is what sources that read the tables of a database have in common, whatever database it is.
package tabular

import (
	"context"
	"errors"
	"sync"
)

// Conn is a connection that can be lent.
type Conn interface {
	IsClosed() bool // it cannot be used any more
	Idle() bool     // it waits for statements, in no transaction
	Close(ctx context.Context) error
}

// Pool lends connections, so that a hundred tables do not take a hundred of the server's.
type Pool[C Conn] struct {
	connect func(ctx context.Context) (C, error)
	places  chan struct{}

	mu   sync.Mutex
	idle []C
}

// NewPool makes a pool of at most so many connections.
func NewPool[C Conn](most int, connect func(ctx context.Context) (C, error)) *Pool[C] {
	return &Pool[C]{connect: connect, places: make(chan struct{}, most)}
}

// Resized is the pool with another number of places, before anybody is lent a connection; those that wait come with it.
func (p *Pool[C]) Resized(most int) *Pool[C] {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := NewPool(most, p.connect)
	to.idle, p.idle = p.idle, nil
	return to
}

// With waits for a place, and runs something on a connection.
func (p *Pool[C]) With(ctx context.Context, do func(c C) error) error {
	c, err := p.Get(ctx)
	if err != nil {
		return err
	}
	err = do(c)
	p.Put(ctx, c, err)
	return err
}

// Get gives a connection, a new one where none is idle; Put takes it back.
func (p *Pool[C]) Get(ctx context.Context) (c C, err error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return c, ctx.Err()
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	if c, err = p.connect(ctx); err != nil {
		<-p.places
	}
	return c, err
}

// Put takes a connection back. One whose work failed, or that is in a transaction, is closed; when it was lost, so are those that
// nobody uses, for they were lost with it.
func (p *Pool[C]) Put(ctx context.Context, c C, err error) {
	defer func() { <-p.places }()
	if err != nil || !c.Idle() {
		lost := c.IsClosed() && ctx.Err() == nil
		_ = c.Close(context.WithoutCancel(ctx))
		if lost {
			_ = p.Close(context.WithoutCancel(ctx)) // there may be nobody to tell
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// Close ends the connections that nobody uses.
func (p *Pool[C]) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.Close(ctx))
	}
	p.idle = nil
	return errors.Join(errs...)
}
