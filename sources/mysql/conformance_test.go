package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

const suiteTable = `CREATE TABLE suite (id varchar(700) COLLATE utf8mb4_bin PRIMARY KEY, n bigint, small int, score double, ratio float, price decimal(30,4),
	cheap decimal(10,2), day date, at timestamp(6) NULL, local datetime(6), note longtext, raw longblob)`

func suiteSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("suite", []string{"id"},
		record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "n", Kind: record.Int64, Nullable: true},
		record.Field{Name: "small", Kind: record.Int32, Nullable: true},
		record.Field{Name: "score", Kind: record.Float64, Nullable: true},
		record.Field{Name: "ratio", Kind: record.Float32, Nullable: true},
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
	database string
	notes    *notes

	mu      sync.Mutex
	sources []*mysql.Source
}

// source reads the table as it stands, as acequia backfill does.
func (p *suitePlace) source(context.Context) (sources.Source, error) {
	s, err := mysql.New(mysql.Config{DSN: config.Secret(server.DSN(p.database)), Capture: mysql.Capture{Strategy: "time", Column: "at"}}, sources.Host{Pipeline: "suite", State: p.notes})
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

// suiteMoments are values of TIMESTAMP, which ends in 2038 and begins in 1970.
func suiteMoments(b *record.Builder, column, row int) bool {
	switch f := b.Schema().Fields[column]; {
	case f.Kind == record.Timestamp:
		b.Int(column, 1_000_000+int64(row)*86_400_123_456)
		return true
	case f.Name == "id":
		b.String(column, fmt.Sprintf("key %06d", row))
		return true
	case f.Kind == record.Float32 || f.Kind == record.Float64: // without NaN and the infinities, which are no numbers to MySQL
		b.Float(column, float64(row)*1.5-7)
		return true
	}
	return false
}

func (p *suitePlace) put(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
	c, err := server.Connect(p.database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Quit() }()
	for _, sql := range []string{"SET NAMES utf8mb4", "SET time_zone = '+00:00'"} {
		if _, err := c.Execute(sql); err != nil {
			return nil, err
		}
	}
	for row := range b.Rows {
		names, values := make([]string, len(b.Columns)), make([]string, len(b.Columns))
		for i := range b.Columns {
			f, column := &b.Schema.Fields[i], &b.Columns[i]
			text := record.AppendText(nil, f, column, row)
			names[i] = f.Name
			switch {
			case !column.IsValid(row):
				values[i] = "NULL"
			case len(text) == 0:
				values[i] = "''"
			case f.Kind == record.Bytes:
				values[i] = fmt.Sprintf("0x%x", text)
			case f.Kind == record.Timestamp, f.Kind == record.LocalTimestamp:
				values[i] = "'" + strings.TrimSuffix(strings.Replace(string(text), "T", " ", 1), "Z") + "'"
			default:
				values[i] = fmt.Sprintf("_utf8mb4 0x%x", text)
			}
		}
		if _, err := c.Execute(suiteChange(b.System.Op(row), names, values)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// suiteChange is the statement of a record, whose key is its first column.
func suiteChange(op record.Op, names, values []string) string {
	switch op {
	case record.Delete:
		return "DELETE FROM suite WHERE id = " + values[0]
	case record.Update:
		sets := make([]string, len(names))
		for i := range names {
			sets[i] = names[i] + " = " + values[i]
		}
		return "UPDATE suite SET " + strings.Join(sets, ", ") + " WHERE id = " + values[0]
	default:
		return "INSERT INTO suite VALUES (" + strings.Join(values, ", ") + ")"
	}
}

// logOnly is a source whose tables were read when they were empty: all that it gives comes from the log.
type logOnly struct{ *mysql.Source }

func (l logOnly) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := l.Source.Lanes(ctx)
	return slices.DeleteFunc(lanes, func(l sources.Lane) bool { return !l.Endless }), err
}

// logged follows the table by the log, from when it was made on.
func (p *suitePlace) logged(context.Context) (sources.Source, error) {
	s, err := mysql.New(mysql.Config{DSN: config.Secret(server.DSN(p.database)), Capture: mysql.Capture{Strategy: "log"}}, sources.Host{Pipeline: "suite", State: p.notes})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = append(p.sources, s)
	return logOnly{s}, nil
}

// TestLogConforms runs the suite over the lane of the log.
func TestLogConforms(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: mysql.Plugin(), Schema: suiteSchema(t), Network: true, Replayable: true, Good: suiteMoments,
		New: func(ctx context.Context) (*sourcetest.Place, error) {
			p := &suitePlace{database: server.Database(t, suiteTable), notes: newNotes()}
			s, err := p.logged(ctx)
			if err == nil {
				_, err = s.Lanes(ctx) // the table joins
			}
			return &sourcetest.Place{Source: p.logged, Put: p.put, Close: p.close}, err
		},
	})
}

// The suite reads tables as they stand; of what follows them only the log gives every change, see TestLogConforms.
func TestConformance(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: mysql.Plugin(), Schema: suiteSchema(t), Network: true, Replayable: true, Bounded: true, InsertOnly: true, Standing: true,
		Good: suiteMoments,
		New: func(context.Context) (*sourcetest.Place, error) {
			p := &suitePlace{database: server.Database(t, suiteTable), notes: newNotes()}
			return &sourcetest.Place{Source: p.source, Put: p.put, Close: p.close}, nil
		},
		Secret: "tell-nobody",
		Unreachable: func(context.Context) (sources.Source, error) {
			return mysql.New(mysql.Config{DSN: "mysql://root:tell-nobody@127.0.0.1:1/shop"}, sources.Host{Pipeline: "suite", State: newNotes()})
		},
	})
}
