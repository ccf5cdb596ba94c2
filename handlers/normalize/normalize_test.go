package normalize_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/record"
)

// handle gives what becomes of some values of a column.
func handle(tb testing.TB, c normalize.Config, values ...string) []string {
	tb.Helper()
	h, err := normalize.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	b := record.NewBuilder(schema(tb, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "text", Kind: record.String}), len(values))
	for _, v := range values {
		b.Text(1, []byte(v))
		b.Next()
	}
	out, err := h.Handle(tb.Context(), b.Batch(nil))
	if err != nil {
		tb.Fatal(err)
	}
	got := make([]string, out[0].Rows)
	for i := range got {
		got[i] = string(out[0].Columns[1].Text(i))
	}
	return got
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want, collapsed string }{
		{"", "", ""},
		{" \t\n\u00a0\u3000", "", ""},
		{"as it is", "as it is", "as it is"},
		{"  two sides ", "two sides", "two sides"},
		{"in  the\tmiddle", "in  the\tmiddle", "in the middle"},
		{"a\u00a0b", "a\u00a0b", "a b"},
		{"Poke\u0301mon", "Pok\u00e9mon", "Pok\u00e9mon"},
		{" Poke\u0301mon  Go ", "Pok\u00e9mon  Go", "Pok\u00e9mon Go"},
		{"\u0301mark first", "\u0301mark first", "\u0301mark first"},
		{"\u1112\u1161\u11ab", "한", "한"},
		{"\u212b", "\u00c5", "\u00c5"},
		{"\ufb01 stays", "\ufb01 stays", "\ufb01 stays"}, // NFC, not NFKC: a ligature is not another spelling
	} {
		if got := handle(t, normalize.Config{}, "before", c.in, "e", "\u0301after"); got[1] != c.want || got[0] != "before" || got[2] != "e" || got[3] != "\u0301after" {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
		if got := handle(t, normalize.Config{Collapse: true}, c.in)[0]; got != c.collapsed {
			t.Errorf("collapsed: %q became %q, want %q", c.in, got, c.collapsed)
		}
	}
}

func TestNormalTextIsShared(t *testing.T) {
	t.Parallel()
	h, err := normalize.New(normalize.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(schema(t, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "text", Kind: record.String}), 2)
	for _, v := range []string{"Pok\u00e9mon", "Zelda"} {
		b.String(0, " a key is left alone ")
		b.String(1, v)
		b.Next()
	}
	in := b.Batch(nil)
	out, err := h.Handle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out[0] != in {
		t.Error("nothing had to change and the batch is another")
	}
}

func FuzzText(f *testing.F) {
	f.Add(" a\u0301  b ", "\u0301", true)
	f.Add("\u2000x", "e", false)
	f.Fuzz(func(t *testing.T, a, b string, collapse bool) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			t.Skip("a string column holds UTF-8")
		}
		c := normalize.Config{Collapse: collapse}
		for i, got := range handle(t, c, a, b) {
			if alone := handle(t, c, []string{a, b}[i])[0]; alone != got {
				t.Errorf("value %d is %q in a batch and %q alone", i, got, alone)
			}
			if want := strings.TrimSpace(norm.NFC.String([]string{a, b}[i])); !collapse && got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if !norm.NFC.IsNormalString(got) {
				t.Errorf("%q is not NFC", got)
			}
			if again := handle(t, c, got)[0]; again != got {
				t.Errorf("%q became %q the second time", got, again)
			}
			first, _ := utf8.DecodeRuneInString(got)
			last, _ := utf8.DecodeLastRuneInString(got)
			if got != "" && (unicode.IsSpace(first) || unicode.IsSpace(last)) {
				t.Errorf("%q is not trimmed", got)
			}
		}
	})
}
