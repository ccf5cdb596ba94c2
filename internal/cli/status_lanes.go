package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/sources"
)

// showParts shows the lanes of a pipeline that has several, and how its source reads its streams.
func showParts(out io.Writer, p web.Pipeline) error {
	rest := slices.DeleteFunc(slices.Clone(p.Lanes), func(l web.Lane) bool { return l.State == web.Ended })
	if len(p.Lanes) > 1 && len(rest) > 0 {
		title := "\nLanes of " + p.Name
		if n := len(p.Lanes) - len(rest); n > 0 {
			title += fmt.Sprintf(" (%d more have ended)", n)
		}
		_, _ = fmt.Fprintln(out, title)
		if err := laneTable(out, rest); err != nil {
			return err
		}
	}
	if p.Source == nil {
		return nil
	}
	return showSource(out, p.Name, p.Source)
}

func laneTable(out io.Writer, lanes []web.Lane) error {
	w := tabwriter.NewWriter(out, 0, 2, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "  LANE\tSTATE\tLAG\tROWS\tROWS/S\tREASON")
	for _, l := range lanes {
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%.0f\t%s\n", middleOut(l.ID, 40), l.State, lagOf(l.LagRows, l.Lag), l.Rows, l.RowsPerSecond, cmp.Or(l.Reason, by(l.Holder)))
	}
	return w.Flush()
}

// by names the process that reads what this one does not.
func by(holder string) string {
	if holder == "" {
		return ""
	}
	return "read by " + holder
}

// showSource shows how a source reads its streams, what may be missed so, and how long what it keeps is safe.
func showSource(out io.Writer, pipeline string, s *sources.Report) error {
	var kept []string
	if s.Held > 0 {
		kept = append(kept, "its server keeps "+sizeOf(s.Held)+" until they were read")
	}
	if s.Loss > 0 {
		kept = append(kept, "the first is lost in "+hours(s.Loss))
	}
	if len(s.Streams)+len(kept)+len(s.Warnings) == 0 {
		return nil
	}
	title := "\nStreams of " + pipeline
	if len(kept) > 0 {
		title += ": " + strings.Join(kept, ", ")
	}
	_, _ = fmt.Fprintln(out, title)
	for _, text := range s.Warnings {
		_, _ = fmt.Fprintln(out, "  warning: "+text)
	}
	if len(s.Streams) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 2, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "  STREAM\tSTRATEGY\tHELD\tLOST IN\tRISKS")
	for _, one := range s.Streams {
		held, loss := "-", "-"
		if one.Held > 0 {
			held = sizeOf(one.Held)
		}
		if one.Loss > 0 {
			loss = hours(one.Loss)
		}
		notes := slices.Clone(one.Risks)
		notes = append(notes, unfit(one)...)
		if one.Anew != "" {
			notes = append(notes, "was read anew: "+one.Anew)
		}
		if one.Stopped != "" {
			notes = slices.Insert(notes, 0, "STOPPED: "+one.Stopped)
		}
		if len(notes) == 0 {
			notes = []string{"-"}
		}
		strategy := one.Strategy
		if strategy == "" {
			strategy = "-"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", one.Stream, strategy, held, loss, notes[0])
		for _, note := range notes[1:] {
			_, _ = fmt.Fprintf(w, "  \t\t\t\t%s\n", note)
		}
	}
	return w.Flush()
}

// lagOf says how far a lane or pipeline is behind.
func lagOf(rows *int64, age *time.Duration) string {
	switch {
	case rows != nil && *rows >= 0:
		return fmt.Sprintf("%d rows", *rows)
	case age != nil && *age > 0:
		return age.Round(time.Second).String()
	}
	return "-"
}

// hours is a time until something is lost.
func hours(d time.Duration) string { return fmt.Sprintf("%.1f h", d.Hours()) }

// sizeOf writes bytes as people read them.
func sizeOf(n int64) string {
	const units = "KMGT"
	v, unit := float64(n)/1024, 0
	for ; v >= 1024 && unit < len(units)-1; unit++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[unit])
}
