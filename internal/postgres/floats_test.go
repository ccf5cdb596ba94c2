package postgres_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/postgres"
)

// TestFloatsAreRenderedAsPrinted compares thousands of floats with the server's digits.
func TestFloatsAreRenderedAsPrinted(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	c := connect(t, server.Database(t, "CREATE TABLE f (n int, a float8, b float4)"))
	l, err := postgres.NewLayout(listOne(t, c, "public.f"), postgres.LayoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 4000
	var all strings.Builder
	for n := range rows {
		a, b := math.Float64frombits(r.Uint64()), math.Float32frombits(r.Uint32())
		if n%2 == 0 { // whole numbers whose neighbours are whole: their halves have few digits
			a, b = float64(r.Int64N(math.MaxInt64)), float32(r.Int32N(math.MaxInt32))
		}
		fmt.Fprintf(&all, "INSERT INTO f VALUES (%d, '%v', '%v');", n, a, b)
	}
	if _, err := c.PgConn().Exec(t.Context(), all.String()).ReadAll(); err != nil {
		t.Fatal(err)
	}
	texts, n := printed(t, c, "SELECT * FROM f ORDER BY n"), 0
	err = c.Stream(t.Context(), "SELECT * FROM f ORDER BY n", nil, func(values [][]byte) error {
		for i, v := range values {
			if got, _, err := l.Render(i, v); err != nil || !bytes.Equal(got, texts[n][i].Data) {
				t.Errorf("rendered %s, the server prints %s (%v)", got, texts[n][i].Data, err)
			}
		}
		n++
		return nil
	})
	if err != nil || n != rows {
		t.Errorf("%d rows, %v", n, err)
	}
}
