package dynamolog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

func opened(t *testing.T, settings awsconfig.Settings, table string) *dynamolog.Log {
	t.Helper()
	l, err := dynamolog.Open(t.Context(), settings, table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func client(t *testing.T) *dynamodb.Client {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(awsconfig.Connections(&c, 1, 0))
	return dynamodb.NewFromConfig(c)
}

func read(t *testing.T, l *dynamolog.Log, after dynamolog.Mark) dynamolog.Tail {
	t.Helper()
	tail, err := l.Read(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

func add(t *testing.T, l *dynamolog.Log, after dynamolog.Mark, entry string) dynamolog.Mark {
	t.Helper()
	mark, err := l.Append(t.Context(), after, []byte(entry))
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func TestEntriesAreInOrder(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, server.Settings)
	a, b := opened(t, server.Settings, table), opened(t, server.Settings, table)
	if tail := read(t, a, dynamolog.Mark{}); tail.Entries != nil || tail.To != (dynamolog.Mark{}) {
		t.Fatalf("%+v", tail)
	}
	large := strings.Repeat("0123456789", 100_000) // three items
	first := add(t, a, dynamolog.Mark{}, "one")
	second := add(t, a, first, large)
	if _, err := b.Append(t.Context(), dynamolog.Mark{}, []byte("instead of one")); !errors.Is(err, dynamolog.ErrBehind) {
		t.Error(err)
	}
	if _, err := b.Append(t.Context(), first, []byte("instead of two")); !errors.Is(err, dynamolog.ErrBehind) {
		t.Error(err)
	}
	tail := read(t, b, dynamolog.Mark{})
	if len(tail.Entries) != 2 || string(tail.Entries[0]) != "one" || string(tail.Entries[1]) != large || tail.To != second || tail.Snapshot != nil {
		t.Errorf("%d entries up to %+v", len(tail.Entries), tail.To)
	}
	if tail = read(t, b, first); len(tail.Entries) != 1 || tail.From != first || tail.To != second {
		t.Errorf("%d entries up to %+v", len(tail.Entries), tail.To)
	}
	if tail = read(t, b, second); len(tail.Entries) != 0 || tail.To != second {
		t.Errorf("%+v", tail)
	}
}

// TestAllAppend has writers that only append to what they know, at the same time: each entry is there once, and in each writer's order.
func TestAllAppend(t *testing.T) {
	t.Parallel()
	table, settings := dynamologtest.Table(t, server.Settings), server.InOrder(t)
	const writers, each = 6, 10
	var behind atomic.Int32
	var all sync.WaitGroup
	for w := range writers {
		l := opened(t, settings, table)
		all.Go(func() {
			at := dynamolog.Mark{}
			for n := 0; n < each; {
				next, err := l.Append(t.Context(), at, fmt.Appendf(nil, "%d %d", w, n))
				switch {
				case err == nil:
					at, n = next, n+1
					continue
				case !errors.Is(err, dynamolog.ErrBehind):
					t.Error(err)
					return
				}
				behind.Add(1)
				tail, err := l.Read(t.Context(), at)
				if err != nil {
					t.Error(err)
					return
				}
				at = tail.To
			}
		})
	}
	all.Wait()
	next := make([]int, writers)
	for _, entry := range read(t, opened(t, server.Settings, table), dynamolog.Mark{}).Entries {
		var w, n int
		if _, err := fmt.Sscan(string(entry), &w, &n); err != nil || n != next[w] {
			t.Fatalf("%q, after %d of that writer, %v", entry, next[w], err)
		}
		next[w]++
	}
	if slices.Min(next) != each || behind.Load() == 0 {
		t.Errorf("%v, %d times behind", next, behind.Load())
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, server.Settings)
	l := opened(t, server.Settings, table)
	marks := []dynamolog.Mark{{}}
	for i := range 6 {
		entry := fmt.Sprint(i + 1)
		if i == 0 {
			entry = strings.Repeat(entry, 500_000)
		}
		marks = append(marks, add(t, l, marks[i], entry))
	}
	data := make([]byte, 900_000)
	for i := range data {
		data[i] = byte(rand.N(256)) //nolint:gosec // of a test
	}
	save := func(at int, data []byte) {
		t.Helper()
		if err := l.SaveSnapshot(t.Context(), marks[at], data); err != nil {
			t.Fatal(err)
		}
	}
	save(2, []byte("two"))
	if tail := read(t, l, marks[1]); tail.Snapshot != nil || len(tail.Entries) != 5 { // who is a little behind needs none
		t.Errorf("%+v", tail)
	}
	save(4, data)
	save(3, []byte("three")) // late
	for _, from := range []int{0, 1} {
		tail := read(t, l, marks[from])
		if !bytes.Equal(tail.Snapshot, data) || tail.From != marks[4] || len(tail.Entries) != 2 || tail.To != marks[6] {
			t.Errorf("from %d: %d bytes, %+v to %+v", from, len(tail.Snapshot), tail.From, tail.To)
		}
	}
	if tail := read(t, l, marks[2]); tail.Snapshot != nil || len(tail.Entries) != 4 {
		t.Errorf("%+v", tail)
	}
	out, err := client(t).Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, item := range out.Items {
		counts[item["part"].(*types.AttributeValueMemberS).Value]++
	}
	if got := fmt.Sprint(counts); got != "map[entry:5 head:1 newest:1 snapshot:3]" {
		t.Error(got)
	}
}

// TestWhatIsMissing has entries that somebody deleted, and a table of an older time.
func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, server.Settings)
	l, c := opened(t, server.Settings, table), client(t)
	at := []dynamolog.Mark{{}}
	for i := range 4 {
		at = append(at, add(t, l, at[i], fmt.Sprint(i+1)))
	}
	drop := func(seq int) {
		t.Helper()
		_, err := c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: map[string]types.AttributeValue{
			"part": &types.AttributeValueMemberS{Value: "entry"}, "at": &types.AttributeValueMemberS{Value: fmt.Sprintf("%020d", seq)},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	drop(4) // as if it had never been: who knew it begins anew
	if tail := read(t, l, at[4]); tail.From != at[0] || tail.To != at[3] || len(tail.Entries) != 3 {
		t.Errorf("%+v", tail)
	}
	drop(1)
	_, err := l.Read(t.Context(), dynamolog.Mark{})
	if fault.Code(err) != "ACQ-STATE-001" || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
	_, err = opened(t, server.Settings, "nothing").Read(t.Context(), dynamolog.Mark{})
	if fault.Code(err) != "ACQ-AWS-006" || !strings.Contains(err.Error(), "nothing") {
		t.Error(err)
	}
}

// TestLostAnswer has the answer to an entry that was added lost on its way, once or for good.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for _, lost := range []int32{1, 1000} {
		table := dynamologtest.Table(t, server.Settings)
		var left atomic.Int32
		left.Store(lost)
		l := opened(t, dropping(t, &left), table)
		mark, err := l.Append(t.Context(), dynamolog.Mark{}, []byte("one"))
		if err != nil {
			t.Fatal(lost, err)
		}
		if tail := read(t, l, dynamolog.Mark{}); len(tail.Entries) != 1 || tail.To != mark {
			t.Errorf("%d: %+v", lost, tail)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := opened(t, server.Settings, "any").Append(ctx, dynamolog.Mark{}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// dropping is a way to the server on which answers to transactions are lost.
func dropping(t *testing.T, left *atomic.Int32) awsconfig.Settings {
	t.Helper()
	to, err := url.Parse(server.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") || left.Add(-1) < 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(way.Close)
	return awsconfig.Settings{Region: aws.ToString(&server.Settings.Region), Endpoint: way.URL}
}
