package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/record"
)

// schemaFile is where inferred types are kept.
const schemaFile = "schema.json"

// keptSchema is what was inferred, as its file holds it.
type keptSchema struct {
	From    string       `json:"inferred_from"`
	Columns []keptColumn `json:"columns"`
}

type keptColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Remember names the folder in which a run keeps what it has inferred: a later run takes the types from there, whatever
// files there are then.
func (c *Config) Remember(folder string) { c.memory = folder }

// kept gives the columns that an earlier run has inferred; none: there was none.
func (s *Source) kept() ([]record.Field, error) {
	if s.config.memory == "" {
		return nil, nil
	}
	path := filepath.Join(s.config.memory, schemaFile)
	text, err := os.ReadFile(path) //nolint:gosec // a file of our own
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cannotOpen(path, err)
	}
	var in keptSchema
	var fields []record.Field
	if err = json.Unmarshal(text, &in); err == nil && len(in.Columns) == 0 {
		err = errors.New("it has no columns")
	}
	for _, c := range in.Columns {
		f, bad := record.ParseType(c.Name, c.Type)
		err = errors.Join(err, bad)
		fields = append(fields, f)
	}
	if err != nil {
		return nil, stop(codeKept, path, "remove it, and the types are inferred again", fmt.Errorf("the inferred types cannot be read: %w", err))
	}
	return fields, nil
}

// keep writes what was inferred, durably: from then on it does not change.
func (s *Source) keep(ctx context.Context, from string, fields []record.Field) error {
	if s.config.memory == "" || s.log == nil {
		return nil
	}
	out := keptSchema{From: from}
	var shown []string
	for _, f := range fields {
		out.Columns = append(out.Columns, keptColumn{f.Name, f.TypeName()})
		shown = append(shown, f.Name+" "+f.TypeName())
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	dir, err := blob.Open(s.config.memory)
	if err != nil {
		return err
	}
	if err := dir.Update(ctx, schemaFile, func([]byte) ([]byte, error) { return append(text, '\n'), nil }); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "types were inferred and stay so", slog.String("columns", strings.Join(shown, ", ")), slog.String("from", from),
		slog.String("kept_in", filepath.Join(s.config.memory, schemaFile)))
	return nil
}
