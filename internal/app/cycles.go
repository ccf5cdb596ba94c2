package app

import (
	"fmt"
	"strings"
)

// reading and writing are settings of sources and sinks of a bus: they name the topic as the other side does.
type (
	reading interface{ Reads() string }
	writing interface{ Writes() string }
)

// cycles finds pipelines that read what they write, by way of topics and of each other: their records would never end.
func (c *checker) cycles() {
	next := map[*Declared][]*Declared{} // who reads what one writes
	for _, from := range c.project.Pipelines {
		for _, part := range from.Sinks {
			w, ok := part.Settings.(writing)
			if !ok {
				continue
			}
			for _, to := range c.project.Pipelines {
				if to.Source == nil {
					continue
				}
				if r, ok := to.Source.Settings.(reading); ok && r.Reads() == w.Writes() {
					next[from] = append(next[from], to)
				}
			}
		}
	}
	for _, d := range c.project.Pipelines {
		if way := back(next, d, d, map[*Declared]bool{}); way != nil {
			c.add(d.pipeline.At("to", fmt.Errorf("it reads what it writes: %s; write to another topic", c.route(d, way))))
		}
	}
}

// back gives the pipelines by which records that d writes come to the wanted one, which is the last of them; nil: they do not.
func back(next map[*Declared][]*Declared, d, wanted *Declared, seen map[*Declared]bool) []*Declared {
	for _, to := range next[d] {
		if to == wanted {
			return []*Declared{to}
		}
		if seen[to] {
			continue
		}
		seen[to] = true
		if way := back(next, to, wanted, seen); way != nil {
			return append([]*Declared{to}, way...)
		}
	}
	return nil
}

// route tells the way with the places where its pipelines stand.
func (c *checker) route(d *Declared, way []*Declared) string {
	parts := []string{d.Name}
	for _, to := range way {
		r, ok := to.Source.Settings.(reading)
		if !ok {
			continue
		}
		at := to.pipeline.At("from", nil)
		parts = append(parts, fmt.Sprintf("topic %s, %s (%s:%d)", r.Reads(), to.Name, at.File, at.Line))
	}
	return strings.Join(parts, " → ")
}
