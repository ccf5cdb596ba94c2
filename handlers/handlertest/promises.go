package handlertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/record"
)

// several is more rows than two words of a bitmap hold.
const several = 150

func styles() []style { return []style{plain, gappy, steady, hollow} }

// describes: the plugin has a name and a sentence, gives a new configuration each time, and takes no other.
func describes(_ context.Context, h Harness, _ *maker) error {
	p := h.Plugin
	if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(p.Type) {
		return fmt.Errorf("type %q is not a lower case name", p.Type)
	}
	if !strings.HasSuffix(p.Doc, ".") {
		return fmt.Errorf("doc %q is not a sentence", p.Doc)
	}
	a, b := reflect.ValueOf(p.Config()), reflect.ValueOf(p.Config())
	if a.Kind() != reflect.Pointer || a.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config gives a %s, not a pointer to a struct", a.Type())
	}
	if a.Elem().NumField() > 0 && a.Pointer() == b.Pointer() {
		return errors.New("config gives the same pointer twice: two handlers would share their settings")
	}
	for i := range a.Elem().NumField() {
		if f := a.Elem().Type().Field(i); f.IsExported() && f.Tag.Get("yaml") == "" {
			return fmt.Errorf("config field %s has no yaml tag", f.Name)
		}
	}
	if _, err := p.New(&struct{ NotMine int }{}); err == nil {
		return errors.New("new takes the configuration of another plugin")
	}
	_, err := h.handler()
	return err
}

// refusesSettings: each wrong setting is an error that says which.
func refusesSettings(_ context.Context, h Harness, _ *maker) error {
	for word, settings := range h.Wrong {
		_, err := h.configured(settings)
		if err == nil {
			return fmt.Errorf("settings were taken: %s", settings)
		}
		if !strings.Contains(err.Error(), word) {
			return fmt.Errorf("the error does not say %q: %w", word, err)
		}
	}
	return nil
}

// refusesSchemas: what cannot work is said before a record flows, and stops the lane when one flows all the same.
func refusesSchemas(ctx context.Context, h Harness, _ *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range h.Unfit {
		if shaper, ok := handler.(handlers.Shaper); ok {
			if _, err := shaper.Shape(s); err == nil {
				return fmt.Errorf("shape takes schema %s", s.Stream)
			}
		}
		b := record.NewBuilder(s, 1)
		b.Next()
		out, err := handler.Handle(ctx, b.Batch(nil))
		switch {
		case err == nil:
			return fmt.Errorf("handle takes schema %s", s.Stream)
		case fault.Of(err) != fault.Fatal:
			return fmt.Errorf("a schema that does not fit is fatal, not %s: %w", fault.Of(err), err)
		case len(out) > 0:
			return errors.New("batches came with an error")
		}
	}
	return nil
}

// shapes: Shape tells the schema that Handle gives, which is the same pointer for the same input schema.
func shapes(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	want := h.Schema
	before := slices.Clone(h.Schema.Fields)
	if shaper, ok := handler.(handlers.Shaper); ok {
		if want, err = shaper.Shape(h.Schema); err != nil {
			return fmt.Errorf("shape: %w", err)
		}
	}
	for range 2 {
		out, err := handler.Handle(ctx, m.batch(several, plain))
		if err != nil {
			return err
		}
		for _, b := range out {
			if b.Schema != want {
				return fmt.Errorf("a batch has schema %s %v, the shape is %s %v: sinks compare the pointers",
					b.Schema.Stream, b.Schema.Fields, want.Stream, want.Fields)
			}
		}
	}
	if !reflect.DeepEqual(before, h.Schema.Fields) {
		return errors.New("the input's schema was changed")
	}
	return nil
}

// inputUnchanged: a batch is shared by sinks and lanes; a handler that writes into it writes into their rows.
func inputUnchanged(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range styles() {
		for _, bad := range []map[int]bool{nil, m.some(several)} {
			b := m.build(several, s, bad, nil)
			before := contentOf(b)
			out, err := handler.Handle(ctx, b)
			if err != nil && bad == nil {
				return err
			}
			if d := before.diff(contentOf(b)); d != "" {
				return fmt.Errorf("the input was changed (-before +after):\n%s", d)
			}
			release(out)
			if d := before.diff(contentOf(b)); d != "" {
				return fmt.Errorf("the input was changed when what came out was released (-before +after):\n%s", d)
			}
		}
	}
	return nil
}

// references: every reference that Handle takes goes when what came out is released, and none before.
func references(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range styles() {
		for _, bad := range []map[int]bool{nil, m.some(several)} {
			freed := 0
			b := m.build(several, s, bad, func() { freed++ })
			out, err := handler.Handle(ctx, b)
			if err != nil && bad == nil {
				return err
			}
			if freed != 0 {
				return errors.New("the handler released the caller's reference")
			}
			release(out)
			if freed != 0 {
				return errors.New("a batch that came out has no reference of its own on what went in")
			}
			b.Release()
			if freed == 0 {
				return errors.New("a reference on the input is left when all that came out is released")
			}
			if freed > 1 {
				return fmt.Errorf("the input was freed %d times", freed)
			}
		}
	}
	return nil
}

// outlives: what came out keeps the memory that it shares with the input, also when the caller lets the input go first.
func outlives(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range styles() {
		var b *record.Batch
		b = m.build(several, s, nil, func() { spoil(b) })
		out, err := handler.Handle(ctx, b)
		if err != nil {
			return err
		}
		want := images(out)
		b.Release()
		if err := differ("after the input was released", images(out), want); err != nil {
			return err
		}
		release(out)
	}
	return nil
}

// carriesSystem: what is known of a record stays with it.
func carriesSystem(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range styles() {
		b := m.batch(several, s)
		out, err := handler.Handle(ctx, b)
		if err != nil {
			return err
		}
		if err := sameRows(h, images([]*record.Batch{b}), images(out)); err != nil {
			return err
		}
	}
	return nil
}

// becomes gives what the system data of a row may be when it comes out.
func (h Harness) becomes(system string) []string {
	if !h.Forgets {
		return []string{system}
	}
	return []string{system, strings.Replace(system, " op=U ", " op=D ", 1)}
}

// sameRows compares the system data of the rows that went in with those that came out.
func sameRows(h Harness, in, out []row) error {
	if !h.Resizes && len(in) != len(out) {
		return fmt.Errorf("%d rows went in and %d came out", len(in), len(out))
	}
	next := 0
	for i, r := range out {
		if !h.Resizes && r.System != in[i].System {
			return fmt.Errorf("row %d: system data is %s, was %s", i, r.System, in[i].System)
		}
		at := slices.IndexFunc(in[next:], func(o row) bool { return slices.Contains(h.becomes(o.System), r.System) })
		if at < 0 {
			return fmt.Errorf("row %d: system data %s is no row's that went in, or is out of order", i, r.System)
		}
		next += at
		if was := in[next].To; r.To != was && !h.Routes {
			return fmt.Errorf("row %d is for the sinks %s, was for %s", i, r.To, was)
		}
	}
	return nil
}

// carriesColumns: what the handler does not write comes out as it went in, and nothing unannounced comes with it.
func carriesColumns(ctx context.Context, h Harness, m *maker) error {
	handler, err := h.handler()
	if err != nil {
		return err
	}
	for _, s := range []style{plain, gappy} {
		b := m.batch(several, s)
		out, err := handler.Handle(ctx, b)
		if err != nil {
			return err
		}
		came := map[string]row{}
		for _, r := range images([]*record.Batch{b}) {
			for _, system := range h.becomes(r.System) {
				came[system] = r
			}
		}
		for i, r := range images(out) {
			was := came[r.System].Values
			for name, v := range was {
				if got, ok := r.Values[name]; !slices.Contains(h.Writes, name) && (!ok || got != v) {
					return fmt.Errorf("row %d: column %s is %q, was %s", i, name, got, v)
				}
			}
			for name := range r.Values {
				if _, ok := was[name]; !ok && !slices.Contains(h.Writes, name) {
					return fmt.Errorf("row %d: column %s has come from nowhere", i, name)
				}
			}
		}
	}
	return nil
}
