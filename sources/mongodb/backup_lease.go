package mongodb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
)

// restoreLease is how long a restore is believed to be alive after it was last heard of, by the clock of the server.
const restoreLease = 30 * time.Second

// leaseState is the one document by which restores into a database know of each other. A restore that is to become visible first writes
// here which names it will give: from then on it is only finished, by whoever comes next.
type leaseState struct {
	ID      string    `bson:"_id"`
	Run     string    `bson:"run"`
	Beat    time.Time `bson:"beat"`
	Renames []rename  `bson:"renames,omitempty"`
}

// rename is a collection that gets its name.
type rename struct {
	From string `bson:"from"`
	To   string `bson:"to"`
}

const leaseID = "restore"

// lease is held by one restore into a database at a time.
type lease struct {
	db    *mongodb.Database
	run   string
	stop  context.CancelFunc
	beats sync.WaitGroup
	lost  atomic.Bool
}

func leases(db *mongodb.Database) *mongo.Collection {
	return db.Collection(mongodb.RestorePrefix + "lease")
}

// errLeased says that somebody else restores.
func errLeased(db *mongodb.Database) error {
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-MG-077", Place: db.Name(), Err: errors.New("another restore goes into this database, or was cut off less than half a minute ago"),
		Remedy: "wait for its end and try again; nothing was changed",
	}
}

// takeLease takes it, from one that has not been heard of for so long too. What that one was giving names to gets them first.
func takeLease(ctx context.Context, db *mongodb.Database, patience time.Duration) (*lease, error) {
	l := &lease{db: db}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	l.run = hex.EncodeToString(id)
	var was leaseState
	err := leases(db).FindOne(ctx, bson.D{{Key: "_id", Value: leaseID}}).Decode(&was)
	switch {
	case mongodb.None(err):
		_, err = leases(db).InsertOne(ctx, bson.D{{Key: "_id", Value: leaseID}, {Key: "run", Value: l.run}, {Key: "beat", Value: time.Unix(0, 0)}})
		if mongodb.There(err) {
			return nil, errLeased(db)
		}
	case err == nil:
		err = l.inherit(ctx, was, patience)
	}
	if err != nil {
		return nil, mongodb.Explain(err, "look for other restores", db.Name())
	}
	if held, err := l.beat(ctx); err != nil || !held {
		if err == nil {
			err = errLeased(db)
		}
		return nil, err
	}
	l.keep(ctx, patience)
	return l, nil
}

// inherit takes the place of a restore that was cut off.
func (l *lease) inherit(ctx context.Context, was leaseState, patience time.Duration) error {
	server, err := l.db.Inspect(ctx)
	if err != nil {
		return err
	}
	if server.Clock.Sub(was.Beat) < patience {
		return errLeased(l.db)
	}
	if len(was.Renames) > 0 {
		if err := giveNames(ctx, l.db, was.Renames); err != nil {
			return err
		}
	}
	same := bson.D{{Key: "_id", Value: leaseID}, {Key: "run", Value: was.Run}, {Key: "beat", Value: was.Beat}}
	result, err := leases(l.db).UpdateOne(ctx, same, bson.D{{Key: "$set", Value: bson.D{{Key: "run", Value: l.run}}}, {Key: "$unset", Value: bson.D{{Key: "renames", Value: ""}}}})
	if err == nil && result.MatchedCount == 0 {
		return errLeased(l.db)
	}
	return err
}

// mine finds the document as long as nobody else has taken it.
func (l *lease) mine() bson.D {
	return bson.D{{Key: "_id", Value: leaseID}, {Key: "run", Value: l.run}}
}

// beat lets the others hear of it; not held: another has it.
func (l *lease) beat(ctx context.Context) (held bool, err error) {
	result, err := leases(l.db).UpdateOne(ctx, l.mine(), bson.D{{Key: "$currentDate", Value: bson.D{{Key: "beat", Value: true}}}})
	if err != nil {
		return false, mongodb.Explain(err, "keep other restores away", l.db.Name())
	}
	return result.MatchedCount > 0, nil
}

// keep beats until drop. One that fails is made up for by the next.
func (l *lease) keep(ctx context.Context, patience time.Duration) {
	ctx, l.stop = context.WithCancel(ctx)
	l.beats.Go(func() {
		tick := time.NewTicker(patience / 6)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if held, err := l.beat(ctx); err == nil && !held {
					l.lost.Store(true)
					return
				}
			}
		}
	})
}

// publish writes durably which names are given, and gives them. A lease that was taken by another gives none.
func (l *lease) publish(ctx context.Context, renames []rename) error {
	result, err := leases(l.db).UpdateOne(ctx, l.mine(), bson.D{{Key: "$set", Value: bson.D{{Key: "renames", Value: renames}}}})
	if err != nil {
		return mongodb.Explain(err, "note what becomes visible", l.db.Name())
	}
	if result.MatchedCount == 0 {
		return errLeased(l.db)
	}
	return giveNames(ctx, l.db, renames)
}

// giveNames puts collections into their places, those that are not there yet.
func giveNames(ctx context.Context, db *mongodb.Database, renames []rename) error {
	for i, r := range renames {
		err := db.Client().Database("admin").RunCommand(ctx, bson.D{
			{Key: "renameCollection", Value: db.Name() + "." + r.From}, {Key: "to", Value: db.Name() + "." + r.To},
		}).Err()
		switch {
		case err == nil, mongodb.Gone(err): // it has its name already
		case mongodb.There(err):
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-MG-070", Place: db.Name(), Err: errors.New("a collection " + r.To + " was made while the backup was restored: that of the backup is ready, as are " + strconv.Itoa(len(renames)-i-1) + " behind it"),
				Remedy: "give that collection another name, and restore again: what is ready is put into its place first",
			}
		default:
			return mongodb.Explain(err, "give "+r.To+" its name", db.Name())
		}
	}
	return nil
}

// drop ends it: the next restore need not wait. A restore whose names were being given keeps it, for that has to be finished.
func (l *lease) drop(ctx context.Context, finished bool) error {
	l.stop()
	l.beats.Wait()
	query := l.mine()
	if !finished {
		query = append(query, bson.E{Key: "renames", Value: bson.D{{Key: "$exists", Value: false}}})
	}
	result, err := leases(l.db).DeleteOne(ctx, query)
	if err == nil && result.DeletedCount > 0 {
		err = leases(l.db).Drop(ctx) // who takes it in this moment notices, and gives up
	}
	return mongodb.Explain(err, "let other restores in", l.db.Name())
}
