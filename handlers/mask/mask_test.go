package mask_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/mask"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// The hashes of two texts as another program has computed them.
const (
	nintendo = "2e6f3e711ba1450bf85ab3848ca7fa6e"
	one      = "c26e58d92c8bfbd966f224625ed1e965"
)

func with(columns ...string) mask.Config {
	c := mask.Config{DefaultKey: key}
	for i := 0; i < len(columns); i += 2 {
		c.Columns = append(c.Columns, config.Entry[mask.Method]{Name: columns[i], Value: mask.Method{How: columns[i+1]}})
	}
	return c
}

func handler(tb testing.TB, c mask.Config) *mask.Handler {
	tb.Helper()
	h, err := mask.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// values masks texts.
func values(tb testing.TB, how string, in ...string) []string {
	tb.Helper()
	b := record.NewBuilder(schema(tb, record.Field{Name: "v", Kind: record.String, Nullable: true}), len(in))
	for _, v := range in {
		if v != "null" {
			b.String(1, v)
		}
		b.Next()
	}
	out, err := handler(tb, with("v", how)).Handle(tb.Context(), b.Batch(nil))
	if err != nil {
		tb.Fatal(err)
	}
	got := make([]string, len(in))
	for row := range got {
		if got[row] = "null"; out[0].Columns[1].IsValid(row) {
			got[row] = string(out[0].Columns[1].Text(row))
		}
	}
	return got
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		how      string
		in, want []string
	}{
		{
			mask.Last4,
			[]string{"", "1", "1234", "12345", "null", "4111 1111 1111 1234", "Pokémon", "日本語テキスト", "日本"},
			[]string{"", "*", "****", "*2345", "null", "***************1234", "***émon", "***テキスト", "**"},
		},
		{mask.Redact, []string{"", "secret", "null"}, []string{"***", "***", "null"}},
		{mask.Redact, []string{"", "secret"}, []string{"***", "***"}},
		// as anyone computes it
		{mask.Hash, []string{"Nintendo", "1", "null", "Nintendo"}, []string{nintendo, one, "null", nintendo}},
	} {
		if d := cmp.Diff(c.want, values(t, c.how, c.in...)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.how, d)
		}
	}
}

func hashOf(text string) string {
	block := sha512.Sum512([]byte(key))
	sum := sha256.Sum256(append(block[:], text...))
	return hex.EncodeToString(sum[:])[:32]
}

// TestHashOfMany compares every hash of values that come again, share their places and their beginnings, with one made alone.
func TestHashOfMany(t *testing.T) {
	t.Parallel()
	var in []string
	for i := range 20_000 {
		switch i % 4 {
		case 0:
			in = append(in, fmt.Sprint(i%300))
		case 1:
			in = append(in, fmt.Sprintf("sixteen letters!%d", i%3000))
		case 2:
			in = append(in, strings.Repeat("x", i%70))
		default:
			in = append(in, fmt.Sprintf("%d: a long beginning, and the same end", i%500))
		}
	}
	for i, got := range values(t, mask.Hash, in...) {
		if want := hashOf(in[i]); got != want {
			t.Fatalf("value %d: %s, want %s", i, got, want)
		}
	}
}

// TestKindsDoNotCount: a number and its text have one hash, whatever holds the number.
func TestKindsDoNotCount(t *testing.T) {
	t.Parallel()
	s := schema(t, record.Field{Name: "int32", Kind: record.Int32}, record.Field{Name: "text", Kind: record.String}, record.Field{Name: "bytes", Kind: record.Bytes})
	b := record.NewBuilder(s, 1)
	b.Int(0, 1)
	b.Int(1, 1)
	b.String(2, "1")
	b.Text(3, []byte("1"))
	b.Next()
	out, err := handler(t, with("id", "hash", "int32", "hash", "text", "hash", "bytes", "hash")).Handle(t.Context(), b.Batch(nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Fields {
		if got := string(out[0].Columns[i].Text(0)); got != one {
			t.Errorf("%s: %s, want %s", s.Fields[i].Name, got, one)
		}
	}
	if names := out[0].Schema.KeyNames(); len(names) != 1 || names[0] != "id" {
		t.Errorf("the key is %v", names)
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config mask.Config
		errs   []string
	}{
		"good":         {with("string", "redact", "bytes", "redact", "int32", "last4", "id", "hash"), nil},
		"unknown":      {with("strng", "hash", "email", "redact"), []string{"strng: no column has this name (did you mean string?)", "email: no column"}},
		"key redacted": {with("id", "redact"), []string{"id.how: is a column of the key: with redact"}},
		"key last4":    {with("id", "last4"), []string{"id.how: is a column of the key: with last4"}},
		"nested":       {with("list", "hash", "struct", "last4", "bytes", "last4"), []string{"list.how: is a list", "struct.how: is a struct", "bytes.how: is bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := handler(t, c.config).Shape(people(t, false))
			if c.errs == nil {
				if err != nil {
					t.Fatal(err)
				}
				f := func(name string) record.Field { return out.Fields[out.Index(name)] }
				if f("string").Nullable || f("bytes").Kind != record.Bytes || !f("bytes").Nullable || f("int32").Kind != record.String || f("id").Kind != record.String {
					t.Errorf("got %+v", out.Fields)
				}
				return
			}
			if fault.Code(err) != "ACQ-MASK-001" || fault.Of(err) != fault.Fatal {
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

// TestKeys: a short key is refused and never printed; the default key is for hashes without one.
func TestKeys(t *testing.T) {
	t.Parallel()
	c := with("a", "hash", "b", "redact")
	c.DefaultKey = "topsecret"
	_, err := mask.New(c)
	if err == nil || strings.Contains(err.Error(), "topsecret") || !strings.Contains(err.Error(), "a.key: the key has 9 bytes") {
		t.Errorf("got %v", err)
	}
	c.DefaultKey = ""
	if _, err := mask.New(c); err == nil {
		t.Error("a hash without a key was taken")
	}
	c.Columns[0].Value.Key = key
	if _, err := mask.New(c); err != nil {
		t.Error(err)
	}
	c = with("v", "hash")
	if _, err := mask.New(c); err != nil || c.Columns[0].Value.Key != "" {
		t.Errorf("%v; New wrote into its configuration: %q", err, string(c.Columns[0].Value.Key))
	}
	if _, err := mask.New(with("a", "hash", "a", "redact")); err == nil || !strings.Contains(err.Error(), "a: stands twice") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkMask(b *testing.B) {
	const rows = 10_000
	for _, c := range []struct {
		name, how string
		value     func(row int) string
	}{
		{"hash, each once", mask.Hash, func(row int) string { return fmt.Sprintf("person%d@example.org", row) }},
		{"hash, 300 values", mask.Hash, func(row int) string { return fmt.Sprintf("publisher %d", row*7919%300) }},
		{"last4", mask.Last4, func(row int) string { return fmt.Sprintf("4111 1111 1111 %04d", row%10_000) }},
		{"redact", mask.Redact, func(int) string { return "x" }},
	} {
		b.Run(c.name, func(b *testing.B) {
			made := record.NewBuilder(schema(b, record.Field{Name: "v", Kind: record.String, Nullable: true}), rows)
			for row := range rows {
				made.String(1, c.value(row))
				made.Next()
			}
			batch, h := made.Batch(nil), handler(b, with("v", c.how))
			b.ReportAllocs()
			for b.Loop() {
				out, err := h.Handle(b.Context(), batch)
				if err != nil {
					b.Fatal(err)
				}
				out[0].Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/value")
		})
	}
}
