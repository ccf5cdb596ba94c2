package mongodb_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// installs gives the commands of a strategy, and runs them when it is asked to.
func (w *world) installs(strategy string, apply bool) (commands []string) {
	w.Helper()
	s := w.open()
	statements, err := s.Install(w.Context(), sources.InstallRequest{Strategy: strategy})
	if err == nil && apply {
		err = s.Apply(w.Context(), statements, nil)
	}
	if err != nil {
		w.Fatal(err)
	}
	for _, one := range statements {
		commands = append(commands, one.SQL)
	}
	return commands
}

// The index that strategy time goes by is printed, made when it is asked for, and taken away again; what its owner made is left.
func TestTheIndexIsInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "auto")
	for _, name := range []string{"films", "indexed"} {
		mongodbtest.Insert(t, w.db.Collection(name), bson.D{{Key: "_id", Value: 1}, {Key: "updatedAt", Value: bson.DateTime(1)}})
	}
	mine := bson.D{{Key: "createIndexes", Value: "indexed"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "updatedAt", Value: 1}}}, {Key: "name", Value: "mine"}}}}}
	if err := w.db.RunCommand(t.Context(), mine).Err(); err != nil {
		t.Fatal(err)
	}
	ready := func() string {
		t.Helper()
		installed, err := w.open().Installed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, one := range installed {
			out = append(out, one.Table+" "+strings.Join(one.Ready, " "))
		}
		return strings.Join(out, ", ")
	}
	if got := ready(); got != "films sweep, indexed time sweep" {
		t.Errorf("before: %s", got)
	}
	const want = `db.runCommand({"createIndexes":"films","indexes":[{"key":{"updatedAt":1,"_id":1},"name":"acequia_updatedAt"}]})`
	if got := strings.Join(w.installs("time", true), "; "); got != want {
		t.Errorf("the commands are %s", got)
	}
	if got := w.installs("time", false); len(got) > 0 {
		t.Errorf("to be installed again: %q", got)
	}
	if got := ready(); got != "films time sweep, indexed time sweep" {
		t.Errorf("after: %s", got)
	}
	s := w.open()
	away, err := s.Uninstall(t.Context(), sources.InstallRequest{})
	if err == nil {
		err = s.Apply(t.Context(), away, nil)
	}
	if err != nil || len(away) != 1 || ready() != "films sweep, indexed time sweep" {
		t.Errorf("%v, %v: %s", away, err, ready())
	}
	for strategy, code := range map[string]string{"log": "ACQ-MG-040", "queue": "ACQ-MG-041"} {
		if _, err := s.Install(t.Context(), sources.InstallRequest{Strategy: strategy}); fault.Code(err) != code {
			t.Errorf("%s: %v", strategy, err)
		}
	}
	if err := s.Apply(t.Context(), []sources.Statement{{SQL: "drop table films"}}, nil); err == nil {
		t.Error("a text that is no command was run")
	}
}

// Pre-images are turned on for strategy log, and the report says when the log forgets what is to be read next: 60 seconds are in it at
// first, and while its stream stands behind, what it waits for goes sooner.
func TestTheLogIsReported(t *testing.T) {
	t.Parallel()
	w, r := logWorld(t)
	r.write(change{kind: "insert", doc: doc("a", 0)}) // at 101
	const want = `db.runCommand({"collMod":"things","changeStreamPreAndPostImages":{"enabled":true}})`
	if got := strings.Join(w.installs("log", true), "; "); got != want {
		t.Errorf("the commands are %s", got)
	}
	if got := w.installs("log", false); len(got) > 0 {
		t.Errorf("to be installed again: %q", got)
	}
	w.equal("things", true)
	s := w.open()
	loss := func() time.Duration {
		t.Helper()
		out, err := s.Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return out.Loss
	}
	if got := loss(); got != (101-logBegins)*time.Second {
		t.Errorf("the log reaches back %s", got)
	}
	for range 20 {
		r.write(change{kind: "update", doc: doc("a", 1)}) // up to 121
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	follow := lanes[len(lanes)-1]
	reader, err := s.Open(t.Context(), follow, w.at[follow.ID])
	if err != nil {
		t.Fatal(err)
	}
	var c record.Chunk
	if c, err = reader.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Release()
	if got := loss(); got <= (101-logBegins)*time.Second || got >= (121-logBegins)*time.Second {
		t.Errorf("the stream has given some of what there is, and the rest is lost in %s", got)
	}
	for err == nil && loss() != (121-logBegins)*time.Second { // it has given all
		if c, err = reader.Read(t.Context()); err == nil {
			c.Release()
		}
	}
	if err := errors.Join(err, reader.Close()); err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	r.failOnce["find"] = 13 // it may not be read
	r.mu.Unlock()
	if got := loss(); got != 0 {
		t.Errorf("nobody may look at the log, and it reaches back %s", got)
	}
}

// Where nothing tells when documents were changed it is said so that who asks can sweep instead.
func TestDocumentsSinceATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sweep")
	mongodbtest.Insert(t, w.db.Collection("timed"), bson.D{{Key: "_id", Value: 1}, {Key: "updatedAt", Value: bson.DateTime(1000)}}, bson.D{{Key: "_id", Value: 2}, {Key: "updatedAt", Value: bson.DateTime(3000)}})
	mongodbtest.Insert(t, w.db.Collection("plain"), bson.D{{Key: "_id", Value: 1}, {Key: "updatedAt", Value: "yesterday"}})
	s, rows := w.open(), 0
	err := s.ScanSince(t.Context(), "timed", time.UnixMilli(2000), func(b *record.Batch) error {
		rows += b.Rows
		return nil
	})
	if err != nil || rows != 1 {
		t.Errorf("%d documents, %v", rows, err)
	}
	if err := s.ScanSince(t.Context(), "plain", time.UnixMilli(2000), func(*record.Batch) error { return nil }); !errors.Is(err, sources.ErrNoTimes) {
		t.Errorf("%v", err)
	}
}
