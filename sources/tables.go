package sources

import (
	"context"
	"errors"
	"time"

	"github.com/acequia-io/acequia/record"
)

// Tables is a source that can read its streams as they stand, beside its lanes: what verify, sweep and sync ask.
type Tables interface {
	// Streams gives what can be read, with the columns as they are now.
	Streams(ctx context.Context) ([]Stream, error)
	// Split cuts the keys of a stream into consecutive parts of about rows records each, by quantiles. The first part has no
	// lower bound and the last no upper one. What has no key, or keys whose order the database and acequia see differently
	// (texts under a collation), is one part.
	Split(ctx context.Context, stream string, rows int) ([]KeyRange, error)
	// Scan reads the records of a part as they are now, in one snapshot, in the order of their keys where it has bounds. A
	// batch is the callee's during the call. Versions are those of a read of the stream as it stood.
	Scan(ctx context.Context, stream string, part KeyRange, each func(*record.Batch) error) error
	// Lookup reads the records with the given keys as they are now; a key without a record is left out. keys has the key's
	// columns, in key order.
	Lookup(ctx context.Context, stream string, keys *record.Batch, each func(*record.Batch) error) error
}

// Stream is a table or collection as it is now.
type Stream struct {
	Schema *record.Schema
	Rows   int64 // estimated; -1: not known
	Bytes  int64 // that the source stores of it, without indexes; estimated; 0: not known
}

// KeyRange is the records whose keys are above After and not above UpTo, each one value a column of the key; nil: no bound.
type KeyRange struct {
	After, UpTo []KeyValue
}

// KeyValue is a value of a key's column, held as record.Column holds its kind.
type KeyValue struct {
	Int  int64
	Wide record.Int128
	Text string
}

// ErrNoTimes is of a stream without such a column, or of one whose times have no zone.
var ErrNoTimes = errors.New("nothing tells when its rows were changed")

// Since is a Tables whose streams have a column that tells when a record was last changed.
type Since interface {
	// ScanSince reads the records, as Scan does, whose column says that they were changed at a time or after it. What the column does
	// not tell, such as deletes, is not seen. ErrNoTimes: nothing tells.
	ScanSince(ctx context.Context, stream string, since time.Time, each func(*record.Batch) error) error
}

// Marker is a Tables that tells records which are found to be gone from those that are not read yet.
type Marker interface {
	// Mark gives what the records of a read that begins now have beside their fields: versions, one for all, and times. A key
	// that such a read does not find is deleted with it.
	Mark(ctx context.Context, stream string) (record.System, error)
}
