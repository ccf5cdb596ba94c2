package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

const formOnDynamo = `version: 1
sources:
  form: { type: form, schema: videogames }
sinks:
  items: { type: items, url: "dynamodb://", tables: { videogames: {} }, aws: { region: %s, endpoint: %q } }
pipelines:
  videogames-items: { from: form, to: [items] }
`

// held is a way to DynamoDB on which the first transaction stays under way until another comes, and is done before that one.
type held struct {
	proxy *httputil.ReverseProxy
	came  chan struct{} // closed when the first transaction has come

	mu    sync.Mutex
	first *http.Request
	body  []byte
	n     int
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		h.proxy.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.mu.Lock()
	h.n++
	n := h.n
	if n == 1 {
		h.first, h.body = r.Clone(r.Context()), body
	}
	h.mu.Unlock()
	switch n {
	case 1:
		close(h.came)
		<-r.Context().Done() // who sent it is killed
		return
	case 2:
		late := httptest.NewRequestWithContext(r.Context(), http.MethodPost, "/", bytes.NewReader(h.body))
		late.Header = h.first.Header
		h.proxy.ServeHTTP(httptest.NewRecorder(), late)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h.proxy.ServeHTTP(w, r)
}

// TestFormTransactionComesLate kills the program while the transaction of a request is under way. It takes effect only when the request was sent
// again to the next process, which has looked for an answer and found none: there is one item in the end, and it is the one that is told.
func TestFormTransactionComesLate(t *testing.T) {
	t.Parallel()
	server, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, server.Close()) })
	to, err := url.Parse(server.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := &held{came: make(chan struct{}), proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}}
	front := httptest.NewServer(way)
	t.Cleanup(front.Close)
	r := newRegister(t)
	file := filepath.Join(r.dir, "games.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, formOnDynamo, server.Settings.Region, front.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, err := once(t.Context(), order{}, "setup", "apply", file, "--only", "table"); err != nil || code != exitOK {
		t.Fatalf("setup: %d, %v\n%s", code, err, out)
	}
	r.command = []string{"serve", file}
	c, err := r.start(order{})
	if err != nil || c.over() {
		t.Fatal(err, &c.out)
	}
	cutOff := make(chan error, 1)
	go func() {
		_, _, err := r.post("k")
		cutOff <- err
	}()
	<-way.came
	if err := c.end(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-cutOff; err == nil {
		t.Error("a request was answered by a process that was killed first")
	}
	if c, err = r.start(order{}); err != nil || c.over() {
		t.Fatal(err, &c.out)
	}
	r.insist("k")
	r.insist("k") // once more: the same answer
	if err := c.end(syscall.SIGTERM); err != nil || len(r.lied) > 0 {
		t.Error(err, r.lied)
	}
	config, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	defer awsconfig.Connections(&config, 1, 0)()
	client := dynamodb.NewFromConfig(config)
	for _, table := range []string{"videogames", "form_keys"} {
		found, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table, ConsistentRead: new(true)})
		if err != nil || len(found.Items) != 1 || text(found.Items[0]["id"]) != r.told["k"] {
			t.Errorf("%s has %d, want one with %s: %v", table, len(found.Items), r.told["k"], err)
		}
	}
	if way.n != 2 {
		t.Errorf("%d transactions were sent, want 2", way.n)
	}
}

func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}
