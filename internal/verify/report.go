package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a comparison found.
type Report struct {
	Began     time.Time   `json:"began"`
	Tables    []Table     `json:"tables"`
	Unchecked []Unchecked `json:"unchecked"`
	Equal     bool        `json:"equal"`
	Found     *Report     `json:"found,omitempty"` // what was found before it was repaired
}

// Unchecked is what was not compared, and why.
type Unchecked struct {
	Pipeline string `json:"pipeline"`
	Stream   string `json:"stream,omitempty"`
	Sink     string `json:"sink,omitempty"`
	Reason   string `json:"reason"`
}

// Table is a stream, and what one sink holds of it.
type Table struct {
	Pipeline   string       `json:"pipeline"`
	Stream     string       `json:"stream"`
	Sink       string       `json:"sink"`
	Table      string       `json:"table"`     // of the sink
	Rows       int64        `json:"rows"`      // that the sink should hold
	SinkRows   int64        `json:"sink_rows"` // that it holds
	Ranges     int          `json:"ranges"`
	Differing  int          `json:"ranges_differing"` // at the first look, before it was settled
	Settled    int64        `json:"rows_settled"`     // that differed at the first look and were equal at a later one
	Missing    int64        `json:"rows_missing"`
	Extra      int64        `json:"rows_extra"`
	Different  int64        `json:"rows_different"`
	Refused    int64        `json:"rows_refused"` // by a step or the sink: they are dead letters
	LeftOut    []string     `json:"columns_left_out,omitempty"`
	Keyless    bool         `json:"keyless,omitempty"`
	Digest     string       `json:"digest"` // of the rows that the sink should hold: count, xor and sum of their hashes
	Seconds    float64      `json:"seconds"`
	Repaired   int64        `json:"rows_repaired,omitempty"` // sent again
	Differ     []Difference `json:"differences,omitempty"`   // the first of them
	SinkDigest string       `json:"sink_digest"`
}

// Equal says whether nothing differs.
func (t *Table) Equal() bool { return t.Missing+t.Extra+t.Different == 0 }

// Kind is how a key differs.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // the sink does not hold it
	Extra     Kind = "extra"     // only the sink holds it
	Different Kind = "different" // both hold it, with other values
)

// Difference is a key that differs.
type Difference struct {
	Kind    Kind              `json:"kind"`
	Key     map[string]string `json:"key"` // values as JSON
	Columns []Values          `json:"columns,omitempty"`
}

// Values are what both sides hold in a column, as JSON; long ones are cut.
type Values struct {
	Column string `json:"column"`
	Source string `json:"source"`
	Sink   string `json:"sink"`
}

func digest(sums []sum) string {
	var all sum
	for _, s := range sums {
		all.merge(s)
	}
	return fmt.Sprintf("%d-%016x-%016x", all.Count, all.Xor, all.Sum)
}

// count tells the keys that are still open apart, and keeps the first of them.
func (t *Table) count(of *suspects, key []string, most int) {
	for _, i := range of.open {
		kind := Different
		switch {
		case !of.sink[i].there:
			kind = Missing
			t.Missing++
		case !of.source[i].there:
			kind = Extra
			t.Extra++
		default:
			t.Different++
		}
		if len(t.Differ) < most && int(i) < len(of.shown) {
			t.Differ = append(t.Differ, difference(kind, &of.shown[i], key))
		}
	}
}

// sort puts the differences in the order of their keys, as people count.
func (t *Table) sort() {
	key := func(d Difference) string {
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(d.Key)) {
			fmt.Fprintf(&text, "%24s", d.Key[name])
		}
		return text.String()
	}
	slices.SortStableFunc(t.Differ, func(a, b Difference) int { return strings.Compare(key(a), key(b)) })
}

func difference(kind Kind, of *shown, key []string) Difference {
	d := Difference{Kind: kind, Key: map[string]string{}}
	named := func(cells []cell, name string) *cell {
		if i := slices.IndexFunc(cells, func(c cell) bool { return c.name == name }); i >= 0 {
			return &cells[i]
		}
		return &cell{name: name, text: "null"}
	}
	for _, name := range key {
		d.Key[name] = cmp.Or(named(of.source, name).text, named(of.sink, name).text)
		if kind == Extra {
			d.Key[name] = named(of.sink, name).text
		}
	}
	if kind != Different {
		return d
	}
	for _, c := range slices.Concat(of.source, of.sink) {
		a, b := named(of.source, c.name), named(of.sink, c.name)
		if a.hash != b.hash && !slices.ContainsFunc(d.Columns, func(v Values) bool { return v.Column == c.name }) {
			d.Columns = append(d.Columns, Values{c.name, a.text, b.text})
		}
	}
	return d
}
