package cli

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

// cloud is an emulator of AWS, with a bucket. What it says of the time can be moved on, what it has said of objects not.
type cloud struct {
	*awstest.Server
	bucket, endpoint string
	ahead            atomic.Int64 // nanoseconds
	gone             atomic.Bool  // it refuses everything
}

func startCloud(t *testing.T) *cloud {
	t.Helper()
	s, err := awstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	c := &cloud{Server: s, bucket: blobtest.Bucket(t, s.Settings)}
	to, err := url.Parse(s.Settings.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	before := httptest.NewServer(&httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // of those who were killed
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if c.gone.Load() {
				r.StatusCode = http.StatusForbidden
			}
			r.Header.Set("Date", time.Now().Add(time.Duration(c.ahead.Load())).UTC().Format(http.TimeFormat))
			return nil
		},
	})
	t.Cleanup(before.Close)
	c.endpoint = before.URL
	return c
}

// kept is where backups are kept in a folder of it, with what reaches it.
func (c *cloud) kept(folder string) string {
	return fmt.Sprintf("s3://%s/%s, sse: s3, aws: { region: %s, endpoint: %q }", c.bucket, folder, c.Settings.Region, c.endpoint)
}

// later does something two minutes later, when what died is taken for dead.
func (c *cloud) later(do func()) {
	c.ahead.Store(int64(2 * time.Minute))
	do()
	c.ahead.Store(0)
}

// objects gives the files of rows there are in the bucket.
func (r *backupRun) objects() (out []string) {
	r.t.Helper()
	all, err := r.bucket.Walk(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range all {
		if path.Ext(f.Name) == ".parquet" {
			out = append(out, f.Name)
		}
	}
	return out
}

// TestBackupInS3IsKilled kills backups into a bucket at each point: the next one is right, whoever is dead is waited for no longer than a
// minute, and then what was left goes.
func TestBackupInS3IsKilled(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	settings := blob.S3Settings{AWS: c.Settings, SSE: "s3"}
	settings.AWS.Endpoint = c.endpoint
	r := newBackupRunAt(t, c.kept("kept"))
	var err error
	if r.bucket, err = blob.OpenS3(t.Context(), "s3://"+c.bucket+"/kept", settings); err != nil {
		t.Fatal(err)
	}
	r.must("create", r.file)
	for _, at := range []string{backup.AfterSnapshot + ":1", backup.AfterFile + ":1", backup.BeforeManifest + ":1"} {
		r.dies(at, "create", r.file)
		if left := len(r.files()); at != backup.AfterSnapshot+":1" && left < 3 {
			t.Errorf("%s: nothing was left to sweep", at)
		}
		r.must("create", r.file)
		if out := r.must("prune", r.file, "--json"); !strings.Contains(out, `"swept": []`) {
			t.Errorf("%s: swept what may be one that is being made: %s", at, out)
		}
		c.later(func() { r.whole(at, 1) })
	}
	r.dies(backup.AfterManifest+":1", "create", r.file)
	c.later(func() { r.whole(backup.AfterManifest, 2) })
	for _, at := range []string{backup.AfterForget + ":1", backup.AfterRemove + ":1"} {
		r.must("create", r.file)
		r.dies(at, "prune", r.file)
		c.later(func() { r.whole(at, 1) })
	}
	if left, err := r.bucket.Leftovers(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("uploads are left: %v, %v", left, err)
	}
	r.must("restore", "-f", r.file, "--into", "copy")
	r.same()
	if code, out := r.run(order{}, "verify", "-f", r.file, "--source", "copy"); code != exitUsage || !strings.Contains(out, "ACQ-BACKUP-002") || !strings.Contains(out, "s3://"+c.bucket) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestBackupInS3IsRestored keeps a database of each kind in a bucket, drops all that it has, and restores it: it is what it was.
func TestBackupInS3IsRestored(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	for kind, start := range map[string]func(t *testing.T, place string) (r *backupRun, drop func()){
		"postgresql": func(t *testing.T, place string) (*backupRun, func()) {
			t.Helper()
			r := newBackupRunAt(t, place)
			return r, func() {
				if err := runSQL(r.shop, "drop table lines, orders, moods; drop type mood"); err != nil {
					t.Fatal(err)
				}
			}
		},
		"mysql": func(t *testing.T, place string) (*backupRun, func()) {
			t.Helper()
			s, shop := newMariaShop(t)
			return newEngineRun(t, "mysql", place, "type: mysql, dsn: "+s.DSN(shop), "type: mysql, dsn: "+s.DSN(s.Database(t))),
				func() { s.Exec(t, shop, "DROP TABLE parts, orders") }
		},
		"mongodb": func(t *testing.T, place string) (*backupRun, func()) {
			t.Helper()
			s, shop := newMongoShop(t)
			settings := func(database string) string {
				return fmt.Sprintf("type: mongodb, uri: %q, database: %s", s.URI, database)
			}
			return newEngineRun(t, "mongodb", place, settings(shop.Name()), settings(s.Database(t).Name())), func() {
				if err := shop.Drop(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r, drop := start(t, c.kept(kind))
			r.must("create", r.file, "--json")
			if out := r.must("list", r.file, "--source-db", kind); !strings.Contains(out, kind) {
				t.Errorf("listed is %s", out)
			}
			drop()
			if code, out := r.run(order{}, "verify", "-f", r.file, "--source", "shop", "--against-source"); code != exitDifferent || !strings.Contains(out, "GONE") {
				t.Errorf("of an empty database it says %d: %s", code, out)
			}
			r.must("restore", "-f", r.file, "--source", "shop")
			r.must("verify", "-f", r.file, "--source", "shop", "--against-source")
			if code, out := r.run(order{}, "restore", "-f", r.file, "--source", "shop"); code != exitUsage {
				t.Errorf("a second time it says %d: %s", code, out)
			}
		})
	}
}
