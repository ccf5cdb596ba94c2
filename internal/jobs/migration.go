package jobs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
)

// What became of a migration.
const (
	MigrationSuccess = "SUCCESS" // every table was read, and has no dead letters
	MigrationPartial = "PARTIAL"
	MigrationFailed  = "FAILED" // nothing was read
)

// Migration is the report of a migration. The first four keys are those that readers of the reports have always had.
type Migration struct {
	Timestamp time.Time                   `json:"migration_timestamp"` // when it began, UTC, in whole seconds
	Counts    map[string]map[string]int64 `json:"record_counts"`       // records that are visible in every sink, by database and table
	Total     int64                       `json:"total_records_migrated"`
	Status    string                      `json:"migration_status"`
	Tables    []MigratedTable             `json:"tables"`
	Databases []MigratedDatabase          `json:"databases"`
	Seconds   float64                     `json:"seconds"`
}

// MigratedTable is a table of a migration.
type MigratedTable struct {
	SourceDB    string  `json:"source_db"` // mysql, postgresql, mongodb, or the type of the source
	Table       string  `json:"table"`
	OK          bool    `json:"ok"` // all of it was read
	Rows        int64   `json:"rows"`
	Bytes       int64   `json:"bytes"` // of the records as they were read, in memory
	Seconds     float64 `json:"seconds"`
	Retries     int64   `json:"retries"`
	DeadLetters int64   `json:"dead_letters"`
	Hash        string  `json:"content_hash,omitempty"` // of the rows that the sinks should hold: count, xor and sum of their hashes
	Verify      string  `json:"verify"`                 // equal, different, or not compared
	Reason      string  `json:"reason,omitempty"`       // why it is not ok, or not equal
}

// What verify says of a table. Rows that the database has changed since they were read differ, and are no fault of the migration.
const (
	VerifyEqual     = "equal"
	VerifyDifferent = "different"
	VerifyNone      = "not compared"
)

// MigratedDatabase is a database of a migration.
type MigratedDatabase struct {
	SourceDB string `json:"source_db"`
	Pipeline string `json:"pipeline"`
	OK       bool   `json:"ok"`
	Reason   string `json:"reason,omitempty"`
}

// NewMigration adds tables and databases up.
func NewMigration(began time.Time, databases []MigratedDatabase, tables []MigratedTable) *Migration {
	m := &Migration{
		Timestamp: began.UTC().Truncate(time.Second), Counts: map[string]map[string]int64{}, Tables: tables, Databases: databases, Seconds: Seconds(time.Since(began)),
	}
	whole, some := true, false
	for _, d := range databases {
		whole = whole && d.OK
		if m.Counts[d.SourceDB] == nil {
			m.Counts[d.SourceDB] = map[string]int64{}
		}
	}
	slices.SortFunc(m.Tables, func(a, b MigratedTable) int { return cmp.Or(cmp.Compare(a.SourceDB, b.SourceDB), cmp.Compare(a.Table, b.Table)) })
	for _, t := range m.Tables {
		if m.Counts[t.SourceDB] == nil {
			m.Counts[t.SourceDB] = map[string]int64{}
		}
		m.Counts[t.SourceDB][t.Table] += t.Rows
		m.Total += t.Rows
		whole = whole && t.OK && t.DeadLetters == 0
		some = some || t.OK || t.Rows > 0
	}
	switch {
	case whole:
		m.Status = MigrationSuccess
	case some:
		m.Status = MigrationPartial
	default:
		m.Status = MigrationFailed
	}
	return m
}

// Seconds gives a time to the millisecond.
func Seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// Write puts the report into a folder, in a file of its own that is there as a whole or not at all, and gives its path.
// ACQ-ENV-012: it cannot be written.
func (m *Migration) Write(folder string) (path string, err error) {
	defer func() {
		if err != nil {
			err = &fault.Error{Code: "ACQ-ENV-012", Place: folder, Err: fmt.Errorf("write the report of the migration: %w", err), Remedy: "see that the folder can be written and has space; the migration itself is done"}
		}
	}()
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, ".report-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		path = filepath.Join(folder, "migration_"+m.Timestamp.Format("20060102T150405Z")+suffix(n)+".json")
		if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
}

// suffix tells reports of one second apart.
func suffix(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("-%d", n)
}
