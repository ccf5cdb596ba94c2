package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// writer writes rows of one schema into one file: rows, format, encryption, hash, disk.
type writer struct {
	schema  *record.Schema
	file    *blob.File
	sum     hash.Hash
	secret  io.WriteCloser // nil: it is not encrypted
	out     io.Writer      // what the format writes to
	parquet *parquet.Writer
	zstd    *zstd.Encoder
	line    []byte
	rows    int64
	told    int64 // bytes of the file that progress knows of
}

// rowGroupBytes bounds what a writer holds.
const rowGroupBytes = 16 << 20

// create opens a file for rows like those of a batch. Nothing of it counts before a manifest names it.
func (s *Store) create(ctx context.Context, name string, first *record.Batch) (*writer, error) {
	file, err := blob.Begin(ctx, s.bucket, name)
	if err != nil {
		return nil, kept(err)
	}
	w := &writer{schema: first.Schema, file: file, sum: sha256.New()}
	w.out = io.MultiWriter(file, w.sum)
	if len(s.o.Recipients) > 0 {
		if w.secret, err = age.Encrypt(w.out, s.o.Recipients...); err != nil {
			return nil, errors.Join(kept(fmt.Errorf("encrypt %s: %w", name, err)), file.Close())
		}
		w.out = w.secret
	}
	if s.o.Format == NDJSON {
		w.zstd, err = zstd.NewWriter(w.out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return w, nil
	}
	plan := parquet.Sample(first.Schema.Fields, first.Columns, first.Rows)
	w.parquet = parquet.NewWriter(w.out, first.Schema.Fields, plan, parquet.Options{RowGroupBytes: rowGroupBytes})
	return w, nil
}

// add writes the rows of a batch of the writer's schema.
func (w *writer) add(b *record.Batch) error {
	w.rows += int64(b.Rows)
	if w.parquet != nil {
		if err := w.parquet.Write(b.Columns, 0, b.Rows); err != nil {
			return fmt.Errorf("keep rows of %s: %w", b.Schema.Stream, err)
		}
		return nil
	}
	for row := range b.Rows {
		w.line = append(b.AppendJSON(w.line[:0], row), '\n')
		if _, err := w.zstd.Write(w.line); err != nil {
			return fmt.Errorf("keep rows of %s: %w", b.Schema.Stream, err)
		}
	}
	return nil
}

// close ends the file and makes it durable; in a directory its name is after the folder is synced.
func (w *writer) close(ctx context.Context, in blob.Bucket) (File, error) {
	var err error
	if w.parquet != nil {
		err = w.parquet.Close()
	} else {
		err = w.zstd.Close()
	}
	if err == nil && w.secret != nil {
		err = w.secret.Close()
	}
	if err != nil {
		return File{}, errors.Join(err, w.file.Close())
	}
	out := File{Name: w.file.Name, Rows: w.rows, Bytes: w.file.Bytes, SHA256: hex.EncodeToString(w.sum.Sum(nil))}
	return out, blob.End(ctx, in, w.file)
}

// abandon lets the file go.
func (w *writer) abandon() {
	_ = w.file.Close() // it is removed
	if w.zstd != nil {
		w.zstd.Reset(nil)
	}
}
