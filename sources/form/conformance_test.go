package form_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/videogames"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/form"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// place is a form that is posted to; who posts waits for the answer.
type place struct {
	table *schemas.Table
	items *itemstore.Store

	mu  sync.Mutex
	now *form.Source
}

func (p *place) source(context.Context) (sources.Source, error) {
	s, err := form.New(form.Config{Table: p.table, Patience: 20 * time.Second}, p.items, discard())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = s
	return s, nil
}

// put posts each row as JSON, all at once.
func (p *place) put(ctx context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
	p.mu.Lock()
	to := p.now
	p.mu.Unlock()
	if to == nil {
		return nil, errors.New("there is no form yet")
	}
	told := make([]error, b.Rows)
	var clients sync.WaitGroup
	for row := range b.Rows {
		body := string(b.AppendJSON(nil, row))
		_, fields, _ := strings.Cut(body, ",") // without the id, which the form makes
		clients.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/forms/videogames", strings.NewReader("{"+fields))
			r.RemoteAddr = "127.0.0.1:1"
			r.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			to.ServeHTTP(rec, r)
			if rec.Code != http.StatusCreated {
				told[row] = fmt.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
	return func(context.Context) ([]error, error) {
		clients.Wait()
		return told, nil
	}, nil
}

func newPlace(ctx context.Context, table *schemas.Table) (*sourcetest.Place, error) {
	dir, err := os.MkdirTemp("", "form")
	if err != nil {
		return nil, err
	}
	items, err := itemstore.Open(ctx, filepath.Join(dir, "items.db"), itemstore.Options{})
	if err != nil {
		return nil, err
	}
	p := &place{table: table, items: items}
	return &sourcetest.Place{
		Source: p.source, Put: p.put, Close: func() error { return errors.Join(items.Close(), os.RemoveAll(dir)) },
	}, nil
}

// good sets what the register takes.
func good(table *schemas.Table) sourcetest.Setter {
	genres := table.Fields[table.Index("genre")].Options
	return func(b *record.Builder, column, row int) bool {
		switch table.Fields[column].Name {
		case "title":
			b.String(column, fmt.Sprintf("Game «%d» \"ñ\" 👾", row))
		case "developer":
			b.String(column, strings.Repeat("N/A ", row%40)+"!")
		case "genre":
			b.String(column, genres[row%len(genres)].Value)
		case "year":
			b.Int(column, int64(1950+row%70))
		case "competitive":
			b.Bool(column, row%2 == 0)
		default:
			return false
		}
		return true
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	table, err := videogames.Table()
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: form.Plugin(), Schema: table.Schema(), InsertOnly: true, Unordered: true, Own: []string{"id"}, Good: good(table),
		New: func(ctx context.Context) (*sourcetest.Place, error) { return newPlace(ctx, table) },
	})
}
