package provision_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

var server *awstest.Server

func TestMain(m *testing.M) { os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s })) }

// watcher stands before the server: it knows what was written, refuses what it is told to, and changes answers.
type watcher struct {
	settings awsconfig.Settings

	mu     sync.Mutex
	writes []string
	refuse map[string]string                            // by call: the code of the service
	times  map[string]int                               // how often; 0: always
	change map[string]func(answer []byte, n int) []byte // of the n-th answer of a call
	seen   map[string]int
	lost   map[string]bool   // calls that make or delete something whose answer was lost already; nil: none is
	allow  map[string]string // by queue: RedriveAllowPolicy, which the server takes and does not give
}

func watch(t *testing.T) *watcher {
	t.Helper()
	w := &watcher{refuse: map[string]string{}, times: map[string]int{}, change: map[string]func([]byte, int) []byte{}, seen: map[string]int{}, allow: map[string]string{}}
	at, err := url.Parse(server.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ModifyResponse = func(r *http.Response) error {
		call := r.Request.Header.Get("X-Call")
		w.mu.Lock()
		change, n := w.change[call], w.seen[call]
		if one := call; w.lost != nil && !w.lost[one] && makes(call) {
			w.lost[one] = true
			w.mu.Unlock()
			r.StatusCode = http.StatusInternalServerError
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("")), 0
			r.Header.Set("Content-Length", "0")
			return nil
		}
		allow := w.allow[r.Request.Header.Get("X-Queue")]
		w.mu.Unlock()
		if call == "sqs:GetQueueAttributes" && allow != "" {
			text, _ := json.Marshal(allow)
			change = func(answer []byte, _ int) []byte {
				return bytes.Replace(answer, []byte(`"Attributes": {`), []byte(`"Attributes": {"RedriveAllowPolicy": `+string(text)+`, `), 1)
			}
		}
		if change == nil {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		body = change(body, n)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return nil
	}
	s := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		call, write := callOf(r)
		w.mu.Lock()
		w.seen[call]++
		code, refused := w.refuse[call]
		if n := w.times[call]; refused && n > 0 && w.seen[call] > n {
			refused = false
		}
		if write && !refused {
			w.writes = append(w.writes, call)
		}
		w.mu.Unlock()
		if refused {
			deny(answer, call, code)
			return
		}
		r.Header.Set("X-Call", call)
		if strings.HasPrefix(call, "sqs:") {
			w.remember(r)
		}
		proxy.ServeHTTP(answer, r)
	}))
	t.Cleanup(s.Close)
	w.settings = awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL}
	return w
}

// remember keeps what a queue was told of redrive.
func (w *watcher) remember(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct {
		QueueName, QueueUrl string //nolint:revive // as SQS calls it
		Attributes          map[string]string
	}
	_ = json.Unmarshal(body, &in)
	name := in.QueueName + path.Base(in.QueueUrl)
	r.Header.Set("X-Queue", strings.TrimSuffix(name, "."))
	if text := in.Attributes["RedriveAllowPolicy"]; text != "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.allow[strings.TrimSuffix(name, ".")] = text
	}
}

// deny answers as a service does that refuses.
func deny(answer http.ResponseWriter, call, code string) {
	status := http.StatusBadRequest
	switch code {
	case "AccessDenied":
		status = http.StatusForbidden
	case "MovedPermanently":
		status = http.StatusMovedPermanently
	}
	switch {
	case strings.HasPrefix(call, "s3:"):
		answer.Header().Set("Content-Type", "application/xml")
		answer.WriteHeader(status)
		_, _ = fmt.Fprintf(answer, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	case strings.HasPrefix(call, "iam:"):
		answer.Header().Set("Content-Type", "text/xml")
		answer.WriteHeader(status)
		_, _ = fmt.Fprintf(answer, "<ErrorResponse><Error><Code>%s</Code><Message>no</Message></Error></ErrorResponse>", code)
	default:
		answer.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer.Header().Set("X-Amzn-Errortype", code)
		answer.WriteHeader(status)
		_, _ = fmt.Fprintf(answer, `{"__type": %q, "message": "no"}`, code)
	}
}

var scope = regexp.MustCompile(`Credential=[^/]+/[^/]+/[^/]+/([a-z0-9-]+)/`)

// callOf names a call, such as dynamodb:CreateTable or s3:PUT?policy, and says whether it changes anything.
func callOf(r *http.Request) (call string, write bool) {
	service := ""
	if m := scope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		service = m[1]
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, name, _ := strings.Cut(target, ".")
		return service + ":" + name, !reads(name)
	}
	write = r.Method != http.MethodGet && r.Method != http.MethodHead
	if service == "iam" || service == "sts" {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		return service + ":" + form.Get("Action"), !reads(form.Get("Action"))
	}
	call = service + ":" + r.Method
	var keys []string
	for k := range r.URL.Query() {
		if k != "x-id" {
			keys = append(keys, k)
		}
	}
	if slices.Sort(keys); len(keys) > 0 {
		call += "?" + keys[0]
	}
	return call, write
}

func reads(name string) bool {
	return slices.ContainsFunc([]string{"Describe", "List", "Get", "Scan"}, func(p string) bool { return strings.HasPrefix(name, p) })
}

// written gives what was written since it was last asked.
func (w *watcher) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.writes
	w.writes = nil
	return out
}

// on refuses a call with a code, for as many times; 0: always.
func (w *watcher) on(call, code string, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse[call], w.times[call], w.seen[call] = code, times, 0
}

func (w *watcher) off(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.refuse, call)
	delete(w.change, call)
}

// lose has the answers of calls that make or delete something be lost, once for each call.
func (w *watcher) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = map[string]bool{}
}

func makes(call string) bool {
	_, name, _ := strings.Cut(call, ":")
	return strings.HasPrefix(name, "Create") || strings.HasPrefix(name, "Delete") || slices.Contains([]string{"s3:PUT", "s3:DELETE", "pipes:POST", "pipes:DELETE"}, call)
}

// answers changes the answers of a call.
func (w *watcher) answers(call string, change func(answer []byte, n int) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change[call], w.seen[call] = change, 0
}
