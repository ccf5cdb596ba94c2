package file

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// header reads the first record of a text as the names of the columns. When there is none yet, n is 0 or row is false.
func (c *csv) header(buf []byte, last bool, path string) (piece, error) {
	p, err := c.split(buf, last)
	if err == nil && p.row && c.count > len(c.fields) {
		c.fields = make([]span, c.count)
		p, err = c.split(buf, last)
	}
	if err != nil {
		return p, stop(codeQuote, path+":1", "mend the quotes of the header", fmt.Errorf("the header: %w", err))
	}
	if !p.row {
		return p, nil
	}
	c.names = make([]string, c.count)
	for i, s := range c.fields[:c.count] {
		v := buf[s.lo:s.hi]
		if s.doubled {
			v = c.undouble(v)
		}
		c.names[i] = strings.TrimSpace(string(v))
	}
	return p, distinct(c.names, path+":1")
}

// distinct says which two names become one.
func distinct(names []string, where string) error {
	folded := map[string]string{}
	for _, name := range names {
		in := schemas.ColumnName(name)
		if other, ok := folded[in]; ok {
			err := fmt.Errorf("the headers %q and %q are both the column %s", other, name, in)
			return stop(codeDouble, where, "rename one of them in the file", err)
		}
		folded[in] = name
	}
	return nil
}

// header opens a CSV file to read its header; nil when the file is empty.
func (s *Source) header(ctx context.Context, in *input) (c *csv, err error) {
	t, err := s.open(in, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return s.headerOf(ctx, newWindow(t, s.record), in)
}

// headerOf takes the header off a text.
func (s *Source) headerOf(ctx context.Context, w *window, in *input) (*csv, error) {
	if err := passMark(w, in.name()); err != nil {
		return nil, err
	}
	c := newCSV(in.delimiter, 0)
	for {
		p, err := c.header(w.rest(), w.done && w.err == nil, in.name())
		switch {
		case err != nil:
			return nil, err
		case p.n > 0:
			if w.pos += p.n; p.row {
				return c, nil
			}
		case w.done && w.err != nil:
			return nil, damaged(in, 0, w.err)
		case w.done:
			return nil, nil //nolint:nilnil // an empty file has no header
		case w.full():
			return nil, longHeader(in.name())
		default:
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			w.fill()
		}
	}
}

// passMark takes the mark of the encoding off a text.
func passMark(w *window, path string) error {
	for len(w.rest()) < 4 && !w.done {
		w.fill()
	}
	n, err := mark(w.rest(), path)
	w.pos += n
	return err
}

// headerless makes the scanner of a file without a header: its columns are those of the schema, in that order.
func headerless(delimiter byte, schema *record.Schema) *csv {
	c := newCSV(delimiter, len(schema.Fields))
	for i, f := range schema.Fields {
		c.names = append(c.names, f.Name)
		c.from = append(c.from, i)
	}
	return c
}

// bindCSV finds the columns of the schema in the header.
func (s *Source) bindCSV(c *csv, in *input, schema *record.Schema) error {
	from, ignored, err := match(schema, c.names, in.name()+":1")
	c.from = from
	s.ignore(ignored)
	return err
}

// match finds the columns of a schema among the names that a file has, and tells those that it has more.
func match(schema *record.Schema, names []string, where string) (from []int, ignored []string, err error) {
	at := map[string]int{}
	for i, name := range names {
		at[schemas.ColumnName(name)] = i
	}
	used := make([]bool, len(names))
	var bad []error
	for _, f := range schema.Fields {
		i, ok := at[schemas.ColumnName(f.Name)]
		if !ok {
			bad = append(bad, missing(where, f.Name, names))
			continue
		}
		used[i] = true
		from = append(from, i)
	}
	for i, name := range names {
		if !used[i] {
			ignored = append(ignored, name)
		}
	}
	return from, ignored, errors.Join(bad...)
}

// checkFile opens a file and looks for the columns of the schema.
func (s *Source) checkFile(ctx context.Context, in *input, schema *record.Schema) (err error) {
	if in.format == formatParquet {
		l, err := s.layout(in)
		if err != nil {
			return err
		}
		_, err = s.bindParquet(l, in, schema)
		return err
	}
	t, err := s.open(in, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	w := newWindow(t, s.record)
	if in.format == formatNDJSON || s.config.NoHeader {
		if err := passMark(w, in.name()); err != nil {
			return err
		}
		if w.err != nil {
			return damaged(in, 0, w.err)
		}
		if in.format == formatNDJSON {
			s.ignore(strangers(w, schema))
		}
		return nil
	}
	c, err := s.headerOf(ctx, w, in)
	if err != nil || c == nil {
		return err
	}
	return s.bindCSV(c, in, schema)
}

// strangers gives the names of members that the schema does not have, in what the window shows.
func strangers(w *window, schema *record.Schema) []string {
	j, t := newNDJSON(schema), newTable(schema, "", &input{})
	for {
		p := j.scan(w.rest(), false, t)
		if p.n == 0 {
			return j.strangers()
		}
		if w.pos += p.n; p.row && p.bad == nil {
			t.next(0, 0)
		}
	}
}
