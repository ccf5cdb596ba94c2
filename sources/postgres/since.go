package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Since = (*Source)(nil)

// ScanSince reads the rows whose column of times, that of strategy time, is not before a moment. A transaction that is under way may still
// write an earlier one.
func (s *Source) ScanSince(ctx context.Context, stream string, since time.Time, each func(*record.Batch) error) error {
	return s.asked(ctx, stream, func(t *postgres.Table, layout *postgres.Layout) (string, []string, error) {
		name := s.config.Capture.Column
		refuse := func(reason, remedy string) error {
			return &fault.Error{Class: fault.Fatal, Code: "ACQ-PG-045", Place: stream, Err: fmt.Errorf("%s: %w", reason, sources.ErrNoTimes), Remedy: remedy}
		}
		switch column := t.Column(name); {
		case column == nil || column.TypeName != withZone && column.TypeName != withoutZone:
			return "", nil, refuse(fmt.Sprintf("it has no column %s of times", name),
				"name the column with capture.column, or read the whole table")
		case column.TypeName == withoutZone && s.config.Capture.Zone == "":
			return "", nil, refuse(fmt.Sprintf("the times of column %s have no zone", name), "say it with capture.zone")
		default:
			return fmt.Sprintf("select %s from %s where %s.%s >= $1%s", layout.Select(), from(t), quoted(t.Name), quoted(name), s.momentCast(column)),
				[]string{since.UTC().Format(time.RFC3339Nano)}, nil
		}
	}, each)
}

// momentCast makes of a parameter, which is the text of a moment, what a column of times is compared with.
func (s *Source) momentCast(column *postgres.Column) string {
	if column.TypeName != withoutZone {
		return "::timestamptz"
	}
	zone := strings.Replace(s.config.Capture.Zone, "UTC", "+00:00", 1)
	return "::timestamptz AT TIME ZONE INTERVAL '" + zone + "'" // as a name, +02:00 would be west of Greenwich
}
