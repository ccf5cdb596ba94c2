// Package backup keeps databases as they stood at one moment, and makes them again.
//
// A backup is files of rows, <engine>/<table>/<id>-<n>.parquet or .ndjson.zst, and a manifest, <engine>/_backups/<id>.json, which is
// written last: until then a note stands in its place, and there is no backup, whatever files there are. They stand in a directory or in S3,
// which encrypts what it keeps. Files may be encrypted with age too (https://age-encryption.org/v1), the manifest is not: it says what is
// there, and holds no row.
package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/sources"
)

// The codes of what users read.
const (
	codeNone    = "ACQ-BACKUP-002" // there is no such backup
	codeDamaged = "ACQ-BACKUP-003" // a file is missing, or is not what the manifest says
	codeKey     = "ACQ-BACKUP-004" // no key opens it
	codeInUse   = "ACQ-BACKUP-005" // it is being removed, or made
	codeUnread  = "ACQ-BACKUP-006" // the manifest cannot be read
	codeOther   = "ACQ-BACKUP-007" // what was restored is not what was kept
	codeTables  = "ACQ-BACKUP-008" // there is nothing that was asked for
)

// The formats of files.
const (
	Parquet = "parquet"
	NDJSON  = "ndjson"
)

// The points of creating, restoring and pruning, in their order: Options.Probe is called there.
const (
	AfterSnapshot  = "after-snapshot"  // of create
	AfterFile      = "after-file"      // of each file
	BeforeManifest = "before-manifest" //
	AfterManifest  = "after-manifest"  //
	AfterBegin     = "after-begin"     // of restore: the tables are made
	AfterTable     = "after-table"     // of each table
	BeforeFinish   = "before-finish"   // all rows are there, and were compared
	AfterFinish    = "after-finish"    //
	AfterForget    = "after-forget"    // of prune: the manifest is gone
	AfterRemove    = "after-remove"    // of each file
)

// Options of a store.
type Options struct {
	Format     string          // of new backups; Parquet when empty
	Recipients []age.Recipient // who can read new backups; none: they are not encrypted
	Identities []age.Identity  // the keys that open backups
	S3         blob.S3Settings // of a place in S3
	Log        *slog.Logger
	Probe      func(point string) // for tests; may be nil
}

// Store is a folder of backups. It is safe for concurrent use, also by several processes.
type Store struct {
	bucket blob.Bucket
	o      Options
}

// Open opens the folder: a directory, which is made if need be, or s3://bucket/prefix, which is not asked for anything.
func Open(ctx context.Context, root string, o Options) (*Store, error) {
	bucket, err := blob.OpenAt(ctx, root, o.S3)
	if err != nil {
		return nil, kept(err)
	}
	if o.Format == "" {
		o.Format = Parquet
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Probe == nil {
		o.Probe = func(string) {}
	}
	return &Store{bucket: bucket, o: o}, nil
}

// Root is the folder.
func (s *Store) Root() string { return s.bucket.Root() }

// Backup is a database as it was: what a manifest says, without the statements that make its tables again.
type Backup struct {
	ID         string            `json:"id"`        // it begins with the time
	SourceDB   string            `json:"source_db"` // postgresql, mysql or mongodb
	Source     string            `json:"source"`    // its name in the configuration
	Database   string            `json:"database"`
	Server     string            `json:"server"`
	At         time.Time         `json:"at"` // the moment that it shows; not consistent: when reading began
	Ended      time.Time         `json:"ended"`
	Consistent bool              `json:"consistent"`
	Position   map[string]string `json:"position,omitempty"`
	Selection  []string          `json:"selection,omitempty"` // the tables that were asked for; none: all of the source
	Format     string            `json:"format"`
	Encrypted  bool              `json:"encrypted"`
	Rows       int64             `json:"rows"`
	Bytes      int64             `json:"bytes"` // of the files
	Tables     []Table           `json:"tables"`
	NotKept    []string          `json:"not_kept,omitempty"` // what the database has and a restore does not make again
	Seconds    float64           `json:"seconds"`            // that it took
}

// Table is a table of a backup.
type Table struct {
	Name    string   `json:"table_name"`
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	Digest  string   `json:"digest"` // count, xor and sum of the hashes of its rows, in any order
	Key     []string `json:"key,omitempty"`
	Columns []Column `json:"columns"`
	Files   []File   `json:"files"`
}

// Column is a column of a table.
type Column struct {
	Name      string   `json:"name"`
	Type      string   `json:"type,omitempty"` // as the server names it; none: acequia has added it
	Kind      string   `json:"kind"`           // as files have it
	Nullable  bool     `json:"nullable"`       // in files
	Precision int      `json:"precision,omitempty"`
	Scale     int      `json:"scale,omitempty"`
	Fields    []Column `json:"fields,omitempty"`
}

// File is a file of rows.
type File struct {
	Name   string `json:"name"` // from the folder of the backups
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of what is stored
}

// kept says of an error of the file system what it means for backups.
func kept(err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || !strings.HasPrefix(e.Code, "ACQ-LAKE-00") {
		return err
	}
	out := *e
	out.Code = strings.Replace(e.Code, "ACQ-LAKE-00", "ACQ-BACKUP-01", 1)
	out.Remedy = map[string]string{
		"ACQ-BACKUP-011": "free some disk space, or remove old backups: acequia backup prune; nothing of this backup counts",
		"ACQ-BACKUP-012": "give this user the right to write there",
		"ACQ-BACKUP-013": "see why the directory cannot be used",
		"ACQ-BACKUP-014": "move away what stands in the way, or shorten the path",
	}[out.Code]
	return &out
}

// Progress is how far the tables of a backup are. It may be read while they are made.
type Progress struct {
	mu     sync.Mutex
	tables []TableProgress
	index  map[string]int
}

// TableProgress is how far a table is.
type TableProgress struct {
	Table    string `json:"table"`
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`    // of its files
	Expected int64  `json:"expected"` // rows, estimated; -1: not known
	Parts    int    `json:"parts"`    // that are left
	Begun    bool   `json:"begun"`
}

// Tables gives them in the order of the backup.
func (p *Progress) Tables() []TableProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]TableProgress(nil), p.tables...)
}

func (p *Progress) begin(tables []TableProgress) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tables, p.index = tables, map[string]int{}
	for i := range tables {
		p.index[tables[i].Table] = i
	}
}

func (p *Progress) add(table string, rows int, bytes int64, parts int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.tables[p.index[table]]
	t.Begun, t.Rows, t.Bytes, t.Parts = true, t.Rows+int64(rows), t.Bytes+bytes, t.Parts-parts
}

// Database is a database that backups are made of, or restored into.
type Database struct {
	Name   string // in the configuration
	Source sources.Source
}

func (d Database) cannot(what string) error {
	return &fault.Error{
		Code: codeTables, Place: d.Name, Err: fmt.Errorf("its kind of source cannot be %s", what), Remedy: "name a source that is a database",
	}
}
