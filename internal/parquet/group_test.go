package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
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
		in := bound(t, opened(t, out.Bytes()), fields)
		if got := rowsRead(t, in, fields, r); !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("seed %d: got %q, want %q", seed, got, want)
		}
	}
}

// Rows that are picked are written in the order of the pick, whatever they hold.
func TestGroupsOfPickedRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 6))
		fields := parquettest.Fields(r)
		b := batch{rows: 1 + r.IntN(300)}
		b.columns = parquettest.Columns(r, fields, b.rows)
		all := rendered(fields, []batch{b})
		pick := make([]uint32, 1+r.IntN(600))
		want := make([][]string, len(pick))
		for i := range pick {
			pick[i] = uint32(r.IntN(b.rows))
			want[i] = all[pick[i]]
		}
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, nil, randomOptions(r))
		cut := len(pick) / 3
		err := w.WriteGroup(len(pick), func(field int, put parquet.Put) error {
			return errors.Join(put(&b.columns[field], parquet.Rows{Pick: pick[:cut]}), put(&b.columns[field], parquet.Rows{Pick: pick[cut:]}))
		})
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		in := bound(t, opened(t, out.Bytes()), fields)
		if got := rowsRead(t, in, fields, r); !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("seed %d: got %q, want %q", seed, got, want)
		}
	}
}

// rowsRead renders the rows of a file.
func rowsRead(t *testing.T, in *parquet.Reader, fields []record.Field, r *rand.Rand) (out [][]string) {
	t.Helper()
	columns := make([]record.Column, len(fields))
	for {
		n, misfits, err := in.Read(columns, 1+r.IntN(200))
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil || len(misfits) > 0 {
			t.Fatalf("%v, %v", err, misfits)
		}
		for row := range n {
			texts := make([]string, len(fields))
			for i, field := range fields {
				texts[i] = parquettest.Value(field, &columns[i], row)
			}
			out = append(out, texts)
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
			if err := errors.Join(put(&b.columns[field], parquet.Rows{Hi: cut}), put(&b.columns[field], parquet.Rows{Lo: cut, Hi: b.rows})); err != nil {
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
	err := w.WriteGroup(3, func(field int, put parquet.Put) error { return put(&c, parquet.Rows{Hi: 3 - field}) })
	if err == nil || !strings.Contains(err.Error(), "column b") || w.Close() == nil {
		t.Errorf("got %v", err)
	}
	stop := errors.New("stop")
	w.Reset(io.Discard)
	if err := w.WriteGroup(3, func(int, parquet.Put) error { return stop }); !errors.Is(err, stop) || w.Close() == nil {
		t.Errorf("got %v", err)
	}
}
