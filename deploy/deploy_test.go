package deploy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decode reads YAML of which every key has to be known.
func decode(t *testing.T, what, text string, into any) {
	t.Helper()
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(into); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// sound wants a configuration to have no mistake.
func sound(t *testing.T, what, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "acequia.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"MYSQL_DSN": "mysql://u@h/cinema", "POSTGRES_DSN": "postgres://u@h/cinema", "MONGODB_URI": "mongodb://h/cinema"}
	_, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{file}, func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	})
	if err != nil || len(problems) > 0 {
		t.Errorf("%s: %v %v", what, err, problems)
	}
}

// compose is the part of the Compose specification that is used here: https://github.com/compose-spec/compose-spec/blob/main/spec.md.
type compose struct {
	Name     string
	Services map[string]service
	Networks map[string]struct {
		Name string
		Ipam struct{ Config []struct{ Subnet string } }
	}
	Volumes map[string]struct{}
}

type service struct {
	Build *struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	Image       string
	Profiles    []string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	Networks    []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	ReadOnly    bool                                  `yaml:"read_only"`
	Tmpfs       []string
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	Restart     string
	Stop        string `yaml:"stop_grace_period"`
	Healthcheck *struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	text := read(t, "compose.yaml")
	var c compose
	decode(t, "compose.yaml", text, &c)
	for _, ref := range regexp.MustCompile(`\$\{[^}]*\}`).FindAllString(text, -1) {
		if !strings.Contains(ref, ":-") {
			t.Errorf("%s has no default", ref)
		}
	}
	ours := c.Services["data-ingestion-service"]
	if !slices.Contains(ours.Networks, "cinema_network") || c.Networks["cinema_network"].Name != "cinema_network" {
		t.Error("the service is not in cinema_network")
	}
	if !slices.Equal(ours.Ports, []string{"127.0.0.1:3006:3006"}) {
		t.Errorf("ports %v: the network is trusted, so this machine alone may come in", ours.Ports)
	}
	alone := 0
	for name, s := range c.Services {
		if s.Image == "" || strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":") {
			t.Errorf("%s: the image %q has no version", name, s.Image)
		}
		for other, on := range s.DependsOn {
			if c.Services[other].Healthcheck == nil || on.Condition != "service_healthy" {
				t.Errorf("%s does not wait until %s can be used", name, other)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, known := c.Volumes[from]; strings.HasPrefix(from, ".") {
				if _, err := os.Stat(filepath.FromSlash(from)); err != nil || !strings.HasSuffix(v, ":ro") {
					t.Errorf("%s: %s (%v)", name, v, err)
				}
			} else if !known {
				t.Errorf("%s: there is no volume %s", name, from)
			}
		}
		for _, n := range s.Networks {
			if _, known := c.Networks[n]; !known {
				t.Errorf("%s: there is no network %s", name, n)
			}
		}
		if s.Build == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, filepath.FromSlash(s.Build.Dockerfile))); err != nil {
			t.Error(err)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || len(s.SecurityOpt) == 0 || s.Stop == "" {
			t.Errorf("%s may do more than it needs", name)
		}
		if slices.Contains(s.Profiles, "alone") {
			alone++
			if len(s.DependsOn) > 0 {
				t.Errorf("%s needs others", name)
			}
		}
	}
	if alone != 1 {
		t.Errorf("%d services are of the profile without databases", alone)
	}
	sound(t, "cinema.yaml", read(t, "cinema.yaml"))
}

// TestDockerfile holds the image to what it is promised to be.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	stages := strings.Split(text, "\nFROM ")
	if len(stages) != 3 || !strings.HasPrefix(stages[1], "golang:"+version[1]+"-") || !strings.HasPrefix(stages[2], "gcr.io/distroless/cc-") {
		t.Errorf("the stages are %q", stages)
	}
	for _, line := range []string{"\nUSER 65532:65532\n", "CGO_ENABLED=1", "\nEXPOSE 3006\n", `CMD ["/usr/local/bin/acequia", "health"]`, "\nWORKDIR /data\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("there is no %q", line)
		}
	}
	for _, part := range regexp.MustCompile(`internal/cli\.\w+`).FindAllString(text+read(t, "../Makefile"), -1) {
		if part != "internal/cli.release" {
			t.Errorf("there is no variable %s", part)
		}
	}
}

// known are the settings of systemd that a unit may have here, by section: a wrong one is only a warning there.
// See https://www.freedesktop.org/software/systemd/man/latest/systemd.directives.html.
func known() map[string][]string {
	return map[string][]string{
		"Unit":    {"Description", "Documentation", "After", "Wants"},
		"Install": {"WantedBy"},
		"Service": {
			"Type", "User", "Group", "WorkingDirectory", "StateDirectory", "StateDirectoryMode", "EnvironmentFile", "ExecStartPre", "ExecStart", "Restart",
			"RestartSec", "RestartPreventExitStatus", "KillSignal", "TimeoutStopSec", "LimitNOFILE", "MemoryMax", "UMask", "NoNewPrivileges", "CapabilityBoundingSet",
			"PrivateDevices", "PrivateTmp", "ProtectClock", "ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
			"ProtectKernelTunables", "ProtectSystem", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
			"SystemCallArchitectures", "SystemCallFilter",
		},
	}
}

func TestUnit(t *testing.T) {
	t.Parallel()
	section, got := "", map[string]string{}
	for line := range strings.Lines(read(t, "systemd/acequia.service")) {
		line = strings.TrimSpace(line)
		switch name, value, isSetting := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case !isSetting || !slices.Contains(known()[section], name):
			t.Errorf("[%s] %s", section, line)
		default:
			got[name] = value
		}
	}
	for name, want := range map[string]string{"User": "acequia", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "Restart": "on-failure", "RestartPreventExitStatus": "2"} {
		if got[name] != want {
			t.Errorf("%s is %q", name, got[name])
		}
	}
}

// TestNginx reads the blocks and directives, and wants every proxied request to say where it comes from.
func TestNginx(t *testing.T) {
	t.Parallel()
	var open []string
	proxied, directive := 0, regexp.MustCompile(`^[a-z_]+ ?.*[;{]$`)
	headers := map[int]bool{}
	for line := range strings.Lines(read(t, "nginx/acequia.conf")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "}":
			if len(open) == 0 {
				t.Fatal("a block is closed that was not opened")
			}
			delete(headers, len(open))
			open = open[:len(open)-1]
		case !directive.MatchString(line):
			t.Errorf("%s", line)
		case strings.HasSuffix(line, "{"):
			open = append(open, line)
		case strings.HasPrefix(line, "proxy_set_header X-Forwarded-For $remote_addr;"):
			headers[len(open)] = true
		case strings.HasPrefix(line, "proxy_set_header") && len(open) > 1:
			t.Errorf("%s in %s takes the place of all headers of the server", line, open[len(open)-1])
		case strings.HasPrefix(line, "proxy_pass "):
			if proxied++; line != "proxy_pass http://127.0.0.1:3006;" || !headers[1] {
				t.Errorf("%s in %s", line, open[len(open)-1])
			}
		}
	}
	if len(open) > 0 || proxied == 0 {
		t.Errorf("%v, %d", open, proxied)
	}
}

// TestRules reads the alerts of Prometheus; internal/app compares their metrics with those there are.
func TestRules(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decode(t, "rules.yaml", read(t, "prometheus/rules.yaml"), &file)
	names := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Expr == "" || names[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
				!slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%+v", r)
			}
			names[r.Alert] = true
			for _, pair := range []string{"()", "{}", "[]"} {
				if strings.Count(r.Expr, pair[:1]) != strings.Count(r.Expr, pair[1:]) {
					t.Errorf("%s: %s", r.Alert, r.Expr)
				}
			}
		}
	}
	if len(names) < 8 {
		t.Errorf("%d alerts", len(names))
	}
}

// TestIgnored wants the build to see what it needs.
func TestIgnored(t *testing.T) {
	t.Parallel()
	for line := range bytes.Lines([]byte(read(t, "Dockerfile.dockerignore"))) {
		name := string(bytes.TrimSpace(line))
		for _, needed := range []string{"cmd", "internal", "scripts", "go.mod", "schemas", "catalog"} {
			if name == needed {
				t.Errorf("%s is left out", name)
			}
		}
	}
}
