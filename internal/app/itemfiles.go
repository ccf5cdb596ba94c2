package app

import (
	"context"
	"os"
	"path/filepath"

	"github.com/acequia-io/acequia/internal/itemstore"
)

// itemsHolder is the configuration of a sink that may keep its items in a file of its own.
type itemsHolder interface{ File() string }

// itemsFile is the file of the items that a sink writes: its own, or that of the state.
func (p *Project) itemsFile(part *SinkPart) string {
	if h, ok := part.Settings.(itemsHolder); ok && h.File() != "" {
		return h.File()
	}
	return filepath.Join(p.State, "items.db")
}

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

// openItems opens every file of items that the pipelines write or read, each once.
func (s *Service) openItems(ctx context.Context) error {
	open := func(file string) error {
		if s.items[file] != nil {
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
			if err := open(file); err != nil {
				return err
			}
		}
	}
	return nil
}
