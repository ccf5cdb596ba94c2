package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/broker/brokertest"
)

// TestQueueTemplateRuns sends the rows that the template of queues declares, in the wrong order and one of them twice.
func TestQueueTemplateRuns(t *testing.T) {
	t.Parallel()
	server, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	var messages []*nats.Msg
	for _, row := range []string{
		`{"id":"a","kind":"book","amount":"12.50","changed_at":"2026-11-28T10:00:02Z"}`,
		`{"id":"a","kind":"pen","amount":"1","changed_at":"2026-11-28T10:00:01Z"}`,
		`{"id":"b","kind":"pen","amount":"2","changed_at":"2026-11-28T10:00:00Z"}`,
		`{"id":"b","kind":"pen","amount":"2","changed_at":"2026-11-28T10:00:00Z"}`,
		`{"id":"c","kind":"pen","amount":"-1","changed_at":"2026-11-28T10:00:00Z"}`,
		`{"id":"d","kind":"pen","amount":"many","changed_at":"2026-11-28T10:00:00Z"}`,
	} {
		messages = append(messages, &nats.Msg{Data: []byte(row)})
	}
	if err := server.Publish("orders", messages...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "acequia.yaml")
	if err := app.WriteTemplate("queue", file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.Replace(string(text), "${BUS:-nats://127.0.0.1:4222}", server.URL, 1)
	if err := os.WriteFile(file, []byte(here), 0o600); err != nil || here == string(text) {
		t.Fatal(err)
	}
	if code, out, err := once(t.Context(), order{}, "check", file, "--connect"); err != nil || code != exitOK || !strings.Contains(out, "source orders (bus): can be read") {
		t.Errorf("check: %d, %v\n%s", code, err, out)
	}
	if code, out, err := once(t.Context(), order{}, "run", file, "--until-idle"); err != nil || code != exitPartial {
		t.Errorf("run: %d, %v\n%s", code, err, out)
	}
	code, out, err := once(t.Context(), order{}, "query", "-f", file, "-o", "csv", "select id, kind, amount from orders_latest order by id")
	if !strings.Contains(out, noSQL) && (err != nil || code != exitOK || out != "id,kind,amount\na,book,12.50\nb,pen,2.00\n") {
		t.Errorf("query: %d, %v\n%s", code, err, out)
	}
}
