package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

// What became of a migration.
const (
	MigrationSuccess = "SUCCESS" // every table was read, and has no dead letters
	MigrationPartial = "PARTIAL"
	MigrationFailed  = "FAILED" // nothing was read
)

// Migration is the report of a migration. The first four keys are those that readers of these reports have always had.
type Migration struct {
	Timestamp time.Time                   `json:"migration_timestamp"` // when it began, UTC, in whole seconds
	Counts    map[string]map[string]int64 `json:"record_counts"`       // records that are visible in every sink, by database and table
	Total     int64                       `json:"total_records_migrated"`
	Status    string                      `json:"migration_status"`
	Tables    []Table                     `json:"tables"`
	Databases []Database                  `json:"databases"`
	Seconds   float64                     `json:"seconds"`
	Notes     []string                    `json:"notes,omitempty"`
}

// NewMigration adds up what a migration that began then has done.
func NewMigration(began time.Time, r Report) *Migration {
	m := &Migration{
		Timestamp: began.UTC().Truncate(time.Second), Counts: map[string]map[string]int64{}, Tables: r.Tables, Databases: r.Databases, Notes: r.Notes,
		Seconds: Since(began),
	}
	whole, some := true, false
	for _, d := range m.Databases {
		whole = whole && d.State == Succeeded && d.DeadLetters == 0
		if m.Counts[d.SourceDB] == nil {
			m.Counts[d.SourceDB] = map[string]int64{}
		}
	}
	slices.SortFunc(m.Tables, func(a, b Table) int {
		return cmp.Or(cmp.Compare(a.SourceDB, b.SourceDB), cmp.Compare(a.Table, b.Table))
	})
	for _, t := range m.Tables {
		if m.Counts[t.SourceDB] == nil {
			m.Counts[t.SourceDB] = map[string]int64{}
		}
		m.Counts[t.SourceDB][t.Table] += t.Rows
		m.Total += t.Rows
		whole = whole && t.State == Succeeded && t.DeadLetters == 0
		some = some || t.State == Succeeded || t.Rows > 0
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

// Write puts the report into a folder, in a file of its own that is there as a whole or not at all, and gives its path or address.
// ACQ-ENV-012, or one of the codes of AWS: it cannot be written.
func (m *Migration) Write(ctx context.Context, root string, s blob.S3Settings) (path string, err error) {
	defer func() {
		if err != nil && !strings.HasPrefix(fault.Code(err), "ACQ-AWS-") {
			err = &fault.Error{Code: "ACQ-ENV-012", Place: root, Err: fmt.Errorf("write the report of the migration: %w", err), Remedy: "see that the folder can be written and has space; the migration itself is done"}
		}
	}()
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return "", err
	}
	text = append(text, '\n')
	folder, err := blob.OpenAt(ctx, root, s)
	if err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		name := "migration_" + m.Timestamp.Format("20060102T150405Z") + suffix(n) + ".json"
		taken := false
		err := folder.Update(ctx, name, func(old []byte) ([]byte, error) {
			if taken = old != nil; taken {
				return nil, nil
			}
			return text, nil
		})
		if err != nil || !taken {
			return strings.TrimSuffix(folder.Root(), "/") + "/" + name, err
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
