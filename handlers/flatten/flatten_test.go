package flatten_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/flatten"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

func names(s *record.Schema) string {
	var out []string
	for _, f := range s.Fields {
		name := f.Name
		if f.Nullable {
			name += "?"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func TestShape(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config flatten.Config
		want   string
		errs   []string
	}{
		"all":       {flatten.Config{}, "id address_street? address_zip? address_geo_lat? address_geo_lon? name? seen_at seen_where all?", nil},
		"one level": {flatten.Config{Depth: 1}, "id address_street? address_zip? address_geo? name? seen_at seen_where all?", nil},
		"named":     {flatten.Config{Columns: []string{"seen"}, Separator: "."}, "id address? name? seen.at seen.where all?", nil},
		"wrong": {
			config: flatten.Config{Columns: []string{"addresss", "all", "name", "seen", "x"}},
			errs: []string{
				"columns.0: no column is named addresss (did you mean address?)", "columns.1: all is a list", "columns.2: name is string, which has no members",
				"columns.4: no column is named x",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := flatten.New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			out, err := h.Shape(people(t))
			if c.errs == nil {
				if err != nil || names(out) != c.want {
					t.Errorf("got %v, %v, want %s", out, err, c.want)
				}
				return
			}
			if fault.Code(err) != "ACQ-FLATTEN-001" || fault.Of(err) != fault.Fatal {
				t.Fatalf("got %v", err)
			}
			if _, ok := errors.AsType[*config.FieldError](err); !ok {
				t.Errorf("no config.FieldError in %v", err)
			}
			for _, want := range c.errs {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestKeyAndCollisions(t *testing.T) {
	t.Parallel()
	text := func(name string) record.Field { return record.Field{Name: name, Kind: record.String} }
	for name, c := range map[string]struct {
		schema  *record.Schema
		columns []string
		key     string
		err     string
	}{
		"the key follows":   {schema: schema(t, []string{"at", "_id"}, structure("_id", false, text("a"), text("b")), text("at")), key: "at _id_a _id_b"},
		"a column":          {schema: schema(t, nil, text("a_b"), structure("a", false, text("b"))), columns: []string{"a"}, err: "columns.0: a_b and a both give a column named a_b"},
		"a column, behind":  {schema: schema(t, nil, structure("a", false, text("b")), text("a_b")), columns: []string{"a"}, err: "columns.0: a and a_b both give a column named a_b"},
		"two members":       {schema: schema(t, nil, structure("a", false, text("b_c"), structure("b", false, text("c")))), err: "two members of a give a column named a_b_c"},
		"of different ones": {schema: schema(t, nil, structure("a", false, text("b_c")), structure("a_b", false, text("c"))), err: "a and a_b both give a column named a_b_c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := flatten.New(flatten.Config{Columns: c.columns})
			if err != nil {
				t.Fatal(err)
			}
			out, err := h.Shape(c.schema)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %v, want %q", err, c.err)
			case c.err == "" && (err != nil || strings.Join(out.KeyNames(), " ") != c.key):
				t.Errorf("got %v, %v, want the key %s", out, err, c.key)
			}
		})
	}
}

// TestNulls gives the members the nulls of their struct, whichever of the two is constant, and copies no values.
func TestNulls(t *testing.T) {
	t.Parallel()
	s := schema(t, nil, structure("a", true, record.Field{Name: "n", Kind: record.Int64, Nullable: true}))
	h, err := flatten.New(flatten.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		column record.Column
		want   string
	}{
		"plain":           {record.Column{Children: []record.Column{{Ints: []int64{1, 2, 3}}}}, "1 2 3"},
		"nulls of both":   {record.Column{Valid: []uint64{0b011}, Children: []record.Column{{Ints: []int64{1, 0, 0}, Valid: []uint64{0b101}}}}, "1 null null"},
		"absent":          {record.Column{Valid: []uint64{0b110}, Absent: []uint64{0b001}, Children: []record.Column{{Ints: []int64{0, 2, 3}}}}, "absent 2 3"},
		"constant member": {record.Column{Valid: []uint64{0b101}, Children: []record.Column{{Ints: []int64{7}, Const: true}}}, "7 null 7"},
		"constant struct": {record.Column{Const: true, Children: []record.Column{{Ints: []int64{7}}}}, "7 7 7"},
		"constant null":   {record.Column{Const: true, Valid: []uint64{0}, Children: []record.Column{{Ints: []int64{0}}}}, "null null null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := record.NewBatch(s, 3, []record.Column{c.column}, record.System{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := h.Handle(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			column := &out[0].Columns[0]
			var got []string
			for row := range 3 {
				switch {
				case column.IsAbsent(row):
					got = append(got, "absent")
				case !column.IsValid(row):
					if got = append(got, "null"); column.Int(row) != 0 {
						t.Errorf("row %d is null and has a value", row)
					}
				default:
					got = append(got, string(record.AppendText(nil, &out[0].Schema.Fields[0], column, row)))
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
			if name == "nulls of both" && &column.Ints[0] != &c.column.Children[0].Ints[0] {
				t.Error("the values were copied")
			}
		})
	}
}
