// Package blobtest is a server in this process that speaks the part of S3's protocol that internal/blob uses. It holds to what
// emulators do not (sizes of parts, checksums, conditions, pages, owners, rights) and fails on request.
package blobtest

import (
	"crypto/md5" //nolint:gosec // S3's tags are made so
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/blob"
)

// The operations, as Fault and Count name them.
const (
	List     = "ListObjectsV2"
	Uploads  = "ListMultipartUploads"
	Head     = "HeadObject"
	Get      = "GetObject"
	Put      = "PutObject"
	Delete   = "DeleteObjects"
	Create   = "CreateMultipartUpload"
	Part     = "UploadPart"
	Parts    = "ListParts"
	Complete = "CompleteMultipartUpload"
	Abort    = "AbortMultipartUpload"
)

// Account is that of the bucket.
const Account = "123456789012"

// Server has one bucket, named bucket.
type Server struct {
	URL string

	mu      sync.Mutex
	now     func() time.Time
	page    int // of lists
	hollow  bool
	objects map[string]*Object
	uploads map[string]*upload
	serial  int
	faults  []*Fault
	denied  map[string]bool // operations
	count   map[string]int
}

// Object is one in the bucket.
type Object struct {
	Body     []byte
	Metadata map[string]string
	SSE, Key string // encryption, and the key of KMS
	tag      string
	size     int
	modified time.Time
}

type upload struct {
	key, id string
	number  int
	object  Object
	parts   map[int]part
}

type part struct {
	body []byte
	size int
	tag  string
}

// Fault makes requests fail.
type Fault struct {
	Op     string
	Skip   int    // requests that go well before
	Times  int    // requests that fail; 0: all
	Status int    // of the answer; 0: the connection is cut
	Code   string // of the error
	Done   bool   // what was asked for is done, and only the answer is lost
	Delay  time.Duration
	Do     func() // called first, or, with Done, when it is done
	Pass   bool   // then it goes well
}

// New starts a server that ends with the test, and gives this process credentials, which it takes as they are.
func New(t testing.TB) *Server {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil { //nolint:usetesting // parallel tests may not, and all set the same
			t.Fatal(err)
		}
	}
	s := &Server{now: time.Now, page: 1000, objects: map[string]*Object{}, uploads: map[string]*upload{}, denied: map[string]bool{}, count: map[string]int{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// Settings reach the server.
func (s *Server) Settings() blob.S3Settings {
	return blob.S3Settings{AWS: awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL}}
}

// Break adds a fault.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend takes all faults away.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Deny refuses operations for want of rights.
func (s *Server) Deny(ops ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		s.denied[op] = true
	}
}

// Page makes lists come in pages of so many.
func (s *Server) Page(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// Hollow keeps only the sizes of objects: a benchmark writes many.
func (s *Server) Hollow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hollow = true
}

// Later moves the server's clock on.
func (s *Server) Later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	s.now = func() time.Time { return now().Add(d) }
}

// Count says how many requests of an operation came.
func (s *Server) Count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[op]
}

// Names gives the keys of the objects below a prefix.
func (s *Server) Names(prefix string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names
}

// Object gives one, or nil.
func (s *Server) Object(key string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// Store puts an object there behind everybody's back.
func (s *Server) Store(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(key, Object{Body: body})
}

// Remove takes an object away behind everybody's back.
func (s *Server) Remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

// Staged counts the uploads that are not completed.
func (s *Server) Staged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Lose removes the uploads of a key behind everybody's back.
func (s *Server) Lose(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.uploads {
		if u.key == key {
			delete(s.uploads, id)
		}
	}
}

// LosePart removes a part of the uploads of a key.
func (s *Server) LosePart(key string, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		if u.key == key {
			delete(u.parts, number)
		}
	}
}

func (s *Server) store(key string, o Object) *Object {
	if o.tag == "" {
		o.tag = tagOf(o.Body)
	}
	o.size = max(o.size, len(o.Body))
	o.modified = s.now().UTC()
	s.objects[key] = &o
	return &o
}

func tagOf(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // as above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := request{Server: s, r: r, w: w}
	q.read()
	s.mu.Lock()
	s.count[q.op]++
	fault := s.strike(q.op)
	s.mu.Unlock()
	if fault == nil {
		q.serve()
		return
	}
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	if fault.Done {
		q.w = httptest.NewRecorder()
		q.serve()
		q.w = w
	}
	if fault.Do != nil {
		fault.Do()
	}
	switch {
	case fault.Pass, fault.Status == 0 && fault.Delay > 0:
		q.serve()
	case fault.Status == 0:
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
	default:
		q.fail(fault.Status, fault.Code)
	}
}

// strike gives the fault that a request meets.
func (s *Server) strike(op string) *Fault {
	for i, f := range s.faults {
		switch {
		case f.Op != op:
			continue
		case f.Skip > 0:
			f.Skip--
			continue
		case f.Times == 1:
			s.faults = slices.Delete(s.faults, i, i+1)
		case f.Times > 1:
			f.Times--
		}
		return f
	}
	return nil
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
