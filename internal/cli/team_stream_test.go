package cli

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/awsconfig/streamtest"
)

// shardRows is how many changes a shard of the tree has: several groups.
const shardRows = 1500

// streamRun is a team over one stream of DynamoDB whose shards are split while they are read.
type streamRun struct {
	*fileRun
	stream *streamtest.Stream
	grows  map[string][]string // shards that are split when they are half read, and their children
	begun  map[string]bool     // children that were read
}

func newStreamRun(t *testing.T, shared app.SharedState) *streamRun {
	t.Helper()
	for name, value := range awstest.Environment() {
		if err := os.Setenv(name, value); err != nil { //nolint:usetesting // parallel tests may not, and all set the same
			t.Fatal(err)
		}
	}
	r := &streamRun{
		fileRun: &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}, shared: shared},
		stream:  streamtest.New("a", "b", "c", "d"), begun: map[string]bool{},
		grows: map[string][]string{"a": {"aa", "ab"}, "b": {"ba"}, "aa": {"aaa", "aab"}, "ba": {"baa"}},
	}
	r.stream.PageSize = 100
	for _, s := range r.stream.Shards {
		r.fill(s.ID)
	}
	r.stream.Reading = func(_ *streamtest.Stream, i streamtest.Iterator) { r.reading(t, i) }
	at := r.stream.Start(t)
	project := strings.NewReplacer(
		`type: file, path: "*.csv", stream: lines,`, fmt.Sprintf("type: dynamodbstreams, table: lines, poll: 20ms, aws: { region: %q, endpoint: %q },", at.Region, at.Endpoint),
		"pipelines:\n  lines:", "pipelines:\n  changes:",
	).Replace(fileProject)
	r.writeTeam(t, project, "a", "b", "c", "d")
	return r
}

func (r *streamRun) fill(shard string) {
	for range shardRows {
		key := map[string]any{"id": map[string]any{"N": strconv.FormatInt(r.next, 10)}}
		item := maps.Clone(key)
		item["year"], item["name"] = map[string]any{"N": "1999"}, map[string]any{"S": "x"}
		r.stream.Put(shard, key, item)
		if r.next%7 != 0 {
			r.rows[r.next] = true
		}
		r.next++
	}
}

// reading splits shards, shows children late, and wants what a parent had to be durable before a child is read. When all have been split
// the stream is switched off, so that the readers end.
func (r *streamRun) reading(t *testing.T, i streamtest.Iterator) {
	t.Helper()
	s := r.stream
	if s.Shard(i.Shard) == nil {
		return
	}
	if parent := s.Shard(i.Shard).Parent; parent != "" && !r.begun[i.Shard] {
		r.begun[i.Shard] = true
		if lane := s.Label + "/" + parent; !slices.Contains(r.ended(t), lane) {
			t.Errorf("%s is read before its parent %s has ended", i.Shard, parent)
		}
	}
	children := r.grows[i.Shard]
	if i.At < shardRows/2 || children == nil {
		return
	}
	delete(r.grows, i.Shard)
	s.Split(i.Shard, children...)
	for n, child := range children {
		r.fill(child)
		s.Hidden[child] = 3 * (n + 1)
	}
	if len(r.grows) > 0 {
		return
	}
	clear(s.Hidden)
	s.Status = "DISABLED"
	for _, one := range s.Shards {
		one.Closed = true
	}
}

// ended gives the lanes that are durable to their end.
func (r *streamRun) ended(t *testing.T) []string {
	t.Helper()
	store, err := r.state().OpenToRead(t.Context())
	if err != nil {
		t.Error(err)
		return nil
	}
	lanes, err := store.Ended(t.Context(), "changes")
	if err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	return slices.Collect(maps.Keys(lanes))
}

// TestTeamOverStream has four processes share the shards of a stream, which are split meanwhile: one is killed between intent and
// publication, one is frozen for longer than its leases last. Every change is in the lake once, and no shard is read before its parent
// is durable. The same without a protection must be seen to lose rows.
func TestTeamOverStream(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]func(t *testing.T) app.SharedState{"PostgreSQL": inPostgres, "DynamoDB": inDynamo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStreamRun(t, state(t))
			r.killedAndFrozen(t, "changes", "", func() { r.check(t) })
			r.stream.Locked(func() {
				if len(r.begun) != 6 || len(r.rows) < 10*shardRows*6/7 {
					t.Errorf("%d children were read, and there are %d rows", len(r.begun), len(r.rows))
				}
			})
		})
	}
	t.Run("without what recovery publishes", func(t *testing.T) {
		t.Parallel()
		r, lost := newStreamRun(t, inPostgres(t)), 0
		r.killedAndFrozen(t, "changes", recoveryPublish, func() { lost, _ = r.differences(t) })
		if lost == 0 {
			t.Error("nothing is lost: the test is blind, or the protection is not needed")
		}
		t.Logf("%d rows lost", lost)
	})
}
