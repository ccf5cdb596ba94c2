package query

import (
	"context"
	"fmt"
	"path"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// ReadDescriptions gives the descriptions of a lake's tables, in the order of their names. A lake that does not exist
// yet has none.
func ReadDescriptions(ctx context.Context, lake blob.Files) ([]*schemas.LakeTable, error) {
	found, err := lake.Walk(ctx, "_tables")
	if err != nil {
		return nil, fmt.Errorf("list table descriptions: %w", err)
	}
	tables := make([]*schemas.LakeTable, 0, len(found))
	for _, f := range found {
		if path.Dir(f.Name) != "_tables" || path.Ext(f.Name) != ".json" {
			continue
		}
		text, err := lake.Read(ctx, f.Name)
		if err != nil {
			return nil, fmt.Errorf("read table description: %w", err)
		}
		t, err := schemas.DecodeLakeTable(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// DescribedTables is the Catalog of what the lake itself describes.
func DescribedTables(ctx context.Context, lake string) ([]LakeTable, error) {
	bucket := blob.Within(lake)
	described, err := ReadDescriptions(ctx, bucket)
	if err != nil {
		return nil, err
	}
	out := make([]LakeTable, len(described))
	for i, t := range described {
		files, err := lakefiles.List(ctx, bucket, t.Name)
		if err != nil {
			return nil, err
		}
		out[i] = LakeTable{Name: t.Name, Views: []View{
			{Name: t.Name, SQL: t.DuckDBView(lake, files)}, {Name: t.LatestName(), SQL: t.DuckDBLatest()},
		}}
		if distinct := t.DuckDBDistinct(); distinct != "" {
			out[i].Views = append(out[i].Views, View{Name: t.DistinctName(), SQL: distinct})
		}
		for _, p := range t.Partition {
			out[i].Partition = append(out[i].Partition, p.Name)
		}
		out[i].Columns = viewColumns(t)
	}
	return out, nil
}

// viewColumns gives the columns of a table's view in their order.
func viewColumns(t *schemas.LakeTable) []Column {
	fields := append(append([]record.Field{}, t.Columns...), schemas.SystemFields()...)
	for _, p := range t.Partition {
		if p.From == schemas.EventTimeColumn {
			fields = append(fields, record.Field{Name: p.Name, Kind: p.Kind})
		}
	}
	out := make([]Column, len(fields))
	for i, f := range fields {
		typeName := schemas.DuckDBType(f)
		out[i] = Column{Name: f.Name, Type: typeName, Kind: kindOf(typeName)}
	}
	return out
}
