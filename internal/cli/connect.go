package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/config"
)

// connected is what check --connect --json writes.
type connected struct {
	Problems  config.Problems `json:"problems"`
	Endpoints []app.Endpoint  `json:"endpoints"`
}

// tellEndpoints prints a line an endpoint, and why one cannot be used.
func tellEndpoints(w io.Writer, all []app.Endpoint, lang string) {
	var b strings.Builder
	say := config.Translation(lang)
	for _, e := range all {
		name := say(e.Kind) + " " + e.Name
		if e.Type != "" {
			name += " (" + e.Type + ")"
		}
		if e.OK {
			fmt.Fprintf(&b, "✓ %s: %s\n", name, say(e.Found))
			continue
		}
		fmt.Fprintf(&b, "✗ %s\n  %s\n", strings.TrimSpace(name+"  "+e.Code), strings.ReplaceAll(say(e.Reason), "\n", "\n  "))
		if e.Remedy != "" {
			fmt.Fprintf(&b, "  → %s\n", say(e.Remedy))
		}
	}
	_, _ = io.WriteString(w, b.String()) // nothing is left to do when a terminal is gone
}
