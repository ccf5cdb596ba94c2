package obs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/obs"
)

func TestLoggerWritesJSONOffATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := obs.NewLogger(&out, slog.LevelInfo)
	log.Debug("not this")
	log.Info("lane started", slog.String("lane", "form"))
	var line struct{ Msg, Lane, Level string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one JSON line: %v in %q", err, out.String())
	}
	if line.Msg != "lane started" || line.Lane != "form" || line.Level != "INFO" {
		t.Errorf("got %+v", line)
	}
}

func TestHandlerServesBuildInfo(t *testing.T) {
	t.Parallel()
	answer := httptest.NewRecorder()
	obs.Handler(obs.NewRegistry("v9")).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(body), `acequia_build_info{version="v9"} 1`) {
		t.Errorf("no build info in %v %.200s", err, body)
	}
}
