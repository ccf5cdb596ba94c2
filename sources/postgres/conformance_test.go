package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

const suiteTable = `create table suite (id text primary key, n bigint, small integer, score float8, ratio float4, ok boolean, price numeric(30,4),
	cheap numeric(10,2), day date, at timestamptz, local timestamp, note text, raw bytea)`

func suiteSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("suite", []string{"id"},
		record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "n", Kind: record.Int64, Nullable: true},
		record.Field{Name: "small", Kind: record.Int32, Nullable: true},
		record.Field{Name: "score", Kind: record.Float64, Nullable: true},
		record.Field{Name: "ratio", Kind: record.Float32, Nullable: true},
		record.Field{Name: "ok", Kind: record.Bool, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 30, Scale: 4, Nullable: true},
		record.Field{Name: "cheap", Kind: record.Decimal, Precision: 10, Scale: 2, Nullable: true},
		record.Field{Name: "day", Kind: record.Date, Nullable: true},
		record.Field{Name: "at", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "local", Kind: record.LocalTimestamp, Nullable: true},
		record.Field{Name: "note", Kind: record.String, Nullable: true},
		record.Field{Name: "raw", Kind: record.Bytes, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// suitePlace is a database of its own, with one table.
type suitePlace struct {
	dsn   string
	notes *notes

	mu      sync.Mutex
	sources []*postgres.Source
}

// source reads the table as it stands, as acequia backfill does.
func (p *suitePlace) source(context.Context) (sources.Source, error) {
	s, err := postgres.New(postgres.Config{DSN: config.Secret(p.dsn)}, sources.Host{Pipeline: "suite", State: p.notes})
	if err != nil {
		return nil, err
	}
	s.Backfill(nil, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = append(p.sources, s)
	return s, nil
}

func (p *suitePlace) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (p *suitePlace) put(ctx context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
	c, err := pgx.Connect(ctx, p.dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(ctx) }()
	types := strings.Split("text bigint integer float8 float4 boolean numeric numeric date timestamptz timestamp text bytea", " ")
	for row := range b.Rows {
		values, args := make([]string, len(types)), make([]any, len(types))
		for i := range types {
			values[i] = fmt.Sprintf("$%d::text::%s", i+1, types[i])
			f, column := &b.Schema.Fields[i], &b.Columns[i]
			switch {
			case !column.IsValid(row):
			case f.Kind == record.Bytes:
				args[i] = fmt.Sprintf(`\x%x`, column.Text(row))
			default:
				args[i] = string(record.AppendText(nil, f, column, row))
			}
		}
		if _, err := c.Exec(ctx, "insert into suite values ("+strings.Join(values, ", ")+")", args...); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// The suite reads tables as they stand; what follows them has tests of its own.
func TestConformance(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: postgres.Plugin(), Schema: suiteSchema(t), Network: true, Replayable: true, Bounded: true, InsertOnly: true, Standing: true,
		New: func(context.Context) (*sourcetest.Place, error) {
			p := &suitePlace{dsn: server.Database(t, suiteTable), notes: newNotes()}
			return &sourcetest.Place{Source: p.source, Put: p.put, Close: p.close}, nil
		},
		Secret: "tell-nobody",
		Unreachable: func(context.Context) (sources.Source, error) {
			return postgres.New(postgres.Config{DSN: "postgres://postgres:tell-nobody@127.0.0.1:1/shop"}, sources.Host{Pipeline: "suite", State: newNotes()})
		},
	})
}
