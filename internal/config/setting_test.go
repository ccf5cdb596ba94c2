package config

import (
	"slices"
	"strings"
	"testing"
)

// TestSetting asks for settings without a plugin's struct: what is there, what is not, what has a mistake, and what is a secret.
func TestSetting(t *testing.T) {
	t.Parallel()
	const text = `
version: 1
sources:
  a:
    type: x
    name: ${NAME:-one}
    secret: ${env:SECRET}
    unset: ${UNSET}
    none:
    in: { list: [ { key: first }, { key: second } ], deep: yes }
sinks: { b: { type: y } }
pipelines: { p: { from: a, to: [b] } }
`
	f, _ := Parse("acequia.yaml", []byte(text), func(name string) (string, bool) {
		if name == "SECRET" {
			return "geheim", true
		}
		return "", false
	})
	b := f.Sources[0].Value
	for path, want := range map[string]string{
		"name": "one", "none": "", "nothing": "", "in.list.1.key": "second", "in.list.2.key": "", "in.deep": "yes", "in.deep.er": "", "type": "",
		"secret": "error: secret: is a secret here", "unset": "error: unset has no value here", "in": "error: in: want a text, found a mapping",
	} {
		got, err := b.Setting(strings.Split(path, ".")...)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want && (!strings.HasPrefix(want, "error: ") || !strings.HasPrefix(got, want)) || strings.Contains(got, "geheim") {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := b.Names("in"); !slices.Equal(got, []string{"list", "deep"}) {
		t.Errorf("keys %q", got)
	}
	if got := b.Names("in", "list"); !slices.Equal(got, []string{"0", "1"}) || b.Names("name") != nil || b.Names("nothing") != nil {
		t.Errorf("indexes %q", got)
	}
	if !b.Has("in", "deep") || !b.Has("none") || b.Has("in", "other") {
		t.Error("Has")
	}
}
