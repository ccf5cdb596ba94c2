package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/schemas"
)

// Remote says whether the lake is in S3.
func (l LakePart) Remote() bool {
	_, _, remote := blob.ParseURL(l.Root)
	return remote && l.Config != nil
}

// Athena opens who asks the lake: as its settings say, or as usual.
func (l LakePart) Athena(ctx context.Context) (*athena.Client, error) {
	if !l.Remote() {
		return nil, &fault.Error{
			Code: "ACQ-USE-076", Place: l.Root, Err: errors.New("Athena asks lakes in S3 alone, and this one is a directory"), Remedy: "leave --engine out, or name a file whose lake is at s3://",
		}
	}
	return athena.Open(ctx, l.Config.Asked())
}

// LakeTables gives the tables of a lake: those that it describes itself, and those of streams whose columns are known before they run.
func (p *Project) LakeTables(ctx context.Context, l LakePart) ([]*schemas.LakeTable, error) {
	bucket, err := l.Bucket(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := query.ReadDescriptions(ctx, bucket)
	if err != nil {
		return nil, err
	}
	for _, d := range p.Pipelines {
		if !slices.ContainsFunc(d.Sinks, func(s *SinkPart) bool { return s.Name == l.Sink }) {
			continue
		}
		for _, s := range distinct(d.Out) {
			name := cmp.Or(l.Config.TableName[s.Stream], schemas.LakeName(s.Stream))
			if slices.ContainsFunc(tables, func(t *schemas.LakeTable) bool { return t.Name == name }) {
				continue
			}
			t, err := schemas.NewLakeTable(name, s, l.Config.Partition)
			if err != nil {
				return nil, fmt.Errorf("stream %s: %w", s.Stream, err)
			}
			tables = append(tables, t)
		}
	}
	slices.SortFunc(tables, func(a, b *schemas.LakeTable) int { return strings.Compare(a.Name, b.Name) })
	return tables, nil
}

// PlanAthena plans what Glue and Athena have to have for tables: workgroup, database, tables with their views, and the saved queries where the
// table is there that they ask.
func PlanAthena(ctx context.Context, c *athena.Client, tables []*schemas.LakeTable) ([]athena.Change, error) {
	out, err := c.Workgroup(ctx)
	if err != nil {
		return nil, err
	}
	database, err := c.Database(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, database...)
	for _, t := range tables {
		changes, err := c.Table(ctx, t)
		if err != nil {
			return nil, err
		}
		out = append(out, changes...)
	}
	if !slices.ContainsFunc(tables, func(t *schemas.LakeTable) bool { return t.Name == query.SavedTable }) {
		return out, nil
	}
	saved, err := query.SavedQueries()
	if err != nil {
		return nil, err
	}
	queries := make([]athena.NamedQuery, len(saved))
	for i, q := range saved {
		queries[i] = athena.NamedQuery{Name: q.Name, About: q.About.EN + " / " + q.About.ES, SQL: q.SQL}
	}
	named, err := c.NamedQueries(ctx, queries)
	return append(out, named...), err
}
