// Package acequia is the door for programs of one's own: the acequia command, with plugins that only they have.
//
//	func main() {
//		acequia.Main(catalog.Catalog{Handlers: []handlers.Plugin{shout.Plugin()}})
//	}
//
// examples/custom-handler is such a program.
//
// A source, handler or sink keeps the contract of its package (sources, handlers, sinks), and can be held to it by the
// suite beside it (sourcetest, handlertest, sinktest).
package acequia

import (
	"os"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/cli"
)

// Main runs the command line of the process with acequia's plugins and those of the catalogs, and ends the process with
// the exit code. Two plugins of one kind and type are refused.
func Main(more ...catalog.Catalog) { os.Exit(cli.Main(os.Args[1:], more...)) }
