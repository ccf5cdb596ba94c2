package lake_test

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{Refused: "\xff", New: func(t *testing.T) sinktest.Place {
		t.Helper()
		root := t.TempDir()
		return sinktest.Place{
			Sink: func() (sinks.Sink, error) {
				return lake.New(t.Context(), lake.Config{URL: root}, 0, slog.New(slog.DiscardHandler))
			},
			Rows:   func() ([]sinktest.Row, error) { return suiteRows(filepath.Join(root, "suite")) },
			Staged: func() (int, error) { return count(filepath.Join(root, "_staging")) },
			Lose:   func(f sinks.File) error { return os.Remove(filepath.Join(root, f.Staged)) },
			Take: func(f sinks.File) error {
				final := filepath.Join(root, f.Name)
				return errors.Join(os.MkdirAll(filepath.Dir(final), 0o755), os.WriteFile(final, []byte("other"), 0o600))
			},
		}
	}})
}

func count(folder string) (n int, err error) {
	err = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	return n, err
}

func suiteRows(folder string) (found []sinktest.Row, err error) {
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		rows, err := rowsOf(f)
		found = append(found, rows...)
		return err
	})
	return found, err
}

// rowsOf reads a file with parquet-go.
func rowsOf(f io.ReaderAt) (found []sinktest.Row, err error) {
	type row struct {
		ID      int64   `parquet:"id"`
		Text    *string `parquet:"text,optional"`
		Op      string  `parquet:"_op"`
		Version string  `parquet:"_version"`
	}
	r := parquet.NewGenericReader[row](f)
	for {
		rows := make([]row, 64)
		n, err := r.Read(rows)
		for _, x := range rows[:n] {
			out := sinktest.Row{ID: x.ID, Null: x.Text == nil, Op: record.Op(x.Op[0]), Version: x.Version}
			if x.Text != nil {
				out.Text = *x.Text
			}
			found = append(found, out)
		}
		if errors.Is(err, io.EOF) {
			return found, r.Close()
		}
		if err != nil {
			return nil, err
		}
	}
}
