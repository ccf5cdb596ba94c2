// Package catalog lists every source, handler and sink that acequia has. A new plugin is one line here.
package catalog

import (
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/handlers/cast"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/handlers/flatten"
	"github.com/acequia-io/acequia/handlers/mask"
	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/handlers/project"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/discard"
	"github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/file"
	"github.com/acequia-io/acequia/sources/form"
	"github.com/acequia-io/acequia/sources/itemchanges"
)

// Sources lists the sources.
func Sources() []sources.Plugin {
	return []sources.Plugin{
		file.Plugin(),
		form.Plugin(),
		itemchanges.Plugin(),
	}
}

// Handlers lists the handlers.
func Handlers() []handlers.Plugin {
	return []handlers.Plugin{
		canonical.Plugin(),
		cast.Plugin(),
		derive.Plugin(),
		filter.Plugin(),
		flatten.Plugin(),
		mask.Plugin(),
		normalize.Plugin(),
		project.Plugin(),
	}
}

// Sinks lists the sinks.
func Sinks() []sinks.Plugin {
	return []sinks.Plugin{
		discard.Plugin(),
		items.Plugin(),
		lake.Plugin(),
	}
}
