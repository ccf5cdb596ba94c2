package itemstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/record"
)

// DynamoOptions say where items of DynamoDB are, and how they are written.
type DynamoOptions struct {
	AWS         awsconfig.Settings
	Concurrency int           // writes at the same time; default 32
	Tombstones  time.Duration // how long what is left of a deleted item stays; default 7 days
	// Bulk has the first load of an empty table written 25 items a call and without conditions. Nobody else may write the table then.
	Bulk bool
	Log  *slog.Logger
}

// Dynamo is item tables of DynamoDB. It makes none: whoever may write items need not be allowed to. It is safe for concurrent use.
type Dynamo struct {
	options DynamoOptions
	client  *dynamodb.Client
	close   func()
	slots   chan struct{} // one for each write under way

	defining sync.Mutex

	mu       sync.Mutex
	tables   map[string]*dynamoTable
	expected []Table // see Expect
}

// dynamoTable is a declared table.
type dynamoTable struct {
	Table
	store  *Dynamo
	layout *layout
	limit  *limiter // of writes; this and what follows is the same however often the table is defined
	reads  *limiter // of reads of many items: DynamoDB counts them apart from writes
	floor  *floor
	load   *load // nil: the table is not loaded for the first time
	found  bool  // by Find: what records there are is not known
}

// answerTime is how long DynamoDB may take for a call.
const answerTime = 20 * time.Second

// OpenDynamo loads the configuration of AWS. Nothing is asked of DynamoDB yet.
func OpenDynamo(ctx context.Context, o DynamoOptions) (*Dynamo, error) {
	c, err := awsconfig.Load(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	o.Concurrency = cmp.Or(o.Concurrency, 32)
	o.Tombstones = cmp.Or(o.Tombstones, 7*24*time.Hour)
	d := &Dynamo{options: o, close: awsconfig.Connections(&c, o.Concurrency, answerTime), tables: map[string]*dynamoTable{}, slots: make(chan struct{}, o.Concurrency)}
	d.client = dynamodb.NewFromConfig(c, func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}             // the rate of a table has to know of every refusal
		o.DisableValidateResponseChecksum = true // of a refusal it is told as a warning each time; TLS looks after the rest
	})
	return d, nil
}

// Close lets the connections go.
func (d *Dynamo) Close() error {
	d.close()
	return nil
}

// Define looks how the table holds its items. One that is not there, or is of another kind, is an error that says what makes it.
func (d *Dynamo) Define(ctx context.Context, t Table) error {
	if t.Schema == nil {
		known, err := d.table(t.Name)
		if err != nil {
			return err
		}
		t.Schema = known.Schema
	}
	_, l, err := d.look(ctx, t)
	if err != nil {
		return err
	}
	d.defining.Lock() // nobody may write a table before it is known whether it is loaded
	defer d.defining.Unlock()
	defined := &dynamoTable{Table: t, store: d, layout: l, limit: &limiter{}, reads: &limiter{}, floor: &floor{}}
	if known, err := d.table(t.Name); err == nil && !known.found {
		defined.limit, defined.reads, defined.floor, defined.load = known.limit, known.reads, known.floor, known.load
	} else if d.options.Bulk && !defined.hasEntries() {
		if defined.load, err = d.beginLoad(ctx, t.Name); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tables[t.Name] = defined
	return nil
}

// look asks for the table and those of its entries, and compares them with what is declared. Without a schema the layout knows the key alone.
func (d *Dynamo) look(ctx context.Context, t Table) (*types.TableDescription, *layout, error) {
	found, err := d.describe(ctx, t, t.Name)
	if err != nil {
		return nil, nil, err
	}
	s := t.Schema
	if s == nil {
		if s, err = keysOf(found, t.Name); err != nil {
			return nil, nil, err
		}
	}
	l, err := layOut(found, s)
	if err != nil {
		return nil, nil, &fault.Error{
			Code: "ACQ-ITEMS-021", Place: t.Name, Err: fmt.Errorf("the table of DynamoDB does not fit: %w", err),
			Remedy: "name another table for the stream (tables: name), which acequia setup apply FILE makes, or " + d.Command(t),
		}
	}
	for _, x := range t.Indexes {
		if x.Each {
			entries, err := d.describe(ctx, t, Entries(t.Name, x.Name))
			if err == nil {
				err = hasKey(entries.KeySchema, []string{elementAttribute, itemAttribute}, x.Name)
			}
			if err != nil {
				return nil, nil, err
			}
			continue
		}
		if err := hasIndex(found, x); err != nil {
			return nil, nil, err
		}
	}
	return found, l, nil
}

// hasIndex says why an index of a table is not the one that is declared.
func hasIndex(d *types.TableDescription, x Index) error {
	keys := map[string][]types.KeySchemaElement{}
	for _, g := range d.GlobalSecondaryIndexes {
		keys[aws.ToString(g.IndexName)] = g.KeySchema
	}
	for _, l := range d.LocalSecondaryIndexes {
		keys[aws.ToString(l.IndexName)] = l.KeySchema
	}
	key, there := keys[x.Name]
	if !there {
		return &fault.Error{
			Code: "ACQ-ITEMS-022", Place: aws.ToString(d.TableName), Err: errors.New("the table of DynamoDB has no index " + x.Name),
			Remedy: "add it (acequia setup apply FILE, or aws dynamodb update-table --global-secondary-index-updates), or take it out of tables; there are: " + strings.Join(slices.Sorted(maps.Keys(keys)), ", "),
		}
	}
	return hasKey(key, x.Columns, x.Name)
}

// hasKey says whether a key begins with some columns.
func hasKey(key []types.KeySchemaElement, columns []string, index string) error {
	names := make([]string, len(key))
	for i, k := range key {
		names[i] = aws.ToString(k.AttributeName)
	}
	if len(names) < len(columns) || !slices.Equal(names[:len(columns)], columns) {
		return &fault.Error{
			Code: "ACQ-ITEMS-022", Place: index, Err: fmt.Errorf("the index of DynamoDB is of %s, not of %s", strings.Join(names, ", "), strings.Join(columns, ", ")),
			Remedy: "declare its columns as they are, or make the index anew",
		}
	}
	return nil
}

// describe asks for one of the tables that a declared one needs.
func (d *Dynamo) describe(ctx context.Context, t Table, name string) (*types.TableDescription, error) {
	var out *dynamodb.DescribeTableOutput
	err := d.call(ctx, name, nil, 0, func(ctx context.Context) (err error) {
		out, err = d.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		return err
	})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		e := &fault.Error{Code: codeNoTable, Place: name, Err: errors.New("there is no such table in DynamoDB"), Remedy: "make it: acequia setup apply FILE"}
		if t.Schema != nil {
			e.Remedy = "make it: acequia setup apply FILE, or " + d.Command(t)
		}
		return nil, e
	}
	if err != nil {
		return nil, awsconfig.Explain(err, "look at the table (dynamodb:DescribeTable)", name)
	}
	if s := out.Table.TableStatus; s != types.TableStatusActive && s != types.TableStatusUpdating {
		return nil, &fault.Error{Class: fault.Retryable, Code: "ACQ-ITEMS-020", Place: name, Err: fmt.Errorf("the table of DynamoDB is %s", s), Remedy: "wait until it is ACTIVE"}
	}
	return out.Table, nil
}

// Command makes the tables that a declared one needs, with the command line of AWS.
func (d *Dynamo) Command(t Table) string { return Command(Design(t), d.options.flags()) }

// flags are the settings as options of the command line.
func (o DynamoOptions) flags() string {
	var out string
	if o.AWS.Region != "" {
		out += " --region " + o.AWS.Region
	}
	if o.AWS.Endpoint != "" {
		out += " --endpoint-url " + o.AWS.Endpoint
	}
	return out
}

func (d *Dynamo) table(name string) (*dynamoTable, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, ok := d.tables[name]
	if !ok {
		return nil, unknownTable(name)
	}
	return t, nil
}

// Tables lists the declared tables by name.
func (d *Dynamo) Tables() []Table {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Table, 0, len(d.tables))
	for _, name := range slices.Sorted(maps.Keys(d.tables)) {
		out = append(out, d.tables[name].Table)
	}
	return out
}

// Fit makes the item and looks whether DynamoDB can hold it.
func (d *Dynamo) Fit(p *Put, b *record.Batch, row int) error {
	t, err := d.table(p.Table)
	if err != nil {
		return err
	}
	l := t.layoutOf(b.Schema)
	if p.Op == record.Delete {
		_, err = l.key(p.Key)
		return err
	}
	item, err := l.encode(p, b, row)
	if err != nil {
		return err
	}
	for _, x := range t.Indexes {
		if !x.Each {
			continue
		}
		for _, e := range elementsOf(item, x.Columns[0]) {
			if len(e) > maxPartition {
				return tooLong(keyColumn{name: x.Columns[0], most: maxPartition}, len(e))
			}
		}
		if len(p.Key) > maxSort {
			return fmt.Errorf("the key has %d bytes, possible in the index %s are %d", len(p.Key), x.Name, maxSort)
		}
	}
	return nil
}

// layoutOf is the table's for the documents of a schema.
func (t *dynamoTable) layoutOf(s *record.Schema) *layout {
	if s == nil || s == t.layout.schema {
		return t.layout
	}
	own := *t.layout
	own.schema = s
	return &own
}
