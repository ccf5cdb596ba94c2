package app

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/cost"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
	eventsink "github.com/acequia-io/acequia/sinks/eventbridge"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/lake"
	queuesink "github.com/acequia-io/acequia/sinks/sqs"
	"github.com/acequia-io/acequia/sources/dynamodbstreams"
	"github.com/acequia-io/acequia/sources/form"
	"github.com/acequia-io/acequia/sources/mysql"
	"github.com/acequia-io/acequia/sources/postgres"
	queuesource "github.com/acequia-io/acequia/sources/sqs"
)

// Cost estimates what the project costs on AWS in a day, from what is known of it. Nothing is connected to.
func (p *Project) Cost(l cost.Load) *cost.Estimate {
	e := cost.New(l)
	streams := map[*SinkPart]int{}
	var sinks []*SinkPart
	for _, d := range p.Pipelines {
		for _, part := range d.Sinks {
			if streams[part] == 0 {
				sinks = append(sinks, part)
			}
			streams[part] += max(1, len(distinct(d.Out)))
		}
		if len(d.Out) == 0 {
			e.Assumptions = append(e.Assumptions, "the pipeline "+d.Name+" has one stream: which it has is known only when it runs, or to plan --connect")
		}
	}
	for _, part := range p.sources {
		costOfSource(e, part)
	}
	for _, part := range sinks {
		p.costOfSink(e, part, streams[part])
	}
	if p.Shared.Table != "" {
		e.State("state", time.Second)
	}
	for _, r := range p.needs("", "").Routes {
		e.Route("changes of "+r.Table.Name, messaging.IsFIFO(r.Queue.Name))
	}
	return e
}

func costOfSource(e *cost.Estimate, part *SourcePart) {
	name := "source " + part.Name
	switch c := part.Settings.(type) {
	case *queuesource.Config:
		e.Queue(name, messaging.IsFIFO(c.Queue), cmp.Or(c.Pollers, 4), cmp.Or(c.Wait, messaging.LongestWait))
	case *dynamodbstreams.Config:
		e.Stream(name, cmp.Or(c.Poll, time.Second))
	case *postgres.Config:
		costOfDatabase(e, name, string(c.DSN))
	case *mysql.Config:
		costOfDatabase(e, name, string(c.DSN))
	}
}

// costOfDatabase counts one that is of RDS. Of the address, which is a secret, nothing is told.
func costOfDatabase(e *cost.Estimate, name, dsn string) {
	if strings.Contains(dsn, ".rds.amazonaws.com") {
		e.Database(name)
	}
}

func (p *Project) costOfSink(e *cost.Estimate, part *SinkPart, streams int) {
	name := "sink " + part.Name
	switch c := part.Settings.(type) {
	case *lake.Config:
		if _, _, ok := blob.ParseURL(c.URL); ok {
			e.Lake(name, streams, c.Every())
		}
	case *queuesink.Config:
		e.Send(name, messaging.IsFIFO(c.Queue))
	case *eventsink.Config:
		e.Events(name)
	case *itemsink.Config:
		if isDynamo(part) {
			p.costOfItems(e, part, c)
		}
	}
}

func (p *Project) costOfItems(e *cost.Estimate, part *SinkPart, c *itemsink.Config) {
	name, known := "sink "+part.Name, 0
	for _, d := range p.Pipelines {
		if !slices.Contains(d.Sinks, part) {
			continue
		}
		out := distinct(d.Out)
		answers := slices.ContainsFunc(out, func(s *record.Schema) bool { return s.Stream == form.KeysTable })
		for _, t := range c.Stored(out) {
			each := 0
			for _, x := range t.Indexes {
				if x.Each {
					each++
				}
			}
			e.Items(name, t.Name, len(t.Indexes)-each, each, answers)
			known++
		}
	}
	if known == 0 {
		e.Items(name, "its tables", 0, 0, false)
	}
}
