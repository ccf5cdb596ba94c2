package mongodb

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// LogSpan gives the times of the oldest and the newest entry that a replica set has in its log (local.oplog.rs,
// https://www.mongodb.com/docs/manual/core/replica-set-oplog/), which is of a fixed size. Both are zero where the user may not read it, and
// where there is none, as on a mongos.
func (d *Database) LogSpan(ctx context.Context) (first, last bson.Timestamp, err error) {
	log := d.Client().Database("local").Collection("oplog.rs", options.Collection().SetReadConcern(readconcern.Local()))
	entry := func(order int) (at bson.Timestamp, err error) {
		var out struct {
			At bson.Timestamp `bson:"ts"`
		}
		o := options.FindOne().SetSort(bson.D{{Key: "$natural", Value: order}}).SetProjection(bson.D{{Key: "ts", Value: 1}})
		err = log.FindOne(ctx, bson.D{}, o).Decode(&out)
		return out.At, err
	}
	if first, err = entry(1); err == nil {
		last, err = entry(-1)
	}
	const unauthorized = 13
	if said, ok := errors.AsType[mongo.CommandError](err); ok && said.Code == unauthorized || errors.Is(err, mongo.ErrNoDocuments) {
		return bson.Timestamp{}, bson.Timestamp{}, nil
	}
	return first, last, Explain(err, "ask how far the log reaches back", d.Name())
}
