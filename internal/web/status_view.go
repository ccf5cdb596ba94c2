package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// statusView is all that the status page shows.
type statusView struct {
	Lang    string
	T       *texts
	Ready   bool
	Lines   []pipelineLine
	Updated string
}

type pipelineLine struct {
	Name, StateName, Reason                             string
	Tone                                                string // class of the state's badge
	Lag, Speed, Rows, DeadLetters, LastFile, LastCommit string
	Unrouted                                            string // "": none
	Kept, LostIn                                        string // at the source; "": nothing, never
	Ended                                               string // how many lanes are not shown because they have ended
	Warnings                                            []string
	Lanes                                               []laneLine
	Streams                                             []streamLine
}

type laneLine struct{ ID, StateName, Tone, Lag, Rows, Reason string }

type streamLine struct {
	Name, Strategy, Kept, LostIn string
	Risks                        []string
}

func newStatusView(lang string, r Report) *statusView {
	t := textsFor(lang)
	v := &statusView{Lang: lang, T: t, Ready: r.Ready, Updated: fmt.Sprintf(t.Updated, r.Time.Format("15:04:05"))}
	for _, p := range r.Pipelines {
		line := pipelineLine{
			Name: p.Name, Tone: p.State.tone(), StateName: stateNames[p.State].In(lang), Reason: cmp.Or(p.Reason, p.Holder), Lag: lagText(p.Lag, p.LagRows, t, lang),
			Speed: speedText(p.RowsPerSecond, lang), Rows: groupDigits(p.Rows, lang),
			DeadLetters: groupDigits(p.DeadLetters, lang), LastFile: p.LastFile, LastCommit: t.Never,
		}
		if p.Unrouted > 0 {
			line.Unrouted = groupDigits(p.Unrouted, lang)
		}
		if !p.LastCommit.IsZero() {
			line.LastCommit = fmt.Sprintf(t.Ago, durationText(max(0, r.Time.Sub(p.LastCommit)), lang))
		}
		line.addLanes(p, t, lang)
		line.addSource(p, t, lang)
		v.Lines = append(v.Lines, line)
	}
	return v
}

// addLanes shows the lanes of a pipeline that has several, without those that have ended.
func (l *pipelineLine) addLanes(p Pipeline, t *texts, lang string) {
	if len(p.Lanes) < 2 {
		return
	}
	ended := 0
	for _, one := range p.Lanes {
		if one.State == Ended {
			ended++
			continue
		}
		l.Lanes = append(l.Lanes, laneLine{
			ID: one.ID, StateName: stateNames[one.State].In(lang), Tone: one.State.tone(), Lag: lagText(one.Lag, one.LagRows, t, lang),
			Rows: groupDigits(one.Rows, lang), Reason: cmp.Or(one.Reason, one.Holder),
		})
	}
	if ended > 0 {
		l.Ended = fmt.Sprintf(t.LanesEnded, ended)
	}
}

// addSource shows how the source reads its streams.
func (l *pipelineLine) addSource(p Pipeline, t *texts, lang string) {
	if p.Loss != nil {
		l.LostIn = durationText(*p.Loss, lang)
	}
	if p.Source == nil {
		return
	}
	kept := func(bytes int64) string {
		if bytes == 0 {
			return ""
		}
		return sizeText(bytes, lang)
	}
	l.Kept, l.Warnings = kept(p.Source.Held), p.Source.Warnings
	for _, one := range p.Source.Streams {
		line := streamLine{Name: one.Stream, Strategy: one.Strategy, Kept: kept(one.Held)}
		if one.Loss > 0 {
			line.LostIn = durationText(one.Loss, lang)
		}
		if one.Stopped != "" {
			line.Risks = append(line.Risks, fmt.Sprintf(t.NotRead, one.Stopped))
		}
		line.Risks = append(line.Risks, one.Risks...)
		for _, column := range slices.Sorted(maps.Keys(one.Unfit)) {
			line.Risks = append(line.Risks, fmt.Sprintf(t.Unfit, groupDigits(one.Unfit[column], lang), column))
		}
		if one.Anew != "" {
			line.Risks = append(line.Risks, fmt.Sprintf(t.ReadAnew, one.Anew))
		}
		l.Streams = append(l.Streams, line)
	}
}

func lagText(age *time.Duration, rows *int64, t *texts, lang string) string {
	var parts []string
	if age != nil {
		parts = append(parts, durationText(*age, lang))
	}
	if rows != nil && *rows >= 0 {
		parts = append(parts, groupDigits(*rows, lang)+" "+t.Rows)
	}
	if len(parts) == 0 {
		return t.Unknown
	}
	return strings.Join(parts, " · ")
}
