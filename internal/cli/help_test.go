package cli

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestEveryCommandHelps holds each command to what the help of all promises: examples, exit codes, and JSON for programs.
func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	parser, err := newParser(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	commands := parser.Model.Leaves(true)
	if len(commands) < 20 {
		t.Fatalf("there are %d commands", len(commands))
	}
	for _, c := range commands {
		path, _, _ := strings.Cut(c.Path(), " <")
		for _, part := range []string{"Examples:\n  acequia " + path, "Exit codes: 0 "} {
			if !strings.Contains(c.Detail, part) {
				t.Errorf("the help of %s has no %q", c.Path(), part)
			}
		}
		if !hasFlag(c, "json") {
			t.Errorf("%s has no --json", c.Path())
		}
	}
}

func hasFlag(n *kong.Node, name string) bool {
	for _, group := range n.AllFlags(false) {
		for _, f := range group {
			if f.Name == name {
				return true
			}
		}
	}
	return false
}
