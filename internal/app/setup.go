package app

import (
	"slices"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/setup"
	"github.com/acequia-io/acequia/record"
)

// Policies gives the least rights that each part of the project needs of AWS. Nothing is connected to.
func (p *Project) Policies(o setup.Options) ([]setup.Policy, config.Problems) {
	o.Streams = func(pipeline string) []string {
		at := slices.IndexFunc(p.Pipelines, func(d *Declared) bool { return d.Name == pipeline })
		if at < 0 {
			return nil
		}
		return names(p.Pipelines[at].Out, func(s *record.Schema) string { return s.Stream })
	}
	return setup.Policies(p.files, o)
}
