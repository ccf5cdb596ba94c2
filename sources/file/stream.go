package file

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow bounds the memory that a compressed file can ask for; zstd --long asks for so much.
const maxZstdWindow = 128 << 20

// text is the text of a file from its beginning, or of a plain file from an offset.
type text struct {
	io.Reader
	close []func() error
}

// Close lets go of file and decoder.
func (t *text) Close() error {
	var err error
	for _, c := range t.close {
		err = errors.Join(err, c())
	}
	return err
}

// open gives the text of an input. Only a plain file can begin at an offset.
func (s *Source) open(in *input, offset int64) (*text, error) {
	if in.stdin() {
		return unpack(s.stdin.sample(), in)
	}
	f, err := os.Open(in.path)
	if err != nil {
		return nil, cannotOpen(in.path, err)
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return nil, errors.Join(cannotOpen(in.path, err), f.Close())
		}
	}
	t, err := unpack(f, in)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.close = append(t.close, f.Close)
	return t, nil
}

// unpack decompresses. A stream that ends too early gives io.ErrUnexpectedEOF.
func unpack(r io.Reader, in *input) (*text, error) {
	compression := in.compression
	if compression == "" { // the standard input shows it when it comes
		b := bufio.NewReaderSize(r, 64<<10)
		head, _ := b.Peek(4) // what fails here fails again
		r, compression = b, compressionOf(head)
	}
	switch compression {
	case compressionGzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			return &text{Reader: broken{err}}, nil //nolint:nilerr // it is told where all such errors are: by the reads
		}
		return &text{Reader: z, close: []func() error{z.Close}}, nil
	case compressionZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, stop(codeDamaged, in.path, fixAndRestart, err)
		}
		return &text{Reader: z, close: []func() error{func() error { z.Close(); return nil }}}, nil
	}
	return &text{Reader: r}, nil
}

// broken gives an error to each read.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) {
	if errors.Is(b.err, io.EOF) {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, b.err
}

// standardInput is a stream that comes once. What was looked at for a sample is kept until the lane reads it.
type standardInput struct {
	src io.Reader

	mu    sync.Mutex
	kept  []byte
	taken bool // the lane reads
	err   error
}

// sample gives the stream from its beginning, and keeps it.
func (s *standardInput) sample() io.Reader { return &replayed{s: s} }

// take gives the stream from its beginning to the lane, once.
func (s *standardInput) take() (io.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		err := errors.New("it was read before, and cannot be read again")
		return nil, stop(codeStdin, "standard input", "put the data into a file and read that", err)
	}
	s.taken = true
	return io.MultiReader(bytes.NewReader(s.kept), s.src), nil
}

// replayed reads what is kept, then keeps what it reads.
type replayed struct {
	s  *standardInput
	at int
}

func (r *replayed) Read(p []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.at == len(s.kept) {
		if s.taken || s.err != nil {
			return 0, cmp.Or(s.err, io.EOF)
		}
		n, err := s.src.Read(p)
		s.err, s.kept = err, append(s.kept, p[:n]...)
	}
	n := copy(p, s.kept[r.at:])
	r.at += n
	return n, nil
}

// stdinInput looks at how the standard input begins.
func (s *Source) stdinInput() (*input, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.seen[stdinPath]; in != nil {
		return in, nil
	}
	in := &input{path: stdinPath, id: "stdin", size: -1, mtime: time.Now(), format: s.config.Format, compression: s.config.Compression}
	var err error
	if in.delimiter, err = s.config.delimiter(""); err != nil {
		return nil, err
	}
	s.seen[stdinPath] = in
	return in, nil
}

// feed reads ahead of a lane, so that a read can end while the stream gives nothing.
type feed struct {
	pieces chan []byte
	spent  chan []byte // comes back to be filled again
	closed chan struct{}
	err    error // valid when pieces is closed
	piece  []byte
	rest   []byte // of the piece
}

// feedFrom starts a goroutine that ends when open's stream does, or when it gives something after stop. A read of a
// terminal or pipe cannot be ended from here.
func feedFrom(open func() (*text, error)) *feed {
	f := &feed{pieces: make(chan []byte), spent: make(chan []byte, 2), closed: make(chan struct{})}
	for range cap(f.spent) {
		f.spent <- make([]byte, firstWindow)
	}
	go func() {
		defer close(f.pieces)
		t, err := open()
		if err != nil {
			f.err = err
			return
		}
		for err == nil {
			var p []byte
			select {
			case p = <-f.spent:
			case <-f.closed:
				f.err = t.Close()
				return
			}
			var n int
			if n, err = t.Read(p); n == 0 {
				f.spent <- p
				continue
			}
			select {
			case f.pieces <- p[:n]:
			case <-f.closed:
			}
		}
		f.err = err
		_ = t.Close() // it was read to its end
	}()
	return f
}

// wait returns when a read will not block.
func (f *feed) wait(ctx context.Context) error {
	if len(f.rest) > 0 {
		return nil
	}
	if f.piece != nil {
		f.spent <- f.piece[:cap(f.piece)] // there is room for each
		f.piece = nil
	}
	select {
	case f.piece = <-f.pieces:
		f.rest = f.piece
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closed:
		return errClosed
	}
}

// Read gives what wait has waited for.
func (f *feed) Read(p []byte) (int, error) {
	if f.piece == nil {
		return 0, cmp.Or(f.err, io.EOF)
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// discard passes over n bytes.
func discard(ctx context.Context, r io.Reader, n int64) (int64, error) {
	const step = 4 << 20
	var done int64
	for done < n {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		k, err := io.CopyN(io.Discard, r, min(step, n-done))
		done += k
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
