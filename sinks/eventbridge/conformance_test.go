package eventbridge_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/eventbridge"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

// TestConformance puts events at a server of our own, which lets some entries of batches fail.
func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Place {
		t.Helper()
		n := 0
		fake := messagingtest.Start(t, messagingtest.Faults{Entry: func(string, int) bool { n++; return n%40 == 0 }})
		folder := t.TempDir()
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) {
				return eventbridge.New(eventbridge.Config{AWS: fake.Settings}, folder)
			},
			Rows:   func() ([]sinktest.Row, error) { return rowsOf(fake.Events()) },
			Staged: func() (int, error) { return staged(folder) },
			Lose:   func(f sinks.File) error { return os.Remove(filepath.Join(folder, f.Staged)) },
		}
	}})
}

// staged counts the files of groups that were not sent.
func staged(folder string) (n int, err error) {
	err = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".tmp") {
			n++
		}
		return err
	})
	return n, err
}

func rowsOf(all []messagingtest.Event) (rows []sinktest.Row, err error) {
	for _, e := range all {
		info, object, there, err := messaging.TakeInfo([]byte(e.Detail))
		if err != nil || !there {
			return nil, errors.Join(err, errors.New(e.Detail))
		}
		var in struct {
			ID   int64
			Text *string
		}
		if err := json.Unmarshal(object, &in); err != nil {
			return nil, err
		}
		r := sinktest.Row{ID: in.ID, Null: in.Text == nil, Op: info.Op, Version: info.Version.String()}
		if !r.Null {
			r.Text = *in.Text
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func rows(t *testing.T, texts ...string) *record.Batch {
	t.Helper()
	s, err := sinktest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(s, len(texts))
	for i, text := range texts {
		b.Int(0, int64(i))
		b.String(1, text)
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, 1_700_000_000_000_000)
	}
	b.System().Source, b.System().Ops = "test", []record.Op{record.Insert}
	return b.Batch(nil)
}

// publish sends a batch as a group.
func publish(t *testing.T, c eventbridge.Config, b *record.Batch) error {
	t.Helper()
	s, err := eventbridge.New(c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(w.Close(t.Context()), s.Close(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if err := w.Write(t.Context(), b); err != nil {
		return err
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w.Publish(t.Context(), m)
}

// TestEvents looks at what an event says, and at how many there are in a batch.
func TestEvents(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	if err := publish(t, eventbridge.Config{AWS: fake.Settings, Bus: "games"}, rows(t, make([]string, 25)...)); err != nil {
		t.Fatal(err)
	}
	all := fake.Events()
	if len(all) != 25 || fake.Calls("PutEvents") != 3 {
		t.Fatalf("%d events in %d calls", len(all), fake.Calls("PutEvents"))
	}
	e := all[0]
	if e.Source != "acequia.p" || e.DetailType != "suite" || e.EventBusName != "games" || e.Time != 1_700_000_000 {
		t.Errorf("got %+v", e)
	}
}

// TestLargeRows refuses an event that is too large, and says so.
func TestLargeRows(t *testing.T) {
	t.Parallel()
	fake := messagingtest.Start(t, messagingtest.Faults{})
	err := publish(t, eventbridge.Config{AWS: fake.Settings, MaxBytes: config.Size(256 << 10)}, rows(t, "small", strings.Repeat("x", 256<<10)))
	bad, ok := errors.AsType[*fault.Rows](err)
	if !ok || len(bad.Bad) != 1 || bad.Bad[0].Index != 1 || fault.Code(bad.Bad[0].Err) != "ACQ-EVB-011" {
		t.Errorf("got %v", err)
	}
}

// TestAtMoto puts events on moto's bus, and hears of one that is not there.
func TestAtMoto(t *testing.T) {
	t.Parallel()
	settings := &eventbridge.Config{AWS: server.Settings, Bus: "games"}
	if _, err := settings.Check(t.Context()); fault.Code(err) != "ACQ-AWS-006" {
		t.Errorf("of a bus that is not there: %v", err)
	}
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := awsbridge.NewFromConfig(c).CreateEventBus(t.Context(), &awsbridge.CreateEventBusInput{Name: aws.String("games")}); err != nil {
		t.Fatal(err)
	}
	if found, err := settings.Check(t.Context()); err != nil || found != "bus games is there" {
		t.Errorf("got %q, %v", found, err)
	}
	if err := publish(t, *settings, rows(t, make([]string, 25)...)); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := eventbridge.Plugin()
	for want, c := range map[string]*eventbridge.Config{
		"source: names that": {Source: "aws.s3"}, "max_bytes: want": {MaxBytes: config.Size(2 << 20)}, "concurrency: want": {Concurrency: 100},
	} {
		if err := p.Check(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if lines := strings.Join(p.Plan(&eventbridge.Config{PayloadBucket: "b"}, nil), "\n"); !strings.Contains(lines, "at-least-once") || !strings.Contains(lines, "s3://b/acequia/") {
		t.Error(lines)
	}
}
