package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// formType is the type of the sources that acequia serve puts on the web.
const formType = "form"

// itemsReader is the configuration of a source that reads an items table, and may have to be told its columns.
type itemsReader interface {
	ItemsTable() (name string, wanted bool)
	UseSchema(s *record.Schema)
}

// itemsWriter is the configuration of a sink that writes items tables.
type itemsWriter interface {
	TableOf(stream string) (name string, changes bool)
}

// flows follows the records of every pipeline. One that reads an items table comes after those that write the table.
func (c *checker) flows(ctx context.Context) {
	rest := slices.Clone(c.project.Pipelines)
	for len(rest) > 0 {
		var ready, later []*Declared
		for _, d := range rest {
			if reader, table := d.wantsItems(); reader != nil && c.items(table) == nil {
				later = append(later, d)
				continue
			}
			ready = append(ready, d)
		}
		if len(ready) == 0 { // nothing will tell what these read
			ready, later = later, nil
		}
		for _, d := range ready {
			c.readItems(d)
			c.pipeline(ctx, d)
			c.checkTests(d)
			c.form(d)
			if err := loops(ctx, d); err != nil {
				c.add(d.pipeline.At("to", err))
			}
		}
		rest = later
	}
}

// wantsItems gives the reader that has to be told the columns of its items table; nil: there is none.
func (d *Declared) wantsItems() (reader itemsReader, table string) {
	if d.Source == nil {
		return nil, ""
	}
	reader, ok := d.Source.Settings.(itemsReader)
	if !ok {
		return nil, ""
	}
	table, wanted := reader.ItemsTable()
	if !wanted {
		return nil, ""
	}
	return reader, table
}

// items gives the schema of what the pipelines that were followed write into an items table; nil: none does.
func (c *checker) items(table string) *record.Schema {
	for _, part := range c.sinks {
		writer, ok := part.Settings.(itemsWriter)
		if !ok {
			continue
		}
		for _, s := range c.fed[part] {
			if name, changes := writer.TableOf(s.Stream); name == table && changes {
				return s
			}
		}
	}
	return nil
}

// readItems tells a source the columns of the items table that it reads.
func (c *checker) readItems(d *Declared) {
	reader, table := d.wantsItems()
	if reader == nil {
		return
	}
	if s := c.items(table); s != nil {
		reader.UseSchema(s)
		return
	}
	var known []string
	for _, part := range c.sinks {
		if writer, ok := part.Settings.(itemsWriter); ok {
			for _, s := range c.fed[part] {
				if name, changes := writer.TableOf(s.Stream); changes && !slices.Contains(known, name) {
					known = append(known, name)
				}
			}
		}
	}
	remedy := "declare its columns with schema and key"
	if len(known) > 0 {
		remedy += ", or name a table that is fed here: " + strings.Join(known, ", ")
	}
	c.add(d.Source.block.Place(&config.FieldError{
		Path: []string{"table"}, Remedy: remedy, Err: fmt.Errorf("no pipeline here feeds the changes of an items table %q, so its columns are not known", table),
	})...)
}

// form checks a pipeline that begins with a form: its answer is a promise about the items, and nothing else.
func (c *checker) form(d *Declared) {
	if d.Source == nil || d.Source.Plugin.Type != formType {
		return
	}
	if len(d.Sinks) != 1 || d.Sinks[0].Plugin.Type != "items" {
		c.add(d.pipeline.At("to", errors.New("a form answers when its items are durable: its pipeline has one items sink; "+
			"feed a lake from the items' changes")))
	}
	if len(d.Steps) > 0 {
		c.add(d.pipeline.At("steps", errors.New("a form's record is kept as it was answered: put steps into the pipeline that reads the items' changes")))
	}
	for _, part := range d.Sinks {
		writer, ok := part.Settings.(itemsWriter)
		if !ok {
			continue
		}
		for _, s := range d.In {
			if name, _ := writer.TableOf(s.Stream); name != s.Stream {
				c.add(part.block.Place(config.At(fmt.Errorf("a form reads its items where it wrote them: the table must be called %s", s.Stream), "tables", s.Stream, "name"))...)
			}
		}
	}
	for _, other := range c.project.Pipelines {
		if other == d {
			break
		}
		if other.Source != nil && other.Source.Plugin.Type == formType && len(other.In) > 0 && len(d.In) > 0 && other.In[0].Stream == d.In[0].Stream {
			c.add(d.pipeline.At("from", fmt.Errorf("the form of %s feeds pipeline %s already", d.In[0].Stream, other.Name)))
		}
	}
}
