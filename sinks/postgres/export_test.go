package postgres

import (
	"slices"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// Statements are those for two streams, of which the second has no key: tables are made, changed, and merged into.
func Statements(keyed, keyless *record.Schema) string {
	var b strings.Builder
	write := func(what string, all ...string) {
		b.WriteString("-- " + what + "\n" + strings.Join(all, ";\n") + ";\n")
	}
	texts := func(all []statement) (out []string) {
		for _, s := range all {
			out = append(out, s.sql)
		}
		return out
	}
	at := func(schema *record.Schema) *stage {
		s := &stage{id: 7, table: 3, name: stageName(7), into: `"public"."t"`, key: schema.KeyNames(), known: columnsOf(schema)}
		s.columns = append([]string{opColumn, versionColumn}, schema.KeyNames()...)
		for i, f := range schema.Fields {
			if !slices.Contains(schema.Key, i) {
				s.columns = append(s.columns, f.Name)
			}
		}
		s.columns = append(s.columns, "_event_id", "_event_ts", "_ingest_ts")
		return s
	}
	s := at(keyed)
	write("a table with a key", creates(3, s.into, keyed)...)
	write("its stage", (&table{schema: keyed, order: []int{1, 2, 0, 3}}).stageTable(s.name, true))
	wider := columnsOf(keyed)
	wider[1].Kind = record.Decimal
	wider[1].Precision = 20
	write("its columns change", alters(3, s.into, s.key, columnsOf(keyed), append(wider, record.Field{Name: "more", Kind: record.Bool, Nullable: true}))...)
	write("rows whose keys ascend", texts(s.merges(contents{}))...)
	write("the newest of each key", s.newest())
	s.floor = record.Version{Epoch: 1}.String()
	write("a truncate", texts(s.truncates())...)
	write("rows and deletes, below which there was a truncate", texts(s.merges(contents{deletes: 1, remembered: true}))...)
	write("rows that lack columns", s.change("(…) s"))
	k := at(keyless)
	write("a table without a key", creates(3, k.into, keyless)...)
	write("its rows before a truncate", texts(k.appends("…"))...)
	write("its first truncate", texts(k.replaces(record.Version{Epoch: 1}.String(), "…"))...)
	k.floor = record.Version{Epoch: 1}.String()
	write("its rows after it", texts(k.appends("…"))...)
	return b.String()
}
