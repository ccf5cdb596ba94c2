package mysql_test

import (
	"errors"
	"testing"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Where nothing tells when rows were changed it is said so that who asks can sweep instead.
func TestRowsSinceATime(t *testing.T) {
	t.Parallel()
	database := server.Database(t, "CREATE TABLE timed (id int PRIMARY KEY, updated_at timestamp(6) NOT NULL)", "CREATE TABLE local (id int PRIMARY KEY, updated_at datetime NOT NULL)",
		"CREATE TABLE plain (id int PRIMARY KEY, updated_at varchar(20))", "SET time_zone = '+00:00'", "INSERT INTO timed VALUES (1, '2026-01-01'), (2, '2026-01-02'), (3, '2026-01-03')")
	s := open(t, settings(database), newNotes())
	since := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	rows := 0
	err := s.ScanSince(t.Context(), "timed", since, func(b *record.Batch) error {
		rows += b.Rows
		return nil
	})
	if err != nil || rows != 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
	for _, stream := range []string{"plain", "local"} {
		err := s.ScanSince(t.Context(), stream, since, func(*record.Batch) error { return errors.New("it gives rows") })
		if !errors.Is(err, sources.ErrNoTimes) {
			t.Errorf("%s: %v", stream, err)
		}
	}
}
