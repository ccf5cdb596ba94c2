package parquet_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
)

// Rows that are read by their dictionary, and the others in between, are those that were written.
func TestEntries(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range seeds(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		fields := parquettest.Fields(r)
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, nil, randomOptions(r))
		var batches []batch
		for range 1 + r.IntN(4) {
			n := 1 + r.IntN(300)
			b := batch{parquettest.Columns(r, fields, n), n}
			if err := w.Write(b.columns, 0, n); err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want, file := rendered(fields, batches), opened(t, out.Bytes())
		for i, field := range fields {
			rows, entries := columnRead(t, bound(t, file, fields[i:i+1]), field, r)
			found += entries
			if len(rows) != len(want) {
				t.Fatalf("seed %d, column %s: %d rows, want %d", seed, field.TypeName(), len(rows), len(want))
			}
			for row, got := range rows {
				if got != want[row][i] {
					t.Fatalf("seed %d, column %s, row %d: got %s, want %s", seed, field.TypeName(), row, got, want[row][i])
				}
			}
		}
	}
	if found < 1000 {
		t.Errorf("only %d rows had a dictionary", found)
	}
}

// columnRead renders a column, and counts the rows that came by a dictionary.
func columnRead(t *testing.T, in *parquet.Reader, field record.Field, r *rand.Rand) (rows []string, entries int) {
	t.Helper()
	var e parquet.Entries
	null := record.Column{Const: true, Valid: []uint64{0}}
	for {
		n, err := in.ReadEntries(&e, 1+r.IntN(200))
		if errors.Is(err, io.EOF) {
			return rows, entries
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range e.IDs[:n] {
			if id < 0 {
				rows = append(rows, parquettest.Value(field, &null, 0))
			} else {
				rows = append(rows, parquettest.Value(field, e.Dict, int(id)))
			}
		}
		entries += n
		if n > 0 && r.IntN(2) == 0 {
			continue
		}
		var one [1]record.Column
		n, misfits, err := in.Read(one[:], 1+r.IntN(200))
		if err != nil && !errors.Is(err, io.EOF) || len(misfits) > 0 {
			t.Fatal(err, misfits)
		}
		for row := range n {
			rows = append(rows, parquettest.Value(field, &one[0], row))
		}
	}
}
