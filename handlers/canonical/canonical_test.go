package canonical_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/record"
)

func batch(tb testing.TB, op record.Op, values ...string) *record.Batch {
	tb.Helper()
	b := record.NewBuilder(schema(tb, record.Field{Name: "genre", Kind: record.String}), len(values))
	for _, v := range values {
		b.String(1, v)
		b.Next()
	}
	b.System().Ops = []record.Op{op}
	return b.Batch(nil)
}

func config(unknown, other string) canonical.Config {
	return canonical.Config{
		Column: "genre", Options: []string{"Action", "Role-Playing", "Other"}, Unknown: unknown, Default: other,
		Aliases: map[string]string{"RPG": "Role-Playing"},
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	in := []string{"Action", "ACTION", "roleplaying", "Role Playing", "role\u2013playing", "\u00a0rpg ", "Puzzle", ""}
	for _, c := range []struct {
		config canonical.Config
		want   []string
	}{
		{config(canonical.Keep, ""), []string{"Action", "Action", "Role-Playing", "Role-Playing", "Role-Playing", "Role-Playing", "Puzzle", ""}},
		{config(canonical.Default, "Other"), []string{"Action", "Action", "Role-Playing", "Role-Playing", "Role-Playing", "Role-Playing", "Other", "Other"}},
	} {
		h, err := canonical.New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		out, err := h.Handle(t.Context(), batch(t, record.Insert, in...))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row := range out[0].Rows {
			got = append(got, string(out[0].Columns[1].Text(row)))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("unknown: %s (-want +got):\n%s", c.config.Unknown, d)
		}
	}
}

func TestUnknownValueIsADeadLetter(t *testing.T) {
	t.Parallel()
	h, err := canonical.New(config(canonical.DeadLetter, ""))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Handle(t.Context(), batch(t, record.Insert, "rpg", "N/A"))
	var rows *fault.Rows
	if !errors.As(err, &rows) {
		t.Fatalf("got %v, want bad rows", err)
	}
	const want = `row 1, column genre: "N/A" is not one of the 3 options`
	if rows.Error() != want {
		t.Errorf("got %q, want %q", rows, want)
	}
	out, err := h.Handle(t.Context(), batch(t, record.Delete, "rpg", "N/A"))
	if err != nil {
		t.Fatalf("a delete is refused for its value: %v", err)
	}
	if got := string(out[0].Columns[1].Text(1)); got != "N/A" {
		t.Errorf("the deleted value is %q, want N/A", got)
	}
}

func TestCanonicalValuesAreShared(t *testing.T) {
	t.Parallel()
	h, err := canonical.New(config(canonical.Keep, ""))
	if err != nil {
		t.Fatal(err)
	}
	in := batch(t, record.Insert, "Action", "Puzzle")
	out, err := h.Handle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out[0] != in {
		t.Error("nothing had to change and the batch is another")
	}
}
