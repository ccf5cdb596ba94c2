package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/cost"
	"github.com/acequia-io/acequia/internal/query"
)

// byAthena asks a lake in S3.
func (c queryCmd) byAthena(ctx context.Context, t terminal, lake app.LakePart, text string) error {
	client, err := lake.Athena(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := client.Query(ctx, athena.Request{SQL: text, Params: c.Param})
	if err != nil {
		return err
	}
	defer found.Close()
	done := found.Execution()
	columns := make([]query.Column, len(found.Columns()))
	for i, column := range found.Columns() {
		columns[i] = query.Column{Name: column.Name, Type: column.Type, Kind: athenaKind(column.Type)}
	}
	rows := query.Foreign(columns, &athenaFeed{rows: found}, 0)
	switch {
	case c.Save:
		_, err = fmt.Fprintln(t.out, done.Results)
		err = errors.Join(err, rows.Close())
	default:
		err = query.Write(t.out, rows, query.Format(c.Output))
	}
	if err != nil {
		return err
	}
	if rows.Truncated() {
		_, _ = fmt.Fprintf(t.err, "only the first %d rows are shown\n", rows.Limit())
	}
	_, err = fmt.Fprintf(t.err, "Athena read %s bytes in %s: %s; the result is kept at %s\n", thousands(done.Scanned), done.Duration.Round(time.Millisecond), cost.QueryText(done.Scanned), done.Results)
	return err
}

// athenaFeed hands rows of Athena on.
type athenaFeed struct {
	rows *athena.Rows
	row  []*string
}

func (f *athenaFeed) Next() (ok bool) {
	f.row, ok = f.rows.Next()
	return ok
}

func (f *athenaFeed) Values(row []query.Value) error {
	for i, v := range f.row {
		if row[i] = (query.Value{Null: v == nil}); v != nil {
			row[i].Text = *v
		}
	}
	return nil
}

func (f *athenaFeed) Err() error { return f.rows.Err() }

func (f *athenaFeed) Close() error {
	f.rows.Close()
	return nil
}

// athenaKind gives the kind of a type of Athena. Its lists and rows are no JSON.
func athenaKind(name string) query.Kind {
	base, _, _ := strings.Cut(strings.ToLower(name), "(")
	switch base {
	case "boolean":
		return query.Bool
	case "tinyint", "smallint", "integer", "int", "bigint", "real", "float", "double", "decimal":
		return query.Number
	case "json":
		return query.JSON
	}
	return query.Text
}
