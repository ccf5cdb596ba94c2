package itemchanges

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

var (
	errOtherSettings = fault.Stop(errors.New("itemchanges: a *itemchanges.Config with a table and an item store are needed"))
	errNoSchema      = fault.Stop(errors.New("itemchanges: the columns of the table are not known: declare schema and key"))
)

// Config of the source.
type Config struct {
	Table string `yaml:"table" required:"true" doc:"The items table whose changes are read."`
	// Columns and Key declare the documents of the table.
	Columns config.Ordered[string] `yaml:"schema" doc:"Columns of the items and their types; default: those of the pipeline in the same project that feeds the table."`
	Key     []string               `yaml:"key" doc:"Columns that identify an item; needed beside schema."`
	Schema  *record.Schema         `yaml:"-"` // of the table's documents, for who knows it; Columns are then not read
	Reader  string                 `yaml:"-"` // the log is kept until the reader of this name has settled; default: the pipeline
}

// ItemsTable is the table that is read, if its columns are still to be found.
func (c *Config) ItemsTable() (name string, wanted bool) {
	return c.Table, c.Schema == nil && len(c.Columns) == 0
}

// UseSchema tells the columns that the table's items have. The stream has the name of the table.
func (c *Config) UseSchema(s *record.Schema) {
	own := *s
	own.Stream = c.Table
	c.Schema = &own
}

// schema gives the schema of the documents; nil when the settings do not say.
func (c *Config) schema() (*record.Schema, error) {
	if c.Schema != nil || len(c.Columns) == 0 {
		return c.Schema, nil
	}
	var errs []error
	if len(c.Key) == 0 {
		errs = append(errs, &config.FieldError{Path: []string{"schema"}, Err: errors.New("the key of the items is missing"), Remedy: "add key: [ ... ]"})
	}
	fields := make([]record.Field, 0, len(c.Columns))
	for _, e := range c.Columns {
		f, err := record.ParseType(e.Name, e.Value)
		errs = append(errs, config.At(err, "schema", e.Name))
		fields = append(fields, f)
	}
	for i, name := range c.Key {
		known := false
		for j := range fields {
			if fields[j].Name == name {
				fields[j].Nullable, known = false, true
			}
		}
		if !known {
			errs = append(errs, config.At(fmt.Errorf("schema has no column %q", name), "key", strconv.Itoa(i)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s, err := record.NewSchema(c.Table, c.Key, fields...)
	return s, config.At(err, "schema")
}
