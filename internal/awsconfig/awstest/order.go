package awstest

import (
	"bytes"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// InOrder gives settings of a way to the server on which one call at a time changes tables of DynamoDB. Two conditional writes at the same
// time pass moto's checks both, for it looks and writes without a lock; DynamoDB has them one after the other.
func (s *Server) InOrder(t *testing.T) awsconfig.Settings {
	t.Helper()
	to, err := url.Parse(s.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // of callers that are gone
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
	}
	var one sync.RWMutex
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		func() { // a caller that is frozen in the middle of a call may hold up nobody
			switch _, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); call {
			case "GetItem", "Query", "Scan", "DescribeTable":
				one.RLock()
				defer one.RUnlock()
			default:
				one.Lock()
				defer one.Unlock()
			}
			proxy.ServeHTTP(answer, r)
		}()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w)
	}))
	t.Cleanup(way.Close)
	return awsconfig.Settings{Region: s.Settings.Region, Endpoint: way.URL}
}
