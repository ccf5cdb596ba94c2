package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Ask connects to the sources whose streams no file tells, and follows what they have now through the steps to the sinks: the
// problems are those that a run would meet. A plan that is made afterwards knows the columns. Nothing is changed anywhere.
func (p *Project) Ask(ctx context.Context, log *slog.Logger) (config.Problems, error) {
	c := newChecker(p, nil)
	for _, d := range p.Pipelines {
		if len(d.In) > 0 {
			continue
		}
		if err := p.askStreams(ctx, &c, d, log); err != nil {
			return nil, err
		}
	}
	for _, d := range p.Pipelines {
		if err := d.survey(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.surveyAthena(ctx); err != nil {
		return nil, err
	}
	for part, in := range c.fed {
		if part.Plugin.Check != nil {
			c.add(part.block.PlaceBut(part.Plugin.Check(part.Settings, distinct(in)), c.doubts[part].explain)...)
		}
	}
	c.problems.Sort()
	return c.problems, nil
}

// askStreams asks the source of a pipeline for the streams that it has now, and follows them through the steps.
func (p *Project) askStreams(ctx context.Context, c *checker, d *Declared, log *slog.Logger) error {
	return p.ask(ctx, d.Name, log, func(_ string, s sources.Source) error {
		t, ok := s.(sources.Tables)
		if !ok {
			return nil
		}
		streams, err := t.Streams(ctx)
		if err != nil {
			return err
		}
		in := make([]*record.Schema, len(streams))
		for i, stream := range streams {
			in[i] = stream.Schema
		}
		d.Steps = nil
		c.follow(d, in, doubts{})
		d.asked, err = told(ctx, s, streams)
		return err
	})
}

// survey asks the sinks that can tell what they would make for the records of a pipeline.
func (d *Declared) survey(ctx context.Context) error {
	d.surveyed = map[string][]string{}
	for _, part := range d.Sinks {
		s, ok := part.Settings.(sinks.Surveyor)
		if !ok {
			continue
		}
		lines, err := s.Survey(ctx, distinct(d.Out))
		if err != nil {
			return fmt.Errorf("sink %s: %w", part.Name, err)
		}
		d.surveyed[part.Name] = lines
	}
	return nil
}

// surveyAthena asks Glue and Athena, for the lakes that they are to know, what tables apply would make or change.
func (p *Project) surveyAthena(ctx context.Context) error {
	lakes, err := p.Lakes()
	if err != nil {
		return err
	}
	for _, l := range lakes {
		if l.Config.Athena == nil {
			continue
		}
		lines, err := p.athenaLines(ctx, l)
		if err != nil {
			return fmt.Errorf("sink %s: %w", l.Sink, err)
		}
		for _, d := range p.Pipelines {
			if slices.ContainsFunc(d.Sinks, func(s *SinkPart) bool { return s.Name == l.Sink }) {
				d.surveyed[l.Sink] = append(d.surveyed[l.Sink], lines...)
				break // what several pipelines feed is told once
			}
		}
	}
	return nil
}

func (p *Project) athenaLines(ctx context.Context, l LakePart) ([]string, error) {
	client, err := l.Athena(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	tables, err := p.LakeTables(ctx, l)
	if err != nil {
		return nil, err
	}
	changes, err := PlanAthena(ctx, client, tables)
	if err != nil {
		return nil, err
	}
	lines := []string{"acequia tables apply would find nothing to do in Glue and Athena"}
	for _, c := range changes {
		if c.Action == athena.Same {
			continue
		}
		lines[0] = "acequia tables apply would do in Glue and Athena:"
		lines = append(lines, "  "+c.Action.Sign()+" "+c.Kind+" "+c.Name)
		for _, detail := range c.Details {
			lines = append(lines, "      "+detail)
		}
	}
	return lines, nil
}

// told says of each stream, a line, how many rows it has, how its changes can be found, and what that does not see.
func told(ctx context.Context, s sources.Source, streams []sources.Stream) ([]string, error) {
	installed := []sources.Installed{}
	if i, ok := s.(sources.Installer); ok {
		var err error
		if installed, err = i.Installed(ctx); err != nil {
			return nil, err
		}
	}
	var lines []string
	for _, stream := range streams {
		line := "table " + stream.Schema.Stream
		if stream.Rows >= 0 {
			line += fmt.Sprintf(", about %d rows", stream.Rows)
		}
		if stream.Bytes > 0 {
			line += " in " + humanize.IBytes(uint64(stream.Bytes))
		}
		at := slices.IndexFunc(installed, func(i sources.Installed) bool { return i.Stream == stream.Schema.Stream })
		if at < 0 {
			lines = append(lines, line)
			continue
		}
		how := installed[at]
		switch {
		case how.Strategy != "":
			line += "; its changes are found by " + how.Strategy
		case len(how.Ready) > 0:
			line += "; its changes can be found by " + strings.Join(how.Ready, ", ")
		default:
			line += "; its changes cannot be found: it is read anew"
		}
		lines = append(lines, line)
		for _, risk := range how.Risks {
			lines = append(lines, "  "+risk)
		}
	}
	return lines, nil
}
