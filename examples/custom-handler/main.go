// Command custom-handler is acequia with one more step, shout: CONTRIBUTING.md builds it.
package main

import (
	"github.com/acequia-io/acequia"
	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/handlers"
)

func main() {
	acequia.Main(catalog.Catalog{Handlers: []handlers.Plugin{Plugin()}})
}
