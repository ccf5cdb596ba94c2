package hello_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	hello "github.com/acequia-io/acequia/examples/hello-source"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	described, err := hello.New(hello.Config{Path: "any"})
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := described.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sourcetest.Run(t, sourcetest.Harness{
		Plugin:     hello.Plugin(),
		Schema:     schemas[0],
		New:        func(context.Context) (*sourcetest.Place, error) { return place(dir) },
		Good:       good,
		Own:        []string{"at"}, // where the line stands is the source's to say
		Replayable: true,
		Bounded:    true,
		InsertOnly: true,
	})
}

// good sets what a line may hold: anything but its own end.
func good(b *record.Builder, column, row int) bool {
	if b.Schema().Fields[column].Name != "line" {
		return false
	}
	lines := []string{"", "hola", " two  sides ", "ñ €  𝄞 \x00 \r", strings.Repeat("long ", 200)}
	b.String(column, fmt.Sprint(row, lines[row%len(lines)]))
	return true
}

// place is an empty file and how the suite writes rows into it.
func place(dir string) (*sourcetest.Place, error) {
	file, err := os.CreateTemp(dir, "lines")
	if err != nil {
		return nil, err
	}
	return &sourcetest.Place{
		Source: func(context.Context) (sources.Source, error) { return hello.New(hello.Config{Path: file.Name()}) },
		Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
			column := &b.Columns[b.Schema.Index("line")]
			for row := range b.Rows {
				if _, err := fmt.Fprintf(file, "%s\n", column.Text(row)); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		Close: file.Close,
	}, nil
}
