package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a handler that answers with its name after a while.
func answering(name string, after time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(after)
		_, _ = io.WriteString(w, name)
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		ask := func() <-chan *httptest.ResponseRecorder {
			answer := make(chan *httptest.ResponseRecorder, 1)
			go func() {
				w := httptest.NewRecorder()
				g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				answer <- w
			}()
			return answer
		}
		g.open(answering("old", 5*time.Second))
		under := ask()
		synctest.Wait()
		start := time.Now()
		g.shut(t.Context())
		if took := time.Since(start); took != 5*time.Second || (<-under).Body.String() != "old" {
			t.Errorf("the request under way was not waited for: %v", took)
		}
		waiting := ask()
		synctest.Wait()
		g.open(answering("new", 0))
		if got := (<-waiting).Body.String(); got != "new" {
			t.Errorf("the request that waited: %q", got)
		}
		g.shut(t.Context())
		g.shut(t.Context()) // twice is once
		if w := <-ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || time.Since(start) < gatePatience {
			t.Errorf("a request that nobody answers: %d after %v", w.Code, time.Since(start))
		}
		g.open(answering("slow", time.Hour))
		slow := ask()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.shut(short)
		if short.Err() == nil {
			t.Error("it did not wait")
		}
		<-slow
	})
}
