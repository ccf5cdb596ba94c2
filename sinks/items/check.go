package items

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// check says what is wrong with the settings for records of the schemas.
func check(settings any, in []*record.Schema) error {
	c, ok := settings.(*Config)
	if !ok {
		return errors.New("items: a *items.Config is needed")
	}
	in = c.taken(in)
	var errs []error
	if c.Batch < 0 {
		errs = append(errs, config.Wrong("batch", "must be positive, such as %d", usualBatch))
	}
	errs = append(errs, c.checkURL()...)
	_, dynamo := c.Dynamo()
	tables := map[string]string{}
	none := !slices.ContainsFunc(in, keyed)
	for _, s := range in {
		t := c.table(s.Stream)
		if !keyed(s) {
			e := &config.FieldError{
				Err:    fmt.Errorf("records of %s have no key, and cannot be items", s.Stream),
				Remedy: "declare the key of the stream", Warning: !none,
			}
			if e.Warning {
				e.Err = fmt.Errorf("%s is left out: its records have no key", s.Stream)
			}
			errs = append(errs, e)
			continue
		}
		if other, taken := tables[t.Name]; taken {
			errs = append(errs, config.Wrong("tables", "streams %s and %s would both be the table %s: name one of them here", other, s.Stream, t.Name))
		}
		tables[t.Name] = s.Stream
		if dynamo {
			errs = append(errs, c.checkDynamo(s)...)
		}
		for i, x := range t.Indexes {
			at := []string{"tables", s.Stream, "indexes", strconv.Itoa(i)}
			errs = append(errs, checkIndex(s, x, at)...)
		}
		if t.TTL < 0 {
			errs = append(errs, config.At(errors.New("it must be positive"), "tables", s.Stream, "ttl"))
		}
	}
	return errors.Join(errs...)
}

// checkIndex finds the mistakes of an index that stands at a path.
func checkIndex(s *record.Schema, x itemstore.Index, at []string) (errs []error) {
	switch {
	case x.Name == "" || len(x.Columns) == 0:
		errs = append(errs, config.At(errors.New("an index has a name and columns"), at...))
	case x.Each && len(x.Columns) > 1:
		errs = append(errs, config.At(errors.New("an index with each is of one column"), at...))
	}
	for j, column := range x.Columns {
		at := append(slices.Clone(at), "columns", strconv.Itoa(j))
		i := s.Index(column)
		switch {
		case i < 0:
			errs = append(errs, config.At(fmt.Errorf("%s has no column %q", s.Stream, column), at...))
		case s.Fields[i].Kind == record.Struct:
			errs = append(errs, config.At(fmt.Errorf("column %q is a struct, and nothing can be found by it", column), at...))
		case s.Fields[i].Kind == record.List && !x.Each:
			errs = append(errs, config.At(&config.FieldError{
				Err: fmt.Errorf("column %q is a list", column), Remedy: "add each: true to the index: items are found by each element",
			}, at...))
		}
	}
	return errs
}

func keyed(s *record.Schema) bool { return len(s.Key) > 0 }

// plan tells the tables.
func plan(settings any, in []*record.Schema) []string {
	c, ok := settings.(*Config)
	if !ok {
		return nil
	}
	var lines []string
	for _, s := range in {
		if !c.Takes(s.Stream) {
			lines = append(lines, s.Stream+" is left out: it is not under tables")
			continue
		}
		if !keyed(s) {
			lines = append(lines, s.Stream+" is left out: no key")
			continue
		}
		t := c.table(s.Stream)
		line := "table " + t.Name
		if _, dynamo := c.Dynamo(); dynamo {
			line = "DynamoDB " + line
			for _, x := range t.Indexes {
				if x.Each {
					line = fmt.Sprintf("%s, with %s for the elements of %s", line, itemstore.Entries(t.Name, x.Name), strings.Join(x.Columns, ", "))
				}
			}
		}
		if len(t.Indexes) > 0 {
			indexes := make([]string, len(t.Indexes))
			for i, x := range t.Indexes {
				indexes[i] = x.Name
			}
			line += ", with the indexes " + strings.Join(indexes, ", ")
		}
		if t.TTL > 0 {
			line += fmt.Sprintf("; its items go away after %s", t.TTL)
		}
		lines = append(lines, line)
	}
	return lines
}

// Refuses gives the fault.Rows that a writer would of records that are no deletes, as far as the store can tell of the records alone.
func (c *Config) Refuses(store itemstore.Items, b *record.Batch) error {
	w := &writer{sink: &Sink{config: *c, store: store}}
	var bad fault.Rows
	for row := range b.Rows {
		p := itemstore.Put{Table: c.table(b.Schema.Stream).Name, Version: b.System.Versions.At(row), Schema: b.Schema}
		if refused := w.encode(&p, b, row); refused != nil {
			bad.Bad = append(bad.Bad, *refused)
		}
	}
	return bad.Or()
}
