package tabular

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// DeclaredItems is the schema of an items table whose columns and key stand in the settings schema and key.
func DeclaredItems(table string, columns config.Ordered[string], key []string) (*record.Schema, error) {
	var errs []error
	if len(key) == 0 {
		errs = append(errs, &config.FieldError{Path: []string{"schema"}, Err: errors.New("the key of the items is missing"), Remedy: "add key: [ ... ]"})
	}
	fields := make([]record.Field, 0, len(columns))
	for _, e := range columns {
		f, err := record.ParseType(e.Name, e.Value)
		errs = append(errs, config.At(err, "schema", e.Name))
		fields = append(fields, f)
	}
	for i, name := range key {
		known := false
		for j := range fields {
			if fields[j].Name == name {
				fields[j].Nullable, known = false, true
			}
		}
		if !known {
			errs = append(errs, config.At(fmt.Errorf("schema has no column %q", name), "key", strconv.Itoa(i)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s, err := record.NewSchema(table, key, fields...)
	return s, config.At(err, "schema")
}
