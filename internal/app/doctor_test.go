package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
)

// TestDoctor looks at a project whose sink is of AWS, beside servers whose clocks go well, a little and much too late.
func TestDoctor(t *testing.T) { //nolint:paralleltest // it sets the environment
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(name, value)
	}
	for behind, want := range map[time.Duration]string{0: "✓", time.Minute: "!", time.Hour: "ACQ-AWS-004"} {
		found := diagnosed(t, behind)
		for kind, line := range map[string]string{
			"credentials": "✓", "clock": want, "rights": "✓", "disk": "✓", "state": "✓", "web": "✓", "source": "✓",
		} {
			if got := found[kind]; got != line {
				t.Errorf("%v late: %s is %q, want %q", behind, kind, got, line)
			}
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if got := diagnosed(t, 0)["credentials"]; got != "ACQ-AWS-001" {
		t.Errorf("without credentials: %s", got)
	}
}

// diagnosed gives ✓, ! or the code of each kind of finding, beside a server of STS whose clock is so far ahead.
func diagnosed(t *testing.T, ahead time.Duration) map[string]string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/a</Arn><Account>123456789012</Account>`+
			`</GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	t.Cleanup(s.Close)
	folder := t.TempDir()
	file := filepath.Join(folder, "acequia.yaml")
	text := "version: 1\nsources: { a: { type: file, path: \"*.csv\", stream: s, key: [id], schema: { id: int64 } } }\n" +
		"sinks: { b: { type: bus, existing: true, topic: t, url: \"sqs://eu-west-1?endpoint=" + s.URL + "\" } }\npipelines: { p: { from: a, to: [b] } }\n"
	if err := os.WriteFile(filepath.Join(folder, "a.csv"), []byte("id\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project, problems, err := LoadProject(t.Context(), catalog.Default(), []string{file}, os.LookupEnv)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	out := map[string]string{}
	for _, f := range project.Doctor(t.Context(), "127.0.0.1", 0) {
		switch {
		case f.OK && !f.Warning:
			out[f.Kind] = "✓"
		case f.OK:
			out[f.Kind] = "!"
		default:
			out[f.Kind] = f.Code
		}
		if !f.OK && f.Remedy == "" && f.Kind != "sink" || f.Warning && f.Reason == "" {
			t.Errorf("%+v says not what to do", f)
		}
		if strings.Contains(fmt.Sprint(f), "geheim") {
			t.Errorf("%+v", f)
		}
	}
	return out
}
