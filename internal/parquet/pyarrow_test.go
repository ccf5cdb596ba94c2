package parquet_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/record"
)

// TestPyArrow reads random files with pyarrow, where it is installed.
func TestPyArrow(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import pyarrow").Run(); err != nil {
		t.Skip("python3 has no pyarrow")
	}
	args, want := []string{"testdata/read.py"}, []string(nil)
	for seed := range uint64(60) {
		data, fields, batches := randomFile(t, seed)
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.parquet", seed))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		args, want = append(args, name), append(want, name)
		for _, b := range batches {
			for row := range b.rows {
				parts := make([]string, len(fields))
				for i, f := range fields {
					parts[i] = forPython(f, &b.columns[i], row)
				}
				want = append(want, strings.Join(parts, "|"))
			}
		}
	}
	out, err := exec.CommandContext(t.Context(), "python3", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	file := ""
	for i, w := range want {
		if strings.HasSuffix(w, ".parquet") {
			file = filepath.Base(w)
		}
		if i >= len(got) || got[i] != w {
			t.Fatalf("%s: line %d: got %s, want %s", file, i, got[min(i, len(got)-1)], w)
		}
	}
}

// forPython renders a value as testdata/read.py does.
func forPython(f record.Field, c *record.Column, row int) string {
	if c.Const {
		row = 0
	}
	if !c.IsValid(row) {
		return "null"
	}
	var parts []string
	switch f.Kind {
	case record.Float32, record.Float64:
		if math.IsNaN(c.Floats[row]) {
			return "nan"
		}
		return fmt.Sprintf("%016x", math.Float64bits(c.Floats[row]))
	case record.String, record.Bytes:
		return "x" + hex.EncodeToString(c.Text(row))
	case record.VersionText:
		return "x" + hex.EncodeToString([]byte(c.Versions.At(row).String()))
	case record.Struct:
		for i, m := range f.Fields {
			parts = append(parts, forPython(m, &c.Children[i], row))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case record.List:
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			parts = append(parts, forPython(f.Fields[0], &c.Children[0], int(e)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	if f.Wide() {
		n := new(big.Int).Lsh(big.NewInt(c.Wide[row].Hi), 64)
		return n.Add(n, new(big.Int).SetUint64(c.Wide[row].Lo)).String()
	}
	return fmt.Sprint(c.Ints[row])
}
