package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
)

// A row group that is written column after column is read as one that was written row after row.
func TestGroupsWrittenByColumn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		fields := parquettest.Fields(r)
		var batches []batch
		for range 1 + r.IntN(5) {
			n := 1 + r.IntN(300)
			batches = append(batches, batch{parquettest.Columns(r, fields, n), n})
		}
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, nil, randomOptions(r))
		for at := 0; at < len(batches); {
			if r.IntN(3) == 0 {
				if err := w.Write(batches[at].columns, 0, batches[at].rows); err != nil {
					t.Fatal(err)
				}
				at++
				continue
			}
			end := at + 1 + r.IntN(len(batches)-at)
			if err := writeGroup(w, batches[at:end]); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			at = end
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want := rendered(fields, batches)
		if w.Rows() != int64(len(want)) || w.Written() != int64(out.Len()) {
			t.Errorf("seed %d: %d rows, want %d; %d bytes, want %d", seed, w.Rows(), len(want), w.Written(), out.Len())
		}
		in, at := bound(t, opened(t, out.Bytes()), fields), 0
		columns := make([]record.Column, len(fields))
		for {
			n, misfits, err := in.Read(columns, 1+r.IntN(200))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(misfits) > 0 {
				t.Fatalf("seed %d: %v, %v", seed, err, misfits)
			}
			for row := range n {
				for i, field := range fields {
					if got := parquettest.Value(field, &columns[i], row); got != want[at][i] {
						t.Fatalf("seed %d: row %d, column %s: got %s, want %s", seed, at, field.Name, got, want[at][i])
					}
				}
				at++
			}
		}
		if at != len(want) {
			t.Fatalf("seed %d: %d rows, want %d", seed, at, len(want))
		}
	}
}

func writeGroup(w *parquet.Writer, batches []batch) error {
	rows := 0
	for _, b := range batches {
		rows += b.rows
	}
	return w.WriteGroup(rows, func(field int, put parquet.Put) error {
		for _, b := range batches {
			cut := b.rows / 3
			if err := errors.Join(put(&b.columns[field], 0, cut), put(&b.columns[field], cut, b.rows)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestGroupsOfUnequalColumnsAreRefused(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "a", Kind: record.Int64}, {Name: "b", Kind: record.Int64}}
	w := parquet.NewWriter(io.Discard, fields, nil, parquet.Options{})
	c := record.Column{Ints: []int64{1, 2, 3}}
	err := w.WriteGroup(3, func(field int, put parquet.Put) error { return put(&c, 0, 3-field) })
	if err == nil || !strings.Contains(err.Error(), "column b") || w.Close() == nil {
		t.Errorf("got %v", err)
	}
	stop := errors.New("stop")
	w.Reset(io.Discard)
	if err := w.WriteGroup(3, func(int, parquet.Put) error { return stop }); !errors.Is(err, stop) || w.Close() == nil {
		t.Errorf("got %v", err)
	}
}
