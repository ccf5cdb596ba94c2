package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/record"
)

const (
	// insertBytes is how long a statement gets that inserts rows, and commitAfter how many of them are one transaction.
	insertBytes = 1 << 20
	commitAfter = 32
)

// Load inserts rows into a table.
func (r *restoration) Load(ctx context.Context, stream string, next func() (*record.Batch, error)) error {
	k, err := r.table(stream)
	if err != nil {
		return err
	}
	mode := loadMode
	if slices.ContainsFunc(k.table.Columns, func(c mysql.Column) bool { return c.Type.Data == "enum" }) {
		mode = looseMode
	}
	if err := r.run(ctx, stream, "SET SESSION "+mode, "START TRANSACTION"); err != nil {
		return err
	}
	l := &loading{restoration: r, kept: k, stream: stream, inserter: k.layout.Inserter()}
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for row := 0; row < b.Rows && err == nil; row++ {
			err = l.add(ctx, b, row)
		}
		b.Release()
		if err != nil {
			return err
		}
	}
	if err := l.send(ctx); err != nil {
		return err
	}
	return r.run(ctx, stream, "COMMIT")
}

// loading is rows on their way into a table.
type loading struct {
	*restoration

	kept     *kept
	stream   string
	inserter *mysql.Inserter
	text     []byte // the statement
	sent     int
}

// add puts a row into the statement, after sending it if it is long enough. A row that alone is too long for the server is an error.
func (l *loading) add(ctx context.Context, b *record.Batch, row int) (err error) {
	if len(l.text) == 0 {
		l.text = append(l.text, l.inserter.Head()...)
	} else {
		l.text = append(l.text, ',')
	}
	before := len(l.text)
	if l.text, err = l.inserter.Append(l.text, b, row); err != nil {
		return err
	}
	const room = 64 // for what goes with a statement
	if limit := l.packet - room; len(l.text) > limit && before > len(l.inserter.Head()) {
		last := slices.Clone(l.text[before:])
		l.text = l.text[:before-1]
		if err := l.send(ctx); err != nil {
			return err
		}
		l.text = append(append(l.text, l.inserter.Head()...), last...)
	}
	if len(l.text) > l.packet-room {
		return &fault.Error{
			Code: "ACQ-MY-078", Place: l.stream, Err: fmt.Errorf("a row takes a statement of %d bytes, and the server takes %d", len(l.text), l.packet),
			Remedy: "SET GLOBAL max_allowed_packet to more, at most 1 GiB, and restore again; nothing was changed",
		}
	}
	if len(l.text) >= insertBytes {
		return l.send(ctx)
	}
	return nil
}

func (l *loading) send(ctx context.Context) error {
	if len(l.text) == 0 {
		return nil
	}
	err := l.conn.Exec(ctx, string(l.text))
	if l.text = l.text[:0]; err != nil {
		return mysql.Explain(err, "load rows", l.stream)
	}
	if l.sent++; l.sent%commitAfter == 0 {
		return l.run(ctx, l.stream, "COMMIT", "START TRANSACTION")
	}
	return nil
}
