package itemstore_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// Another process reads tables of which it knows names and indexes alone; one that is not there is told, and keeps the others from nothing.
// When its own records come it writes as ever.
func TestDynamoFindsTables(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{})
	wide, err := record.NewSchema("seats", []string{"room", "row", "seat"}, record.Field{Name: "room", Kind: record.Int32}, record.Field{Name: "row", Kind: record.String},
		record.Field{Name: "seat", Kind: record.Int32}, record.Field{Name: "note", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	films := itemstore.Table{Name: tableName(t) + "-films", Schema: filmSchema(t), Indexes: []itemstore.Index{{Name: "by_year", Columns: []string{"year"}}}}
	seats := itemstore.Table{Name: tableName(t) + "-seats", Schema: wide}
	makeTable(t, d, films)
	makeTable(t, d, seats)
	puts(t, d, []itemstore.Outcome{written, written}, film(films.Name, "a", 1, `,"year":1999,"title":"t"`), film(films.Name, "b", 1, ""))
	puts(t, d, []itemstore.Outcome{written}, itemstore.Put{
		Table: seats.Name, Key: `[7,"B",3]`, Version: version(1), Op: record.Insert, Doc: []byte(`{"room":7,"row":"B","seat":3,"note":"n"}`),
	})
	other := openDynamo(t, itemstore.DynamoOptions{})
	other.Expect(itemstore.Table{Name: tableName(t) + "-none"}, itemstore.Table{Name: films.Name, Indexes: films.Indexes}, itemstore.Table{Name: seats.Name})
	for range 2 {
		if err := other.Ping(t.Context()); fault.Code(err) != "ACQ-ITEMS-020" || !strings.Contains(err.Error(), "-none") {
			t.Errorf("got %v", err)
		}
	}
	if all := other.Tables(); len(all) != 2 {
		t.Errorf("found %v", all)
	}
	if got := keysOf(t, other, films.Name); !slices.Equal(got, []string{"a v1", "b v1"}) {
		t.Error(got)
	}
	for table, key := range map[string]string{films.Name: "a", seats.Name: `[7,"B",3]`} {
		item, there, err := other.Get(t.Context(), table, key)
		want := map[string]string{films.Name: `{"id":"a","title":"t","year":1999}`, seats.Name: `{"note":"n","room":7,"row":"B","seat":3}`}[table]
		if err != nil || !there || string(item.Doc) != want {
			t.Errorf("%s: %s %v, want %s", key, item.Doc, err, want)
		}
	}
	if found, err := other.Query(t.Context(), films.Name, "by_year", []any{int64(1999)}, 10, ""); err != nil || len(found) != 1 {
		t.Errorf("by year: %v, %v", found, err)
	}
	if err := other.Define(t.Context(), films); err != nil {
		t.Fatal(err)
	}
	puts(t, other, []itemstore.Outcome{superseded, written}, film(films.Name, "a", 1, ""), film(films.Name, "c", 1, ""))
}

// A table that was found is loaded as one that nobody has looked at.
func TestDynamoLoadsWhatItFound(t *testing.T) {
	t.Parallel()
	d := openDynamo(t, itemstore.DynamoOptions{Bulk: true})
	films := itemstore.Table{Name: tableName(t), Schema: filmSchema(t)}
	makeTable(t, openDynamo(t, itemstore.DynamoOptions{}), films)
	d.Expect(itemstore.Table{Name: films.Name})
	if err := d.Find(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Define(t.Context(), films); err != nil {
		t.Fatal(err)
	}
	if !d.Loads(films.Name) {
		t.Error("it is not loaded in bulk")
	}
}
