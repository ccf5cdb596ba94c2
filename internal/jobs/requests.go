package jobs

import (
	"strconv"
	"strings"
	"time"
)

// The kinds of jobs.
const (
	KindMigrate = "migrate"
	KindSync    = "sync"
	KindBackup  = "backup"
)

// MigrateRequest says what a migration reads: every table of the pipelines that read databases, as it stands.
type MigrateRequest struct {
	Only   []string `json:"only,omitempty" nullable:"false" maxItems:"100" doc:"Only these: mysql, postgresql, mongodb, a source or a pipeline by its name."`
	Tables []string `json:"tables,omitempty" nullable:"false" maxItems:"1000" doc:"Only these tables of them: patterns as tables: of the source has them."`
}

// SyncRequest says what a sync reads. Without a time it goes on from the checkpoint.
type SyncRequest struct {
	Table    string     `json:"table,omitempty" doc:"none: all tables"`
	SourceDB string     `json:"source_db,omitempty"`
	Since    *time.Time `json:"last_sync_time,omitempty"`
}

// BackupRequest says what is kept: every database that pipelines read, each as it stands at one moment.
type BackupRequest struct {
	Only   []string `json:"only,omitempty" nullable:"false" maxItems:"100" doc:"Only these: mysql, postgresql, mongodb, a source or a pipeline by its name."`
	Tables []string `json:"tables,omitempty" nullable:"false" maxItems:"1000" doc:"Only these tables of them: patterns as tables: of the source has them."`
	Format string   `json:"format,omitempty" enum:"parquet,ndjson" doc:"Default: that of the configuration."`
	Prune  bool     `json:"prune,omitempty" doc:"Then remove the backups that the rules of the configuration do not keep."`
}

// UnknownError is of a name that nothing has.
type UnknownError struct {
	Name, Near string   // Near is what was probably meant; "": nothing
	Known      []string // all there are
}

// Error says it.
func (e *UnknownError) Error() string { return "there is no table " + strconv.Quote(e.Name) }

// AmbiguousError is of a name that several databases have.
type AmbiguousError struct {
	Name string
	In   []string // "mysql: rooms"
}

// Error says it.
func (e *AmbiguousError) Error() string {
	return "several databases have a table " + strconv.Quote(e.Name) + ": " + strings.Join(e.In, ", ")
}
