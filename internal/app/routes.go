package app

import (
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
)

// routes gives the sinks that a step names, and finds those that the pipeline does not write to. Routes lead to sinks alone,
// so that they cannot go round in a circle.
func (c *checker) routes(p *config.Pipeline, b *config.Block, h handlers.Handler) []handlers.Route {
	router, ok := h.(handlers.Router)
	if !ok {
		return nil
	}
	to := make([]string, len(p.To))
	for i, r := range p.To {
		to[i] = r.Name
	}
	routes, unknown := router.Routes(), false
	for _, r := range routes {
		if !slices.Contains(to, r.Sink) {
			unknown = true
			c.add(b.Place(&config.FieldError{
				Path: r.Path, Err: fmt.Errorf("pipeline %s does not write to sink %q", p.Name, r.Sink), Remedy: config.Suggest(r.Sink, to),
			})...)
		}
	}
	for _, name := range to {
		if !unknown && !slices.ContainsFunc(routes, func(r handlers.Route) bool { return r.Sink == name }) {
			problem := b.Place(&config.FieldError{
				Err: fmt.Errorf("sink %s gets nothing: the route does not name it", name), Remedy: "give it an expression, name it under else, or take it out of to",
			})
			problem[0].Warning = true
			c.add(problem...)
		}
	}
	return routes
}

// routed says what the steps let through to a sink.
func (d *Declared) routed(sink string) []string {
	var lines []string
	for _, step := range d.Steps {
		if len(step.routes) == 0 {
			continue
		}
		line := step.Name + " sends it nothing"
		for i, r := range slices.DeleteFunc(slices.Clone(step.routes), func(r handlers.Route) bool { return r.Sink != sink }) {
			if i == 0 {
				line = step.Name + " sends it: " + r.Text
			} else {
				line += ", and " + r.Text
			}
		}
		lines = append(lines, line)
	}
	return lines
}
