package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Restorer = (*Source)(nil)

// restoration makes collections under names that nobody lists, and gives them theirs at the end, one after the other: the server has no way to
// rename several at once. That they get them is written before the first does, so that a restore that was cut off there is
// finished by the next.
type restoration struct {
	db        *mongodb.Database
	log       *slog.Logger
	info      sources.SnapshotInfo
	lease     *lease
	majority  bool              // writes wait until they outlive a failover
	staged    map[string]string // of each stream, the collection that it is made in
	publishes bool
	finished  bool
}

// Restore makes the collections.
func (s *Source) Restore(ctx context.Context, info sources.SnapshotInfo) (sources.Restoration, error) {
	if info.Engine != "mongodb" {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MG-073", Place: info.Database, Err: fmt.Errorf("the backup is of %s", info.Engine), Remedy: "restore it into a source of that kind",
		}
	}
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	server, err := db.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoration{db: db, log: s.log, info: info, majority: server.Logged(), staged: map[string]string{}}
	if r.lease, err = takeLease(ctx, db, s.lease); err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

func (r *restoration) begin(ctx context.Context) error {
	names, err := r.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return mongodb.Explain(err, "look whether the collections are there", r.db.Name())
	}
	wanted := targets(r.info)
	there := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return !slices.Contains(names, name) })
	if len(there) > 0 {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MG-070", Place: r.db.Name(), Err: fmt.Errorf("the database is not empty: it has %s", fewest(there)),
			Remedy: "restore into a new database, or choose other collections; nothing was changed",
		}
	}
	if err := r.sweep(ctx, names); err != nil {
		return err
	}
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		r.staged[t.Schema.Stream] = fmt.Sprintf("%s%s_%d", mongodb.RestorePrefix, r.lease.run, i)
		if err := r.run(ctx, t, "create", t.Definition.Create); err != nil {
			return err
		}
	}
	return nil
}

// sweep drops what restores have left that were cut off.
func (r *restoration) sweep(ctx context.Context, names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, mongodb.RestorePrefix) && name != leases(r.db).Name() {
			if err := r.db.Collection(name).Drop(ctx); err != nil {
				return mongodb.Explain(err, "drop "+name, r.db.Name())
			}
		}
	}
	return nil
}

// run runs commands of the backup on the collection that is being made.
func (r *restoration) run(ctx context.Context, t *sources.SnapshotTable, verb string, commands []string) error {
	for _, text := range commands {
		var doc bson.D
		if err := bson.UnmarshalExtJSON([]byte(text), true, &doc); err != nil || len(doc) == 0 || doc[0].Key != verb || doc[0].Value != t.Definition.Name {
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-MG-072", Place: t.Schema.Stream, Err: fmt.Errorf("the manifest has a command that is none of its collection: %.200s", text),
				Remedy: "look at the backup's manifest",
			}
		}
		doc[0].Value = r.staged[t.Schema.Stream]
		if err := r.db.RunCommand(ctx, doc).Err(); err != nil {
			return mongodb.Explain(err, "run "+text, t.Schema.Stream)
		}
	}
	return nil
}

// insertRows and insertBytes bound what one command inserts; a document alone may have 16 MiB.
const (
	insertRows  = 10_000
	insertBytes = 8 << 20
)

// Load inserts documents as they were sent, byte for byte; those that a validator would not take now, too.
func (r *restoration) Load(ctx context.Context, stream string, next func() (*record.Batch, error)) error {
	var docs bson.A
	size := 0
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			return r.insert(ctx, stream, docs)
		}
		if err != nil {
			return err
		}
		at := b.Schema.Index(documentColumn)
		for row := 0; row < b.Rows && err == nil; row++ {
			if at < 0 || !b.Columns[at].IsValid(row) {
				err = &fault.Error{Class: fault.Fatal, Code: "ACQ-MG-072", Place: stream, Err: errors.New("a row of the backup has no document"), Remedy: "use another backup"}
				break
			}
			doc := bson.Raw(slices.Clone(b.Columns[at].Text(row)))
			if len(docs) > 0 && (len(docs) >= insertRows || size+len(doc) > insertBytes) {
				err = r.insert(ctx, stream, docs)
				docs, size = nil, 0
			}
			docs, size = append(docs, doc), size+len(doc)
		}
		b.Release()
		if err != nil {
			return err
		}
	}
}

func (r *restoration) insert(ctx context.Context, stream string, docs bson.A) error {
	switch {
	case r.lease.lost.Load():
		return errLeased(r.db)
	case len(docs) == 0:
		return nil
	}
	insert := bson.D{{Key: "insert", Value: r.staged[stream]}, {Key: "documents", Value: docs}, {Key: "ordered", Value: true}, {Key: "bypassDocumentValidation", Value: true}}
	if r.majority {
		insert = append(insert, bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}})
	}
	var said struct {
		N      int
		Errors []struct{ Errmsg string } `bson:"writeErrors"`
		Late   *struct{ Errmsg string }  `bson:"writeConcernError"`
	}
	err := r.db.RunCommand(ctx, insert).Decode(&said)
	switch {
	case err != nil:
	case len(said.Errors) > 0:
		err = errors.New(said.Errors[0].Errmsg)
	case said.Late != nil:
		err = errors.New(said.Late.Errmsg)
	case said.N != len(docs):
		err = fmt.Errorf("%d of %d documents were inserted", said.N, len(docs))
	}
	return mongodb.Explain(err, "load documents", stream)
}

// Scan reads a collection back.
func (r *restoration) Scan(ctx context.Context, stream string, each func(*record.Batch) error) error {
	schema, err := keptSchema(stream)
	if err != nil {
		return fault.Stop(err)
	}
	cursor, err := r.db.Collection(r.staged[stream]).Find(ctx, bson.D{})
	if err != nil {
		return mongodb.Explain(err, "read "+stream+" back", stream)
	}
	return documents(ctx, cursor, schema, each)
}

// Finish makes the indexes, and gives the collections their names.
func (r *restoration) Finish(ctx context.Context) error {
	renames := make([]rename, len(r.info.Tables))
	for i := range r.info.Tables {
		t := &r.info.Tables[i]
		if err := r.run(ctx, t, "createIndexes", t.Definition.Finish); err != nil {
			return err
		}
		renames[i] = rename{r.staged[t.Schema.Stream], t.Definition.Name}
	}
	r.publishes = true
	if err := r.lease.publish(ctx, renames); err != nil {
		return err
	}
	r.finished = true
	return nil
}

// Close drops what was not finished. What is getting its names is left: the next restore goes on with it.
func (r *restoration) Close(ctx context.Context) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var errs []error
	if !r.publishes {
		for _, name := range r.staged {
			if err := r.db.Collection(name).Drop(ctx); err != nil {
				errs = append(errs, mongodb.Explain(err, "drop "+name, r.db.Name()))
			}
		}
	}
	err := errors.Join(append(errs, r.lease.drop(ctx, r.finished))...)
	if err != nil && r.finished {
		r.log.WarnContext(ctx, "what restores know each other by is still there; the next one removes it", slog.String("error", err.Error()))
		return nil
	}
	return err
}
