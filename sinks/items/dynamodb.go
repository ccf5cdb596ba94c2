package items

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

var _ sinks.Surveyor = (*Config)(nil)

// checkURL finds the mistakes of where the items are.
func (c *Config) checkURL() (errs []error) {
	if c.URL != "" && c.URL != dynamoURL {
		errs = append(errs, config.Wrong("url", "must be %s or nothing", dynamoURL))
	}
	if c.URL != "" && c.Path != "" {
		errs = append(errs, config.Wrong("path", "is of the embedded store: leave it or url out"))
	}
	if c.URL == "" && (c.Bulk || c.Concurrency != 0 || c.Tombstones != 0 || c.AWS.Region != "" || c.AWS.Endpoint != "") {
		errs = append(errs, config.Wrong("url", "is not set, and aws, bulk, concurrency and tombstones are of %s", dynamoURL))
	}
	if c.Concurrency < 0 {
		errs = append(errs, config.Wrong("concurrency", "must be positive, such as 32"))
	}
	if c.Tombstones < 0 {
		errs = append(errs, config.Wrong("tombstones", "must be positive, such as 168h"))
	}
	return errs
}

// checkDynamo finds what DynamoDB has no table for.
func (c *Config) checkDynamo(s *record.Schema) (errs []error) {
	t := c.table(s.Stream)
	name := func(text string, at ...string) {
		if text != "" && (len(text) < 3 || len(text) > 255 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "") {
			errs = append(errs, config.At(&config.FieldError{
				Err: fmt.Errorf("%q is no name for DynamoDB: it takes 3 to 255 of a-z, A-Z, 0-9 and _-. in a name", text), Remedy: "set name of the table",
			}, at...))
		}
	}
	at := []string{"tables"}
	if _, set := c.Tables[s.Stream]; set {
		at = append(at, s.Stream)
	}
	name(t.Name, at...)
	for i, x := range t.Indexes {
		at := append(slices.Clone(at), "indexes", strconv.Itoa(i))
		if name(x.Name, at...); x.Each {
			name(itemstore.Entries(t.Name, x.Name), at...)
			continue
		}
		if len(x.Columns) > 2 {
			errs = append(errs, config.At(errors.New("an index of DynamoDB has one or two columns: partition and sort key"), at...))
		}
		for j, column := range x.Columns {
			if k := s.Index(column); k >= 0 && s.Fields[k].Kind == record.Bool {
				errs = append(errs, config.At(fmt.Errorf("column %q is a bool: DynamoDB finds by text, numbers and bytes", column), append(at, "columns", strconv.Itoa(j))...))
			}
		}
	}
	return errs
}

// dynamo gives DynamoDB to do, and closes the connections.
func (c *Config) dynamo(ctx context.Context, do func(d *itemstore.Dynamo) error) (err error) {
	o, _ := c.Dynamo()
	o.Log = slog.New(slog.DiscardHandler)
	d, err := itemstore.OpenDynamo(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Close())
}

// Named gives the tables that the settings name, without their schemas.
func (c *Config) Named() []itemstore.Table {
	var out []itemstore.Table
	for _, stream := range slices.Sorted(maps.Keys(c.Tables)) {
		t := c.table(stream)
		out = append(out, itemstore.Table{Name: t.Name, Indexes: t.Indexes, NoChanges: t.NoChanges})
	}
	return out
}

// Reach tells whether the tables of DynamoDB for records of the schemas are there and can be written.
func (c *Config) Reach(ctx context.Context, in []*record.Schema) (found string, err error) {
	var words []string
	err = c.dynamo(ctx, func(d *itemstore.Dynamo) error {
		tables := 0
		var errs []error
		for _, s := range c.taken(in) {
			if !keyed(s) {
				continue
			}
			warning, err := d.Check(ctx, c.declared(s))
			if errs = append(errs, err); warning != "" {
				words = append(words, warning)
			}
			tables++
		}
		if tables == 0 { // the streams are known when the source is asked
			d.Expect(c.Named()...)
			words = append(words, fmt.Sprintf("%d tables are there; which others are needed, plan --connect tells", len(c.Tables)))
			return d.Find(ctx)
		}
		words = slices.Insert(words, 0, fmt.Sprintf("%d tables can be written", tables))
		return errors.Join(errs...)
	})
	return strings.Join(words, "; "), err
}

// Survey says which tables of DynamoDB are there for records of the schemas, a line each.
func (c *Config) Survey(ctx context.Context, in []*record.Schema) (lines []string, err error) {
	if _, ok := c.Dynamo(); !ok {
		return nil, nil
	}
	err = c.dynamo(ctx, func(d *itemstore.Dynamo) error {
		for _, s := range c.taken(in) {
			if !keyed(s) {
				continue
			}
			line, err := d.Survey(ctx, c.declared(s))
			if err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return nil
	})
	return lines, err
}
