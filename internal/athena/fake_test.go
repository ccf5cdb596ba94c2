package athena_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// fake stands before moto, and does what AWS does and moto does not: versions of tables are compared, workgroups and queries change, calls are
// throttled and refused.
type fake struct {
	*httptest.Server
	through *httputil.ReverseProxy

	mu        sync.Mutex
	calls     []call              // in their order
	refusals  map[string][]answer // what an operation is answered next, instead of being done
	between   map[string]func()   // what happens once before an operation is done
	workgroup map[string]any      // its configuration, once it was changed
	queries   map[string]any      // named queries that were changed, by id
}

// call is one that came.
type call struct {
	operation string
	in        map[string]any
}

// answer is one that moto does not give.
type answer struct {
	status int
	body   any
}

func refusal(status int, code, message string) answer {
	return answer{status: status, body: map[string]any{"__type": code, "message": message, "Message": message}}
}

func newFake(t *testing.T) *fake {
	t.Helper()
	at, err := url.Parse(moto.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{through: httputil.NewSingleHostReverseProxy(at), refusals: map[string][]answer{}, between: map[string]func(){}, queries: map[string]any{}}
	f.through.Transport, f.through.ErrorLog = &http.Transport{}, log.New(io.Discard, "", 0) // of callers that have gone
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.Close()
		f.through.Transport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // made above
	})
	return f
}

func (f *fake) settings() awsconfig.Settings {
	return awsconfig.Settings{Region: moto.Settings.Region, Endpoint: f.URL}
}

// refuse has the next calls of an operation answered so.
func (f *fake) refuse(operation string, with ...answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusals[operation] = append(f.refusals[operation], with...)
}

// relent has an operation done again.
func (f *fake) relent(operation string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusals[operation] = nil
}

// meanwhile has something happen before the next call of an operation is done.
func (f *fake) meanwhile(operation string, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.between[operation] = do
}

// asked gives what the calls of an operation asked for.
func (f *fake) asked(operation string) (out []map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c.operation == operation {
			out = append(out, c.in)
		}
	}
	return out
}

// called counts the calls of an operation.
func (f *fake) called(operation string) int { return len(f.asked(operation)) }

// ServeHTTP answers one call at a time, as a service does that compares before it writes.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	text, _ := io.ReadAll(r.Body)
	var in map[string]any
	_ = json.Unmarshal(text, &in)
	f.calls = append(f.calls, call{operation, in})
	r.Body = io.NopCloser(bytes.NewReader(text))
	if do := f.between[operation]; do != nil {
		delete(f.between, operation)
		do()
	}
	if next := f.refusals[operation]; len(next) > 0 {
		f.refusals[operation] = next[1:]
		send(w, next[0].status, next[0].body)
		return
	}
	switch operation {
	case "UpdateTable":
		if version, _ := in["VersionId"].(string); version != "" && f.version(r, in) != version {
			send(w, http.StatusBadRequest, refusal(400, "ConcurrentModificationException", "the table was changed").body)
			return
		}
	case "UpdateWorkGroup":
		changed, _ := in["ConfigurationUpdates"].(map[string]any)
		f.workgroup = maps.Clone(f.workgroupNow(r, in["WorkGroup"]))
		merge(f.workgroup, changed)
		send(w, http.StatusOK, map[string]any{})
		return
	case "GetWorkGroup":
		if f.workgroup != nil {
			send(w, http.StatusOK, map[string]any{"WorkGroup": map[string]any{"Name": in["WorkGroup"], "State": "ENABLED", "Configuration": f.workgroup}})
			return
		}
	case "UpdateNamedQuery":
		f.queries[fmt.Sprint(in["NamedQueryId"])] = in
		send(w, http.StatusOK, map[string]any{})
		return
	case "GetNamedQuery":
		if changed, ok := f.queries[fmt.Sprint(in["NamedQueryId"])].(map[string]any); ok {
			was, _ := f.ask(r, operation, in)["NamedQuery"].(map[string]any)
			merge(was, changed)
			send(w, http.StatusOK, map[string]any{"NamedQuery": was})
			return
		}
	}
	f.through.ServeHTTP(w, r)
}

func merge(into, from map[string]any) {
	for name, value := range from {
		if inner, ok := value.(map[string]any); ok {
			name = strings.TrimSuffix(name, "Updates")
			below, _ := into[name].(map[string]any)
			if below == nil {
				below = map[string]any{}
			}
			merge(below, inner)
			value = below
		}
		into[name] = value
	}
}

func (f *fake) version(r *http.Request, in map[string]any) string {
	table, _ := in["TableInput"].(map[string]any)
	found, _ := f.ask(r, "GetTable", map[string]any{"DatabaseName": in["DatabaseName"], "Name": table["Name"]})["Table"].(map[string]any)
	return fmt.Sprint(found["VersionId"])
}

func (f *fake) workgroupNow(r *http.Request, name any) map[string]any {
	if f.workgroup != nil {
		return f.workgroup
	}
	found, _ := f.ask(r, "GetWorkGroup", map[string]any{"WorkGroup": name})["WorkGroup"].(map[string]any)
	configuration, _ := found["Configuration"].(map[string]any)
	return configuration
}

// ask asks moto itself, with the headers of a call.
func (f *fake) ask(r *http.Request, operation string, in map[string]any) map[string]any {
	text, _ := json.Marshal(in)
	again := r.Clone(r.Context())
	service, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	again.Header.Set("X-Amz-Target", service+"."+operation)
	again.Header.Del("Content-Length")
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	w := httptest.NewRecorder()
	f.through.ServeHTTP(w, again)
	var out map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	return out
}

func send(w http.ResponseWriter, status int, body any) {
	text, _ := json.Marshal(body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
