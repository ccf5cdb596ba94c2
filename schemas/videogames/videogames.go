// Package videogames declares the table of the video-game register.
package videogames

import (
	_ "embed" // of the declaration

	"github.com/acequia-io/acequia/schemas"
)

//go:embed videogames.yaml
var declaration []byte

// Table gives the table as videogames.yaml declares it.
func Table() (*schemas.Table, error) { return schemas.Load("videogames.yaml", declaration) }
