package itemchanges

import (
	"errors"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
)

var (
	errOtherSettings = fault.Stop(errors.New("itemchanges: a *itemchanges.Config with a table and an item store are needed"))
	errNotEmbedded   = &fault.Error{
		Code: "ACQ-ITEMS-012", Err: errors.New("the items are in DynamoDB, whose changes are in its streams"), Remedy: "read them with a source of type dynamodbstreams",
	}
	errNoSchema = fault.Stop(errors.New("itemchanges: the columns of the table are not known: declare schema and key"))
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
	return tabular.DeclaredItems(c.Table, c.Columns, c.Key)
}
