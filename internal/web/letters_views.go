package web

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
)

const (
	shortReason = 160     // runes of a reason in the list
	shortRecord = 90      // and of a record
	shownBytes  = 8 << 10 // of the original on a letter's page
	shownBinary = 2 << 10 // when it is shown in hexadecimal
)

// hidden is a field of a form that nobody sees.
type hidden struct{ Name, Value string }

// lettersView is all that the list shows.
type lettersView struct {
	Lang                             string
	T                                *letterTexts
	Filter                           checkpoint.LetterFilter
	Hidden                           []hidden // the filter
	Filtered                         bool
	Pipelines, Streams, Steps, Codes []string // to choose from
	Reasons                          []reasonLine
	Rows                             []letterLine
	Total                            int64
	TotalText                        string
	Older, Newest                    string // links; "": none
	Retries                          []retryLine
	Running                          bool
	Dropped                          string
	Err                              *failureView
	All                              int64 // letters without the filter
}

type reasonLine struct{ Count, Step, Stream, Pipeline, Column, Code, Reason, Link string }

type letterLine struct {
	ID                                                             int64
	Number, Link, At, Pipeline, Where, Code, Reason, Tries, Record string
}

type retryLine struct{ Pipeline, Text, Tone, Why, At string }

func newLettersView(lang string, f checkpoint.LetterFilter, all, found Found, before int64) *lettersView {
	t := letterTextsFor(lang)
	v := &lettersView{Lang: lang, T: t, Filter: f, Total: found.Total(), All: all.Total(), Hidden: hiddenOf(f)}
	v.Filtered = len(v.Hidden) > 0
	v.TotalText = v.counted(v.Total)
	for _, c := range all.Reasons {
		v.Pipelines, v.Streams = append(v.Pipelines, c.Pipeline), append(v.Streams, c.Stream)
		v.Steps, v.Codes = append(v.Steps, c.Step), append(v.Codes, c.Code)
	}
	for list, chosen := range map[*[]string]string{&v.Pipelines: f.Pipeline, &v.Streams: f.Stream, &v.Steps: f.Step, &v.Codes: f.Code} {
		*list = append(*list, chosen) // also when it has no letters any more
		slices.Sort(*list)
		*list = slices.DeleteFunc(slices.Compact(*list), func(s string) bool { return s == "" })
	}
	for _, c := range found.Reasons {
		link := fieldsOf(checkpoint.LetterFilter{Pipeline: c.Pipeline, Stream: c.Stream, Step: c.Step, Code: c.Code, Text: f.Text})
		v.Reasons = append(v.Reasons, reasonLine{
			Count: groupDigits(c.Count, lang), Pipeline: c.Pipeline, Stream: c.Stream, Step: c.Step, Column: c.Column, Code: c.Code,
			Reason: cutText(bare(c.Reason, c.Code), shortReason), Link: lettersPath + "?" + link.Encode(),
		})
	}
	for i := range found.Letters {
		v.Rows = append(v.Rows, lineOf(&found.Letters[i], lang))
	}
	v.page(f, before)
	for _, r := range found.Retries {
		v.Retries = append(v.Retries, v.retry(&r))
		v.Running = v.Running || r.Ended.IsZero()
	}
	return v
}

// page links to the pages before and after this one.
func (v *lettersView) page(f checkpoint.LetterFilter, before int64) {
	q := fieldsOf(f)
	if before > 0 {
		v.Newest = v.here()
	}
	if len(v.Rows) == lettersPerPage {
		q.Set("before", v.Rows[len(v.Rows)-1].Number)
		v.Older = lettersPath + "?" + q.Encode()
	}
}

// here gives the address of the list with its filter.
func (v *lettersView) here() string {
	if q := fieldsOf(v.Filter); len(q) > 0 {
		return lettersPath + "?" + q.Encode()
	}
	return lettersPath
}

func (v *lettersView) counted(n int64) string { return countedLetters(v.T, v.Lang, n) }

func countedLetters(t *letterTexts, lang string, n int64) string {
	if n == 1 {
		return "1 " + t.One
	}
	return groupDigits(n, lang) + " " + t.Many
}

func (v *lettersView) droppedText(n int64, told bool) string {
	switch {
	case !told:
		return ""
	case n == 1:
		return v.T.DroppedOne
	}
	return fmt.Sprintf(v.T.Dropped, groupDigits(n, v.Lang))
}

func (v *lettersView) retry(r *Retry) retryLine {
	line := retryLine{Pipeline: r.Pipeline, At: r.Began.UTC().Format("15:04:05") + " UTC"}
	passed := fmt.Sprintf(v.T.RetryEnded, groupDigits(r.Passed, v.Lang), groupDigits(r.Refused, v.Lang))
	switch {
	case r.Ended.IsZero():
		line.Text = fmt.Sprintf(v.T.RetryRuns, v.counted(r.Chosen))
	case r.Err != nil:
		line.Text, line.Tone, line.Why = v.T.RetryFailed+": "+passed, "bad", letterFailure(v.Lang, r.Err).Advice
		if line.Why == "" {
			line.Why = r.Err.Error()
		}
	case r.Refused > 0:
		line.Text, line.Tone = passed, "warn"
	default:
		line.Text, line.Tone = passed, "good"
	}
	return line
}

func hiddenOf(f checkpoint.LetterFilter) []hidden {
	var out []hidden
	for name, values := range fieldsOf(f) {
		for _, value := range values {
			out = append(out, hidden{name, value})
		}
	}
	slices.SortFunc(out, func(a, b hidden) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
	return out
}

func lineOf(d *checkpoint.DeadLetter, lang string) letterLine {
	text := string(d.Row)
	if text == "" {
		text = printable(string(d.Raw[:min(len(d.Raw), 4*shortRecord)]))
	}
	number := strconv.FormatInt(d.ID, 10)
	where := []string{d.Stream, d.Step}
	if d.Column != "" {
		where = append(where, d.Column)
	}
	return letterLine{
		ID: d.ID, Number: number, Link: lettersPath + "/" + number, At: momentText(d.At), Pipeline: d.Pipeline, Where: strings.Join(where, " · "),
		Code: d.Code, Reason: cutText(bare(d.Reason, d.Code), shortReason), Tries: groupDigits(d.Attempts, lang), Record: cutText(text, shortRecord),
	}
}

func momentText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// bare is a reason without its code, which is shown beside it.
func bare(reason, code string) string {
	return strings.TrimPrefix(strings.TrimPrefix(reason, code), ": ")
}

// letterFailure makes an error readable.
func letterFailure(lang string, err error) *failureView {
	f := failureOf(lang, err)
	f.Advice = letterAdvice[f.Code].In(lang)
	if errors.Is(err, ErrNoLetter) {
		f.Advice, f.Message = noLetter.In(lang), ""
	}
	return f
}

// printable quotes what is no text.
func printable(s string) string {
	if _, binary, _ := shown([]byte(s)); binary {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// shown makes bytes readable: text as it is, anything else as a dump. It says whether it dumped, and whether it cut.
func shown(raw []byte) (text string, binary, cut bool) {
	part := raw[:min(len(raw), shownBytes)]
	for back := 0; back < utf8.UTFMax && len(part) < len(raw) && len(part) > 0 && !utf8.RuneStart(raw[len(part)]); back++ {
		part = part[:len(part)-1] // not within a character
	}
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.IsSpace(r) }
	if utf8.Valid(part) && bytes.IndexFunc(part, odd) < 0 {
		return string(part), false, len(part) < len(raw)
	}
	part = raw[:min(len(raw), shownBinary)]
	return hex.Dump(part), true, len(part) < len(raw)
}

// confirmView asks whether it is meant.
type confirmView struct {
	T                     *letterTexts
	Title, Means, Yes, Do string
	Action, Back          string
	Hidden                []hidden
	Reasons               []reasonLine
}

func newConfirmView(lang, do string, chosen, list checkpoint.LetterFilter, found Found) *confirmView {
	t := letterTextsFor(lang)
	n := countedLetters(t, lang, found.Total())
	v := &confirmView{T: t, Do: do, Action: lettersPath + "/" + do, Hidden: hiddenOf(chosen), Back: lettersPath}
	v.Title, v.Means, v.Yes = fmt.Sprintf(t.ConfirmRetry, n), t.RetryMeans, fmt.Sprintf(t.YesRetry, n)
	if do == "drop" {
		v.Title, v.Means, v.Yes = fmt.Sprintf(t.ConfirmDrop, n), t.DropMeans, fmt.Sprintf(t.YesDrop, n)
	}
	if q := fieldsOf(list); len(q) > 0 {
		v.Back += "?" + q.Encode()
	}
	v.Reasons = newLettersView(lang, list, found, found, 0).Reasons
	return v
}

// letterView is all that a letter's page shows.
type letterView struct {
	Lang                 string
	T                    *letterTexts
	ID                   int64
	Title, Path, Number  string
	Code, Reason, Column string
	Where, Facts         []hidden // names and values
	Original             string
	Binary               bool
	Cut                  string
	HasRecord            bool
	Record               string // in the editor
	Diff                 []diffLine
	Previewed, Differs   bool
	After                json.RawMessage // what would be saved
	Err                  *failureView
	Saved                bool
	before               []byte
}

func newLetterView(lang string, d *checkpoint.DeadLetter) *letterView {
	t := letterTextsFor(lang)
	number := strconv.FormatInt(d.ID, 10)
	v := &letterView{
		Lang: lang, T: t, ID: d.ID, Number: number, Title: fmt.Sprintf(t.Letter, d.ID), Path: lettersPath + "/" + url.PathEscape(number),
		Code: d.Code, Reason: bare(d.Reason, d.Code), Column: d.Column, HasRecord: len(d.Row) > 0, before: d.Row, Record: "{\n}",
	}
	position := printable(string(d.Position))
	v.Where = facts(
		t.Pipeline, d.Pipeline, t.Stream, d.Stream, t.Step, d.Step, t.Column, d.Column, t.Lane, d.Lane,
		t.Position, strings.TrimPrefix(position+" · ", " · ")+fmt.Sprintf(t.Row, groupDigits(d.Index, lang)),
	)
	v.Facts = facts(
		t.Attempts, groupDigits(d.Attempts, lang), t.First, momentText(d.First), t.Last, momentText(d.At), t.Op, d.Op, t.Version, d.Version,
		t.Event, d.EventID, t.Source, d.Source,
	)
	var cut bool
	v.Original, v.Binary, cut = shown(d.Raw)
	if cut {
		v.Cut = fmt.Sprintf(t.Cut, sizeText(int64(shownBytes), lang))
		if v.Binary {
			v.Cut = fmt.Sprintf(t.Cut, sizeText(int64(shownBinary), lang))
		}
	}
	var text bytes.Buffer
	if json.Indent(&text, d.Row, "", "  ") == nil && v.HasRecord {
		v.Record = text.String()
	}
	return v
}

// facts pairs names with values, but for values that are empty.
func facts(pairs ...string) []hidden {
	var out []hidden
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, hidden{pairs[i], pairs[i+1]})
		}
	}
	return out
}

// editorRows gives the editor the height of the record.
func (v *letterView) editorRows() int { return min(max(strings.Count(v.Record, "\n")+2, 6), 24) }

// preview compares an edited record with the one there is.
func (v *letterView) preview(text string) error {
	v.Record = strings.ReplaceAll(text, "\r\n", "\n")
	after, err := members([]byte(text))
	if err != nil {
		return &fault.Error{Class: fault.Poison, Code: "ACQ-DLQ-008", Err: err}
	}
	var before []member
	if v.HasRecord {
		if before, err = members(v.before); err != nil {
			before = nil // it may be what has to be mended
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return err
	}
	v.Diff, v.Differs = compare(before, after)
	v.Previewed, v.After = true, compact.Bytes()
	return nil
}

// changeText names a change, so that colour alone does not tell it.
func (v *letterView) changeText(c change) string {
	return map[change]string{same: v.T.Same, changed: v.T.Changed, added: v.T.Added, removed: v.T.Removed}[c]
}

func (v *lettersView) selectText(id int64) string { return fmt.Sprintf(v.T.SelectOne, id) }

func (v *lettersView) allText(format string) string {
	return fmt.Sprintf(format, groupDigits(v.Total, v.Lang))
}
