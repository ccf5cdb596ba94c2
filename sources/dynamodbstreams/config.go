package dynamodbstreams

import (
	"errors"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
)

var (
	errOtherSettings = fault.Stop(errors.New("dynamodbstreams: a *dynamodbstreams.Config with a table is needed"))
	errNoSchema      = fault.Stop(errors.New("dynamodbstreams: the columns of the table are not known: declare schema and key"))
)

// Config of the source.
type Config struct {
	Table string             `yaml:"table" required:"true" doc:"The table of DynamoDB whose changes are read."`
	AWS   awsconfig.Settings `yaml:"aws" doc:"Where DynamoDB and its streams are."`
	// Columns and Key declare the items of the table.
	Columns config.Ordered[string] `yaml:"schema" doc:"Columns of the items and their types; default: those of the pipeline in the same project that feeds the table."`
	Key     []string               `yaml:"key" doc:"Columns that identify an item; needed beside schema."`
	Expired bool                   `yaml:"expired" doc:"Items that DynamoDB removes because their time is over are deletes too; default: they are left out."`
	Poll    time.Duration          `yaml:"poll" doc:"How long to wait where nothing has come; default 1s."`
	Schema  *record.Schema         `yaml:"-"` // of the items, for who knows it; Columns are then not read
}

const usualPoll = time.Second

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

// schema gives the schema of the items; nil when the settings do not say.
func (c *Config) schema() (*record.Schema, error) {
	if c.Schema != nil || len(c.Columns) == 0 {
		return c.Schema, nil
	}
	return tabular.DeclaredItems(c.Table, c.Columns, c.Key)
}
