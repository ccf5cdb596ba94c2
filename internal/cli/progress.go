package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/routers"
)

// progressEvery is how often long work says how far it is: on a terminal, and in a log.
const (
	progressEvery = time.Second
	logEvery      = 10 * time.Second
)

// shownTables is how many tables of a pipeline have a line of their own on a terminal; those that are being read come first.
const shownTables = 8

// progress tells how far pipelines are: lines that are drawn again in place on a terminal, lines of the log elsewhere, or JSON.
type progress struct {
	t        terminal
	log      *slog.Logger
	json     bool
	status   func() []routers.Status
	expected func() app.Expected // rows of tables, as their source estimates them; nil: nobody does
	began    time.Time
	lang     string          // of what a terminal shows: es, or en for any other
	before   map[string]mark // of the last drawing
}

// say chooses between two languages.
func (p *progress) say(english, spanish string) string {
	if p.lang == "es" {
		return spanish
	}
	return english
}

// stateIn is how a terminal calls the state of a table.
func (p *progress) stateIn(state string) string {
	if p.lang != "es" {
		return state
	}
	return map[string]string{"failed": "fallida", "done": "hecha", "following": "siguiendo", "waiting": "espera", "reading": "leyendo"}[state]
}

// mark is what had been read of something at a moment.
type mark struct {
	at          time.Time
	rows, bytes int64
	rate        float64 // rows a second, evened out
	speed       float64 // bytes a second
}

// follow tells until ctx ends.
func (p *progress) follow(ctx context.Context) {
	p.before = map[string]mark{}
	drawn := obs.Terminal(p.t.err) && !p.json
	every := logEvery
	if drawn || p.json {
		every = progressEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if s, ok := p.t.err.(*screen); ok {
				s.draw(nil)
			}
			return
		case now := <-tick.C:
			p.tell(ctx, now, drawn)
		}
	}
}

func (p *progress) tell(ctx context.Context, now time.Time, drawn bool) {
	statuses := p.status()
	var lines []string
	for _, s := range statuses {
		switch {
		case p.json:
			_ = json.NewEncoder(p.t.out).Encode(event{Event: "progress", Seconds: time.Since(p.began).Seconds(), Status: s})
		case drawn:
			lines = append(lines, p.lines(s, now)...)
		default:
			p.record(ctx, s, now)
		}
	}
	if s, ok := p.t.err.(*screen); ok && drawn {
		s.draw(lines)
	}
}

// record writes lines of the log: one for each table that has moved, where there are several, or else one for the pipeline.
func (p *progress) record(ctx context.Context, s routers.Status, now time.Time) {
	tables := tablesOf(s)
	say := func(what slog.Attr, key, state string, rows, bytes, letters, expected int64) {
		m := p.pace(key, now, rows, bytes)
		attrs := []slog.Attr{
			slog.String("pipeline", s.Pipeline), what, slog.String("state", state), slog.Int64("rows", rows), slog.Float64("rows_per_second", m.rate),
			slog.Float64("mb_per_second", m.speed/1e6), slog.Int64("dead_letters", letters),
		}
		if left := m.left(rows, expected); left > 0 {
			attrs = append(attrs, slog.Duration("eta", left))
		}
		p.log.LogAttrs(ctx, slog.LevelInfo, "progress", attrs...)
	}
	if len(tables) < 2 {
		say(slog.Int64("committed", s.RowsCommitted), s.Pipeline, string(s.State), s.RowsRead, s.BytesRead, s.DeadLetters, -1)
		return
	}
	for _, t := range tables {
		if key := s.Pipeline + "/" + t.stream; t.rows != p.before[key].rows {
			say(slog.String("table", t.stream), key, t.state(), t.rows, t.bytes, t.letters, p.expects(s.Pipeline, t))
		}
	}
}

// lines is what a terminal shows of a pipeline: all of it, and then its tables.
func (p *progress) lines(s routers.Status, now time.Time) []string {
	tables := tablesOf(s)
	all := s.RowsRead + s.Others.Rows
	m := p.pace(s.Pipeline, now, all, s.BytesRead)
	line := fmt.Sprintf(p.say("%s %s rows, %s/s, %.1f MB/s", "%s %s filas, %s/s, %.1f MB/s"), s.Pipeline, thousands(all), thousands(int64(m.rate)), m.speed/1e6)
	var whole, read int64
	for _, t := range tables {
		if e := p.expects(s.Pipeline, t); e > 0 {
			whole, read = whole+e, read+t.rows
		}
	}
	if left := m.left(read, whole); left > 0 {
		line += p.say(", ETA ", ", faltan ") + left.Round(time.Second).String()
	}
	if s.DeadLetters > 0 {
		line += fmt.Sprintf(p.say(", %s dead letters", ", %s rechazados"), thousands(s.DeadLetters))
	}
	lines := []string{line}
	if len(tables) < 2 {
		return lines
	}
	slices.SortStableFunc(tables, func(a, b table) int { return a.rank() - b.rank() })
	for _, t := range tables[:min(len(tables), shownTables)] {
		m := p.pace(s.Pipeline+"/"+t.stream, now, t.rows, t.bytes)
		line := fmt.Sprintf(p.say("  %-24.24s %-9s %13s rows", "  %-24.24s %-9s %13s filas"), t.stream, p.stateIn(t.state()), thousands(t.rows))
		if expected := p.expects(s.Pipeline, t); expected > 0 {
			line += fmt.Sprintf(" %3d %%", min(100, t.rows*100/expected))
			if left := m.left(t.rows, expected); left > 0 {
				line += fmt.Sprintf(p.say(" %10s/s  ETA %s", " %10s/s  faltan %s"), thousands(int64(m.rate)), left.Round(time.Second))
			}
		}
		lines = append(lines, line)
	}
	if more := len(tables) - shownTables; more > 0 {
		lines = append(lines, p.say("  and "+count(more, "table")+" more", "  y "+count(more, "tabla")+" más"))
	}
	return lines
}

// expects gives the rows that a table is estimated to have, while it is being read; -1: nobody knows.
func (p *progress) expects(pipeline string, t table) int64 {
	if p.expected == nil || t.following || t.ended {
		return -1
	}
	if rows, ok := p.expected()[pipeline][t.stream]; ok {
		return rows
	}
	return -1
}

// pace takes in how much was read by now, and gives the speed, evened out over some seconds.
func (p *progress) pace(key string, now time.Time, rows, bytes int64) mark {
	last, known := p.before[key]
	m := mark{at: now, rows: rows, bytes: bytes}
	if !known {
		last = mark{at: p.began}
	}
	if seconds := now.Sub(last.at).Seconds(); seconds > 0 {
		const weight = 0.4 // of the newest second
		m.rate, m.speed = float64(rows-last.rows)/seconds, float64(bytes-last.bytes)/seconds
		if known {
			m.rate, m.speed = weight*m.rate+(1-weight)*last.rate, weight*m.speed+(1-weight)*last.speed
		}
	}
	p.before[key] = m
	return m
}

// left is how long the rest takes at this speed; 0: not known.
func (m mark) left(rows, expected int64) time.Duration {
	if expected <= rows || m.rate < 1 {
		return 0
	}
	return time.Duration(float64(expected-rows) / m.rate * float64(time.Second))
}

// table sums up the lanes that read one stream alone.
type table struct {
	stream               string
	rows, bytes, letters int64
	waiting              bool // none of its lanes has begun
	ended                bool // all have ended
	following            bool // those that read it as it stands have ended, and one follows
	failed               bool
}

// rank orders tables: what needs attention, what is read, what waits, what is done.
func (t table) rank() int {
	return slices.Index([]string{"failed", "reading", "following", "waiting", "done"}, t.state())
}

func (t table) state() string {
	switch {
	case t.failed:
		return "failed"
	case t.ended:
		return "done"
	case t.following:
		return "following"
	case t.waiting:
		return "waiting"
	}
	return "reading"
}

// tablesOf sums up the lanes of a pipeline by their streams. A lane of several streams, such as a log, is none of a table.
func tablesOf(s routers.Status) []table {
	byStream := map[string]*table{}
	var names []string
	for _, l := range s.Lanes {
		if len(l.Streams) != 1 {
			continue
		}
		t := byStream[l.Streams[0]]
		if t == nil {
			t = &table{stream: l.Streams[0], waiting: true, ended: true, following: true}
			byStream[t.stream] = t
			names = append(names, t.stream)
		}
		t.rows, t.bytes, t.letters = t.rows+l.RowsRead+l.Others.Rows, t.bytes+l.BytesRead, t.letters+l.DeadLetters+l.Others.DeadLetters
		t.waiting = t.waiting && l.State == routers.Waiting
		t.ended = t.ended && l.State == routers.Ended
		t.following = t.following && (l.Endless || l.State == routers.Ended)
		t.failed = t.failed || l.State == routers.Failed
	}
	slices.Sort(names)
	out := make([]table, len(names))
	for i, name := range names {
		out[i] = *byStream[name]
	}
	return out
}
