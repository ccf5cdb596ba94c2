package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/schemas"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	warehousesink "github.com/acequia-io/acequia/sinks/postgres"
)

// place is a table of a lake, of a file of items, or of a warehouse.
type place struct{ where, table string }

// places are the tables that a stream of a pipeline goes to.
func (p *Project) places(d *Declared, stream string) (out []place, err error) {
	for _, part := range d.Sinks {
		switch settings := part.Settings.(type) {
		case *lakesink.Config:
			root, err := settings.Root()
			if err == nil {
				root, err = absolute(root)
			}
			if err != nil {
				return nil, err
			}
			out = append(out, place{root, cmp.Or(settings.TableName[stream], schemas.LakeName(stream))})
		case *warehousesink.Config:
			where, err := settings.Place()
			if err != nil {
				return nil, err
			}
			out = append(out, place{where, settings.TableOf(stream)})
		case *itemsink.Config:
			file, err := filepath.Abs(p.itemsFile(part))
			if err != nil {
				return nil, err
			}
			if o, ok := settings.Dynamo(); ok {
				file = dynamoPlace + o.AWS.Region + "/" + o.AWS.Endpoint
			}
			if table, _ := settings.TableOf(stream); table != "" {
				out = append(out, place{file, table})
			}
		}
	}
	return out, nil
}

// absolute gives a place the same name wherever the program runs.
func absolute(root string) (string, error) {
	if _, _, remote := blob.ParseURL(root); remote {
		return root, nil
	}
	return filepath.Abs(root)
}

// claimed is the code of a table that is another pipeline's.
const claimed = "ACQ-USE-065"

// owner is who has claimed a place.
type owner struct {
	Pipeline string `json:"pipeline"`
	Stream   string `json:"stream"`
}

// claim lets a pipeline bring a stream that is its database's to the tables of its sinks, unless another one brings one of its own
// to one of them. A pipeline that reads a table anew, or looks for rows that are gone from it, takes away what its database does not
// have: what another has brought would go too, and the versions of two pipelines say nothing about each other. It is noted durably,
// since not every run has all pipelines.
func (s *Service) claim(ctx context.Context, d *Declared, stream string) error {
	all, err := s.project.places(d, stream)
	if err != nil {
		return err
	}
	s.claiming.Lock()
	defer s.claiming.Unlock()
	mine := owner{d.Name, stream}
	var free []string
	found := map[string][]byte{}
	for _, at := range all {
		key := "table " + at.where + " " + at.table
		text, err := s.state.Note(ctx, "", key)
		if err != nil {
			return err
		}
		var has owner
		if text != nil {
			if err := json.Unmarshal(text, &has); err != nil {
				return fmt.Errorf("read who writes %s: %w", at.table, err)
			}
		}
		switch {
		case has == mine:
		case text != nil && s.project.brings(has, at):
			return &fault.Error{
				Class: fault.Fatal, Code: claimed, Place: stream,
				Err:    fmt.Errorf("pipeline %s writes table %s of %s too: each would take away the rows of the other", has.Pipeline, at.table, at.where),
				Remedy: "give it a name of its own in this pipeline, or a sink of its own",
			}
		default:
			free, found[key] = append(free, key), text
		}
	}
	text, err := json.Marshal(mine)
	for _, key := range free {
		var swapped bool
		if swapped, err = s.state.SwapNote(ctx, "", key, found[key], text); err == nil && !swapped {
			err = fault.Retry(fmt.Errorf("another process has claimed %s at the same time", key))
		}
		if err != nil {
			return err
		}
	}
	return err
}

// brings says whether the project still lets an owner bring its stream to a place.
func (p *Project) brings(o owner, at place) bool {
	all := p.Pipelines
	if p.whole != nil {
		all = p.whole
	}
	return slices.ContainsFunc(all, func(d *Declared) bool {
		if d.Name != o.Pipeline {
			return false
		}
		places, err := p.places(d, o.Stream)
		return err != nil || slices.Contains(places, at)
	})
}
