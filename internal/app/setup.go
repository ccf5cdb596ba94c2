package app

import (
	"slices"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/setup"
	"github.com/acequia-io/acequia/record"
)

// Policies gives the least rights that each part of the project needs of AWS. Nothing is connected to.
func (p *Project) Policies(o setup.Options) ([]setup.Policy, config.Problems) {
	return setup.Policies(p.files, p.known(o))
}

// Making gives the rights of who makes what the project needs. Its problems are those of Policies.
func (p *Project) Making(o setup.Options) setup.Policy { return setup.Making(p.files, p.known(o)) }

// known adds the streams that are known before anything runs.
func (p *Project) known(o setup.Options) setup.Options {
	o.Streams = func(pipeline string) []string {
		at := slices.IndexFunc(p.Pipelines, func(d *Declared) bool { return d.Name == pipeline })
		if at < 0 {
			return nil
		}
		return names(p.Pipelines[at].Out, func(s *record.Schema) string { return s.Stream })
	}
	return o
}
