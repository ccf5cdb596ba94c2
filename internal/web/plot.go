package web

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/acequia-io/acequia/internal/query"
)

// A plot shows no more than this many bars or points: more cannot be told apart.
const (
	mostBars   = 40
	mostPoints = 500
)

// The plot's measures, in the units of its viewBox.
const (
	plotWidth  = 760.0
	barPitch   = 28.0
	barHeight  = 18.0
	lineHeight = 340.0
	charWidth  = 7.2 // of a letter, on average, at the size that the style sheet gives plots
)

// plot is a drawing of a result: everything in it is a finished number or text, so that the template only writes.
type plot struct {
	Kind          string // "bar" or "line"
	Title, About  string
	X, Y          string // the names of the columns
	Width, Height string
	Bars          []bar
	Grid          []tick // of the numbers: vertical lines for bars, horizontal ones for a line
	Labels        []tick // along the other axis
	Points        []point
	Path          string
	Base          tick // the zero line
	Left, Right   string
	Top, Bottom   string
	AxisX, AxisY  tick // places of the axes' names
	Cut           int  // rows that were left out

	low, high string // texts of the least and the greatest number
}

type bar struct {
	Label, Full, Value     string
	X, Y, Width, Height    string
	LabelX, LabelY, ValueX string
	ValueAnchor            string
	Negative               bool
}

type tick struct{ X, Y, Text string }

type point struct{ X, Y, Tip string }

type sample struct {
	label string
	x, y  float64
	text  string // y as the result has it
}

// draw makes a plot of two columns of a result, or nil when they cannot be drawn.
func draw(kind string, columns []query.Column, rows [][]cell, x, y int) *plot {
	if x < 0 || y < 0 || x >= len(columns) || y >= len(columns) || columns[y].Kind != query.Number {
		return nil
	}
	samples, numeric := samplesOf(columns[x], rows, x, y)
	if len(samples) == 0 {
		return nil
	}
	p := &plot{Kind: kind, X: columns[x].Name, Y: columns[y].Name, Width: num(plotWidth)}
	p.low, p.high = extremes(samples)
	switch kind {
	case "bar":
		p.Cut = max(0, len(samples)-mostBars)
		p.drawBars(samples[:len(samples)-p.Cut])
	case "line":
		p.Cut = max(0, len(samples)-mostPoints)
		p.drawLine(samples[:len(samples)-p.Cut], numeric)
	default:
		return nil
	}
	return p
}

// drawable says whether a number can be placed: the difference of two of them is finite, too.
func drawable(v float64) bool { return math.Abs(v) < 1e300 }

// samplesOf takes the rows whose number can be drawn. numeric says that the labels are numbers, too, in rising order.
func samplesOf(column query.Column, rows [][]cell, x, y int) (samples []sample, numeric bool) {
	numeric = column.Kind == query.Number
	for _, row := range rows {
		v, err := strconv.ParseFloat(row[y].Text, 64)
		if err != nil || !drawable(v) {
			continue
		}
		s := sample{label: row[x].Text, y: v, text: row[y].Text}
		if row[x].Null {
			s.label = nullMark
		}
		if s.x, err = strconv.ParseFloat(s.label, 64); err != nil || !drawable(s.x) {
			numeric = false
		}
		if n := len(samples); n > 0 && s.x < samples[n-1].x {
			numeric = false
		}
		samples = append(samples, s)
	}
	return samples, numeric
}

func (p *plot) drawBars(samples []sample) {
	longest, whole := 0, true
	low, high := 0.0, 0.0
	for _, s := range samples {
		whole = whole && s.y == math.Trunc(s.y)
		longest = max(longest, utf8.RuneCountInString(s.label))
		low, high = min(low, s.y), max(high, s.y)
	}
	labelWidth := min(float64(longest)*charWidth, 220) + 10
	left, right := labelWidth, plotWidth-64
	if low < 0 {
		left += 64 // room for the values of the bars that go to the left
	}
	ticks, low, high := niceTicks(low, high, 6, whole)
	at := func(v float64) float64 { // the ends of the scale are rounded, and may fall short of a value by a hair
		return left + min(max((v-low)/(high-low), 0), 1)*(right-left)
	}
	top, bottom := 6.0, 6.0+barPitch*float64(len(samples))
	for _, v := range ticks {
		p.Grid = append(p.Grid, tick{X: num(at(v)), Y: num(bottom + 18), Text: shortNumber(v)})
	}
	for i, s := range samples {
		y := top + barPitch*float64(i) + (barPitch-barHeight)/2
		from, to := at(math.Min(0, s.y)), at(math.Max(0, s.y))
		b := bar{
			Label: cutText(s.label, int(labelWidth/charWidth)), Full: s.label, Value: s.text,
			X: num(from), Y: num(y), Width: num(math.Max(to-from, 0.5)), Height: num(barHeight),
			LabelX: num(labelWidth - 10), LabelY: num(y + barHeight/2), ValueX: num(to + 6), ValueAnchor: "start",
			Negative: s.y < 0,
		}
		if b.Negative {
			b.ValueX, b.ValueAnchor = num(from-6), "end"
		}
		p.Bars = append(p.Bars, b)
	}
	p.frame(left, right, top, bottom, at(0))
	p.AxisX = tick{X: num((left + right) / 2), Y: num(bottom + 42), Text: p.Y}
	p.Height = num(bottom + 52)
}

func (p *plot) drawLine(samples []sample, numeric bool) {
	low, high, whole := samples[0].y, samples[0].y, true
	for _, s := range samples {
		whole = whole && s.y == math.Trunc(s.y)
		low, high = min(low, s.y), max(high, s.y)
	}
	if low > 0 && low < high*0.7 || high == low {
		low, high = min(low, 0), max(high, 0) // an axis that starts at zero unless that would flatten the line
	}
	ticks, low, high := niceTicks(low, high, 5, whole)
	widest := 0
	for _, v := range ticks {
		widest = max(widest, len(shortNumber(v)))
	}
	left, right, top, bottom := float64(widest)*charWidth+38, plotWidth-20, 12.0, lineHeight-56
	first, last := 0.0, float64(len(samples)-1)
	if numeric {
		first, last = samples[0].x, samples[len(samples)-1].x
	}
	acrossX := func(i int) float64 {
		v := float64(i)
		if numeric {
			v = samples[i].x
		}
		if last == first {
			return (left + right) / 2
		}
		return left + (v-first)/(last-first)*(right-left)
	}
	up := func(v float64) float64 { return bottom - (v-low)/(high-low)*(bottom-top) }
	for _, v := range ticks {
		p.Grid = append(p.Grid, tick{X: num(left - 8), Y: num(up(v)), Text: shortNumber(v)})
	}
	var path strings.Builder
	for i, s := range samples {
		x, y := num(acrossX(i)), num(up(s.y))
		step := " L"
		if i == 0 {
			step = "M"
		}
		path.WriteString(step + x + " " + y)
		p.Points = append(p.Points, point{X: x, Y: y, Tip: s.label + ": " + s.text})
	}
	p.Path = path.String()
	p.labelLine(samples, acrossX, bottom+20)
	p.frame(left, right, top, bottom, up(math.Max(low, math.Min(0, high))))
	p.AxisX = tick{X: num((left + right) / 2), Y: num(bottom + 44), Text: p.X}
	p.AxisY = tick{X: "14", Y: num((top + bottom) / 2), Text: p.Y}
	p.Height = num(lineHeight)
}

// labelLine writes as many labels as have room.
func (p *plot) labelLine(samples []sample, across func(int) float64, y float64) {
	end := math.Inf(-1)
	for i, s := range samples {
		text := cutText(s.label, 14)
		half := float64(utf8.RuneCountInString(text)) * charWidth / 2
		x := across(i)
		if x-half < end+14 {
			continue
		}
		end = x + half
		p.Labels = append(p.Labels, tick{X: num(x), Y: num(y), Text: text})
	}
}

func (p *plot) frame(left, right, top, bottom, zero float64) {
	p.Left, p.Right, p.Top, p.Bottom = num(left), num(right), num(top), num(bottom)
	p.Base = tick{X: num(zero), Y: num(zero)}
}

// niceTicks gives round numbers, or whole ones, that span low to high, and the span that they cover.
func niceTicks(low, high float64, wanted int, whole bool) (ticks []float64, from, to float64) {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(wanted))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= float64(wanted) {
			step *= factor
			break
		}
	}
	if whole {
		step = math.Max(step, 1)
	}
	if math.IsInf(high-low, 0) || step == 0 || math.IsInf(step, 0) || math.IsNaN(step) {
		return []float64{low, high}, low, high
	}
	from, to = math.Floor(low/step)*step, math.Ceil(high/step)*step
	for i := range int(math.Round((to-from)/step)) + 1 {
		ticks = append(ticks, from+float64(i)*step)
	}
	return ticks, from, to
}

// num writes a coordinate.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// shortNumber writes the number of a tick, without the noise of binary fractions.
func shortNumber(v float64) string {
	text := strconv.FormatFloat(v, 'g', 6, 64)
	if rounded, err := strconv.ParseFloat(text, 64); err == nil && (rounded == 0 || math.Abs(rounded) >= 1e-6 && math.Abs(rounded) < 1e12) {
		return strconv.FormatFloat(rounded, 'f', -1, 64)
	}
	return text
}

// cutText shortens a text to at most n runes.
func cutText(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(1, n-1)]) + "…"
}

// extremes gives the texts of the least and the greatest number.
func extremes(samples []sample) (low, high string) {
	least, most := samples[0], samples[0]
	for _, s := range samples {
		if s.y < least.y {
			least = s
		}
		if s.y > most.y {
			most = s
		}
	}
	return least.text, most.text
}
