package route_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/handlers/route"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// What each sink gets, in order; a second route takes away, and never gives back. An update (c) is a delete elsewhere.
func TestSinksGetTheirRows(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "year", Kind: record.Int32, Nullable: true})
	b := record.NewBuilder(s, 6)
	for _, row := range []string{
		`{"id":"a","year":1979}`, `{"id":"b","year":2000}`, `{"id":"c","year":1999}`, `{"id":"d","year":null}`, `{"id":"e","year":2010}`, `{"id":"f","year":null}`,
	} {
		if err := b.AppendJSON([]byte(row)); err != nil {
			t.Fatal(err)
		}
	}
	b.System().Ops = []record.Op{record.Insert, record.Insert, record.Update, record.Insert, record.Snapshot, record.Delete}
	in := b.Batch(nil)
	all := config.Ordered[string]{{Name: "old", Value: "row.year < 2000"}, {Name: "new", Value: "row.year > 1990"}}
	for name, c := range map[string]struct {
		configs  []route.Config
		want     map[string]string
		unrouted int64
	}{
		"one":         {[]route.Config{{Sinks: all}}, map[string]string{"old": "acf-", "new": "bcef-", "rest": ""}, 1},
		"else":        {[]route.Config{{Sinks: all, Else: []string{"rest"}}}, map[string]string{"old": "acf-", "new": "bcef-", "rest": "c-df-"}, 0},
		"else of two": {[]route.Config{{Sinks: all[:1], Else: []string{"rest", "old"}}}, map[string]string{"old": "abcdef-", "new": "", "rest": "bc-def-"}, 0},
		"two routes": {
			[]route.Config{{Sinks: all}, {Sinks: config.Ordered[string]{{Name: "new", Value: "row.year > 2005"}, {Name: "rest", Value: "true"}}}},
			map[string]string{"old": "", "new": "c-ef-", "rest": ""},
			3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batches, unrouted := []*record.Batch{in}, int64(0)
			for _, config := range c.configs {
				h, err := route.New(config)
				if err != nil {
					t.Fatal(err)
				}
				if batches, err = h.Handle(t.Context(), batches[0]); err != nil || len(batches) != 1 {
					t.Fatal(batches, err)
				}
				unrouted += h.Unrouted()
			}
			if unrouted != c.unrouted {
				t.Errorf("%d records went nowhere, want %d", unrouted, c.unrouted)
			}
			got := map[string]string{}
			for sink := range c.want {
				got[sink] = ""
				if own := batches[0].For(sink); own != nil {
					for row := range own.Rows {
						got[sink] += string(own.Columns[0].Text(row))
						if own.System.Op(row) == record.Delete {
							got[sink] += "-"
						}
					}
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
