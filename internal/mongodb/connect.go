// Package mongodb reads MongoDB: connections, collections, and documents as columns of batches.
//
// Only this package and the plugin of MongoDB import its driver.
package mongodb

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/acequia-io/acequia/fault"
)

const (
	// connectTimeout is how long a server may take to be found and to take a connection.
	connectTimeout = 3 * time.Second
	// closeTimeout is how long it may take to hear that connections end.
	closeTimeout = 2 * time.Second
)

// Options say how to connect.
type Options struct {
	URI         string // mongodb:// or mongodb+srv://
	Database    string
	Application string // appName
	Connections uint64 // at most; 0 is the driver's 100
}

// Database is a database of a server, whose connections are the driver's.
type Database struct{ *mongo.Database }

// Open makes a database. Nothing is connected to before it is asked something. All reads go to the primary, and see what a majority
// has, so that no failover takes back what was read.
func Open(o Options) (*Database, error) {
	settings := options.Client().ApplyURI(o.URI)
	if err := settings.Validate(); err != nil || o.URI == "" { // the driver's error may show the password
		return nil, &fault.Error{
			Class: fault.Fatal, Code: codeURI, Place: "uri", Err: errors.New("it is no connection string such as mongodb://user:password@host:27017/?authSource=admin"),
			Remedy: "characters such as @ : / in a password are written %40 %3A %2F",
		}
	}
	settings.SetAppName(o.Application).SetConnectTimeout(connectTimeout).SetServerSelectionTimeout(connectTimeout).
		SetReadPreference(readpref.Primary()).SetReadConcern(readconcern.Majority())
	if o.Connections > 0 {
		settings.SetMaxPoolSize(o.Connections)
	}
	client, err := mongo.Connect(settings)
	if err != nil {
		return nil, Explain(err, "connect", o.Database)
	}
	return &Database{client.Database(o.Database)}, nil
}

// Close ends the connections.
func (d *Database) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := d.Client().Disconnect(ctx); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
		return fault.Retry(err)
	}
	return nil
}

// Server is what a server says of itself.
type Server struct {
	ReplicaSet string         // "": it stands alone, and keeps no log
	Sharded    bool           // it is a mongos
	Clock      time.Time      // its own
	Operation  bson.Timestamp // the logical time of the last operation that it knows; zero where there is no log
}

// Logged says whether the server keeps a log, which change streams read.
func (s Server) Logged() bool { return s.ReplicaSet != "" || s.Sharded }

// Inspect asks the server what it is.
func (d *Database) Inspect(ctx context.Context) (Server, error) {
	var out struct {
		SetName       string         `bson:"setName"`
		Msg           string         `bson:"msg"`
		LocalTime     time.Time      `bson:"localTime"`
		OperationTime bson.Timestamp `bson:"operationTime"`
	}
	if err := d.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&out); err != nil {
		return Server{}, Explain(err, "ask the server what it is", d.Name())
	}
	return Server{out.SetName, out.Msg == "isdbgrid", out.LocalTime, out.OperationTime}, nil
}

// Version is that of the server.
func (d *Database) Version(ctx context.Context) (string, error) {
	var out struct{ Version string }
	err := d.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&out)
	return out.Version, Explain(err, "ask the server for its version", d.Name())
}
