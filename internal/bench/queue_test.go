package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pollers is how many receives of a process there are at the same time, writers how many puts; both are the defaults.
const (
	pollers = 4
	writers = 32
)

const queueProject = `version: 1
sources:
  orders: { type: sqs, queue: "%s/000000000000/orders", stream: orders, key: [id], pollers: 4, aws: { region: eu-west-1, endpoint: "%s" },
    schema: { id: int64, customer: string, amount: "decimal(10,2)", at: timestamp, note: string } }
sinks:
  lake: { type: lake, url: lake, roll: { every: 1s } }
pipelines:
  orders: { from: orders, to: [lake] }
`

// BenchmarkAWSQueue takes messages of 150 bytes from a queue into Parquet, beside as many bare loops that receive ten and delete them: on a server
// that answers after 10 ms, and on one that answers at once. Then four processes do beside one, whose server answers after 40 ms.
func BenchmarkAWSQueue(b *testing.B) {
	path := program(b)
	samples, names := map[string][]sample{}, []string{"bare, 10 ms", "acequia, 10 ms", "bare, at once", "acequia, at once", "1 process, 40 ms", "4 processes, 40 ms"}
	for range rounds() {
		for _, name := range names {
			late, processes, messages := 10*time.Millisecond, 1, 20_000
			switch {
			case strings.Contains(name, "at once"):
				late, messages = 0, 400_000 // the last group waits up to a second: it is to count little
			case strings.Contains(name, "40 ms"):
				late, messages = 40*time.Millisecond, 10_000
			}
			if strings.HasPrefix(name, "4") {
				processes, messages = 4, 40_000
			}
			s := startService(b, late, messages)
			var got sample
			var err error
			if strings.HasPrefix(name, "bare") {
				got, err = s.bare(b.Context(), "drain-queue")
			} else {
				got, err = s.processes(b.Context(), b, path, processes, fmt.Sprintf(queueProject, s.http.URL, s.http.URL))
			}
			if err != nil {
				b.Fatal(name, ": ", err)
			}
			samples[name] = append(samples[name], got)
			s.http.Close()
		}
	}
	rate := perSecond()
	rate.name = "messages a second"
	table(b, "SQS into Parquet, 4 pollers a process", names, samples, rate, perCPUSecond(), peakMemory())
	ratio(b, "acequia to bare loops, 10 ms", samples["acequia, 10 ms"], samples["bare, 10 ms"], rate)
	ratio(b, "acequia to bare loops, at once", samples["acequia, at once"], samples["bare, at once"], rate)
	ratio(b, "4 processes to one", samples["4 processes, 40 ms"], samples["1 process, 40 ms"], rate)
}

const itemsProject = `version: 1
sources:
  orders: { type: file, path: "%s", format: ndjson, stream: orders, key: [id], schema: { id: int64, customer: string, amount: "decimal(10,2)", at: timestamp, note: string } }
sinks:
  items: { type: items, url: "dynamodb://", aws: { region: eu-west-1, endpoint: "%s" } }
pipelines:
  orders: { from: orders, to: [items] }
`

// BenchmarkAWSItems writes rows of a file as items of DynamoDB, beside as many bare loops of PutItem with an item of the same size: on a server
// that answers after 5 ms, and on one that answers at once.
func BenchmarkAWSItems(b *testing.B) {
	path := program(b)
	samples, names := map[string][]sample{}, []string{"bare, 5 ms", "acequia, 5 ms", "bare, at once", "acequia, at once"}
	for range rounds() {
		for _, name := range names {
			late, rows := 5*time.Millisecond, 50_000
			if strings.Contains(name, "at once") {
				late = 0
			}
			s := startService(b, late, rows)
			got, err := itemsRound(b, s, path, strings.HasPrefix(name, "bare"))
			if err != nil {
				b.Fatal(name, ": ", err)
			}
			samples[name] = append(samples[name], got)
			s.http.Close()
		}
	}
	rate := perSecond()
	rate.name = "items a second"
	table(b, "Items of DynamoDB, 32 writes at the same time", names, samples, rate, perCPUSecond(), peakMemory())
	ratio(b, "acequia to bare loops, 5 ms", samples["acequia, 5 ms"], samples["bare, 5 ms"], rate)
	ratio(b, "acequia to bare loops, at once", samples["acequia, at once"], samples["bare, at once"], rate)
}

func itemsRound(b *testing.B, s *service, path string, bare bool) (sample, error) {
	b.Helper()
	if bare {
		return s.bare(b.Context(), "put-items")
	}
	file := filepath.Join(b.TempDir(), "orders.ndjson")
	var text strings.Builder
	for id := range s.total {
		text.WriteString(order(id) + "\n")
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return sample{}, err
	}
	return s.processes(b.Context(), b, path, 1, fmt.Sprintf(itemsProject, file, s.http.URL))
}
