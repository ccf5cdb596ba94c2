// Package parquet writes columns of records as Parquet files.
package parquet

import (
	"errors"
	"io"

	"github.com/acequia-io/acequia/record"
)

var errUnfinished = errors.New("not written yet")

// Options of a writer. The zero value is good.
type Options struct {
	PageRows      int  // rows of a page; 20,000
	PageBytes     int  // bytes of a page before compression; 256 KiB
	DictBytes     int  // bytes of a dictionary before the column leaves it; 1 MiB
	RowGroupBytes int  // bytes of encoded pages in a row group; 32 MiB
	RowGroupRows  int  // 1,000,000
	Workers       int  // goroutines that encode columns; 1
	Plain         bool // PLAIN and zstd for every column: for readers that know no other encoding
}

// KeyValue is an entry of the file's own metadata.
type KeyValue struct{ Key, Value string }

// Writer writes one file. It is used by one goroutine.
type Writer struct{ err error }

// NewWriter makes a writer of columns that fit fields. The plan is shared by all files of a table.
func NewWriter(out io.Writer, fields []record.Field, plan *Plan, o Options) *Writer {
	return &Writer{err: errUnfinished}
}

// Write takes rows [lo,hi) of the columns.
func (w *Writer) Write(columns []record.Column, lo, hi int) error { return w.err }

// Close ends the file; it does not close the output.
func (w *Writer) Close(meta ...KeyValue) error { return w.err }

// Reset makes the writer ready for another file of the same fields; memory is kept.
func (w *Writer) Reset(out io.Writer) {}

// Held is the memory that the writer holds, in bytes.
func (w *Writer) Held() int { return 0 }

// Rows counts the rows taken since the start of the file.
func (w *Writer) Rows() int64 { return 0 }

// Written is the size of the file so far: the bytes given to the output and an estimate of those still held.
func (w *Writer) Written() int64 { return 0 }
