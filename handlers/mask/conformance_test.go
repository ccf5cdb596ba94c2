package mask_test

import (
	"errors"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/handlers/mask"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

const key = "0123456789abcdef"

// settings reads a configuration as the program does, which the suite's YAML decoder cannot: in order, a method as its
// name alone or as a mapping.
type settings struct{ columns config.Ordered[mask.Method] }

func (s *settings) UnmarshalYAML(text []byte) error {
	var all yaml.MapSlice
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, item := range all {
		var m mask.Method
		switch v := item.Value.(type) {
		case string:
			m.How = v
		case map[string]any:
			for name, value := range v {
				switch name {
				case "how":
					m.How = value.(string)
				case "key":
					m.Key = config.Secret(value.(string))
				default:
					return errors.New("unknown key " + name)
				}
			}
		}
		s.columns = append(s.columns, config.Entry[mask.Method]{Name: item.Key.(string), Value: m})
	}
	return nil
}

// plugin is the plugin as the program uses it, with or without a key of its own.
func plugin(defaultKey config.Secret) handlers.Plugin {
	p := mask.Plugin()
	made := p.New
	p.Config = func() any { return &settings{} }
	p.New = func(given any) (handlers.Handler, error) {
		if s, ok := given.(*settings); ok {
			return made(&mask.Config{Columns: s.columns, DefaultKey: defaultKey})
		}
		return made(given)
	}
	return p
}

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.people", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.Int64}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// people has a column of every kind.
func people(tb testing.TB, nullable bool) *record.Schema {
	tb.Helper()
	var fields []record.Field
	for k := record.Bool; k <= record.Struct; k++ {
		f := record.Field{Name: k.String(), Kind: k, Nullable: nullable}
		switch k {
		case record.Decimal:
			f.Precision, f.Scale = 12, 2
			wide := record.Field{Name: "wide", Kind: record.Decimal, Nullable: nullable, Precision: 38, Scale: 5}
			fields = append(fields, wide)
		case record.List, record.Struct:
			f.Fields = []record.Field{{Name: "element", Kind: record.String}}
		default:
		}
		fields = append(fields, f)
	}
	return schema(tb, fields...)
}

func harness(tb testing.TB, nullable bool, settings string, writes ...string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: plugin(""),
		Config: settings,
		Wrong: map[string]string{
			"no column is named":                  "{}",
			"a.how: \"sha1\" is not hash":         "a: sha1",
			"a.how: must be set":                  "a: {key: " + key + "}",
			"a.key: a hash needs a key":           "a: hash",
			"a.key: the key has 15 bytes":         "a: {how: hash, key: 0123456789abcde}",
			"b.key: goes with hash only":          "{a: redact, b: {how: last4, key: " + key + "}}",
			"unknown key salt":                    "a: {how: hash, salt: x}",
			"a.key: a hash needs a key (write ke": "{a: hash, b: redact}",
		},
		Schema: people(tb, nullable),
		Unfit:  []*record.Schema{schema(tb, record.Field{Name: "other", Kind: record.String})},
		Writes: writes,
	}
}

const (
	hashed = "{how: hash, key: " + key + "}"
	hashes = "{id: " + hashed + ", bool: " + hashed + ", int32: " + hashed + ", int64: " + hashed + ", float32: " + hashed +
		", float64: " + hashed + ", wide: " + hashed + ", decimal: " + hashed + ", date: " + hashed + ", timestamp: " + hashed +
		", local_timestamp: " + hashed + ", string: " + hashed + ", bytes: " + hashed + ", version: " + hashed + "}"
	redacts = "{bool: redact, int32: redact, float32: redact, wide: redact, string: redact, bytes: redact, version: redact, list: redact, struct: redact}"
	last4s  = "{bool: last4, int64: last4, float64: last4, wide: last4, decimal: last4, date: last4, timestamp: last4, string: last4, version: last4}"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	every := []string{"id"}
	for _, f := range people(t, true).Fields {
		every = append(every, f.Name)
	}
	for name, settings := range map[string]string{"hash": hashes, "redact": redacts, "last4": last4s} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handlertest.Run(t, harness(t, true, settings, every...))
		})
	}
	t.Run("redact, not nullable", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, false, redacts, every...))
	})
	t.Run("text that comes again", func(t *testing.T) {
		t.Parallel()
		h := harness(t, true, "{string: hash, bytes: hash}", "string", "bytes")
		h.Plugin = plugin(key)
		h.Wrong = nil
		handlertest.Run(t, h)
	})
}
