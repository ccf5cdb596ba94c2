package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "4096": 4096, "5B": 5, "64KiB": 64 << 10, "128MiB": 128 << 20,
		"1GiB": 1 << 30, "2TiB": 2 << 40,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1 MiB", "1MB", "1iB", "9223372036854775807KiB", "8388608TiB", "1KiBKiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Share{"0": 0, "5%": 0.05, "0.05": 0.05, "100%": 1, "1": 1, "0.5%": 0.005} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "5", "101%", "-1%", "NaN", "5 %", "0x1p-2", "five"} {
		if got, err := ParseShare(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got := Share(0.055).String(); got != "5.5%" {
		t.Error(got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := struct{ S Secret }{"hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(format, s); strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	known := []string{"poll_interval", "to", "url", "steps", "from"}
	for name, want := range map[string]string{
		"pol_interval": "poll_interval", "poll-interval": "poll_interval", "PollInterval": "poll_interval",
		"ot": "to", "ur": "url", "form": "from",
		"stpes": "steps", "x": "", "interval": "", "": "", "destination": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if d := edits([]rune("abcdef"), []rune("badcef")); d != 2 {
		t.Error(d)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	type part struct {
		With string `yaml:"with,scalar" enum:"a,b" required:"true" doc:"What."`
	}
	type settings struct {
		URL    string        `yaml:"url" required:"true" doc:"Where."`
		Every  time.Duration `yaml:"every"`
		Size   *Size         `yaml:"size"`
		Names  []string      `yaml:"names"`
		Key    Secret        `yaml:"key"`
		Colour colour        `yaml:"colour"`
		Parts  Ordered[part] `yaml:",inline"`
		Hidden int           `yaml:"-"`
	}
	size := Size(1 << 20)
	want := []Key{
		{Name: "url", Type: "text", Doc: "Where.", Required: true},
		{Name: "every", Type: "duration", Default: "5m"},
		{Name: "size", Type: "size", Default: "1MiB"},
		{Name: "names", Type: "list of text", Default: "[a, b]"},
		{Name: "key", Type: "secret", Default: "(secret)"},
		{Name: "colour", Type: "text"},
		{Name: "*", Type: "mapping", Keys: []Key{
			{Name: "with", Type: "text", Doc: "What.", Enum: []string{"a", "b"}, Required: true, Short: true},
		}},
	}
	if d := cmp.Diff(want, Describe(&settings{Every: 5 * time.Minute, Size: &size, Names: []string{"a", "b"}, Key: "x"})); d != "" {
		t.Error(d)
	}
	type loop struct{ Next *loop }
	if keys := Describe(loop{}); len(keys) != 1 {
		t.Error(keys)
	}
	if file, pipeline := DescribeFile(); len(file) != 11 || len(pipeline) != 6 {
		t.Error(file, pipeline)
	}
	if Describe(5) != nil || Describe(nil) != nil {
		t.Error("what has no keys has some")
	}
}

func TestDurationsInDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"d", "-1d", "1.5d", "1d2h", "99999d", "3"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
