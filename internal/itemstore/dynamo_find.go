package itemstore

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// codeNoTable says that a table is not there, or not yet.
const codeNoTable = "ACQ-ITEMS-020"

// Expect names tables, with their indexes, that records may come for later: what they hold can be read before.
func (d *Dynamo) Expect(tables ...Table) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range tables {
		if !slices.ContainsFunc(d.expected, func(o Table) bool { return o.Name == t.Name }) {
			d.expected = append(d.expected, t)
		}
	}
}

// Find looks for the tables that are expected and not known yet. Of their columns it knows the keys; values are given as DynamoDB holds them.
// ACQ-ITEMS-020: one is not there; the others were found.
func (d *Dynamo) Find(ctx context.Context) error {
	d.mu.Lock()
	expected := slices.Clone(d.expected)
	d.mu.Unlock()
	var missing error
	for _, t := range expected {
		if _, err := d.table(t.Name); err == nil {
			continue
		}
		err := d.find(ctx, t)
		if err != nil && fault.Code(err) != codeNoTable {
			return err
		}
		if missing == nil {
			missing = err
		}
	}
	return missing
}

func (d *Dynamo) find(ctx context.Context, t Table) error {
	_, l, err := d.look(ctx, t)
	if err != nil {
		return err
	}
	if l.text { // the attribute of the key is no column
		l.schema = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables[t.Name] == nil { // else it was defined meanwhile
		d.tables[t.Name] = &dynamoTable{Table: t, store: d, layout: l, limit: &limiter{}, reads: &limiter{}, floor: &floor{}, found: true}
	}
	return nil
}

// keysOf is a schema of the key of a table that is there. One whose key is a text of all columns has only that.
func keysOf(d *types.TableDescription, name string) (*record.Schema, error) {
	kinds := map[types.ScalarAttributeType]record.Kind{
		types.ScalarAttributeTypeN: record.Int64, types.ScalarAttributeTypeS: record.String, types.ScalarAttributeTypeB: record.Bytes,
	}
	var fields []record.Field
	var key []string
	for _, k := range d.KeySchema {
		at := slices.IndexFunc(d.AttributeDefinitions, func(a types.AttributeDefinition) bool { return *a.AttributeName == *k.AttributeName })
		if at < 0 {
			continue // a table's description has them all
		}
		fields = append(fields, record.Field{Name: *k.AttributeName, Kind: kinds[d.AttributeDefinitions[at].AttributeType]})
		key = append(key, *k.AttributeName)
	}
	return record.NewSchema(name, key, fields...)
}
