package handlertest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/acequia-io/acequia/handlers"
)

// durable gives some memory as the state store does.
func durable(all ...handlers.Memory) handlers.Blocks {
	return func(string) iter.Seq2[handlers.Block, error] {
		return func(yield func(handlers.Block, error) bool) {
			for _, m := range all {
				if len(m.Block) > 0 && !yield(handlers.Block{Lane: "lane", Data: m.Block}, nil) {
					return
				}
			}
		}
	}
}

// remembers: a tracker that begins with what was saved goes on as the one that saved it, and what was not saved is as if it
// had never been: its records are read again.
func remembers(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	stateful, ok := handler.(handlers.Stateful)
	if !ok {
		return nil
	}
	tracker, err := stateful.Track(ctx, "lane", durable())
	if err != nil {
		return err
	}
	batch := m.batch(several, plain)
	first, err := tracker.Handle(ctx, batch)
	if err != nil {
		return err
	}
	tracker.Close()
	if tracker, err = stateful.Track(ctx, "lane", durable()); err != nil {
		return err
	}
	again, err := tracker.Handle(ctx, batch)
	if err != nil {
		return err
	}
	if err := differ("after an incarnation that saved nothing", images(again), images(first)); err != nil {
		return err
	}
	saved := tracker.Cut()
	if more := tracker.Cut(); len(more.Block) > 0 {
		return fmt.Errorf("a second Cut gives %d bytes of what the first one gave", len(more.Block))
	}
	on, err := tracker.Handle(ctx, batch)
	if err != nil {
		return err
	}
	for name, build := range map[string]func() (handlers.Handler, error){
		"in the same process": func() (handlers.Handler, error) { tracker.Close(); return handler, nil }, "in another process": h.handler,
	} {
		if err := goesOn(ctx, build, saved, func(t handlers.Tracker) error {
			out, err := t.Handle(ctx, batch)
			if err != nil {
				return err
			}
			return differ("after an incarnation that saved, "+name, images(out), images(on))
		}); err != nil {
			return err
		}
	}
	return refusesBlocks(ctx, h)
}

func goesOn(ctx context.Context, build func() (handlers.Handler, error), saved handlers.Memory, check func(handlers.Tracker) error) error {
	handler, err := build()
	if err != nil {
		return err
	}
	stateful, ok := handler.(handlers.Stateful)
	if !ok {
		return errors.New("the handler is stateful only sometimes")
	}
	t, err := stateful.Track(ctx, "lane", durable(saved))
	if err != nil {
		return err
	}
	defer t.Close()
	return check(t)
}

// refusesBlocks: what cannot be read, or is damaged, is no empty memory.
func refusesBlocks(ctx context.Context, h Harness) error {
	unread := errors.New("cannot be read")
	for name, blocks := range map[string]handlers.Blocks{
		"damaged": durable(handlers.Memory{Block: []byte("damaged")}),
		"unread": func(string) iter.Seq2[handlers.Block, error] {
			return func(yield func(handlers.Block, error) bool) { yield(handlers.Block{}, unread) }
		},
	} {
		handler, err := h.handler()
		if err != nil {
			return err
		}
		if stateful, ok := handler.(handlers.Stateful); ok {
			if _, err := stateful.Track(ctx, "lane", blocks); err == nil {
				return fmt.Errorf("it takes %s memory", name)
			}
		}
	}
	return nil
}
