package itemstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// faulty stands before the server and does what it never does: it refuses, throttles and leaves items out.
type faulty struct {
	// answer gives a refusal of a call, or nothing to let it pass. It may change the call.
	answer func(operation string, body map[string]any) (status int, text string)
	// after may add to what the server answered.
	after func(operation string, body, answer map[string]any)
	// lose says whether the answer of a call that was done gets lost.
	lose func(operation string, body map[string]any) bool

	mu    sync.Mutex
	calls map[string]int
}

func (f *faulty) start(t *testing.T) awsconfig.Settings {
	t.Helper()
	f.calls = map[string]int{}
	to, err := url.Parse(server.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		f.calls[operation]++
		status, text := 0, ""
		if f.answer != nil {
			status, text = f.answer(operation, body)
		}
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
		out, _ := json.Marshal(body) //nolint:errchkjson // it was JSON
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(out)), int64(len(out))
		if f.after == nil && f.lose == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		seen := httptest.NewRecorder()
		proxy.ServeHTTP(seen, r)
		var answer map[string]any
		_ = json.Unmarshal(seen.Body.Bytes(), &answer)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.lose != nil && f.lose(operation, body) {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if f.after != nil {
			f.after(operation, body, answer)
		}
		w.WriteHeader(seen.Code)
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	return awsconfig.Settings{Region: server.Settings.Region, Endpoint: s.URL}
}

func (f *faulty) count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[operation]
}

// throttle is how DynamoDB says that a table has had enough.
func throttle(table string) (int, string) {
	return http.StatusBadRequest, fmt.Sprintf(`{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow down",
		"ThrottlingReasons": [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:eu-west-1:1:table/%s"}]}`, table)
}

func openDynamo(t *testing.T, o itemstore.DynamoOptions) *itemstore.Dynamo {
	t.Helper()
	if o.AWS.Endpoint == "" {
		o.AWS = server.Settings
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d, err := itemstore.OpenDynamo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func rawClient(t *testing.T) *dynamodb.Client {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(awsconfig.Connections(&c, 4, 0))
	return dynamodb.NewFromConfig(c, func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true })
}

// make makes the tables that a declared one needs, and declares it.
func makeTable(t *testing.T, d *itemstore.Dynamo, table itemstore.Table) {
	t.Helper()
	for _, in := range itemstore.Design(table) {
		createTable(t, in)
	}
	if err := d.Define(t.Context(), table); err != nil {
		t.Fatal(err)
	}
}

// createTable makes a table, or finds that a call whose answer was lost has made it: the emulator answers late under load.
func createTable(t *testing.T, in *dynamodb.CreateTableInput) {
	t.Helper()
	_, err := rawClient(t).CreateTable(t.Context(), in)
	if _, made := errors.AsType[*types.ResourceInUseException](err); err != nil && !made {
		t.Fatal(err)
	}
}

// tableName is one that no other test has.
func tableName(t *testing.T) string {
	t.Helper()
	return strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '_'
		}
		return r
	}, t.Name())
}

func filmSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("films", []string{"id"}, record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "title", Kind: record.String, Nullable: true}, record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 38, Scale: 2, Nullable: true}, record.Field{Name: "score", Kind: record.Float64, Nullable: true},
		record.Field{Name: "poster", Kind: record.Bytes, Nullable: true}, record.Field{Name: "seen", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "genres", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "genre", Kind: record.String, Nullable: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
