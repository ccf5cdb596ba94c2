package app

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/environment"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/provision"
	"github.com/acequia-io/acequia/internal/setup"
	eventsink "github.com/acequia-io/acequia/sinks/eventbridge"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/lake"
	queuesink "github.com/acequia-io/acequia/sinks/sqs"
	"github.com/acequia-io/acequia/sources/dynamodbstreams"
	lakesource "github.com/acequia-io/acequia/sources/lake"
	queuesource "github.com/acequia-io/acequia/sources/sqs"
)

// resultDays is how long results of queries are kept.
const resultDays = 7

// Needs says what the project needs of AWS. results is the bucket of the results of queries; "": that of a lake's name and -results, where the lake names none. Databases whose
// tables become items of DynamoDB are asked for their columns, where no file tells them; nothing else is connected to. The problems are those that
// a run would meet.
func (p *Project) Needs(ctx context.Context, name, results string, log *slog.Logger) (provision.Needs, config.Problems, error) {
	c := newChecker(p, nil)
	for _, d := range p.Pipelines {
		if len(d.In) == 0 && d.Source != nil && slices.ContainsFunc(d.Sinks, isDynamo) {
			if err := p.askStreams(ctx, &c, d, log); err != nil {
				return provision.Needs{}, nil, err
			}
		}
	}
	c.problems.Sort()
	return p.needs(name, results), c.problems, nil
}

// needs gathers them from what is known.
func (p *Project) needs(name, results string) provision.Needs {
	n := needed{Needs: provision.Needs{Project: name}, results: results}
	for _, d := range p.Pipelines {
		for _, part := range d.Sinks {
			n.sink(part, d)
		}
	}
	n.kept(p.files)
	for _, part := range p.sources {
		n.source(part)
	}
	n.Buckets = append(n.Buckets, n.last...)
	return n.Needs
}

func isDynamo(part *SinkPart) bool {
	c, ok := part.Settings.(*itemsink.Config)
	if !ok {
		return false
	}
	_, dynamo := c.Dynamo()
	return dynamo
}

// needed gathers needs.
type needed struct {
	provision.Needs
	results string
	last    []provision.Bucket // those whose settings give way to a lake's in the same bucket
}

func (n *needed) note(text string) {
	if !slices.Contains(n.Notes, text) {
		n.Notes = append(n.Notes, text)
	}
}

func (n *needed) sink(part *SinkPart, d *Declared) {
	switch c := part.Settings.(type) {
	case *lake.Config:
		bucket, _, ok := blob.ParseURL(c.URL)
		if !ok {
			return
		}
		n.lake(provision.Bucket{Name: bucket, At: c.AWS, Key: key(c.SSE), Owner: c.Owner, Versions: true}, c.Athena)
	case *itemsink.Config:
		if !isDynamo(part) {
			return
		}
		if len(d.Out) == 0 {
			n.note("tables for the pipeline " + d.Name + ": its streams are known only when it runs")
		}
		for _, t := range c.Stored(distinct(d.Out)) {
			n.table(provision.Table{Table: t, At: c.AWS})
		}
	case *queuesink.Config:
		n.queue(c.Queue, c.AWS)
		n.payloads(c.PayloadBucket, c.AWS)
	case *eventsink.Config:
		n.Buses = append(n.Buses, provision.Bus{Name: c.Bus, At: messaging.SettingsOf(c.Bus, c.AWS)})
		n.payloads(c.PayloadBucket, c.AWS)
	}
}

// lake adds a bucket for files, and the one of what is asked of them, which the lake may name itself.
func (n *needed) lake(b provision.Bucket, asked *athena.Settings) {
	n.Buckets = append(n.Buckets, b)
	results := provision.Bucket{Name: cmp.Or(n.results, b.Name+"-results"), At: b.At, Key: b.Key, Owner: b.Owner, Expire: resultDays}
	if asked != nil && asked.Results != "" {
		results.Name, _, _ = blob.ParseURL(asked.Results)
	}
	n.last = append(n.last, results)
}

// key is how a bucket encrypts that files are written to with these words.
func key(sse string) string {
	if sse == "s3" {
		return ""
	}
	return sse
}

// table adds one. Several pipelines may write the same.
func (n *needed) table(t provision.Table) {
	if !slices.ContainsFunc(n.Tables, func(o provision.Table) bool { return o.Name == t.Name && o.At == t.At }) {
		n.Tables = append(n.Tables, t)
	}
}

func (n *needed) queue(name string, at awsconfig.Settings) provision.Queue {
	q := provision.Queue{Name: name, At: messaging.SettingsOf(name, at)}
	n.Queues = append(n.Queues, q)
	return q
}

// payloads adds a bucket of bodies that are too large for a message.
func (n *needed) payloads(bucket string, at awsconfig.Settings) {
	if bucket != "" {
		n.last = append(n.last, provision.Bucket{Name: bucket, At: at})
	}
}

// kept adds where backups and reports are.
func (n *needed) kept(files []*config.File) {
	for _, f := range files {
		if f.State.Table != "" {
			n.States = append(n.States, provision.State{Name: f.State.Table, At: f.State.AWS})
		}
		places := []string{f.Reports}
		if f.Backup != nil {
			places = append(places, f.Backup.URL)
		}
		for _, at := range places {
			if folder, isS3, err := setup.ParseFolder(at); isS3 && err == nil {
				n.Buckets = append(n.Buckets, provision.Bucket{Name: folder.Bucket, Versions: true})
			}
		}
	}
}

// source adds what a source reads: a queue, and the way of a table's changes to it where a pipeline of the project writes the table. What
// somebody else fills is not made, for it would be empty.
func (n *needed) source(part *SourcePart) {
	switch c := part.Settings.(type) {
	case *queuesource.Config:
		q := n.queue(c.Queue, c.AWS)
		n.payloads(c.PayloadBucket, c.AWS)
		if i := slices.IndexFunc(n.Tables, func(t provision.Table) bool { return t.Name == c.Table && !t.NoChanges }); i >= 0 {
			n.Routes = append(n.Routes, provision.Route{Name: n.Project + "-" + part.Name, Table: n.Tables[i], Queue: q})
		}
	case *dynamodbstreams.Config:
		n.Tables = append(n.Tables, provision.Table{Table: itemstore.Table{Name: c.Table}, At: c.AWS})
	case *lakesource.Config:
		if bucket, _, ok := blob.ParseURL(c.URL); ok {
			n.note("the bucket " + bucket + " of the source " + part.Name + ": whoever fills it makes it")
		}
	}
}

// CinemaNeeds says what the places of the cinema service's environment need of AWS.
func CinemaNeeds(name, results string, p *environment.Places) provision.Needs {
	n := needed{Needs: provision.Needs{Project: name}, results: results}
	n.lake(provision.Bucket{Name: p.Bucket, Versions: true}, nil)
	for _, t := range p.Items {
		n.table(provision.Table{Table: t})
	}
	n.Buckets = append(n.Buckets, n.last...)
	return n.Needs
}
