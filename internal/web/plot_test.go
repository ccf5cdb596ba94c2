package web

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/internal/query"
)

func TestDrawNeverLeavesItsFrame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		columns := []query.Column{{Name: "x", Kind: rapid.SampledFrom([]query.Kind{query.Text, query.Number}).Draw(t, "kind")}, {Name: "y", Kind: query.Number}}
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []cell {
			y := strconv.FormatFloat(rapid.Float64().Draw(t, "y"), 'g', -1, 64)
			x := rapid.OneOf(rapid.String(), rapid.Just("7"), rapid.Map(rapid.Int(), strconv.Itoa)).Draw(t, "x")
			return []cell{{Text: x, Null: rapid.Bool().Draw(t, "null")}, {Text: rapid.SampledFrom([]string{y, y, "nan", "-inf", ""}).Draw(t, "text")}}
		}), 0, 60).Draw(t, "rows")
		for _, kind := range []string{"bar", "line"} {
			p := draw(kind, columns, rows, 0, 1)
			if p == nil {
				continue
			}
			height := number(t, p.Height)
			for _, b := range p.Bars {
				inside(t, number(t, b.X), plotWidth)
				inside(t, number(t, b.X)+number(t, b.Width), plotWidth)
				inside(t, number(t, b.Y)+number(t, b.Height), height)
			}
			for _, q := range p.Points {
				inside(t, number(t, q.X), plotWidth)
				inside(t, number(t, q.Y), height)
			}
			for _, g := range append(p.Grid, p.Labels...) {
				inside(t, number(t, g.X), plotWidth)
				inside(t, number(t, g.Y), height)
			}
			if len(p.Grid) > 30 {
				t.Fatalf("%d grid lines", len(p.Grid))
			}
		}
	})
}

func number(t *rapid.T, text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("%q is no number", text)
	}
	return v
}

func inside(t *rapid.T, v, most float64) {
	if math.IsNaN(v) || v < -0.2 || v > most+0.2 {
		t.Fatalf("%v is outside 0 to %v", v, most)
	}
}

func TestNiceTicks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high float64
		whole     bool
		want      string
	}{
		{0, 239, true, "0 50 100 150 200 250 "},
		{0, 1, true, "0 1 "},
		{0, 1, false, "0 0.2 0.4 0.6 0.8 1 "},
		{-3, 5, true, "-4 -2 0 2 4 6 "},
		{0, 0, true, "0 1 "},
		{0, 3e9, true, "0 500000000 1000000000 1500000000 2000000000 2500000000 3000000000 "},
	} {
		ticks, _, _ := niceTicks(c.low, c.high, 6, c.whole)
		got := ""
		for _, v := range ticks {
			got += shortNumber(v) + " "
		}
		if got != c.want {
			t.Errorf("%v to %v: %s", c.low, c.high, got)
		}
	}
}

func TestNumbersInBothLanguages(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		groupDigits(1234567, "es"): "1.234.567", groupDigits(-1234, "en"): "-1,234", groupDigits(999, "es"): "999",
		decimal(1.25, 1, "es"): "1,2", decimal(3, 1, "en"): "3", decimal(10, 0, "en"): "10", sizeText(1536, "es"): "1,5 KiB",
		speedText(5123.4, "en"): "5,123", speedText(0.26, "es"): "0,3",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
