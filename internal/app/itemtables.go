package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/jobs"
	itemsink "github.com/acequia-io/acequia/sinks/items"
)

// itemTables shows the items tables of a service to the API.
type itemTables struct{ *Service }

var _ api.Items = itemTables{}

// tables gives the tables of all stores, each with its store, by name.
func (s itemTables) tables(ctx context.Context) (map[string]storedTable, error) {
	out := map[string]storedTable{}
	for _, d := range s.project.Pipelines {
		for _, part := range d.Sinks {
			settings, ok := part.Settings.(*itemsink.Config)
			if !ok {
				continue
			}
			place := s.project.itemsFile(part)
			if dynamo := s.dynamo[place]; dynamo != nil {
				if err := dynamo.Find(ctx); err != nil && fault.Code(err) != "ACQ-ITEMS-020" {
					return nil, err
				}
				for _, t := range dynamo.Tables() {
					out[t.Name] = storedTable{Table: t, store: dynamo}
				}
			}
			if store := s.items[place]; store != nil {
				embeddedTables(out, settings, store)
			}
		}
	}
	return out, nil
}

// embeddedTables adds those of a file. Of one that was made by a process before only the settings say which indexes it has.
func embeddedTables(out map[string]storedTable, settings *itemsink.Config, store *itemstore.Store) {
	declared := map[string]itemsink.Table{}
	for stream, t := range settings.Tables {
		name, _ := settings.TableOf(stream)
		declared[name] = t
	}
	for _, t := range store.Tables() {
		if t.NoChanges { // the form's keys
			continue
		}
		one := storedTable{Table: t, store: store}
		if len(t.Indexes) == 0 {
			one.Indexes, one.define = declared[t.Name].Indexes, store.Define
		}
		out[t.Name] = one
	}
}

type storedTable struct {
	itemstore.Table
	store  itemReader
	define func(ctx context.Context, t itemstore.Table) error // of a store that was opened again, and has not heard of the indexes yet; nil: it has
}

// itemReader is a store as the API reads it.
type itemReader interface {
	Count(ctx context.Context, table string) (int64, error)
	Get(ctx context.Context, table, key string) (itemstore.Item, bool, error)
	List(ctx context.Context, table string, limit int, after string) ([]itemstore.Item, error)
	Query(ctx context.Context, table, index string, values []any, limit int, after string) ([]itemstore.Item, error)
}

// Tables gives the tables by name.
func (s itemTables) Tables(ctx context.Context) ([]api.ItemTable, error) {
	all, err := s.tables(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.ItemTable, 0, len(all))
	for _, t := range all {
		n, err := t.store.Count(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		one := api.ItemTable{Name: t.Name, Items: n, Indexes: []api.ItemIndex{}}
		for _, x := range t.Indexes {
			one.Indexes = append(one.Indexes, api.ItemIndex{Name: x.Name, Columns: x.Columns})
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b api.ItemTable) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Page gives items of a table.
func (s itemTables) Page(ctx context.Context, q api.Query) (api.Page, error) {
	all, err := s.tables(ctx)
	if err != nil {
		return api.Page{}, err
	}
	t, ok := all[q.Table]
	if !ok {
		known := make([]string, 0, len(all))
		for name := range all {
			known = append(known, name)
		}
		slices.Sort(known)
		return api.Page{}, &jobs.UnknownError{Name: q.Table, Near: config.Nearest(q.Table, known), Known: known}
	}
	if q.Index == "" && len(q.Key) > 0 {
		return t.one(ctx, q.Key)
	}
	var found []itemstore.Item
	if q.Index == "" {
		found, err = t.store.List(ctx, t.Name, q.Limit, q.After)
	} else {
		found, err = t.indexed(ctx, q)
	}
	if err != nil {
		return api.Page{}, err
	}
	out := api.Page{Docs: make([]json.RawMessage, len(found))}
	for i, item := range found {
		out.Docs[i] = item.Doc
	}
	if len(found) == q.Limit {
		out.Last = found[len(found)-1].After
	}
	return out, nil
}

// one gives the item with a key. Whether a value is a number or a text the request does not say: each way is looked up.
func (t storedTable) one(ctx context.Context, key []string) (api.Page, error) {
	var keys []string
	if len(key) == 1 { // a text that is the whole key is written as it is
		keys = append(keys, key[0])
	}
	for _, values := range readings(key) {
		text, err := json.Marshal(values)
		if err != nil {
			return api.Page{}, err
		}
		keys = append(keys, string(text))
	}
	for _, text := range keys {
		item, found, err := t.store.Get(ctx, t.Name, text)
		if err != nil {
			return api.Page{}, err
		}
		if found && !item.Deleted {
			return api.Page{Docs: []json.RawMessage{item.Doc}}, nil
		}
	}
	return api.Page{Docs: []json.RawMessage{}}, nil
}

// indexed gives the items that an index finds.
func (t storedTable) indexed(ctx context.Context, q api.Query) ([]itemstore.Item, error) {
	i := slices.IndexFunc(t.Indexes, func(x itemstore.Index) bool { return x.Name == q.Index })
	if i < 0 {
		known := make([]string, len(t.Indexes))
		for i, x := range t.Indexes {
			known[i] = x.Name
		}
		bad := &api.BadQueryError{Detail: fmt.Sprintf("table %s has no index %q", t.Name, q.Index), Remedy: "leave index and key out"}
		if len(known) > 0 {
			bad.Near, bad.Remedy = known, config.Suggest(q.Index, known)
		}
		return nil, bad
	}
	if columns := t.Indexes[i].Columns; len(columns) != len(q.Key) {
		return nil, &api.BadQueryError{
			Detail: fmt.Sprintf("index %s wants %d values of key, not %d", q.Index, len(columns), len(q.Key)), Remedy: "give one each for " + strings.Join(columns, ", "),
		}
	}
	if t.define != nil {
		if err := t.define(ctx, t.Table); err != nil {
			return nil, err
		}
	}
	for _, values := range readings(q.Key) {
		found, err := t.store.Query(ctx, t.Name, q.Index, values, q.Limit, q.After)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

// readings are what values of a request may mean: numbers and truth values, if all that look so are, and texts.
func readings(key []string) [][]any {
	typed, texts := make([]any, len(key)), make([]any, len(key))
	other := false
	for i, k := range key {
		typed[i], texts[i] = k, k
		if n, err := strconv.ParseInt(k, 10, 64); err == nil && strconv.FormatInt(n, 10) == k {
			typed[i], other = n, true
		} else if k == "true" || k == "false" {
			typed[i], other = k == "true", true
		}
	}
	if !other {
		return [][]any{texts}
	}
	return [][]any{typed, texts}
}
