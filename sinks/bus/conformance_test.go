package bus_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/bus"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// start starts a NATS server that ends after the test and all that belong to it.
func start(t *testing.T) *brokertest.Server {
	t.Helper()
	s, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := start(t)
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Place {
		t.Helper()
		folder := t.TempDir()
		topic := strings.Map(func(r rune) rune {
			if r == '/' || r == '.' || r == ' ' {
				return '_'
			}
			return r
		}, t.Name())
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) {
				return bus.New(bus.Config{URL: server.URL, Topic: topic}, folder, slog.New(slog.DiscardHandler))
			},
			Rows:   func() ([]sinktest.Row, error) { return received(server, topic) },
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

// received gives the rows of all messages of a topic.
func received(server *brokertest.Server, topic string) (rows []sinktest.Row, err error) {
	all, err := server.Messages(topic)
	if err != nil {
		return nil, err
	}
	d, err := wire.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for _, m := range all {
		b, err := d.Decode(m.Data)
		if err != nil {
			return nil, err
		}
		rows = append(rows, rowsOf(b)...)
	}
	return rows, nil
}

func rowsOf(b *record.Batch) (rows []sinktest.Row) {
	for i := range b.Rows {
		r := sinktest.Row{ID: b.Columns[0].Int(i), Null: !b.Columns[1].IsValid(i), Op: b.System.Op(i), Version: b.System.Versions.At(i).String()}
		if !r.Null {
			r.Text = string(b.Columns[1].Text(i))
		}
		rows = append(rows, r)
	}
	return rows
}
