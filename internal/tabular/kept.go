package tabular

import (
	"reflect"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// Columns are those that a stream has had, as they are kept between runs.
type Columns struct {
	Key    []string       `json:"key,omitempty"`
	Fields []record.Field `json:"fields"`
}

// With gives the columns together with those of a schema, and says whether that made a difference.
func (k *Columns) With(schema *record.Schema) (out *Columns, changed bool) {
	out = &Columns{Key: schema.KeyNames(), Fields: schema.Fields}
	if k == nil {
		return out, true
	}
	out.Fields = slices.Clone(schema.Fields)
	for _, f := range k.Fields { // those that another part of the table has met
		if schema.Index(f.Name) < 0 {
			out.Fields = append(out.Fields, f)
		}
	}
	return out, !reflect.DeepEqual(k, out)
}

// Has says whether all columns of a schema are among them.
func (k *Columns) Has(schema *record.Schema) bool {
	if k == nil {
		return false
	}
	for i, f := range schema.Fields {
		if i < len(k.Fields) && reflect.DeepEqual(k.Fields[i], f) { // as nearly all are: a table may have thousands
			continue
		}
		if !slices.ContainsFunc(k.Fields, func(had record.Field) bool { return reflect.DeepEqual(had, f) }) {
			return false
		}
	}
	return true
}

// Schema gives the columns back; nil where none were kept.
func (k *Columns) Schema(stream string) (*record.Schema, error) {
	if k == nil {
		return nil, nil //nolint:nilnil // said above
	}
	return record.NewSchema(stream, k.Key, k.Fields...)
}
