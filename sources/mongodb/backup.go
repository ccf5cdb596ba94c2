package mongodb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Snapshotter = (*Source)(nil)

// documentColumn holds a document as the server sent it, in BSON: no byte of it is read into something else and written again.
const documentColumn = "document"

// keptBytes is how much a batch of documents gets; one alone may have 16 MiB.
const keptBytes = 4 << 20

// standing is the database at a moment, or, where the server keeps no log, while it is read.
type standing struct {
	source *Source
	db     *mongodb.Database
	at     bson.Timestamp // of the moment; zero: there is none
	info   sources.SnapshotInfo
	kept   map[string]*kept
}

// kept is a collection that is being shown.
type kept struct {
	schema *record.Schema
	capped bool
	parts  []mongodb.KeyRange
}

// Snapshot chooses a moment that a replica set can show (read concern snapshot, https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/).
// Nothing is locked: a collection that is dropped meanwhile is an error when its part is read.
func (s *Source) Snapshot(ctx context.Context, collections []string) (sources.Snapshot, error) {
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	m := &standing{source: s, db: db, kept: map[string]*kept{}}
	server, err := db.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	m.info = sources.SnapshotInfo{Engine: "mongodb", Database: db.Name(), At: server.Clock.UTC()}
	if m.info.Server, err = db.Version(ctx); err != nil {
		return nil, err
	}
	all, err := m.list(ctx, collections)
	if err != nil {
		return nil, err
	}
	if err := m.moment(ctx, server, all[0].Name); err != nil {
		return nil, err
	}
	for _, d := range all {
		if err := m.describe(ctx, d); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// list gives the collections that are kept, and notes the views. What cannot be kept is an error.
func (m *standing) list(ctx context.Context, patterns []string) ([]mongodb.Definition, error) {
	all, err := m.db.Definitions(ctx, m.source.config.Collections)
	if err != nil {
		return nil, err
	}
	var out []mongodb.Definition
	for _, d := range all {
		in := len(patterns) == 0
		if !in {
			if in, err = mongodb.Matches(patterns, d.Name); err != nil {
				return nil, err
			}
		}
		switch {
		case !in:
		case d.Type == "view":
			m.info.NotKept = append(m.info.NotKept, "view "+d.Name)
		case d.Type != "collection":
			return nil, &fault.Error{
				Class: fault.Fatal, Code: "ACQ-MG-074", Place: d.Name, Err: fmt.Errorf("it is of the kind %s, which a backup cannot make again", d.Type),
				Remedy: "leave it out, with ! and its name in collections of the source",
			}
		default:
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MG-071", Place: m.db.Name(), Err: sources.ErrNoTables, Remedy: "look at collections: in the settings of the source, and at those that were asked for",
		}
	}
	return out, nil
}

// moment takes the time of the last operation, where the server can show it; a server that stands alone cannot, and neither can one
// before 5.0.
func (m *standing) moment(ctx context.Context, server mongodb.Server, collection string) error {
	if !server.Logged() || server.Operation.IsZero() {
		return nil
	}
	m.at = server.Operation
	cursor, err := m.db.RunCommandCursor(ctx, m.reading(bson.D{{Key: "find", Value: collection}, {Key: "limit", Value: 1}, {Key: "singleBatch", Value: true}}))
	if err == nil {
		err = cursor.Close(ctx)
	}
	if mongodb.NoSnapshots(err) {
		m.at = bson.Timestamp{}
		return nil
	}
	if err != nil {
		return mongodb.Explain(err, "read in the snapshot", m.db.Name())
	}
	m.info.Consistent = true
	m.info.Position = map[string]string{"cluster_time": fmt.Sprintf("%d.%d", m.at.T, m.at.I)}
	return nil
}

// reading makes a command read at the moment; without one it sees what a majority has, as it comes.
func (m *standing) reading(command bson.D) bson.D {
	switch {
	case !m.at.IsZero():
		return append(command, bson.E{Key: "readConcern", Value: bson.D{{Key: "level", Value: "snapshot"}, {Key: "atClusterTime", Value: m.at}}})
	default:
		return append(command, bson.E{Key: "readConcern", Value: bson.D{{Key: "level", Value: "majority"}}})
	}
}

// keptSchema is that of the documents of a collection: what is read of a key is for people, and what counts is the document.
func keptSchema(collection string) (*record.Schema, error) {
	return record.NewSchema(collection, nil, record.Field{Name: mongodb.KeyColumn, Kind: record.String, Nullable: true}, record.Field{Name: documentColumn, Kind: record.Bytes, Nullable: true})
}

// describe finds what makes a collection again, and how it is read.
func (m *standing) describe(ctx context.Context, d mongodb.Definition) error {
	definition := sources.Definition{
		Name: d.Name, Key: []string{mongodb.KeyColumn},
		Columns: []sources.ColumnDefinition{{Name: mongodb.KeyColumn, Type: "any"}, {Name: documentColumn, Type: "bson"}},
	}
	create, err := command(d.Create)
	if err != nil {
		return err
	}
	definition.Create = []string{create}
	indexes, err := m.db.IndexDefinitions(ctx, d.Name)
	if err != nil {
		return err
	}
	if len(indexes) > 0 {
		finish, err := command(bson.D{{Key: "createIndexes", Value: d.Name}, {Key: "indexes", Value: indexes}})
		if err != nil {
			return err
		}
		definition.Finish = []string{finish}
	}
	rows, _, err := m.db.Size(ctx, d.Name)
	if err != nil {
		return err
	}
	k := &kept{capped: d.Capped, parts: []mongodb.KeyRange{{}}}
	if k.schema, err = keptSchema(d.Name); err != nil {
		return fault.Stop(err)
	}
	if !d.Capped {
		bounds, err := quantiles(ctx, m.db, d.Name, m.source.partRows)
		if err != nil {
			return err
		}
		k.parts = ranges(bounds)
	}
	m.kept[d.Name] = k
	m.info.Tables = append(m.info.Tables, sources.SnapshotTable{Schema: k.schema, Rows: rows, Parts: len(k.parts), Definition: definition})
	return nil
}

// command writes a command as canonical Extended JSON, which keeps the types of numbers.
func command(doc bson.D) (string, error) {
	text, err := bson.MarshalExtJSON(doc, true, false)
	return string(text), fault.Stop(err)
}

// About tells what the database was.
func (m *standing) About() sources.SnapshotInfo { return m.info }

// Scan reads a part of a collection at the moment, as it comes. Without a moment it goes by the keys, which no write changes; a capped
// collection has an order of its own.
func (m *standing) Scan(ctx context.Context, stream string, part int, each func(*record.Batch) error) error {
	k := m.kept[stream]
	if k == nil || part < 0 || part >= len(k.parts) {
		return fault.Stop(fmt.Errorf("mongodb: the snapshot has no part %d of %q", part, stream))
	}
	filter, err := k.parts[part].Filter()
	if err != nil {
		return err
	}
	find := bson.D{{Key: "find", Value: stream}, {Key: "filter", Value: filter}, {Key: "batchSize", Value: int32(batchRows)}}
	switch {
	case k.capped:
		find = append(find, bson.E{Key: "sort", Value: bson.D{{Key: "$natural", Value: 1}}})
	case m.at.IsZero():
		find = append(find, bson.E{Key: "sort", Value: bson.D{{Key: mongodb.KeyColumn, Value: 1}}})
	}
	cursor, err := m.db.RunCommandCursor(ctx, m.reading(find))
	if err != nil {
		return mongodb.Explain(err, "read "+stream, stream)
	}
	return documents(ctx, cursor, k.schema, each)
}

// documents hands on those of a cursor, and closes it.
func documents(ctx context.Context, cursor *mongo.Cursor, schema *record.Schema, give func(*record.Batch) error) error {
	b, size := record.NewBuilder(schema, 0), 0
	hand := func() error {
		if size = 0; b.Rows() == 0 {
			return nil
		}
		batch := b.Batch(nil)
		defer batch.Release()
		return give(batch)
	}
	var refused error // by who takes them: it is none of the server's
	err := each(ctx, cursor, func(doc bson.Raw) error {
		if key := keyOf(doc); key != "" {
			b.String(0, key)
		} else {
			b.Null(0)
		}
		b.Text(1, doc)
		b.Next()
		if size += len(doc); size < keptBytes && b.Rows() < chunkRows {
			return nil
		}
		refused = hand()
		return refused
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return mongodb.Explain(err, "read "+schema.Stream, schema.Stream)
	}
	return hand()
}

// Close has nothing to let go: the server forgets moments by itself.
func (*standing) Close(context.Context) error { return nil }

// targets names the collections of a backup, by their definitions.
func targets(info sources.SnapshotInfo) []string {
	out := make([]string, len(info.Tables))
	for i := range info.Tables {
		out[i] = info.Tables[i].Definition.Name
	}
	slices.Sort(out)
	return out
}

// fewest writes names for people, the first five of them.
func fewest(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
