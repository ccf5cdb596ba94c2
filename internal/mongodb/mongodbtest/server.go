// Package mongodbtest runs a private server of MongoDB's wire protocol for the tests of a package: FerretDB v1 over SQLite. It has no
// replica sets, change streams, transactions, $sample and Decimal128; ACEQUIA_TEST_MONGODB_URI names a server that has.
package mongodbtest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/acequia-io/acequia/internal/servertest"
)

// Server is one that listens on 127.0.0.1 alone.
type Server struct {
	*servertest.Server
	URI string

	made atomic.Int32
}

// Start starts a server whose data are in a temporary folder. Without FerretDB it fails and says how to get it.
func Start() (*Server, error) {
	program, err := servertest.Cached("ferretdb", "ferretdb")
	if err != nil {
		return nil, err
	}
	s, err := servertest.Start(program, func(s *servertest.Server) []string { return []string{s.Address, s.Dir} })
	if err != nil {
		return nil, err
	}
	return &Server{Server: s, URI: "mongodb://" + s.Address + "/"}, nil
}

// Main runs the tests of a package beside one server, for TestMain. It gives the exit code.
func Main(m *testing.M, use func(*Server)) int {
	return servertest.Main(m, func() (io.Closer, error) {
		s, err := Start()
		if err == nil {
			use(s)
		}
		return s, err
	})
}

// patience is how long the server may take to end a session, on a busy machine.
const patience = 60 * time.Second

// Database gives a database of a test's own. It goes with the server.
func (s *Server) Database(tb testing.TB) *mongo.Database {
	tb.Helper()
	return Connect(tb, s.URI, fmt.Sprintf("test%d", s.made.Add(1)))
}

// Connect gives a database of a server for the time of a test.
func Connect(tb testing.TB, uri, name string) *mongo.Database {
	tb.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := client.Disconnect(ctx); err != nil {
			tb.Error(err)
		}
	})
	return client.Database(name)
}

// Insert puts documents into a collection.
func Insert(tb testing.TB, c *mongo.Collection, docs ...bson.D) {
	tb.Helper()
	for len(docs) > 0 {
		n := min(len(docs), 10_000)
		if _, err := c.InsertMany(tb.Context(), docs[:n]); err != nil {
			tb.Fatal(err)
		}
		docs = docs[n:]
	}
}

// InsertJSON puts documents into a collection, of which each is a line of Extended JSON.
func InsertJSON(tb testing.TB, c *mongo.Collection, lines string) {
	tb.Helper()
	var docs []bson.D
	for line := range strings.Lines(lines) {
		var doc bson.D
		if err := bson.UnmarshalExtJSON([]byte(line), false, &doc); err != nil {
			tb.Fatalf("%s: %v", line, err)
		}
		docs = append(docs, doc)
	}
	Insert(tb, c, docs...)
}
