// Package catalog lists every source, handler and sink that acequia has. A new plugin is one line here; a program of
// one's own joins a catalog of its plugins to this one.
package catalog

import (
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/handlers/cast"
	"github.com/acequia-io/acequia/handlers/dedupe"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/handlers/flatten"
	"github.com/acequia-io/acequia/handlers/mask"
	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/handlers/project"
	"github.com/acequia-io/acequia/handlers/route"
	"github.com/acequia-io/acequia/sinks"
	tobus "github.com/acequia-io/acequia/sinks/bus"
	"github.com/acequia-io/acequia/sinks/discard"
	"github.com/acequia-io/acequia/sinks/eventbridge"
	"github.com/acequia-io/acequia/sinks/items"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	warehouse "github.com/acequia-io/acequia/sinks/postgres"
	tosqs "github.com/acequia-io/acequia/sinks/sqs"
	"github.com/acequia-io/acequia/sources"
	frombus "github.com/acequia-io/acequia/sources/bus"
	"github.com/acequia-io/acequia/sources/dynamodbstreams"
	"github.com/acequia-io/acequia/sources/file"
	"github.com/acequia-io/acequia/sources/form"
	"github.com/acequia-io/acequia/sources/itemchanges"
	"github.com/acequia-io/acequia/sources/lake"
	"github.com/acequia-io/acequia/sources/mongodb"
	"github.com/acequia-io/acequia/sources/mysql"
	"github.com/acequia-io/acequia/sources/postgres"
	"github.com/acequia-io/acequia/sources/sqs"
)

// Catalog is the plugins of a program.
type Catalog struct {
	Sources  []sources.Plugin
	Handlers []handlers.Plugin
	Sinks    []sinks.Plugin
}

// Default lists all that acequia has.
func Default() Catalog {
	return Catalog{
		Sources: []sources.Plugin{
			frombus.Plugin(),
			dynamodbstreams.Plugin(),
			file.Plugin(),
			form.Plugin(),
			itemchanges.Plugin(),
			lake.Plugin(),
			mongodb.Plugin(),
			mysql.Plugin(),
			postgres.Plugin(),
			sqs.Plugin(),
		},
		Handlers: []handlers.Plugin{
			canonical.Plugin(),
			cast.Plugin(),
			dedupe.Plugin(),
			derive.Plugin(),
			filter.Plugin(),
			flatten.Plugin(),
			mask.Plugin(),
			normalize.Plugin(),
			project.Plugin(),
			route.Plugin(),
		},
		Sinks: []sinks.Plugin{
			tobus.Plugin(),
			discard.Plugin(),
			eventbridge.Plugin(),
			items.Plugin(),
			lakesink.Plugin(),
			warehouse.Plugin(),
			tosqs.Plugin(),
		},
	}
}
