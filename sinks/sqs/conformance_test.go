package sqs_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/sinktest"
	"github.com/acequia-io/acequia/sinks/sqs"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

// TestConformance sends to a server of our own, which lets some entries of batches fail.
func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{New: func(t *testing.T) sinktest.Place {
		t.Helper()
		n := 0
		fake := messagingtest.Start(t, messagingtest.Faults{Entry: func(string, int) bool { n++; return n%40 == 0 }})
		folder := t.TempDir()
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) {
				c := sqs.Config{Queue: fake.URL("q")}
				c.AWS.Region = fake.Settings.Region
				return sqs.New(c, folder)
			},
			Rows:   func() ([]sinktest.Row, error) { return rowsOf(fake.Messages()) },
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

func rowsOf(all []messagingtest.Message) (rows []sinktest.Row, err error) {
	for _, m := range all {
		var in struct {
			ID   int64
			Text *string
		}
		if err := json.Unmarshal([]byte(m.Body), &in); err != nil {
			return nil, err
		}
		info, err := messaging.ParseRecordInfo(m.Attributes[messaging.RecordAttribute])
		if err != nil {
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
