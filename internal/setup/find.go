package setup

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/sources/form"
)

// Options say what the files do not.
type Options struct {
	Account Account
	Athena  Athena
	Project string // its name begins those of what Making has a route made of
	// Streams gives those that a pipeline brings to its sinks, as far as they are known before it runs.
	Streams func(pipeline string) []string
}

// Policies gives the policies of what files use of AWS, one a part, in the order of the files. The problems are of resources that cannot be
// told; of what is missing or of no known type check tells.
func Policies(files []*config.File, o Options) ([]Policy, config.Problems) {
	f := &finder{options: o}
	for _, file := range files {
		f.file(file)
	}
	return f.policies, f.problems
}

// finder gathers the policies of files.
type finder struct {
	options  Options
	policies []Policy
	problems config.Problems
	tables   []string           // of items, with those of forms
	aws      awsconfig.Settings // of the part that is looked at
	made     makings
}

func (f *finder) add(p Policy) {
	if len(p.Document.Statement) > 0 || len(p.Notes) > 0 {
		p.AWS = f.aws
		f.policies = append(f.policies, p)
	}
}

func (f *finder) file(file *config.File) {
	f.tables, f.made.results = nil, f.options.Athena.Results.Bucket
	for _, e := range file.Sources {
		f.problems = append(f.problems, e.Value.Place(f.source(e.Value, file))...)
	}
	for _, e := range file.Sinks {
		f.problems = append(f.problems, e.Value.Place(f.sink(e.Value, file))...)
	}
	f.aws = awsconfig.Settings{}
	f.add(policy(ItemsAPI, "GET /dynamodb", "", f.options.Account.itemsAPI(f.tables)))
	f.backups(file)
	f.leases(file)
}

// region gives the account with the region of a part.
func (f *finder) region(b *config.Block) (Account, error) {
	region, err := b.Setting("aws", "region")
	endpoint, wrong := b.Setting("aws", "endpoint")
	err = errors.Join(err, wrong)
	f.aws = awsconfig.Settings{Region: region, Endpoint: endpoint}
	if err == nil && region != "" && !isRegion(region) {
		err = config.At(Account{Region: region}.Check(), "aws", "region")
	}
	return f.options.Account.in(region), err
}

func (f *finder) source(b *config.Block, file *config.File) error {
	at, err := f.region(b)
	if err != nil {
		return err
	}
	switch b.Type {
	case "sqs":
		return f.queue(b, at, Queue, queueRights)
	case "dynamodbstreams":
		table, err := f.required(b, "table")
		if err != nil {
			return err
		}
		if err := tableName(table); err != nil {
			return config.At(err, "table")
		}
		f.add(policy(Streams, "source", b.Name, at.streams(table)))
		f.made.tables = append(f.made.tables, at.table(table))
	case "lake":
		return f.folder(b, func(at Folder) error {
			f.add(policy(LakeSource, "source", b.Name, at.read()))
			return nil
		})
	case "bus":
		return f.bus(b, at, file, busSource)
	}
	return nil
}

func (f *finder) sink(b *config.Block, file *config.File) error {
	at, err := f.region(b)
	if err != nil {
		return err
	}
	switch b.Type {
	case "lake":
		return f.folder(b, func(lake Folder) error { return f.lake(b, at, lake) })
	case "items":
		return f.items(b, at, file)
	case "sqs":
		return f.queue(b, at, QueueSink, queueSinkRights)
	case "eventbridge":
		bus, err := b.Setting("bus")
		if err != nil {
			return err
		}
		if bus == "" {
			bus = "default"
		}
		arn, err := at.busARN(bus)
		if err != nil {
			return config.At(err, "bus")
		}
		payloads, err := f.payloads(b, EventSink)
		if err != nil {
			return err
		}
		f.made.bus(arn)
		f.add(policy(EventSink, "sink", b.Name, eventRights(arn, payloads)))
	case "bus":
		return f.bus(b, at, file, busSink)
	}
	return nil
}

// required gives a setting without which nothing can be said.
func (f *finder) required(b *config.Block, key string) (string, error) {
	text, err := b.Setting(key)
	if err == nil && text == "" {
		err = errors.New(key + " is missing")
	}
	return text, err
}

func (f *finder) queue(b *config.Block, at Account, c Component, rights func(arn string, payloads *Folder) []Statement) error {
	queue, err := f.required(b, "queue")
	if err != nil {
		return err
	}
	arn, err := at.queueARN(queue)
	if err != nil {
		return config.At(err, "queue")
	}
	payloads, err := f.payloads(b, c)
	if err != nil {
		return err
	}
	f.add(policy(c, kind(c), b.Name, rights(arn, payloads)))
	f.made.queue(arn)
	if c == Queue && b.Has("table") {
		table, err := b.Setting("table")
		f.made.changes = append(f.made.changes, change{at, b.Name, table, arn})
		return err
	}
	return nil
}

// payloads gives where bodies are that were too large for a message; nil: nowhere.
func (f *finder) payloads(b *config.Block, c Component) (*Folder, error) {
	bucket, err := b.Setting("payload_bucket")
	if err != nil || bucket == "" {
		return nil, err
	}
	at := Folder{Bucket: bucket}
	f.made.bucket(bucket)
	if c != Queue { // which follows pointers to anywhere in it
		prefix, err := b.Setting("payload_prefix")
		if err != nil {
			return nil, err
		}
		at.Prefix = strings.Trim(cmp.Or(prefix, usualPayloads), "/")
	}
	return &at, config.At(at.check(), "payload_bucket")
}

// usualPayloads is where sinks put rows that are too large for a message.
const usualPayloads = "acequia"

func kind(c Component) string {
	if c == QueueSink {
		return "sink"
	}
	return "source"
}

// folder hands on the place in a bucket that url names, if it is one.
func (f *finder) folder(b *config.Block, use func(Folder) error) error {
	text, err := b.Setting("url")
	if err != nil {
		return err
	}
	at, isS3, err := ParseFolder(text)
	if err == nil && isS3 {
		return use(at)
	}
	return config.At(err, "url")
}

func (f *finder) lake(b *config.Block, at Account, lake Folder) error {
	sse, err := b.Setting("sse")
	if err != nil {
		return err
	}
	withKey := func(rights []Statement) []Statement { return rights }
	if strings.HasPrefix(sse, "arn:") {
		if err := arnOf(sse, "kms"); err != nil {
			return config.At(err, "sse")
		}
		withKey = func(rights []Statement) []Statement { return append(rights, at.key(sse)) }
	}
	asked, glue, err := f.athena(b, at)
	if err != nil {
		return err
	}
	f.made.lake(lake, asked.Results.Bucket)
	rights := withKey(lake.lake())
	if b.Has("athena") {
		rights = append(rights, glue.known(asked))
	}
	f.add(policy(Lake, "sink", b.Name, rights))
	if b.Has("compact") || b.Has("expire") {
		f.add(policy(Compaction, "sink", b.Name, withKey(lake.compaction())))
	}
	f.add(policy(Query, "sink", b.Name, withKey(glue.query(lake, asked))))
	f.add(policy(Tables, "sink", b.Name, withKey(glue.applied(lake, asked))))
	return nil
}

// items finds the tables of a sink: those of forms, and all others.
func (f *finder) items(b *config.Block, at Account, file *config.File) error {
	text, err := b.Setting("url")
	if err != nil || !strings.HasPrefix(text, "dynamodb://") {
		return err
	}
	only, err := b.Setting("only")
	if err != nil {
		return err
	}
	table := func(stream string) (string, error) {
		name, err := b.Setting("tables", stream, "name")
		if err == nil && name == "" {
			name = stream
		}
		if err == nil {
			err = config.At(tableName(name), "tables", stream, "name")
		}
		return name, err
	}
	named, sure := b.Names("tables"), true
	var others, forms []string
	fed := false
	for _, p := range file.Pipelines {
		if !slices.ContainsFunc(p.To, func(r config.Reference) bool { return r.Name == b.Name }) {
			continue
		}
		streams := f.known(p.Name)
		if isForm(file, p) {
			forms = append(append(forms, streams...), form.KeysTable)
			continue
		}
		fed = true
		sure = sure && len(streams) > 0
		if only != "true" {
			others = append(others, streams...)
		}
	}
	others = append(others, without(named, forms)...)
	var notes []string
	if fed && !sure && only != "true" {
		notes = []string{"streams that are known only when it runs are not in it: name them under tables, and set only: true"}
	}
	if err := f.tablesOf(Items, b, at, others, table, notes); err != nil {
		return err
	}
	return f.tablesOf(Form, b, at, forms, table, nil)
}

// tablesOf adds the policy for the tables of streams.
func (f *finder) tablesOf(c Component, b *config.Block, at Account, streams []string, table func(stream string) (string, error), notes []string) error {
	slices.Sort(streams)
	var names []string
	for _, s := range slices.Compact(streams) {
		name, err := table(s)
		if err != nil {
			return err
		}
		names = append(names, name)
		for _, i := range b.Names("tables", s, "indexes") { // an index of the elements of a list is a table of its own
			index, err := b.Setting("tables", s, "indexes", i, "name")
			each, wrong := b.Setting("tables", s, "indexes", i, "each")
			if err = errors.Join(err, wrong); err == nil && each == "true" {
				err = config.At(tableName(name+"."+index), "tables", s, "indexes", i, "name")
				names = append(names, name+"."+index)
			}
			if err != nil {
				return err
			}
		}
	}
	rights := at.items(names)
	f.made.notes = append(f.made.notes, notes...)
	if c == Form && len(names) > 0 {
		rights = at.form(names)
		notes = append(notes, "check --connect tries dynamodb:DeleteItem and dynamodb:Scan on these tables too, which a form never does")
	}
	f.made.tables = append(f.made.tables, at.tables(names)...)
	f.tables = append(f.tables, names...)
	slices.Sort(f.tables)
	f.tables = slices.Compact(f.tables)
	f.add(policy(c, "sink", b.Name, rights, notes...))
	return nil
}

func (f *finder) known(pipeline string) []string {
	if f.options.Streams == nil {
		return nil
	}
	return f.options.Streams(pipeline)
}

func isForm(file *config.File, p *config.Pipeline) bool {
	return slices.ContainsFunc(file.Sources, func(e config.Entry[*config.Block]) bool { return e.Name == p.From.Name && e.Value.Type == "form" })
}

func without(all, these []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(these, s) })
}

// backups finds where backups and reports are kept.
func (f *finder) backups(file *config.File) {
	var rights []Statement
	add := func(key, at string, of func(Folder) []Statement) {
		folder, isS3, err := ParseFolder(at)
		if err != nil {
			f.problems = append(f.problems, config.Problem{Code: config.CodeWrong, File: file.Path, Line: 1, Column: 1, Width: 1, Message: key + ": " + err.Error()})
		}
		if err != nil || !isS3 {
			return
		}
		f.made.bucket(folder.Bucket)
		for _, s := range of(folder) {
			s.Sid = key + "-" + s.Sid
			rights = append(rights, s)
		}
	}
	if b := file.Backup; b != nil {
		add("backup", b.URL, func(at Folder) []Statement {
			f.aws = b.AWS
			out := at.backups()
			if strings.HasPrefix(b.SSE, "arn:") && arnOf(b.SSE, "kms") == nil {
				out = append(out, f.options.Account.in(b.AWS.Region).key(b.SSE))
			}
			return out
		})
	}
	add("reports", file.Reports, Folder.reports)
	f.add(policy(Backups, "backup and reports", "", rights))
	f.aws = awsconfig.Settings{}
}

// leases finds the table of the state.
func (f *finder) leases(file *config.File) {
	s := file.State
	if s.Type != config.StateDynamoDB {
		return
	}
	err := tableName(s.Table)
	if err == nil && s.AWS.Region != "" && !isRegion(s.AWS.Region) {
		err = Account{Region: s.AWS.Region}.Check()
	}
	if err != nil {
		f.problems = append(f.problems, config.Problem{Code: config.CodeWrong, File: file.Path, Line: 1, Column: 1, Width: 1, Message: "state: " + err.Error()})
		return
	}
	f.aws = s.AWS
	f.add(policy(Leases, "state", "", f.options.Account.in(s.AWS.Region).leases(s.Table)))
	f.aws = awsconfig.Settings{}
}
