package web

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/query"
)

const (
	numberKind = query.Number
	nullMark   = "NULL"
	longCell   = 300  // runes of a value that the page shows
	longLink   = 4000 // bytes of a link that every browser and proxy takes
)

// queryView is all that the query page shows.
type queryView struct {
	Lang      string
	T         *texts
	SQL       string
	Chosen    string // the saved query that SQL is
	Saved     []query.Saved
	Tables    []query.TableInfo
	TablesErr string
	Result    *resultView
	Err       *failureView
}

type resultView struct {
	Columns   []query.Column
	Rows      [][]cell
	Truncated bool
	CellCut   bool
	Limit     int
	Took      time.Duration
	CanDraw   bool
	Draw      query.Plot
	Plot      *plot
}

// cell is a value as the page shows it.
type cell struct {
	Text string
	Null bool
}

// long says that a value is shown on several lines.
func (c cell) long() bool { return len(c.Text) > 60 || strings.Contains(c.Text, "\n") }

type failureView struct {
	Advice, Message, Excerpt, Code string
}

// failureOf makes an error readable: what to do in the reader's language, and what DuckDB says.
func failureOf(lang string, err error) *failureView {
	f := &failureView{Code: fault.Code(err), Message: err.Error()}
	f.Advice = advice[f.Code].In(lang)
	if coded, ok := errors.AsType[*fault.Error](err); ok && coded.Err != nil {
		f.Message = coded.Err.Error()
	}
	if found, ok := errors.AsType[*query.SQLError](err); ok {
		f.Message, f.Excerpt = found.Summary(), found.Excerpt()
	}
	return f
}

// first is a query to begin with.
func (v *queryView) first() string {
	if len(v.Saved) > 0 {
		return v.Saved[0].SQL
	}
	views := v.Tables[0].Views // the last is the newest version of each record
	return "SELECT * FROM \"" + views[len(views)-1] + "\" LIMIT 20"
}

// editorRows gives the editor the height of the statement.
func (v *queryView) editorRows() int {
	return min(max(strings.Count(v.SQL, "\n")+2, 6), 24)
}

// tableFacts says how much a table holds.
func (v *queryView) tableFacts(t query.TableInfo) string {
	text := v.counted(t.Rows, v.T.Row, v.T.Rows) + " · " + v.counted(int64(t.Files), v.T.File, v.T.Files) + " · " +
		sizeText(t.Bytes, v.Lang)
	switch t.First {
	case "":
		return text
	case t.Last:
		return text + " · " + t.First
	}
	return text + " · " + t.First + " – " + t.Last
}

// counted writes a number of things.
func (v *queryView) counted(n int64, one, more string) string {
	if n != 1 {
		one = more
	}
	return groupDigits(n, v.Lang) + " " + one
}

// resultFacts says how large a result is and how long it took.
func (v *queryView) resultFacts() string {
	return v.counted(int64(len(v.Result.Rows)), v.T.Row, v.T.Rows) + " " +
		fmt.Sprintf(v.T.Took, durationText(v.Result.Took, v.Lang))
}

func (v *queryView) cutNote() string {
	return fmt.Sprintf(v.T.Cut, groupDigits(int64(v.Result.Limit), v.Lang))
}

func (v *queryView) plotCutNote() string {
	shown := max(len(v.Result.Plot.Bars), len(v.Result.Plot.Points))
	return fmt.Sprintf(v.T.PlotCut, groupDigits(int64(shown), v.Lang))
}

// link gives an address that asks the same again.
func (v *queryView) link() string {
	q := url.Values{}
	if v.Chosen != "" {
		q.Set("saved", v.Chosen)
	} else {
		q.Set("sql", v.SQL)
	}
	if v.Result != nil && v.Result.Draw.Kind != "" {
		q.Set("plot", v.Result.Draw.Kind)
		q.Set("x", v.Result.Draw.X)
		q.Set("y", v.Result.Draw.Y)
	}
	if text := "/query?" + q.Encode(); len(text) <= longLink {
		return text
	}
	return "/query"
}

// readResult takes as many rows as the page shows.
func readResult(rows *query.Rows) (*resultView, error) {
	r := &resultView{Columns: rows.Columns(), Limit: rows.Limit()}
	for rows.Next() {
		line := make([]cell, len(r.Columns))
		for i, v := range rows.Row() {
			line[i] = cell{Text: v.Text, Null: v.Null}
			if len(v.Text) > longCell && utf8.RuneCountInString(v.Text) > longCell {
				line[i].Text, r.CellCut = cutText(v.Text, longCell), true
			}
		}
		r.Rows = append(r.Rows, line)
	}
	err := rows.Close()
	r.Truncated, r.Took = rows.Truncated(), rows.Elapsed()
	return r, err
}

// draw plots the result as asked, or as well as its columns allow.
func (v *queryView) draw(wish query.Plot) {
	r := v.Result
	x, y := column(r.Columns, wish.X), column(r.Columns, wish.Y)
	for i, c := range r.Columns {
		if y < 0 && c.Kind == query.Number && (i > 0 || len(r.Columns) == 1) {
			y = i
		}
		if x < 0 && (c.Kind != query.Number || i == 0) {
			x = i
		}
	}
	r.CanDraw = len(r.Rows) > 0 && len(r.Columns) > 1 && y >= 0
	if !r.CanDraw {
		return
	}
	r.Draw = query.Plot{X: r.Columns[x].Name, Y: r.Columns[y].Name}
	if wish.Kind != "bar" && wish.Kind != "line" {
		return
	}
	r.Draw.Kind = wish.Kind
	if r.Plot = draw(wish.Kind, r.Columns, r.Rows, x, y); r.Plot == nil {
		return
	}
	about := v.T.BarOf
	if wish.Kind == "line" {
		about = v.T.LineOf
	}
	r.Plot.Title = fmt.Sprintf(v.T.PlotTitle, r.Draw.Y, r.Draw.X)
	r.Plot.About = fmt.Sprintf(about, r.Draw.Y, r.Draw.X) + ". " + v.T.Least + ": " + r.Plot.low + ". " + v.T.Most + ": " + r.Plot.high + "."
}

// column gives the place of a column of that name, or -1.
func column(columns []query.Column, name string) int {
	for i, c := range columns {
		if c.Name == name && name != "" {
			return i
		}
	}
	return -1
}

func speedText(v float64, lang string) string {
	if v >= 100 {
		return groupDigits(int64(v+0.5), lang)
	}
	return decimal(v, 1, lang)
}

// groupDigits writes a whole number as the language does: 1.234.567 or 1,234,567.
func groupDigits(n int64, lang string) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	mark := ","
	if lang == "es" {
		mark = "."
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + mark + text[i:]
	}
	return sign + text
}

// decimal writes a number with so many digits after the language's decimal mark, none when they are zeros.
func decimal(v float64, digits int, lang string) string {
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	if lang == "es" {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text
}

func sizeText(n int64, lang string) string {
	v, unit := float64(n), 0
	for v >= 1024 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	return decimal(v, 1, lang) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}

func durationText(d time.Duration, lang string) string {
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return decimal(float64(d.Milliseconds()), 0, lang) + " ms"
	case d < time.Minute:
		return decimal(d.Seconds(), 1, lang) + " s"
	case d < time.Hour:
		return decimal(d.Minutes(), 1, lang) + " min"
	}
	return decimal(d.Hours(), 1, lang) + " h"
}
