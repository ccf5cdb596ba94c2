package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Items are the items tables of a project.
type Items interface {
	// Tables gives them by name.
	Tables(ctx context.Context) ([]ItemTable, error)
	// Page gives items of a table: a *jobs.UnknownError where there is no such table, a *BadQueryError where it has no such index.
	Page(ctx context.Context, q Query) (Page, error)
}

// ItemTable is a table of items.
type ItemTable struct {
	Name    string      `json:"table_name"`
	Items   int64       `json:"item_count"`
	Indexes []ItemIndex `json:"indexes" nullable:"false"`
}

// ItemIndex finds items by the values of columns.
type ItemIndex struct {
	Name    string   `json:"index_name"`
	Columns []string `json:"columns" nullable:"false"`
}

// Query chooses items: all of a table, the one with a key, or those that an index finds.
type Query struct {
	Table string
	Index string   // "": none
	Key   []string // of the item, or the values of the columns of the index
	Limit int
	After string // key of the last item of the page before
}

// Page is some of the items of a table.
type Page struct {
	Docs []json.RawMessage
	Last string // key of the last, where there may be more; "": there are none
}

// BadQueryError says what is wrong with a query.
type BadQueryError struct {
	Detail, Remedy string
	Near           []string
}

// Error says it.
func (e *BadQueryError) Error() string { return e.Detail }

// TableList is what /dynamodb/tables answers.
type TableList struct {
	Tables []ItemTable `json:"tables" nullable:"false"`
}

// ItemPage is what /dynamodb/{table_name}/items answers.
type ItemPage struct {
	Table string            `json:"table_name"`
	Count int               `json:"count"`
	Items []json.RawMessage `json:"items" nullable:"false" doc:"the documents, in the order of their keys"`
	Next  string            `json:"next_cursor,omitempty" doc:"for ?cursor=, where there are more"`
}

func (a *API) items() {
	register(a, huma.Operation{
		OperationID: "list tables", Method: http.MethodGet, Path: "/dynamodb/tables", Summary: "The items tables", Tags: []string{"items"}, DefaultStatus: http.StatusOK,
	}, nil, func(ctx context.Context, _ *struct{}) (*answer[TableList], error) {
		found, err := a.Items.Tables(ctx)
		if err != nil {
			return nil, problemOf(err)
		}
		return &answer[TableList]{TableList{found}}, nil
	})
	type query struct {
		Table  string   `path:"table_name" example:"cinema-rooms"`
		Limit  int      `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		Cursor string   `query:"cursor" doc:"next_cursor of the page before"`
		Index  string   `query:"index" doc:"an index of the table, as /dynamodb/tables lists them"`
		Key    []string `query:"key,explode" nullable:"false" doc:"the key of an item, a value a column; with index the values of its columns, in order"`
	}
	register(a, huma.Operation{
		OperationID: "list items", Method: http.MethodGet, Path: "/dynamodb/{table_name}/items", Summary: "The items of a table", Tags: []string{"items"},
		DefaultStatus: http.StatusOK,
	}, nil, func(ctx context.Context, in *query) (*answer[ItemPage], error) {
		after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
		if err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "ACQ-API-001", "the cursor is none that a page gave", "leave it out to begin with the first page")
		}
		page, err := a.Items.Page(ctx, Query{Table: in.Table, Index: in.Index, Key: in.Key, Limit: in.Limit, After: string(after)})
		if err != nil {
			return nil, itemsProblem(err)
		}
		out := ItemPage{Table: in.Table, Count: len(page.Docs), Items: page.Docs}
		if page.Last != "" {
			out.Next = base64.RawURLEncoding.EncodeToString([]byte(page.Last))
		}
		return &answer[ItemPage]{out}, nil
	})
}

func itemsProblem(err error) error {
	bad, ok := err.(*BadQueryError) //nolint:errorlint // it is never wrapped
	if !ok {
		return problemOf(err)
	}
	p := problem(http.StatusUnprocessableEntity, "ACQ-API-013", bad.Detail, bad.Remedy)
	p.Suggestions = bad.Near
	return p
}
