package awsconfig_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// TestSilence has servers that stop in the middle of what they do, and one that is slow and never stops.
func TestSilence(t *testing.T) {
	t.Parallel()
	const silence = 300 * time.Millisecond
	over := make(chan struct{})
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request)
		whole bool
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { <-over }, false},
		"in the middle of the answer": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-over
		}, false},
		"never": {func(w http.ResponseWriter, _ *http.Request) {
			for range 8 {
				_, _ = io.WriteString(w, "a bit")
				_ = http.NewResponseController(w).Flush()
				<-time.After(silence / 3)
			}
		}, true},
	} {
		server := httptest.NewServer(http.HandlerFunc(c.serve))
		t.Cleanup(server.Close)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var config aws.Config
			defer awsconfig.Connections(&config, 1, silence)()
			began := time.Now()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := config.HTTPClient.Do(request)
			if err == nil {
				_, err = io.ReadAll(answer.Body)
				err = errors.Join(err, answer.Body.Close())
			}
			if took := time.Since(began); (err == nil) != c.whole || took > 20*silence {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
	t.Cleanup(func() { close(over) }) // before the servers end
}
