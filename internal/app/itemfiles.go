package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/acequia-io/acequia/internal/itemstore"
)

// itemsHolder is the configuration of a sink that may keep its items in a file of its own, or in DynamoDB.
type itemsHolder interface {
	File() string
	Dynamo() (itemstore.DynamoOptions, bool)
}

// inDynamo says how the items of a sink are written to DynamoDB, and whether they are.
func (s *SinkPart) inDynamo() (itemstore.DynamoOptions, bool) {
	if h, ok := s.Settings.(itemsHolder); ok {
		return h.Dynamo()
	}
	return itemstore.DynamoOptions{}, false
}

// embedsItems says whether a sink writes into an embedded item store.
func (s *SinkPart) embedsItems() bool {
	_, elsewhere := s.inDynamo()
	return s.Plugin.Items && !elsewhere
}

// itemsFile is the file of the items that a sink writes: its own, or that of the state. Items in DynamoDB are named as a URL is.
func (p *Project) itemsFile(part *SinkPart) string {
	if o, ok := part.inDynamo(); ok {
		return fmt.Sprintf("%s%s/%s?%d,%s,%t", dynamoPlace, o.AWS.Region, o.AWS.Endpoint, o.Concurrency, o.Tombstones, o.Bulk)
	}
	if h, ok := part.Settings.(itemsHolder); ok && h.File() != "" {
		return h.File()
	}
	return filepath.Join(p.State, "items.db")
}

const dynamoPlace = "dynamodb://"

// itemsRead is the file of the items that the source of a pipeline reads: a form's are written by its own pipeline, and a table whose
// changes are read by the sink that feeds it. Where no schema tells which that is, it is the only one.
func (p *Project) itemsRead(d *Declared) string {
	reader, ok := d.Source.Settings.(itemsReader)
	files := map[string]bool{}
	for _, other := range p.Pipelines {
		for _, part := range other.Sinks {
			if !part.Plugin.Items {
				continue
			}
			file := p.itemsFile(part)
			if !ok && other == d || ok && feeds(other, part, reader) {
				return file
			}
			files[file] = true
		}
	}
	if len(files) == 1 {
		for file := range files {
			return file
		}
	}
	return filepath.Join(p.State, "items.db")
}

// feeds says whether a sink writes the table that is read.
func feeds(d *Declared, part *SinkPart, reader itemsReader) bool {
	writer, ok := part.Settings.(itemsWriter)
	if !ok {
		return false
	}
	table, _ := reader.ItemsTable()
	for _, s := range d.Out {
		if name, changes := writer.TableOf(s.Stream); changes && name == table {
			return true
		}
	}
	return false
}

// itemsAt gives the open store of a place that itemsFile names; nil: there is none.
func (s *Service) itemsAt(place string) itemstore.Items {
	if d := s.dynamo[place]; d != nil {
		return d
	}
	if f := s.items[place]; f != nil {
		return f
	}
	return nil
}

// openItems opens every store of items that the pipelines write or read, each once.
func (s *Service) openItems(ctx context.Context) error {
	for _, d := range s.project.Pipelines {
		for _, part := range d.Sinks {
			if err := s.openDynamo(ctx, part); err != nil {
				return err
			}
		}
	}
	for _, d := range s.project.Pipelines {
		var files []string
		if d.Source.Plugin.Items {
			files = append(files, s.project.itemsRead(d))
		}
		for _, part := range d.Sinks {
			if part.Plugin.Items {
				files = append(files, s.project.itemsFile(part))
			}
		}
		for _, file := range files {
			if err := s.openFile(ctx, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// openDynamo opens the tables of DynamoDB that a sink writes, if it does.
func (s *Service) openDynamo(ctx context.Context, part *SinkPart) error {
	o, ok := part.inDynamo()
	if !ok {
		return nil
	}
	place := s.project.itemsFile(part)
	if s.dynamo[place] == nil {
		o.Log = s.Log
		store, err := itemstore.OpenDynamo(ctx, o)
		if err != nil {
			return fmt.Errorf("sink %s: %w", part.Name, err)
		}
		s.dynamo[place] = store
	}
	if h, ok := part.Settings.(interface{ Named() []itemstore.Table }); ok {
		s.dynamo[place].Expect(h.Named()...)
	}
	return nil
}

// openFile opens an embedded store.
func (s *Service) openFile(ctx context.Context, file string) error {
	if s.itemsAt(file) != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return dirError(filepath.Dir(file), err)
	}
	store, err := itemstore.Open(ctx, file, itemstore.Options{})
	if err == nil {
		s.items[file] = store
	}
	return err
}
