package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

const (
	// batchRows is how many rows are read at a time.
	batchRows = 8192
	// maxZstdWindow bounds what a file can ask for.
	maxZstdWindow = 64 << 20
)

// rows reads a table of a backup, file after file. It is for one goroutine; a batch is valid until the next.
type rows struct {
	store  *Store
	m      *manifest
	schema *record.Schema
	files  []File
	open   rowFile // nil: the next file is to be opened
	name   string  // of the open file
	left   int64   // rows of it that are still to come
	check  bool    // each file as a whole, before its rows are given
}

// rowFile is a file of rows that is open.
type rowFile interface {
	next() (*record.Batch, error) // io.EOF: the end
	Close() error
}

func (s *Store) rows(m *manifest, t *Table) (*rows, error) {
	schema, err := t.schema()
	if err != nil {
		return nil, &fault.Error{Code: codeUnread, Place: m.ID, Err: err}
	}
	return &rows{store: s, m: m, schema: schema, files: t.Files}, nil
}

// damaged says that a file is not what was written.
func damaged(name string, err error) error {
	return &fault.Error{
		Code: codeDamaged, Place: name, Err: err, Remedy: "take it from a copy of the folder, or use another backup: acequia backup list",
	}
}

// next gives the next rows; io.EOF after the last. After an error and Close it goes on with the next file.
func (r *rows) next(ctx context.Context) (*record.Batch, error) {
	for {
		if r.open == nil {
			if len(r.files) == 0 {
				return nil, io.EOF
			}
			f := r.files[0]
			r.files = r.files[1:]
			r.name, r.left = f.Name, f.Rows
			var err error
			if r.open, err = r.openFile(ctx, &f); err != nil {
				r.open = nil
				return nil, err
			}
		}
		b, err := r.open.next()
		if err == nil {
			r.left -= int64(b.Rows)
			return b, nil
		}
		if !errors.Is(err, io.EOF) {
			return nil, damaged(r.name, err)
		}
		if r.left != 0 {
			return nil, damaged(r.name, fmt.Errorf("it has %d rows fewer than the manifest says", r.left))
		}
		err = r.open.Close()
		if r.open = nil; err != nil {
			return nil, damaged(r.name, err)
		}
	}
}

// Close lets the open file go.
func (r *rows) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

// openFile opens a file of rows.
func (r *rows) openFile(ctx context.Context, of *File) (_ rowFile, err error) {
	s, m, schema := r.store, r.m, r.schema
	f, err := blob.Whole(ctx, s.bucket, of.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, damaged(of.Name, err)
	case err != nil:
		return nil, kept(err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the reason is told
		}
	}()
	if f.Size() != of.Bytes {
		return nil, damaged(of.Name, fmt.Errorf("it has %d bytes, and the manifest says %d", f.Size(), of.Bytes))
	}
	if r.check {
		if err := compare(ctx, of, f); err != nil {
			return nil, err
		}
	}
	if m.Format == NDJSON {
		return s.openLines(m, of.Name, f, schema)
	}
	from, size := io.ReaderAt(f), of.Bytes
	if m.Encrypted {
		if from, size, err = age.DecryptReaderAt(f, of.Bytes, s.o.Identities...); err != nil {
			return nil, locked(m, of.Name, err)
		}
	}
	file, err := parquet.Open(from, size)
	if err != nil {
		return nil, damaged(of.Name, err)
	}
	wanted, err := file.Bind(schema.Fields)
	if err != nil {
		return nil, damaged(of.Name, err)
	}
	return &pages{file: f, reader: parquet.NewReader(file, wanted), schema: schema, columns: make([]record.Column, len(wanted))}, nil
}

// locked tells a key that is missing or another one from a file that is damaged.
func locked(m *manifest, name string, err error) error {
	_, other := errors.AsType[*age.NoIdentityMatchError](err)
	if !other && !strings.Contains(err.Error(), "no identities") {
		return damaged(name, err)
	}
	return &fault.Error{
		Code: codeKey, Place: m.ID, Err: fmt.Errorf("it is encrypted for %s, and no key here opens it", strings.Join(m.Recipients, ", ")),
		Remedy: "set backup.encrypt.key to the key of that name (AGE-SECRET-KEY-1...); without it nobody can read this backup",
	}
}

// pages are the rows of a Parquet file.
type pages struct {
	file    io.Closer
	reader  *parquet.Reader
	schema  *record.Schema
	columns []record.Column
}

func (p *pages) next() (*record.Batch, error) {
	n, misfits, err := p.reader.Read(p.columns, batchRows)
	if err != nil {
		return nil, err
	}
	if len(misfits) > 0 {
		return nil, fmt.Errorf("column %s: %w", p.schema.Fields[misfits[0].Column].Name, misfits[0].Err)
	}
	return record.NewBatch(p.schema, n, p.columns, record.System{}, nil)
}

// Close closes the file.
func (p *pages) Close() error { return errors.Join(p.reader.Close(), p.file.Close()) }

// lines are the rows of an NDJSON file.
type lines struct {
	file    io.Closer
	zstd    *zstd.Decoder
	in      *bufio.Reader
	builder *record.Builder
	long    []byte
}

func (s *Store) openLines(m *manifest, name string, f blob.Object, schema *record.Schema) (rowFile, error) {
	var in io.Reader = bufio.NewReaderSize(io.NewSectionReader(f, 0, f.Size()), 1<<20)
	if m.Encrypted {
		var err error
		if in, err = age.Decrypt(in, s.o.Identities...); err != nil {
			return nil, locked(m, name, err)
		}
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, damaged(name, err)
	}
	return &lines{file: f, zstd: z, in: bufio.NewReaderSize(z, 64<<10), builder: record.NewBuilder(schema, 0)}, nil
}

func (l *lines) next() (*record.Batch, error) {
	const bytes = 4 << 20
	for size := 0; l.builder.Rows() < batchRows && size < bytes; {
		line, err := l.line()
		if errors.Is(err, io.EOF) && l.builder.Rows() > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		size += len(line)
		if err := l.builder.AppendJSON(line); err != nil {
			return nil, err
		}
	}
	return l.builder.Batch(nil), nil
}

// line gives the next line, however long.
func (l *lines) line() ([]byte, error) {
	l.long = l.long[:0]
	for {
		some, err := l.in.ReadSlice('\n')
		switch {
		case err == nil && len(l.long) == 0:
			return some, nil
		case err == nil:
			return append(l.long, some...), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) && len(l.long)+len(some) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		l.long = append(l.long, some...)
	}
}

// Close closes the file.
func (l *lines) Close() error {
	l.zstd.Close()
	return l.file.Close()
}

// compare compares what is stored with what the manifest says, byte by byte.
func compare(ctx context.Context, of *File, f blob.Object) error {
	sum := sha256.New()
	_, err := io.Copy(sum, &stoppable{ctx, io.NewSectionReader(f, 0, f.Size())})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return damaged(of.Name, err)
	case hex.EncodeToString(sum.Sum(nil)) != of.SHA256:
		return damaged(of.Name, errors.New("its hash is not that of the manifest"))
	}
	return nil
}

// stoppable is a reader that ends with a context.
type stoppable struct {
	ctx context.Context //nolint:containedctx // of one copy
	in  io.Reader
}

// Read reads, unless it is over.
func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.in.Read(p)
}
