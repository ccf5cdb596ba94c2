//go:build cgo

package oracle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Sizes of the collections: the server of the tests reads all of a collection to find a document.
const (
	documentKeys = 400 // of accounts
	mixedKeys    = 120
	driftKeys    = 100
)

// mixedKey is an _id of one of the types that keys have.
func mixedKey(i int64) any {
	switch i % 6 {
	case 0:
		return i
	case 1:
		return fmt.Sprint(i)
	case 2:
		return float64(i) + 0.5
	case 3:
		return bson.ObjectID{0, 1, 2, 3, 10: byte(i >> 8), 11: byte(i)}
	case 4:
		return bson.NewDateTimeFromTime(time.Unix(i, 0))
	}
	return int32(-i) //nolint:gosec // few
}

// mongoSession is a writer of documents: each write is on its own, for the server has no transactions.
type mongoSession struct {
	*writer
	db *mongo.Database
}

func (m *mongoDB) session(_ context.Context, w *writer) (session, error) {
	return &mongoSession{w, m.db}, nil
}

func (w *mongoSession) close(context.Context) error { return nil }

func (w *mongoSession) turn(ctx context.Context, _ int) error {
	for range 1 + w.rand.IntN(5) {
		err := w.write(ctx)
		if mongo.IsDuplicateKeyError(err) || dropped(err) { // another was first
			w.aborts.Add(1)
			continue
		}
		if err != nil {
			return err
		}
		w.commits.Add(1)
	}
	if w.chance(30) {
		w.pause(ctx, w.some(250*time.Millisecond))
	}
	return nil
}

// dropped says whether the server was asked for a collection while another has dropped it: it says so, finds what is left of it when it
// makes it anew, or panics and ends the connection.
func dropped(err error) bool {
	if err == nil {
		return false
	}
	return mongo.IsNetworkError(err) || strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "__id_ already exists")
}

// stamped makes a write with the time of before it, now and then of long before it: what a client does that asks its clock first.
// Strategy time holds while a write is seen less than the margin after its time; one that the machine has kept longer is stamped anew.
func (w *mongoSession) stamped(ctx context.Context, collection string, ids bson.A, write func(at bson.DateTime) error) error {
	at := time.Now()
	if w.chance(25) {
		w.pause(ctx, w.some(500*time.Millisecond))
	}
	err := write(bson.NewDateTimeFromTime(at))
	for err == nil && time.Since(at) > mongoMargin*2/3 {
		at = time.Now()
		_, err = w.db.Collection(collection).UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "updated_at", Value: bson.NewDateTimeFromTime(at)}}}})
	}
	return err
}

// set changes fields of a document, and makes it where there is none.
func (w *mongoSession) set(ctx context.Context, collection string, id any, fields ...bson.E) error {
	return w.stamped(ctx, collection, bson.A{id}, func(at bson.DateTime) error {
		all := append(bson.D{{Key: "updated_at", Value: at}}, fields...)
		_, err := w.db.Collection(collection).UpdateOne(ctx, bson.D{{Key: "_id", Value: id}}, bson.D{{Key: "$set", Value: all}}, options.UpdateOne().SetUpsert(true))
		return err
	})
}

// put replaces a document by another: what it had and the other has not is gone.
func (w *mongoSession) put(ctx context.Context, collection string, id any, fields ...bson.E) error {
	return w.stamped(ctx, collection, bson.A{id}, func(at bson.DateTime) error {
		all := append(bson.D{{Key: "_id", Value: id}, {Key: "updated_at", Value: at}}, fields...)
		_, err := w.db.Collection(collection).ReplaceOne(ctx, bson.D{{Key: "_id", Value: id}}, all, options.Replace().SetUpsert(true))
		return err
	})
}

func (w *mongoSession) insert(ctx context.Context, collection string, id any, fields ...bson.E) error {
	return w.stamped(ctx, collection, bson.A{id}, func(at bson.DateTime) error {
		_, err := w.db.Collection(collection).InsertOne(ctx, append(bson.D{{Key: "_id", Value: id}, {Key: "updated_at", Value: at}}, fields...))
		return err
	})
}

func (w *mongoSession) remove(ctx context.Context, collection string, id any) error {
	_, err := w.db.Collection(collection).DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
	return err
}

// write makes one change of one of the kinds that captures get wrong.
func (w *mongoSession) write(ctx context.Context) error {
	account, n := w.rand.Int64N(documentKeys), w.value.Add(1)
	v := bson.E{Key: "v", Value: n}
	body := bson.E{Key: "body", Value: w.body()}
	switch k := w.rand.IntN(1000); {
	case k < 200:
		return w.set(ctx, "accounts", account, v, body, bson.E{Key: "price", Value: float64(n%9000) + 0.25}, bson.E{Key: "open", Value: w.maybe()})
	case k < 300:
		return w.set(ctx, "accounts", account, v)
	case k < 350:
		return w.put(ctx, "accounts", account, v, body)
	case k < 410:
		return w.remove(ctx, "accounts", account)
	case k < 450:
		if err := w.remove(ctx, "accounts", account); err != nil {
			return err
		}
		return w.insert(ctx, "accounts", account, v)
	case k < 530: // a key that nobody touches again: what is lost stays lost
		return w.insert(ctx, "accounts", w.fresh.Add(1), v)
	case k < 650: // few keys, which everybody wants
		return w.set(ctx, "counters", 1+w.rand.Int64N(counterKeys), v)
	case k < 760: // keys of every type
		return w.set(ctx, "mixed", mixedKey(w.rand.Int64N(mixedKeys)), v)
	case k < 800:
		return w.remove(ctx, "mixed", mixedKey(w.rand.Int64N(mixedKeys)))
	case k < 890: // fields of another type, and others than there were
		return w.put(ctx, "drift", w.rand.Int64N(driftKeys), append(w.odd(n), v)...)
	case k < 920:
		return w.remove(ctx, "drift", w.rand.Int64N(driftKeys))
	case k < 970:
		return w.set(ctx, "scratch", w.rand.Int64N(100), v)
	case k < 978:
		if err := w.db.Collection("scratch").Drop(ctx); err != nil {
			return err
		}
		return w.set(ctx, "scratch", w.rand.Int64N(100), v)
	}
	return w.bulk(ctx)
}

func (w *mongoSession) odd(n int64) bson.D {
	tags := []any{w.word(), w.word(), int32(n), n, bson.D{{Key: "nested", Value: bson.A{int32(1), "two", nil}}}, nil} //nolint:gosec // few
	out := bson.D{{Key: "tag", Value: tags[w.rand.IntN(len(tags))]}}
	if w.chance(30) {
		out = append(out, bson.E{Key: "extra", Value: w.word()})
	}
	return out
}

// bulk brings many documents that all have the same time.
func (w *mongoSession) bulk(ctx context.Context) error {
	count := 20 + w.rand.IntN(50)
	if w.chance(5) {
		count = 1200 // more than a batch
	}
	docs, ids := make([]bson.D, count), make(bson.A, count)
	for i := range docs {
		ids[i] = w.fresh.Add(1)
		docs[i] = bson.D{{Key: "_id", Value: ids[i]}, {Key: "v", Value: w.value.Add(1)}}
	}
	return w.stamped(ctx, "accounts", ids, func(at bson.DateTime) error {
		for i := range docs {
			docs[i] = append(docs[i], bson.E{Key: "updated_at", Value: at})
		}
		_, err := w.db.Collection("accounts").InsertMany(ctx, docs)
		return err
	})
}
