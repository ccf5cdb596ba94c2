package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/routers"
)

// metricsThere gives the labels of every metric, by its name.
func metricsThere(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{"up": {"job"}}
	descriptions := make(chan *prometheus.Desc, 100)
	newMetrics(func() []routers.Status { return nil }).Describe(descriptions)
	newJobMetrics(nil, nil).Describe(descriptions)
	close(descriptions)
	parts := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for d := range descriptions {
		found := parts.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatal(d)
		}
		out[found[1]] = strings.Split(found[2], ",")
	}
	families, err := obs.NewRegistry("test").Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		out[f.GetName()] = nil
		for _, l := range f.GetMetric()[0].GetLabel() {
			out[f.GetName()] = append(out[f.GetName()], l.GetName())
		}
	}
	return out
}

// TestMetricsOfDeploy wants every metric and label that an alert or a panel asks for to be there.
func TestMetricsOfDeploy(t *testing.T) {
	t.Parallel()
	there := metricsThere(t)
	selector := regexp.MustCompile(`\b((?:acequia|process|go)_\w+|up)(\{[^}]*\})?`)
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!=|!~|=)\s*"`)
	var asked []string
	for _, name := range []string{"prometheus/rules.yaml", "grafana/acequia.json"} {
		for _, expr := range expressions(t, name) {
			all := selector.FindAllStringSubmatch(expr, -1)
			if len(all) == 0 {
				t.Errorf("%s: %s asks for nothing", name, expr)
			}
			for _, found := range all {
				labels, known := there[found[1]]
				if !known {
					t.Errorf("%s: there is no metric %s", name, found[1])
				}
				asked = append(asked, found[1])
				for _, l := range label.FindAllStringSubmatch(found[2], -1) {
					if l[1] != "instance" && !slices.Contains(labels, l[1]) {
						t.Errorf("%s: %s has no label %s, only %v", name, found[1], l[1], labels)
					}
				}
			}
		}
	}
	if !slices.Contains(asked, "acequia_dead_letters_total") || !slices.Contains(asked, "acequia_connection_up") {
		t.Errorf("asked for %v alone", asked)
	}
}

// expressions gives the queries of a file: what stands after expr, and the variables of a dashboard.
func expressions(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", filepath.FromSlash(name))) //nolint:gosec // our own file
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if strings.HasSuffix(name, ".yaml") {
		for line := range strings.Lines(string(text)) {
			if expr, ok := strings.CutPrefix(strings.TrimSpace(line), "expr: "); ok {
				out = append(out, expr)
			}
		}
		return out
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID, LegendFormat string }
		}
		Templating struct{ List []struct{ Name, Type string } }
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 || len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			out = append(out, target.Expr)
		}
	}
	return out
}
