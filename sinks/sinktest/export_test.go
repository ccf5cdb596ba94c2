package sinktest

import (
	"fmt"
	"testing"
)

// Check runs one case by its name.
func Check(t *testing.T, name string, h Harness) error {
	t.Helper()
	for _, c := range cases() {
		if c.name == name {
			return c.check(t.Context(), h, h.New(t))
		}
	}
	return fmt.Errorf("no case %q", name)
}

// Names lists the cases.
func Names() []string {
	var out []string
	for _, c := range cases() {
		out = append(out, c.name)
	}
	return out
}
