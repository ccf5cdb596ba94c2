package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/acequia-io/acequia/internal/postgres"
)

// pool lends connections, so that a hundred tables do not take a hundred of the server's.
type pool struct {
	options postgres.Options
	places  chan struct{}

	mu   sync.Mutex
	idle []*postgres.Conn
}

func newPool(o postgres.Options, most int) *pool {
	return &pool{options: o, places: make(chan struct{}, most)}
}

// resized is the pool with another number of places, before anybody is lent a connection; those that wait come with it.
func (p *pool) resized(most int) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := newPool(p.options, most)
	to.idle, p.idle = p.idle, nil
	return to
}

// get waits for a place, and gives a connection that is to be given back with put.
func (p *pool) get(ctx context.Context) (*postgres.Conn, error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	var c *postgres.Conn
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle = p.idle[:n-1]
	}
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := postgres.Connect(ctx, p.options)
	if err != nil {
		<-p.places
		return nil, err
	}
	return c, nil
}

// put takes a connection back. One whose work failed, or that is in a transaction, is closed; when it was lost, so are those that
// nobody uses, for they were lost with it.
func (p *pool) put(ctx context.Context, c *postgres.Conn, err error) {
	defer func() { <-p.places }()
	if err != nil || c.IsClosed() || c.PgConn().TxStatus() != 'I' {
		lost := c.IsClosed() && ctx.Err() == nil
		_ = c.Close(context.WithoutCancel(ctx))
		if lost {
			_ = p.close(context.WithoutCancel(ctx)) // there may be nobody to tell
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// close ends the connections that nobody uses.
func (p *pool) close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.Close(ctx))
	}
	p.idle = nil
	return errors.Join(errs...)
}

// with runs something on a connection.
func (s *Source) with(ctx context.Context, do func(c *postgres.Conn) error) error {
	c, err := s.pool.get(ctx)
	if err != nil {
		return err
	}
	err = do(c)
	s.pool.put(ctx, c, err)
	return err
}
