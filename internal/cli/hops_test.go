package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	bridgetypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/servertest/hoptest"
)

// hopsProject is the register on AWS, both ways. In the place of the Pipe, which no local server runs, acequia itself carries the table's
// stream on.
const hopsProject = `version: 1
sources:
  form: { type: form, schema: videogames, patience: 2s }
  stream: { type: dynamodbstreams, table: videogames, poll: 50ms, aws: %[1]s }
  short: { type: sqs, queue: games.fifo, table: videogames, wait: 1s, visibility: 4s, hold: 500ms, aws: %[2]s }
  long: { type: sqs, queue: games, table: videogames, wait: 1s, visibility: 4s, hold: 500ms, aws: %[3]s }
sinks:
  items: { type: items, url: "dynamodb://", tables: { videogames: {} }, aws: %[4]s }
  queue: { type: sqs, queue: games.fifo, aws: %[5]s }
  bus: { type: eventbridge, bus: games, aws: %[6]s }
  lake: { type: lake, url: "s3://%[8]s/short", roll: { every: 300ms }, aws: %[7]s }
  other: { type: lake, url: "s3://%[8]s/long", roll: { every: 300ms }, aws: %[7]s }
pipelines:
  videogames-items: { from: form, to: [items], errors: { retry: { longest: 1s } } }
  changes: { from: stream, to: [queue, bus], errors: { retry: { longest: 1s } } }
  videogames-lake: { from: short, steps: [ { dedupe: { key: [id], window: 24h } } ], to: [lake], errors: { retry: { longest: 1s } } }
  long: { from: long, to: [other], errors: { retry: { longest: 1s } } }
`

// badRun is the register on servers of AWS's protocols, with a network of its own before each of them.
type badRun struct {
	*register

	t      *testing.T
	server *awstest.Server
	bucket string
	hops   map[string]*hoptest.Hop
	random *rand.Rand
}

func newBadRun(t *testing.T, seed uint64) *badRun {
	t.Helper()
	server, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, server.Close()) })
	b := &badRun{register: newRegister(t), t: t, server: server, bucket: blobtest.Bucket(t, server.Settings), hops: map[string]*hoptest.Hop{}, random: rand.New(rand.NewPCG(seed, 0))}
	b.queues()
	var at []any
	for _, name := range []string{"stream", "receive", "receive from the bus", "items", "send", "bus", "lake"} {
		to := server.Settings
		if name == "items" {
			to = server.InOrder(t)
		}
		b.hops[name] = hoptest.Start(t, strings.TrimPrefix(to.Endpoint, "http://"))
		at = append(at, fmt.Sprintf("{ region: %s, endpoint: \"http://%s\" }", to.Region, b.hops[name].Address()))
	}
	file := filepath.Join(b.dir, "games.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, hopsProject, append(at, b.bucket)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, err := once(t.Context(), order{}, "setup", "apply", file, "--only", "table"); err != nil || code != exitOK {
		t.Fatalf("setup: %d, %v\n%s", code, err, out)
	}
	b.command = []string{"serve", file}
	b.hops["form"] = hoptest.Start(t, "127.0.0.1:"+b.port)
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	b.front, b.client = "http://"+b.hops["form"].Address(), &http.Client{Timeout: 3 * time.Second, Transport: own}
	return b
}

// queues makes the queues, and a bus with a rule into one of them.
func (b *badRun) queues() {
	b.t.Helper()
	ctx := b.t.Context()
	c, err := awsconfig.Load(ctx, b.server.Settings)
	if err != nil {
		b.t.Fatal(err)
	}
	defer awsconfig.Connections(&c, 1, 0)()
	queues, buses := sqs.NewFromConfig(c), eventbridge.NewFromConfig(c)
	_, err = queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: new("games.fifo"), Attributes: map[string]string{"FifoQueue": "true"}})
	_, err2 := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: new("games")})
	_, err3 := buses.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: new("games")})
	_, err4 := buses.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("games"), EventBusName: new("games"), EventPattern: new(`{"source":["acequia.changes"]}`)})
	_, err5 := buses.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: new("games"), EventBusName: new("games"), Targets: []bridgetypes.Target{
		{Id: new("games"), Arn: new("arn:aws:sqs:" + c.Region + ":123456789012:games")},
	}})
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		b.t.Fatal(err)
	}
}

// begin starts the program, as whoever runs services does: again, when it could not reach what it needs to start with.
func (b *badRun) begin() *child {
	b.t.Helper()
	for {
		c, err := b.start(order{})
		if err != nil {
			b.t.Fatal(err)
		}
		if !c.over() || c.ProcessState.ExitCode() != exitEnvironment {
			return c
		}
	}
}

// badWay is what a network does for a time.
type badWay struct {
	name     string
	up, down toxics.Toxic
	cut      bool // connections that are there are reset
}

func (b *badRun) badWays() []badWay {
	some := func(most int64) int64 { return 100 + b.random.Int64N(most) }
	return []badWay{
		{name: "late", up: &toxics.LatencyToxic{Latency: 100, Jitter: 100}, down: &toxics.LatencyToxic{Latency: 100, Jitter: 100}},
		{name: "slow", up: &toxics.BandwidthToxic{Rate: 10}, down: &toxics.BandwidthToxic{Rate: 10}},
		{name: "crumbs", up: &toxics.SlicerToxic{AverageSize: 100, SizeVariation: 50, Delay: 500}, down: &toxics.SlicerToxic{AverageSize: 100, SizeVariation: 50, Delay: 500}},
		{name: "reset", up: &toxics.ResetToxic{Timeout: b.random.Int64N(100)}, cut: true},
		{name: "reset before the answer", down: &toxics.ResetToxic{}},
		{name: "cut upload", up: &toxics.LimitDataToxic{Bytes: some(5000)}},
		{name: "cut answer", down: &toxics.LimitDataToxic{Bytes: some(2000)}},
	}
}

// storm makes every hop bad in each way for a moment, all side by side, in an order of its own.
func (b *badRun) storm() {
	var all sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(b.hops)) {
		hop, ways := b.hops[name], b.badWays()
		b.random.Shuffle(len(ways), func(i, k int) { ways[i], ways[k] = ways[k], ways[i] })
		random := rand.New(rand.NewPCG(b.random.Uint64(), 0))
		all.Go(func() {
			for _, w := range ways {
				b.t.Logf("%s: %s", name, w.name)
				hop.Spoil(w.up, w.down)
				if w.cut {
					hop.Cut()
				}
				b.pass(300+random.IntN(700), nil)
				hop.Heal()
				hop.Cut() // what was late stays so
				b.pass(100+random.IntN(300), nil)
			}
		})
	}
	all.Wait()
}

// pass lets some milliseconds go by, or until something is over.
func (b *badRun) pass(ms int, over <-chan struct{}) {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-over:
	case <-b.ctx.Done():
	}
}

// holes lets every connection that is there swallow all that it is given from now on, up or down, for as long as the program keeps it. It gives
// how long the register needs until a game has gone all the way again.
func (b *badRun) holes(c *child) time.Duration {
	for _, name := range slices.Sorted(maps.Keys(b.hops)) {
		if hop := b.hops[name]; b.random.IntN(2) == 0 {
			hop.Spoil(&toxics.TimeoutToxic{}, nil)
		} else {
			hop.Spoil(nil, &toxics.TimeoutToxic{})
		}
	}
	began := time.Now()
	b.pass(500, nil)
	for _, hop := range b.hops {
		hop.Heal()
	}
	b.insist("after-the-holes")
	b.t.Logf("%s after the holes a game is told", time.Since(began))
	if err := await(b.ctx, func() bool { return c.over() || b.has("short", "after-the-holes") && b.has("long", "after-the-holes") }); err != nil || c.over() {
		var status json.RawMessage
		err = errors.Join(err, c.get("/v1/status", &status), c.end(syscall.SIGKILL))
		b.t.Fatalf("a game does not go all the way: %v\n%s\n%s", err, status, &c.out)
	}
	return time.Since(began)
}

// has says whether a lake has the game of a key.
func (b *badRun) has(lake, key string) bool {
	games, err := b.games(lake)
	b.mu.Lock()
	defer b.mu.Unlock()
	return err == nil && len(games[b.told[key]]) > 0
}

// games gives the rows of a lake by their ids, as text.
func (b *badRun) games(lake string) (map[string][]string, error) {
	bucket, err := blob.OpenS3(b.ctx, "s3://"+b.bucket, blob.S3Settings{AWS: b.server.Settings})
	if err != nil {
		return nil, err
	}
	files, err := bucket.Walk(b.ctx, lake+"/videogames")
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, f := range files {
		text, err := bucket.Read(b.ctx, f.Name)
		if err != nil {
			return nil, err
		}
		type game struct {
			ID          string `parquet:"id"`
			Title       string `parquet:"title"`
			Developer   string `parquet:"developer"`
			Genre       string `parquet:"genre"`
			Year        int32  `parquet:"year"`
			Competitive bool   `parquet:"competitive"`
		}
		rows, err := parquet.Read[game](bytes.NewReader(text), int64(len(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		for _, g := range rows {
			out[g.ID] = append(out[g.ID], fmt.Sprint(g))
		}
	}
	return out, nil
}

// items gives the ids of the items.
func (b *badRun) items() (map[string]int, error) {
	c, err := awsconfig.Load(b.ctx, b.server.Settings)
	if err != nil {
		return nil, err
	}
	defer awsconfig.Connections(&c, 1, 0)()
	out := map[string]int{}
	pages := dynamodb.NewScanPaginator(dynamodb.NewFromConfig(c), &dynamodb.ScanInput{TableName: new("videogames")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			if id, ok := item["id"].(*types.AttributeValueMemberS); ok {
				out[id.Value]++
			}
		}
	}
	return out, nil
}

// damage says how what the clients were told differs from the items and the lakes. The queue of the bus gives messages twice when the program
// is killed, and nothing there knows them: copies are alike.
func (b *badRun) damage() (damage error) {
	told, want := map[string]bool{}, map[string]string{}
	for key, id := range b.told {
		told[id] = true
		want[id] = fmt.Sprint(struct {
			id, title, developer, genre string
			year                        int
			competitive                 bool
		}{id, key, "N/A", "Puzzle", 1950 + len(key), true})
	}
	items, err := b.items()
	damage = errors.Join(err, differ("items", told, items))
	for _, lake := range []string{"short", "long"} {
		games, err := b.games(lake)
		ids, copies := map[string]int{}, 0
		for id, rows := range games {
			if ids[id] = 1; lake == "short" {
				ids[id] = len(rows)
			}
			copies += len(rows) - 1
			for _, text := range rows {
				if told[id] && text != want[id] {
					damage = errors.Join(damage, fmt.Errorf("%s: %s, where %s was told", lake, text, want[id]))
				}
			}
		}
		b.t.Logf("%s: %d games, %d copies", lake, len(games), copies)
		damage = errors.Join(damage, err, differ(lake, told, ids))
	}
	return damage
}

// all says whether each lake has as many games as were told.
func (b *badRun) all() bool {
	short, err := b.games("short")
	long, err2 := b.games("long")
	return errors.Join(err, err2) == nil && len(short) >= b.toldCount() && len(long) >= b.toldCount()
}

// TestBadNetworkAtEveryHop has clients register games while the network before each server is bad in each way, and the program is killed. Then
// every connection swallows what it is given: the program must find out by itself. In the end each game that a client was told of is an item, and
// in both lakes once, and the program was at fault never.
func TestBadNetworkAtEveryHop(t *testing.T) {
	t.Parallel()
	seeds := 1
	if text := os.Getenv("ACEQUIA_TORTURE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("ACEQUIA_TORTURE: %v", err)
		}
		seeds = max(1, n/20) // each takes most of a minute
	}
	for seed := range uint64(seeds) { //nolint:paralleltest // one after the other: their clients have time limits
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBadRun(t, seed)
			var stop context.CancelFunc
			b.ctx, stop = context.WithCancel(t.Context())
			c := b.begin()
			ctx, cancel := context.WithCancel(b.ctx)
			wait := b.clients(ctx, 3)
			defer wait()
			defer stop()
			over, random := make(chan struct{}), rand.New(rand.NewPCG(seed, 1))
			go func() {
				defer close(over)
				b.storm()
			}()
			for range 2 {
				if b.pass(2000+random.IntN(1000), c.died); c.over() {
					t.Fatalf("it ended by itself: %v", c.failure())
				}
				if err := c.end(syscall.SIGKILL); err != nil {
					t.Error(err)
				}
				c = b.begin()
			}
			<-over
			cancel() // of clients that have been told
			wait()
			took := b.holes(c)
			t.Logf("%d games; %s after the holes a game had gone all the way", b.toldCount(), took)
			if err := await(t.Context(), func() bool { return c.over() || b.all() }); err != nil || c.over() {
				t.Errorf("the lakes do not have all: %v", err)
			}
			if err := errors.Join(c.end(syscall.SIGTERM), b.damage()); err != nil {
				t.Errorf("%v\n%s", err, &c.out)
			}
		})
	}
}
