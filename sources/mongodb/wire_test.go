package mongodb_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// replica plays the primary of a replica set: it speaks OP_MSG with real BSON to the real driver, holds one collection, and keeps a log
// that change streams read, with resume tokens, tokens behind a batch, pre-images, events in fragments, transactions whose events have
// one time, drops that end a stream, and a log that forgets.
//
// It is made from what the manual and the specification of change streams say, not recorded from a server. So the tests with it prove what the
// source makes of such a stream, and that it comes back to the right place after a crash; they do not prove that a server sends it so.
// ACEQUIA_TEST_MONGODB_URI has TestReplicaSet look at that.
type replica struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced with each change
	conns    map[net.Conn]bool
	clock    uint32
	there    bool // the collection
	docs     []bson.D
	log      []*logged
	oldest   int // what is before it in the log was forgotten
	cursors  map[int64]*cursor
	last     int64
	past     bool           // pre-images are on
	old      bool           // it does not know how to split events
	batch    int            // events of a reply
	finds    []bson.Raw     // the commands
	watched  []bson.Raw     // the stages $changeStream
	failOnce map[string]int // by command: the code that the next gets
}

// logged is an event, whose document is looked up when it is read.
type logged struct {
	at      bson.Timestamp
	token   string
	kind    string
	id      any
	inserts bson.D
	before  bson.D
	large   bool
}

// cursor is a change stream that is open.
type cursor struct {
	next  int
	split bool
	past  bool
}

// logBegins is the time of the oldest entry of the log.
const logBegins = 40

func newReplica(t *testing.T) *replica {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{
		listener: l, changed: make(chan struct{}), conns: map[net.Conn]bool{}, clock: 100, there: true, cursors: map[int64]*cursor{}, batch: 3,
		failOnce: map[string]int{},
	}
	r.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			r.mu.Unlock()
			r.serving.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for c := range r.conns {
			_ = c.Close()
		}
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		r.serving.Wait()
	})
	return r
}

func (r *replica) uri() string { return "mongodb://" + r.listener.Addr().String() + "/?replicaSet=rs" }

// The opcodes of the wire protocol: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// serve answers the commands of a connection.
func (r *replica) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		header := make([]byte, 16)
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(header)-16)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		var command bson.Raw
		kind := binary.LittleEndian.Uint32(header[12:])
		if kind == opQuery { // flags, the name of a collection, skip and count
			command = body[4+strings.IndexByte(string(body[4:]), 0)+1+8:]
		} else {
			command = body[5:] // flags, and the kind of the section
		}
		command = command[:binary.LittleEndian.Uint32(command)]
		reply, err := bson.Marshal(r.answer(command))
		if err != nil {
			return
		}
		if _, err := conn.Write(message(kind, binary.LittleEndian.Uint32(header[4:]), reply)); err != nil {
			return
		}
	}
}

func message(kind, to uint32, reply []byte) []byte {
	out := append([]byte(nil), make([]byte, 16)...)
	if kind == opQuery { // flags, cursor, start, count
		out = append(out, make([]byte, 16)...)
		out = binary.LittleEndian.AppendUint32(out, 1)
		binary.LittleEndian.PutUint32(out[12:], opReply)
	} else {
		out = append(out, 0, 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(out[12:], opMsg)
	}
	out = append(out, reply...)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	binary.LittleEndian.PutUint32(out[8:], to)
	return out
}

func failure(code int, name string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: name}}
}

// answer gives the reply to a command, with the times that a replica set tells.
func (r *replica) answer(command bson.Raw) bson.D {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return failure(9, "FailedToParse")
	}
	name := elements[0].Key()
	r.mu.Lock()
	defer r.mu.Unlock()
	if code := r.failOnce[name]; code != 0 {
		delete(r.failOnce, name)
		return failure(code, "asked for")
	}
	reply := r.do(name, command)
	return append(reply, bson.E{Key: "operationTime", Value: bson.Timestamp{T: r.clock, I: 1}},
		bson.E{Key: "$clusterTime", Value: bson.D{{Key: "clusterTime", Value: bson.Timestamp{T: r.clock, I: 1}}}})
}

func (r *replica) do(name string, command bson.Raw) bson.D {
	batch := func(id int64, which string, docs bson.A, more ...bson.E) bson.D {
		c := append(bson.D{{Key: "id", Value: id}, {Key: "ns", Value: "cinema.things"}, {Key: which, Value: docs}}, more...)
		return bson.D{{Key: "cursor", Value: c}, {Key: "ok", Value: 1.0}}
	}
	switch name {
	case "hello", "isMaster", "ismaster":
		return bson.D{
			{Key: "ismaster", Value: true},
			{Key: "isWritablePrimary", Value: true},
			{Key: "helloOk", Value: true},
			{Key: "setName", Value: "rs"},
			{Key: "hosts", Value: bson.A{r.listener.Addr().String()}},
			{Key: "me", Value: r.listener.Addr().String()},
			{Key: "localTime", Value: time.Now()},
			{Key: "minWireVersion", Value: 0},
			{Key: "maxWireVersion", Value: 21},
			{Key: "maxBsonObjectSize", Value: 16 << 20},
			{Key: "maxMessageSizeBytes", Value: 48_000_000},
			{Key: "maxWriteBatchSize", Value: 100_000},
			{Key: "logicalSessionTimeoutMinutes", Value: 30},
			{Key: "ok", Value: 1.0},
		}
	case "listCollections":
		docs := bson.A{}
		if r.there {
			o := bson.D{{Key: "changeStreamPreAndPostImages", Value: bson.D{{Key: "enabled", Value: r.past}}}}
			docs = append(docs, bson.D{{Key: "name", Value: "things"}, {Key: "type", Value: "collection"}, {Key: "options", Value: o}})
		}
		return batch(0, "firstBatch", docs)
	case "listIndexes":
		return batch(0, "firstBatch", bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "_id", Value: 1}}}, {Key: "name", Value: "_id_"}}})
	case "count":
		return bson.D{{Key: "n", Value: len(r.docs)}, {Key: "ok", Value: 1.0}}
	case "collMod":
		r.past, _ = command.Lookup("changeStreamPreAndPostImages", "enabled").BooleanOK()
		return bson.D{{Key: "ok", Value: 1.0}}
	case "find":
		if command.Lookup("find").StringValue() == "oplog.rs" {
			at := bson.Timestamp{T: logBegins, I: 1}
			if command.Lookup("sort", "$natural").AsInt64() < 0 {
				at.T = r.clock
			}
			return batch(0, "firstBatch", bson.A{bson.D{{Key: "ts", Value: at}}})
		}
		r.finds = append(r.finds, slices.Clone(command))
		docs := bson.A{}
		for _, d := range r.docs {
			docs = append(docs, d)
		}
		return batch(0, "firstBatch", docs)
	case "aggregate":
		return r.aggregate(command, batch)
	case "getMore":
		return r.more(command, batch)
	case "buildInfo":
		return bson.D{{Key: "version", Value: "7.0.0"}, {Key: "ok", Value: 1.0}}
	case "killCursors", "endSessions", "ping":
		return bson.D{{Key: "ok", Value: 1.0}}
	}
	return failure(59, "CommandNotFound")
}

// aggregate samples, or opens a change stream.
func (r *replica) aggregate(command bson.Raw, batch func(int64, string, bson.A, ...bson.E) bson.D) bson.D {
	stages, err := command.Lookup("pipeline").Array().Values()
	if err != nil || len(stages) == 0 {
		return failure(9, "FailedToParse")
	}
	watch, ok := stages[0].Document().Lookup("$changeStream").DocumentOK()
	if !ok {
		docs := bson.A{}
		for _, d := range r.docs {
			docs = append(docs, d)
		}
		return batch(0, "firstBatch", docs)
	}
	if r.old && len(stages) > 1 {
		return failure(40324, "Location40324")
	}
	r.watched = append(r.watched, slices.Clone(watch))
	c := &cursor{next: len(r.log), split: len(stages) > 1}
	_, hasPast := watch.Lookup("fullDocumentBeforeChange").StringValueOK()
	c.past = hasPast && r.past
	resume, resumes := watch.Lookup("resumeAfter", "_data").StringValueOK()
	start, starts := watch.Lookup("startAfter", "_data").StringValueOK()
	t, i, timed := watch.Lookup("startAtOperationTime").TimestampOK()
	begin := fmt.Sprintf("82%08X%08X", t, i)
	switch {
	case resumes || starts:
		token := max(resume, start)
		c.next = slices.IndexFunc(r.log, func(l *logged) bool { return l.token > token })
		if at := slices.IndexFunc(r.log, func(l *logged) bool { return l.token == token }); resumes && at >= 0 && r.log[at].kind == "invalidate" {
			return failure(260, "InvalidResumeToken")
		}
		begin = token
	case timed:
		c.next = slices.IndexFunc(r.log, func(l *logged) bool { return l.token >= begin })
	}
	if c.next < 0 {
		c.next = len(r.log)
	}
	if r.oldest > 0 && begin < r.log[r.oldest-1].token && (resumes || starts || timed) {
		return failure(286, "ChangeStreamHistoryLost")
	}
	r.last++
	r.cursors[r.last] = c
	return batch(r.last, "firstBatch", bson.A{}, bson.E{Key: "postBatchResumeToken", Value: bson.D{{Key: "_data", Value: r.tokenBefore(c.next)}}})
}

// tokenBefore is where a stream stands whose next event is the n-th.
func (r *replica) tokenBefore(n int) string {
	if n == len(r.log) {
		return fmt.Sprintf("82%08X%08XFF", r.clock, 1)
	}
	if n == 0 {
		return "8200"
	}
	return r.log[n-1].token
}

// more gives the next events of a stream, and waits for some.
func (r *replica) more(command bson.Raw, batch func(int64, string, bson.A, ...bson.E) bson.D) bson.D {
	id := command.Lookup("getMore").AsInt64()
	wait, _ := command.Lookup("maxTimeMS").AsInt64OK()
	late := time.NewTimer(time.Duration(wait) * time.Millisecond)
	defer late.Stop()
	c := r.cursors[id]
	if c == nil {
		return failure(43, "CursorNotFound")
	}
	if c.next == len(r.log) {
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-late.C:
		}
		r.mu.Lock()
	}
	docs := bson.A{}
	for len(docs) < r.batch && c.next < len(r.log) {
		l := r.log[c.next]
		if c.next++; l.large && !c.split {
			return failure(10334, "BSONObjectTooLarge")
		}
		docs = append(docs, r.event(l, c)...)
		if l.kind == "invalidate" {
			delete(r.cursors, id)
			id = 0
			break
		}
	}
	return batch(id, "nextBatch", docs, bson.E{Key: "postBatchResumeToken", Value: bson.D{{Key: "_data", Value: r.tokenBefore(c.next)}}})
}

// event makes the document of an event, or its fragments.
func (r *replica) event(l *logged, c *cursor) bson.A {
	token := func(suffix string) bson.E {
		return bson.E{Key: "_id", Value: bson.D{{Key: "_data", Value: l.token + suffix}}}
	}
	head := bson.D{{Key: "operationType", Value: l.kind}, {Key: "clusterTime", Value: l.at}, {Key: "wallTime", Value: time.Unix(int64(l.at.T), 0)}}
	if l.kind == "drop" || l.kind == "invalidate" || l.kind == "rename" {
		return bson.A{append(bson.D{token("")}, head...)}
	}
	head = append(head, bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: l.id}}})
	var full any = l.inserts
	if l.kind == "update" { // as it is now
		full = nil
		if i := r.find(l.id); i >= 0 {
			full = r.docs[i]
		}
	}
	tail := bson.D{}
	if l.kind != "delete" {
		tail = append(tail, bson.E{Key: "fullDocument", Value: full})
	}
	if c.past && l.before != nil {
		tail = append(tail, bson.E{Key: "fullDocumentBeforeChange", Value: l.before})
	}
	if !l.large {
		return bson.A{append(append(bson.D{token("")}, head...), tail...)}
	}
	split := func(n int) bson.E {
		return bson.E{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: int32(n)}, {Key: "of", Value: int32(2)}}}
	}
	return bson.A{append(bson.D{token(""), split(1)}, head...), append(bson.D{token("01"), split(2)}, tail...)}
}

func (r *replica) find(id any) int {
	return slices.IndexFunc(r.docs, func(d bson.D) bool { return d[0].Value == id })
}

// change is a write.
type change struct {
	kind  string // insert, update, delete, drop, rename
	doc   bson.D
	large bool
}

// write makes changes: those of one call are a transaction, whose events have one time.
func (r *replica) write(changes ...change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	for n, c := range changes {
		l := &logged{at: bson.Timestamp{T: r.clock, I: 1}, token: fmt.Sprintf("82%08X%08X%02X", r.clock, 1, n), kind: c.kind, large: c.large}
		if len(c.doc) > 0 {
			l.id = c.doc[0].Value
			if i := r.find(l.id); i >= 0 {
				l.before = r.docs[i]
				r.docs = slices.Delete(r.docs, i, i+1)
			}
		}
		switch c.kind {
		case "insert", "update":
			l.inserts = c.doc
			r.docs = append(r.docs, c.doc)
		case "drop", "rename":
			r.docs, r.there = nil, false
		}
		r.log = append(r.log, l)
		if c.kind == "drop" || c.kind == "rename" {
			r.log = append(r.log, &logged{at: l.at, token: l.token + "A0", kind: "invalidate"})
		}
		r.there = r.there || c.kind == "insert"
	}
	close(r.changed)
	r.changed = make(chan struct{})
}
